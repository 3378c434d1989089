"""Grammars against lark's Earley parser, which reads the same source in its own way.

`ambiguity="forest"` asks it for no more than whether there is a parse.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import lark
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import Limits, compile_automaton
from sestina.lang import errors
from sestina.lang.grammar_syntax import lower

Accepts = Callable[[str], bool]


def larks(source: str) -> Accepts:
    """Lark's verdicts; discards the example if lark refuses the grammar."""
    try:
        parser = lark.Lark(
            source, parser="earley", lexer="dynamic_complete", ambiguity="forest", regex=False
        )
    except lark.exceptions.GrammarError:
        assume(False)

    def accepts(text: str) -> bool:
        try:
            parser.parse(text)
        except lark.exceptions.UnexpectedInput:
            return False
        except RuntimeError as error:
            # Two complete parses that differ in what they ignore; it takes that for a bug.
            return "multiple start symbol items" in str(error)
        return True

    return accepts


def ours(source: str) -> Accepts:
    try:
        automaton = compile_automaton(lower(source), Limits(max_states=100_000))
    except errors.UnsatisfiableConstraint:
        return lambda text: False
    return lambda text: automaton.is_accepting(automaton.advance(automaton.start, text.encode()))


def texts(alphabet: str, max_len: int) -> Iterable[str]:
    for length in range(max_len + 1):
        yield from map("".join, itertools.product(alphabet, repeat=length))


RULES = ("start", "a", "b", "c")
LEAVES = st.sampled_from(['"x"', '"y"', '"xy"', *RULES, *RULES])


def bodies(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        sequences = st.lists(inner, max_size=3).map(" ".join)
        groups = st.lists(sequences, min_size=1, max_size=2).map(lambda o: f"({' | '.join(o)})")
        repeats = st.tuples(inner, st.sampled_from(["?", "*", "+", "~2", "~0..2"])).map(
            lambda pair: "".join(pair) if pair[0][-1] not in "?*+012" else pair[0]
        )
        return groups | repeats | groups.map(lambda group: f"[{group}]")

    items = st.recursive(leaves, larger, max_leaves=4)
    sequences = st.lists(items, max_size=3).map(" ".join)
    return st.lists(sequences, min_size=1, max_size=3).map(" | ".join)


def sources(
    names: tuple[str, ...], leaves: st.SearchStrategy[str] = LEAVES
) -> st.SearchStrategy[str]:
    each = st.tuples(*(bodies(leaves) for _ in names))
    return each.map(lambda made: "".join(f"{n}: {b}\n" for n, b in zip(names, made, strict=True)))


@settings(deadline=None, max_examples=20)
@given(sources(RULES))
def test_random_grammars_derive_what_lark_parses(source: str) -> None:
    """Every kind of recursion, left recursion behind nullable rules, unit cycles, no text."""
    expected, got = larks(source), ours(source)
    for text in texts("xy", 4):
        assert got(text) == expected(text), text


IGNORED = ('" "+', '" "', '"#" /[^\\n]/*', "/[ \\n]+/", '"##"', '"\\n"', "/x+#/", '"y"')


@settings(deadline=None, max_examples=20)
@given(
    sources(RULES[:3], leaves=st.sampled_from(['"x"', '"y"', '"xy"', '"\\n"', '" x"', *RULES[:3]])),
    st.lists(st.sampled_from(IGNORED), min_size=1, max_size=3, unique=True),
)
def test_ignored_text_is_the_longest_between_terminals(source: str, ignored: list[str]) -> None:
    source += "".join(f"%ignore {each}\n" for each in ignored)
    expected, got = larks(source), ours(source)
    for text in texts("xy #\n", 3):
        assert got(text) == expected(text), text
