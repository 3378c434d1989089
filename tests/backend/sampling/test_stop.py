from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.sampling import StopChecker
from sestina.lang.errors import InvalidParams

ALPHABET = "abé"
texts = st.text(ALPHABET, max_size=20)
stop_texts = st.text(ALPHABET, min_size=1, max_size=5)
cut_points = st.lists(st.integers(0, 20), max_size=8)
# Patterns without an empty match.
PATTERNS = ["a+b", "ab|ba", "(ab)+a", "é.b", "a[^b]*é", "b{2,3}", "aé?a", "(a|b)é", "é"]


class DerivedAutomaton:
    """A byte automaton by brute force: a state is the set of live positions of an NFA.

    Built from the strings it accepts up to a length: good enough as an oracle on short texts.
    """

    def __init__(self, pattern: str, longest: int = 6) -> None:
        words = [""]
        accepted = set()
        for _ in range(longest):
            words = [word + char for word in words for char in ALPHABET]
            accepted |= {word.encode() for word in words if re.fullmatch(pattern, word)}
        prefixes = {word[:n] for word in accepted for n in range(len(word) + 1)}
        self._numbers = {prefix: n for n, prefix in enumerate(sorted(prefixes), 1)}
        self._names = {n: prefix for prefix, n in self._numbers.items()}
        self._accepted = accepted
        self.start = self._numbers[b""]

    def step(self, state: int, byte: int) -> int:
        return self._numbers.get(self._names[state] + bytes([byte]), 0)

    def is_accepting(self, state: int) -> bool:
        return self._names[state] in self._accepted

    def could_become(self, text: str) -> bool:
        """Whether its state is alive: a match itself counts, for it might go on."""
        prefix = text.encode()
        return any(word.startswith(prefix) for word in self._accepted)

    def matches(self, text: str) -> bool:
        return text.encode() in self._accepted


class Exactly:
    """The oracle's view of a stop text."""

    def __init__(self, stop: str) -> None:
        self._stop = stop

    def could_become(self, text: str) -> bool:
        return self._stop.startswith(text) and self._stop != text

    def matches(self, text: str) -> bool:
        return self._stop == text


def find(
    languages: Sequence[DerivedAutomaton | Exactly], text: str, ends_after: int = 0
) -> tuple[int, int] | None:
    """Earliest end, then earliest start, of a match that ends after `ends_after`; quadratic."""
    for end in range(ends_after + 1, len(text) + 1):
        for start in range(end):
            if any(language.matches(text[start:end]) for language in languages):
                return start, end
    return None


def held_back(languages: Sequence[DerivedAutomaton | Exactly], text: str) -> int:
    """Length of the longest suffix that could begin a match."""
    return max(
        (
            len(text) - start
            for start in range(len(text))
            if any(language.could_become(text[start:]) for language in languages)
        ),
        default=0,
    )


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


AUTOMATA = {pattern: DerivedAutomaton(pattern) for pattern in PATTERNS}


@settings(deadline=None, max_examples=500)
@given(
    stops=st.lists(stop_texts, max_size=4),
    patterns=st.lists(st.sampled_from(PATTERNS), max_size=2),
    text=texts,
    cuts=cut_points,
    early=st.integers(0, 4),
)
def test_agrees_with_the_definition(
    stops: list[str], patterns: list[str], text: str, cuts: list[int], early: int
) -> None:
    automata = [AUTOMATA[pattern] for pattern in patterns]
    languages = [*map(Exactly, stops), *automata]
    checker = StopChecker(stops, automata)
    parts = pieces(text, cuts)
    ends_after = sum(map(len, parts[:early]))
    match = find(languages, text, ends_after)
    emitted, fed, matched = "", "", None
    for number, part in enumerate(parts):
        is_late = number >= early
        step = checker.push(part, lambda _, is_late=is_late: is_late)  # type: ignore[misc]
        emitted, fed, matched = emitted + step.emit, fed + part, step.matched
        if match is None or len(fed) < match[1]:
            assert matched is None
            assert len(fed) - len(emitted) == held_back(languages, fed)
        else:
            assert matched == text[match[0] : match[1]]
            assert emitted == text[: match[0]]
    rest = checker.finish()
    if match is None:
        assert emitted + rest == text
    else:
        assert rest == ""


