"""The automaton against Python's `re`, and against a matcher written from the IR's definition."""

from __future__ import annotations

import copy
import itertools
import json
import re
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import DEAD, Automaton, Limits, compile_automaton, instructions
from sestina.backend.grammar.alphabet import Alphabet
from sestina.backend.grammar.machine import Machine
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)

WORDS = [bytes(w) for n in range(5) for w in itertools.product(b"abc", repeat=n)]
ANY = ir.star(ir.byte_range(0, 255))


def accepts(automaton: Automaton, text: bytes) -> bool:
    return automaton.is_accepting(automaton.advance(automaton.start, text))


def to_regex(e: ir.Expr) -> bytes:
    """The same language for `re`, without And and Not."""
    if isinstance(e, ir.ByteSet):
        inside = [byte for byte in range(256) if e.mask >> byte & 1]
        return b"[" + bytes(inside) + b"]" if inside else b"(?!)"
    if isinstance(e, ir.Literal):
        return e.data
    if isinstance(e, ir.Concat):
        return b"".join(b"(?:" + to_regex(item) + b")" for item in e.items)
    if isinstance(e, ir.Alt):
        return b"(?:" + b"|".join(map(to_regex, e.items)) + b")" if e.items else b"(?!)"
    assert isinstance(e, ir.Repeat)
    hi = b"" if e.hi is None else b"%d" % e.hi
    return b"(?:" + to_regex(e.item) + b"){%d,%s}" % (e.lo, hi)


def ends(e: ir.Expr, text: bytes, at: int) -> frozenset[int]:
    """Where matches of e in text that begin at `at` can end: the IR's docstring as code."""
    if isinstance(e, ir.ByteSet):
        return frozenset({at + 1} if at < len(text) and e.mask >> text[at] & 1 else ())
    if isinstance(e, ir.Literal):
        return frozenset({at + len(e.data)} if text.startswith(e.data, at) else ())
    if isinstance(e, ir.Concat):
        now = frozenset({at})
        for item in e.items:
            now = frozenset(end for mid in now for end in ends(item, text, mid))
        return now
    if isinstance(e, ir.Alt):
        return frozenset().union(*(ends(item, text, at) for item in e.items))
    if isinstance(e, ir.And):
        return frozenset.intersection(*(ends(item, text, at) for item in e.items))
    if isinstance(e, ir.Not):
        return frozenset(range(at, len(text) + 1)) - ends(e.item, text, at)
    assert isinstance(e, ir.Repeat)
    out: frozenset[int] = frozenset()
    now = frozenset({at})
    for count in range(e.lo + len(text) + 1 if e.hi is None else e.hi + 1):
        out |= now if count >= e.lo else frozenset()
        now = frozenset(end for mid in now for end in ends(e.item, text, mid))
    return out


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_agrees_with_re(plain_exprs: st.SearchStrategy[ir.Expr], data: st.DataObject) -> None:
    e = data.draw(plain_exprs)
    pattern = re.compile(to_regex(e))
    try:
        automaton = compile_automaton(ir.Grammar(e))
    except UnsatisfiableConstraint:
        assert not any(pattern.fullmatch(word) for word in WORDS)
        return
    for word in WORDS:
        assert accepts(automaton, word) == (pattern.fullmatch(word) is not None), word


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_agrees_with_definition(exprs: st.SearchStrategy[ir.Expr], data: st.DataObject) -> None:
    e = data.draw(exprs)
    try:
        automaton = compile_automaton(ir.Grammar(e))
    except UnsatisfiableConstraint:
        assert not any(len(word) in ends(e, word, 0) for word in WORDS)
        return
    for word in WORDS:
        assert accepts(automaton, word) == (len(word) in ends(e, word, 0)), word


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_liveness_is_exact(exprs: st.SearchStrategy[ir.Expr], data: st.DataObject) -> None:
    try:
        automaton = compile_automaton(ir.Grammar(data.draw(exprs)))
    except UnsatisfiableConstraint:
        return
    successors: dict[int, set[int]] = {}
    todo = [automaton.start]
    while todo and len(successors) < 400:
        state = todo.pop()
        if state not in successors:
            successors[state] = {automaton.step(state, byte) for byte in b"abcd"} - {DEAD}
            todo += successors[state]
    if todo:
        return  # too large to decide by brute force
    alive = {state for state in successors if automaton.is_accepting(state)}
    for _ in successors:
        alive |= {state for state, after in successors.items() if after & alive}
    assert alive == set(successors)
    for state, after in successors.items():
        assert automaton.is_complete(state) == (automaton.is_accepting(state) and not after)


