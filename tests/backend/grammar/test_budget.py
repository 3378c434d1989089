"""Finish by budget, against plain searches over bytes and loops over tokens."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sestina
from sestina.backend.grammar import CompiledGrammar, Limits, Matcher, TokenTrie, compile_grammar
from sestina.backend.grammar.matcher import SharedMasks
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    UnsatisfiableConstraint,
)

MakeTokenizer = Callable[..., Any]

CALL = ir.Special("<call>")
END = ir.Special("<end>")
VALUE = ir.Rule("value")

GRAMMARS: dict[str, ir.Grammar] = {
    "loop": ir.Grammar(ir.star(ir.literal("ab"))),
    "counted": ir.Grammar(
        ir.Concat((ir.Repeat(ir.byte_range(97, 99), 7, 90), ir.literal("c"), ir.literal("abc")))
    ),
    "choice": ir.Grammar(ir.Alt((ir.literal("a" * 50), ir.literal("cab"), ir.literal("bab")))),
    "brackets": ir.Grammar(
        VALUE,
        {
            "value": ir.Alt(
                (ir.literal("b"), ir.Concat((ir.literal("a"), VALUE, VALUE, ir.literal("c"))))
            )
        },
    ),
    "control": ir.Grammar(
        VALUE,
        {
            "value": ir.Alt(
                (ir.literal("abcabc"), ir.Concat((CALL, ir.star(VALUE), ir.literal("a"), END)))
            )
        },
    ),
    "boolean": ir.Grammar(
        ir.And(
            (
                ir.Repeat(ir.byte_range(97, 99), 3, 20),
                ir.Not(
                    ir.Concat(
                        (
                            ir.star(ir.byte_range(97, 99)),
                            ir.literal("aa"),
                            ir.star(ir.byte_range(97, 99)),
                        )
                    )
                ),
                ir.Not(ir.Concat((ir.literal("ab"), ir.star(ir.byte_range(97, 99))))),
            )
        )
    ),
}


def state_after(grammar: CompiledGrammar, state: int, symbol: int) -> int:
    if symbol < 256:
        return grammar.automaton.step(state, symbol)
    return grammar.automaton.step_special(state, symbol - 256)


def plain_ending(grammar: CompiledGrammar, state: int) -> list[int]:
    """The shortest symbols to an accepting state, the lowest first: breadth first search."""
    control = sorted((grammar.tokenizer.control_ids or {}).values())
    symbols = [*range(256), *(256 + i for i in control)]
    before: dict[int, tuple[int, int] | None] = {state: None}
    queue = deque([state])
    while queue:
        at = queue.popleft()
        if grammar.automaton.is_accepting(at):
            word = []
            while (step := before[at]) is not None:
                at, symbol = step
                word.append(symbol)
            return word[::-1]
        for symbol in symbols:
            after = state_after(grammar, at, symbol)
            if after and after not in before:
                before[after] = (at, symbol)
                queue.append(after)
    raise AssertionError("a live state has an ending")


def plain_tokens(grammar: CompiledGrammar, state: int) -> int:
    """The ending cut into tokens, the longest first."""
    word, at, count = plain_ending(grammar, state), 0, 0
    spelled = {tuple(data) for data in grammar.trie.token_bytes if data}
    while at < len(word):
        if word[at] < 256:
            at = next(end for end in range(len(word), at, -1) if tuple(word[at:end]) in spelled)
        else:
            at += 1
        count += 1
    return count


def allowed_ids(matcher: Matcher, max_tokens: int | None = None) -> set[int]:
    row = np.full(matcher.grammar.trie.num_words + 1, -1, np.int32)
    matcher.fill_mask(row, max_tokens)
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


def plainly_allowed_ids(matcher: Matcher, max_tokens: int) -> set[int]:
    """What `fill_mask` promises, one token after the other."""
    out = set()
    for token_id in allowed_ids(matcher):
        twin = matcher.fork()
        assert twin.accept_token(token_id)
        with contextlib.suppress(ConstraintError):  # there is no end, or none was found
            if twin.is_terminated() or twin.tokens_to_accept() <= max_tokens - 1:
                out.add(token_id)
    return out


def finish(matcher: Matcher, data: st.DataObject, max_tokens: int) -> None:
    """Take allowed tokens at random: the text must end within the budget."""
    for left in range(max_tokens, 0, -1):
        allowed = allowed_ids(matcher, left)
        assert allowed
        assert allowed == plainly_allowed_ids(matcher, left)
        assert matcher.accept_token(data.draw(st.sampled_from(sorted(allowed))))
        if matcher.is_terminated():
            return
    assert matcher.is_accepting()
    assert allowed_ids(matcher, 0) <= set(matcher.grammar.trie.eos_ids)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_bound_is_that_of_the_plain_ending(
    tokenizer: Any, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    try:
        matcher = compile_grammar(ir.Grammar(data.draw(exprs)), tokenizer).matcher()
    except UnsatisfiableConstraint:
        return
    for _ in range(3):
        wanted = plain_tokens(matcher.grammar, matcher.state)
        assert matcher.tokens_to_accept() == wanted
        assert (wanted == 0) == matcher.is_accepting()
        left = data.draw(st.integers(0, wanted + 2) | st.integers(0, 200))
        allowed = allowed_ids(matcher, left)
        assert allowed == plainly_allowed_ids(matcher, left)
        assert allowed or left < wanted
        allowed = allowed_ids(matcher) - set(tokenizer.eos_ids)
        if not allowed:
            return
        assert matcher.accept_token(data.draw(st.sampled_from(sorted(allowed))))


@pytest.mark.parametrize("name", GRAMMARS)
@given(data=st.data())
@settings(deadline=None, max_examples=12)
def test_every_feasible_budget_is_kept(tokenizer: Any, name: str, data: st.DataObject) -> None:
    grammar = compile_grammar(GRAMMARS[name], tokenizer)
    assert grammar.min_tokens() == plain_tokens(grammar, grammar.automaton.start)
    finish(grammar.matcher(), data, grammar.min_tokens() + data.draw(st.integers(0, 9)))


def parts_of_letters() -> st.SearchStrategy[ir.Permute]:
    """Up to five short parts, some of them prefixes of others."""
    texts = st.text("abc", min_size=1, max_size=3).map(ir.literal)
    items = texts | st.lists(texts, min_size=2, max_size=2).map(tuple).map(ir.Alt)
    parts = st.lists(st.builds(ir.Part, items, st.booleans(), st.booleans()), max_size=5)
    separators = st.sampled_from([ir.EPSILON, ir.literal("a"), ir.literal("bc"), ir.literal(",")])
    bounds = st.integers(0, 4)
    return st.builds(ir.Permute, parts.map(tuple), separators, bounds, st.none() | bounds)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_parts_in_any_order(tokenizer: Any, data: st.DataObject) -> None:
    e = data.draw(parts_of_letters())
    around = data.draw(st.sampled_from([e, ir.Alt((e, ir.literal("ccccc"))), ir.star(e)]))
    try:
        grammar = compile_grammar(ir.Grammar(around), tokenizer)
    except UnsatisfiableConstraint:
        return
    matcher = grammar.matcher()
    needed = matcher.tokens_to_accept()
    assert needed == plain_tokens(grammar, matcher.state)
    for left in range(needed + data.draw(st.integers(0, 4)), 0, -1):
        assert matcher.tokens_to_accept() == plain_tokens(grammar, matcher.state) <= left
        allowed = allowed_ids(matcher, left)
        assert allowed
        assert allowed == plainly_allowed_ids(matcher, left)
        assert matcher.accept_token(data.draw(st.sampled_from(sorted(allowed))))
        if matcher.is_terminated():
            return
    assert matcher.is_accepting()


def test_many_parts_in_any_order(tokenizer: Any) -> None:
    """2**60 sets of parts, few of which are ever looked at; the order is that of the texts."""
    names = ["mopqrst"[k % 7] + "defghijkl"[k // 7] for k in range(60)]
    parts = tuple(ir.Part(ir.literal(name), required=True) for name in names)
    grammar = compile_grammar(ir.Grammar(ir.Permute(parts, ir.literal(","))), tokenizer)
    needed = grammar.min_tokens()
    assert needed == len(",".join(names))
    matcher = grammar.matcher()
    for symbol in ",".join(sorted(names)).encode():
        assert min(allowed_ids(matcher, matcher.tokens_to_accept())) == symbol
        assert matcher.accept_token(symbol)
    assert matcher.is_accepting()


def test_parts_in_any_order_that_nest(tokenizer: Any) -> None:
    """A part that may be there holds the whole again; one that must be there, now and then."""
    inner = ir.Concat((ir.literal("["), VALUE, ir.literal("]")))
    parts = (
        ir.Part(ir.literal("b"), required=True),
        ir.Part(inner),
        ir.Part(ir.Alt((inner, ir.literal("caab"))), required=True),
    )
    value = ir.Permute(parts, ir.literal(","))
    grammar = compile_grammar(ir.Grammar(VALUE, {"value": value}), tokenizer)
    assert grammar.min_tokens() == plain_tokens(grammar, grammar.automaton.start)
    matcher = grammar.matcher()
    for symbol in b"[b,caab],b,[":
        assert matcher.accept_token(symbol)
        assert matcher.tokens_to_accept() == plain_tokens(grammar, matcher.state)
        for left in (matcher.tokens_to_accept(), 40):
            assert allowed_ids(matcher, left) == plainly_allowed_ids(matcher, left)


@given(st.data())
@settings(deadline=None, max_examples=12)
def test_recursion_and_something_regular(
    tokenizer: Any, plain_exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    nested = ir.Concat((ir.literal("a"), ir.star(VALUE), ir.literal("c")))
    rules = {"value": ir.Alt((ir.literal("b"), nested))}
    begin = data.draw(plain_exprs)
    regular = ir.Concat((begin, ir.Repeat(ir.byte_range(97, 99), 0, data.draw(st.integers(0, 4)))))
    side = data.draw(st.sampled_from([regular, ir.Not(regular)]))
    try:
        matcher = compile_grammar(ir.Grammar(ir.And((VALUE, side)), rules), tokenizer).matcher()
    except UnsatisfiableConstraint:
        return
    needed = matcher.tokens_to_accept()
    assert needed == plain_tokens(matcher.grammar, matcher.state)
    finish(matcher, data, needed + data.draw(st.integers(0, 3)))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_vocabularies_that_lack_bytes(
    make_tokenizer: MakeTokenizer, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    """'a' is only in longer tokens, so that some texts, and some endings, have no spelling."""
    tokenizer = make_tokenizer(missing=frozenset(data.draw(st.sets(st.sampled_from(b"abc")))))
    grammar = data.draw(st.sampled_from(sorted(GRAMMARS)).map(GRAMMARS.get) | exprs.map(ir.Grammar))
    try:
        matcher = compile_grammar(grammar, tokenizer).matcher()
        needed = matcher.tokens_to_accept()
    except UnsatisfiableConstraint:
        return
    finish(matcher, data, needed + data.draw(st.integers(0, 5)))


def test_an_ending_that_only_longer_tokens_spell(make_tokenizer: MakeTokenizer) -> None:
    """The shortest text 'ab' + 'a' is cut into 'ab' and nothing; 'abcab' takes two tokens."""
    tokenizer = make_tokenizer(merges=(b"ab", b"ca"), missing=frozenset(b"ac"))
    grammar = compile_grammar(
        ir.Grammar(ir.Alt((ir.literal("aba"), ir.literal("abcab"), ir.literal("abcaab")))),
        tokenizer,
    )
    assert grammar.min_tokens() == 3
    with pytest.raises(UnsatisfiableConstraint, match="no tokens of the vocabulary spell"):
        compile_grammar(ir.Grammar(ir.literal("aba")), tokenizer).min_tokens()


def test_json(tokenizer: Any) -> None:
    schema = sestina.json_schema(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 6, "pattern": "^[a-z]+$"},
                "tags": {"type": "array", "items": {"enum": ["a", "bc"]}, "minItems": 2},
                "more": {},
            },
            "required": ["name", "tags", "more"],
        }
    )
    grammar = compile_grammar(schema.to_grammar(), tokenizer)
    needed = grammar.min_tokens()
    assert needed == plain_tokens(grammar, grammar.automaton.start)
    rng = np.random.default_rng(0)
    for extra in (0, 1, 7, 40):
        matcher = grammar.matcher()
        for left in range(needed + extra, 0, -1):
            allowed = sorted(allowed_ids(matcher, left))
            assert allowed
            assert matcher.accept_token(int(rng.choice(allowed)))
            if matcher.is_terminated():
                break
        assert matcher.is_terminated() or matcher.is_accepting()


def test_without_room_nothing_is_allowed(tokenizer: Any) -> None:
    matcher = compile_grammar(ir.Grammar(ir.literal("cccc")), tokenizer).matcher()
    assert matcher.tokens_to_accept() == 4
    assert allowed_ids(matcher, 3) == set()
    assert len(allowed_ids(matcher, 4)) == 1


def test_the_end_costs_nothing(tokenizer: Any) -> None:
    matcher = compile_grammar(ir.Grammar(ir.star(ir.literal("c"))), tokenizer).matcher()
    assert allowed_ids(matcher, 0) == set(tokenizer.eos_ids)
    assert allowed_ids(matcher, 1) == {ord("c"), *tokenizer.eos_ids}
    assert matcher.accept_token(tokenizer.eos_ids[0])
    assert matcher.tokens_to_accept() == 0
    assert allowed_ids(matcher, 5) == set()


@pytest.mark.parametrize(
    "e",
    [
        ir.Repeat(ir.literal("ab"), 1 << 20, None),
        ir.Repeat(ir.Repeat(ir.Repeat(ir.literal("ab"), 5000, None), 5000, None), 5000, None),
        ir.And((ir.Repeat(ir.byte_range(97, 99), 1 << 20, None), ir.Not(ir.literal("ab")))),
    ],
)
def test_endings_beyond_the_limit(tokenizer: Any, e: ir.Expr) -> None:
    grammar = compile_grammar(ir.Grammar(e), tokenizer)
    with pytest.raises(ConstraintLimitExceeded, match="65536 bytes or more"):
        grammar.min_tokens()
    assert allowed_ids(grammar.matcher(), 1000) == set()


def ends_far(letter: str, tail: int) -> ir.Expr:
    """Texts with this letter just so far from their end: 2**tail states."""
    any_letter = ir.star(ir.byte_range(97, 98))
    last = ir.Repeat(ir.byte_range(97, 98), tail, tail)
    return ir.Concat((any_letter, ir.literal(letter), last, ir.literal("c")))


def test_a_search_that_takes_too_long(tokenizer: Any) -> None:
    e = ir.And((ends_far("a", 20), ends_far("b", 19)))
    grammar = compile_grammar(ir.Grammar(e), tokenizer)
    with pytest.raises(ConstraintLimitExceeded, match="was not found out"):
        grammar.min_tokens()
    assert allowed_ids(grammar.matcher())  # masks without a budget are not affected


def test_errors_leave_the_notes_right(tokenizer: Any, trie: TokenTrie) -> None:
    """What one grammar could not pay for is worked out for the next one of the same machine."""
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    first = compile_grammar(GRAMMARS["boolean"], tokenizer, trie=trie, shared=shared)
    few = Limits(max_expressions=first.automaton.num_expressions)
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    poor = compile_grammar(GRAMMARS["boolean"], tokenizer, trie=trie, shared=shared, limits=few)
    with pytest.raises(ConstraintLimitExceeded, match="max_expressions"):
        poor.min_tokens()
    rich = compile_grammar(GRAMMARS["boolean"], tokenizer, trie=trie, shared=shared)
    assert rich.min_tokens() == plain_tokens(rich, rich.automaton.start)