@settings(deadline=None, max_examples=300)
@given(stop=stop_texts, text=texts, cuts=cut_points)
def test_one_stop_text_is_str_find(stop: str, text: str, cuts: list[int]) -> None:
    checker = StopChecker((stop,))
    steps = [checker.push(part) for part in pieces(text, cuts)]
    emitted = "".join(step.emit for step in steps) + checker.finish()
    where = text.find(stop)
    assert emitted == (text if where < 0 else text[:where])
    assert steps[-1].matched == (None if where < 0 else stop)


@settings(deadline=None, max_examples=200)
@given(pattern=st.sampled_from(["ab|ba", "b{2,3}", "aé?a", "(a|b)é", "é"]), text=texts)
def test_fixed_patterns_agree_with_re(pattern: str, text: str) -> None:
    """For these the leftmost match is also the first to end, so `re.search` finds its start."""
    checker = StopChecker((), (AUTOMATA[pattern],))
    step = checker.push(text)
    found = re.search(pattern, text)
    assert (step.matched is None) == (found is None)
    if found is not None:
        assert step.emit == text[: found.start()]
        assert found.group().startswith(step.matched or "")


def test_the_match_that_ends_first_wins() -> None:
    assert StopChecker(("abcd", "bc")).push("xabcd") == ("xa", "bc")
    assert StopChecker(("bc", "abc")).push("xabcd") == ("x", "abc")


def test_nothing_follows_a_match() -> None:
    checker = StopChecker(("\n",))
    assert checker.push("one\ntwo") == ("one", "\n")
    assert checker.push("three") == ("", "\n")
    assert checker.finish() == ""


def test_without_stops_text_passes() -> None:
    checker = StopChecker(())
    assert checker.push("anything") == ("anything", None)
    assert checker.finish() == ""


def test_a_passed_over_match_may_still_overlap_the_next() -> None:
    checker = StopChecker(("aba",))
    assert checker.push("aba", lambda _: False) == ("ab", None)
    assert checker.push("ba") == ("", "aba")


@settings(deadline=None, max_examples=300)
@given(stops=st.lists(stop_texts, max_size=4), text=texts, cuts=cut_points, odd=st.booleans())
def test_a_stop_may_depend_on_the_text_before_it(
    stops: list[str], text: str, cuts: list[int], odd: bool
) -> None:
    """Only matches after an even (or odd) number of characters count."""
    wanted = min(
        (
            (start + len(stop), start)
            for stop in stops
            for start in range(odd, len(text), 2)
            if text.startswith(stop, start)
        ),
        default=(0, len(text)),
    )
    checker, emitted, step = StopChecker(stops), "", None
    for part in pieces(text, cuts):
        before = len(emitted)
        step = checker.push(part, lambda new, n=before: (n + len(new)) % 2 == odd)  # type: ignore[misc]
        emitted += step.emit
    assert step is not None
    assert step.matched == (text[wanted[1] : wanted[0]] or None)
    assert emitted + checker.finish() == text[: wanted[1]]


def test_long_stops_cost_no_more_than_their_length() -> None:
    stop = "a" * 20_000 + "b"
    checker = StopChecker((stop,))
    assert checker.push("a" * 30_000) == ("a" * 10_000, None)
    assert checker.push("b") == ("", stop)


def test_refuses_stops_that_are_empty() -> None:
    with pytest.raises(InvalidParams, match="must not be empty"):
        StopChecker(("",))

    class Anything:
        start = 1

        def step(self, state: int, byte: int) -> int:
            return 1

        def is_accepting(self, state: int) -> bool:
            return True

    with pytest.raises(InvalidParams, match="matches the empty text"):
        StopChecker((), (Anything(),))