def test_equal_languages_meet_in_one_state() -> None:
    either = ir.Alt((ir.literal("xaaa"), ir.literal("ybaaa"), ir.literal("ycaaa")))
    automaton = compile_automaton(ir.Grammar(either))
    states = {automaton.advance(automaton.start, text) for text in (b"x", b"yb", b"yc")}
    assert len(states) == 1


def test_ambiguous_counters_stay_small() -> None:
    # (a|aa){0,100}: naively, n letters leave n/2 counters open.
    item = ir.Alt((ir.literal("a"), ir.literal("aa")))
    automaton = compile_automaton(ir.Grammar(ir.Repeat(item, 0, 100)))
    assert accepts(automaton, b"a" * 200)
    assert not accepts(automaton, b"a" * 201)
    assert automaton.num_states <= 202 + 1


def test_nested_arrays(nested_arrays: ir.Grammar) -> None:
    automaton = compile_automaton(nested_arrays)
    for n in range(7):
        for letters in itertools.product("[],1", repeat=n):
            text = "".join(letters)
            try:
                value = json.loads(text)
            except ValueError:
                expected = False
            else:
                expected = set(re.findall(r"\d+", text)) <= {"1"} and value is not None
            assert accepts(automaton, text.encode()) == expected, text
    deep = 3000
    assert accepts(automaton, b"[" * deep + b"]" * deep)
    assert not accepts(automaton, b"[" * deep + b"]" * (deep - 1))


def test_rules_expand_inside_booleans_when_they_end() -> None:
    rules: dict[str, ir.Expr] = {
        "pair": ir.Concat((ir.Rule("any"), ir.Rule("any"))),
        "any": ir.byte_range(97, 99),
    }
    both = ir.And((ir.Rule("pair"), ir.Not(ir.literal("ab"))))
    automaton = compile_automaton(ir.Grammar(both, rules))
    assert [accepts(automaton, text) for text in (b"aa", b"ab", b"a")] == [True, False, False]


def test_booleans_inside_recursion() -> None:
    # list -> item list | end; an item is two of abc but not "bb"
    two = ir.Repeat(ir.byte_range(97, 99), 2, 2)
    item = ir.And((two, ir.Not(ir.literal("bb"))))
    rules = {"list": ir.Alt((ir.Concat((item, ir.Rule("list"), ir.literal(")"))), ir.EPSILON))}
    automaton = compile_automaton(ir.Grammar(ir.Rule("list"), rules))
    texts = (b"", b"ab)", b"abcc))", b"bb)", b"abbb))", b"ab))")
    assert [accepts(automaton, text) for text in texts] == [True, True, True, False, False, False]
    assert automaton.advance(automaton.start, b"abbb") == DEAD


def test_dead_ends_are_seen_from_afar() -> None:
    # 40 letters, of which the last cannot be: dead from the first byte on, but for 41 of them.
    long = ir.And((ir.Repeat(ir.byte_range(97, 98), 40, 41), ir.Concat((ANY, ir.literal("c")))))
    with pytest.raises(UnsatisfiableConstraint):
        compile_automaton(ir.Grammar(long))
    either = ir.Alt((ir.Concat((ir.literal("x"), long)), ir.literal("y")))
    automaton = compile_automaton(ir.Grammar(either))
    assert automaton.step(automaton.start, ord("x")) == DEAD
    assert automaton.step(automaton.start, ord("y")) != DEAD


def starred(name: str) -> ir.Expr:
    return ir.Alt((ir.Concat((ir.star(ir.literal("x")), ir.Rule(name))), ir.EPSILON))


@pytest.mark.parametrize(
    ("start", "rules", "error", "says"),
    [
        (ir.NOTHING, {}, UnsatisfiableConstraint, "no text"),
        (
            ir.Rule("a"),
            {"a": ir.Concat((ir.literal("x"), ir.Rule("a")))},
            UnsatisfiableConstraint,
            "no text",
        ),
        (ir.Rule("a"), {}, InvalidConstraint, "'a' is used but not defined"),
        (ir.Rule("a"), {"a": starred("a")}, UnsupportedConstraint, "a -> a"),
        (
            ir.Rule("a"),
            {"a": starred("b"), "b": ir.Alt((ir.Rule("a"), ir.literal("y")))},
            UnsupportedConstraint,
            "left-recursive rule",
        ),
        (
            ir.Not(ir.Rule("a")),
            {"a": ir.optional(ir.Concat((ir.literal("x"), ir.Rule("a"))))},
            UnsupportedConstraint,
            "'a' is recursive",
        ),
        (ir.And((ANY, ir.Special("<call>"))), {}, UnsupportedConstraint, "over bytes"),
        (ir.Special("<call>"), {}, UnsupportedConstraint, "vocabulary"),
        (ir.Repeat(ir.literal("a"), 3, 2), {}, InvalidConstraint, "repeat 3 to 2"),
    ],
)
def test_refusals(
    start: ir.Expr, rules: dict[str, ir.Expr], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=re.escape(says)):
        compile_automaton(ir.Grammar(start, rules))


def nested(depth: int) -> ir.Expr:
    e: ir.Expr = ir.literal("a")
    for _ in range(depth):
        e = ir.Concat((e, ir.optional(ir.Alt((e, ir.literal("b"))))))
    return e


@given(data=st.data())
def test_trees_are_read_alike_with_and_without_recursion(
    exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    expr = data.draw(exprs)
    machine = Machine(Alphabet())
    starts = []
    for most in (100, 1, 2):
        same = copy.deepcopy(expr)  # what a machine knows it does not read again
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instructions, "_MAX_RECURSION", most)
            try:
                starts.append(compile_automaton(ir.Grammar(same), machine=machine).start)
            except UnsatisfiableConstraint:
                starts.append(DEAD)
    assert len(set(starts)) == 1


def wide_product(n: int) -> ir.Expr:
    """An intersection whose emptiness takes about 2^n steps to see: two letters differ n apart."""
    letters = ir.byte_range(97, 98)

    def tail(byte: str, count: int) -> ir.Expr:
        return ir.Concat((ANY, ir.literal(byte), ir.Repeat(letters, count, count)))

    return ir.And((ir.star(letters), tail("a", n), tail("b", n)))


@pytest.mark.parametrize(
    ("limits", "make"),
    [
        (Limits(max_nesting=20), lambda: nested(21)),
        (Limits(), lambda: nested(30_000)),
        (Limits(max_nodes=10), lambda: ir.Alt(tuple(ir.literal(str(i)) for i in range(10)))),
        (Limits(max_expressions=20), lambda: nested(15)),
        (Limits(max_liveness_steps=50), lambda: wide_product(12)),
    ],
)
def test_compile_limits(limits: Limits, make: Callable[[], ir.Expr]) -> None:
    with pytest.raises(ConstraintLimitExceeded, match=r"limit max_\w+=\d+"):
        compile_automaton(ir.Grammar(make()), limits)


def test_state_limit_spares_states_that_exist() -> None:
    automaton = compile_automaton(ir.Grammar(ir.literal("a" * 100)), Limits(max_states=10))
    seen = automaton.advance(automaton.start, b"a" * 8)
    with pytest.raises(ConstraintLimitExceeded, match="max_states=10"):
        automaton.step(seen, ord("a"))
    assert automaton.advance(automaton.start, b"a" * 8) == seen


def test_long_literals_and_many_choices_are_cheap() -> None:
    text = bytes(range(97, 123)) * 4000
    automaton = compile_automaton(ir.Grammar(ir.Literal(text)), Limits(max_states=200_000))
    assert accepts(automaton, text)
    many = [f"choice number {i}" for i in range(3000)]
    automaton = compile_automaton(ir.Grammar(ir.alt(map(ir.literal, many))))
    assert all(accepts(automaton, choice.encode()) for choice in many[::100])
    assert not accepts(automaton, b"choice number 3000")


def test_threads_share_one_automaton(nested_arrays: ir.Grammar) -> None:
    automaton = compile_automaton(nested_arrays)
    texts = [b"[" * n + b"1" + b",1]" * n for n in range(60)]
    found: list[list[int]] = []

    def walk() -> None:
        found.append([automaton.advance(automaton.start, text) for text in texts])

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(states == found[0] for states in found)
    assert all(map(automaton.is_accepting, found[0]))
