"""Stop texts and stop patterns, found in streamed text whatever its chunking.

A match counts as soon as its last character is there: what the model would say next is not waited
for. If several end at the same character, the one that starts first wins. So the match is the one
with the earliest end and, among those, the earliest start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sestina.lang.errors import InvalidParams


class StopAutomaton(Protocol):
    """A pattern as a deterministic automaton over UTF-8 bytes.

    State 0 is dead: exactly the states from which nothing more can match.
    """

    @property
    def start(self) -> int: ...
    def step(self, state: int, byte: int) -> int: ...
    def is_accepting(self, state: int) -> bool: ...


class StopStep(NamedTuple):
    """emit: text that is now certain not to be part of a stop. matched: the text that stopped."""

    emit: str
    matched: str | None


class _Tracker(Protocol):
    """One stop, fed character by character."""

    @property
    def pending(self) -> int:
        """How many of the last characters could begin a match: the longest such suffix."""

    def advance(self, char: str) -> int:
        """The length in characters of the longest match that ends here; 0 if none does."""


class StopChecker:
    """Text in, text out, until a stop. Holds back only what may yet turn out to begin a stop."""

    def __init__(self, stops: Sequence[str], regexes: Sequence[StopAutomaton] = ()) -> None:
        """InvalidParams for an empty stop, or a pattern that matches the empty text."""
        self._trackers: list[_Tracker] = [_TextTracker(stop) for stop in stops]
        self._trackers += [_RegexTracker(automaton) for automaton in regexes]
        # With texts alone, a piece without any of their first characters cannot begin a stop.
        self._first_chars = None if regexes else frozenset(stop[0] for stop in stops)
        self._held = ""
        self._matched: str | None = None

    def push(self, text: str, may_stop: Callable[[str], bool] | None = None) -> StopStep:
        """Take more text. After a match nothing more is emitted; further text is dropped.

        `may_stop(emit)` is asked about each match that ends in `text`, with what would be emitted
        before it: where it says no, the match is passed over. Of a pattern, only the longest match
        at each character is asked about; one passed over stays held back until the next character
        shows whether it could have gone on.
        """
        if self._matched is not None:
            return StopStep("", self._matched)
        if not self._held and self._first_chars is not None and self._first_chars.isdisjoint(text):
            return StopStep(text, None)
        buffer = self._held + text
        for end in range(len(self._held) + 1, len(buffer) + 1):
            lengths = {tracker.advance(buffer[end - 1]) for tracker in self._trackers} - {0}
            for length in sorted(lengths, reverse=True):
                emit = buffer[: end - length]
                if may_stop is None or may_stop(emit):
                    self._held, self._matched = "", buffer[end - length : end]
                    return StopStep(emit, self._matched)
        pending = max((tracker.pending for tracker in self._trackers), default=0)
        cut = len(buffer) - pending
        self._held = buffer[cut:]
        return StopStep(buffer[:cut], None)

    @property
    def is_holding(self) -> bool:
        """Whether text is held back that may begin a stop."""
        return bool(self._held)

    def finish(self) -> str:
        """The text still held back: no stop will come of it."""
        held, self._held = self._held, ""
        return held


class _TextTracker:
    """A stop text by the method of Knuth, Morris and Pratt: `pending` is its longest beginning that
    the text so far ends with. Amortised O(1) per character."""

    __slots__ = ("_fallback", "_stop", "pending")

    def __init__(self, stop: str) -> None:
        if not stop:
            raise InvalidParams("a stop text must not be empty")
        self._stop = stop
        self.pending = 0
        # _fallback[n]: the longest proper beginning of stop[:n] that is also its end.
        self._fallback = [0, 0]
        for char in stop[1:]:
            self._fallback.append(self._extend(self._fallback[-1], char))

    def _extend(self, matched: int, char: str) -> int:
        while matched and self._stop[matched] != char:
            matched = self._fallback[matched]
        return matched + 1 if self._stop[matched] == char else 0

    def advance(self, char: str) -> int:
        self.pending = self._extend(self.pending, char)
        if self.pending < len(self._stop):
            return 0
        # Go on from the longest overlap, in case this match is passed over.
        self.pending = self._fallback[self.pending]
        return len(self._stop)


class _RegexTracker:
    """A pattern from every starting point at once.

    Two starting points that reach the same state have the same future, so only the earlier is
    kept: there are never more live pairs than states of the automaton.
    """

    __slots__ = ("_automaton", "_live")

    def __init__(self, automaton: StopAutomaton) -> None:
        if automaton.is_accepting(automaton.start):
            raise InvalidParams("stop_regex matches the empty text: it would stop at once")
        self._automaton = automaton
        self._live: dict[int, int] = {}  # state -> characters since it started; longest first

    @property
    def pending(self) -> int:
        return next(iter(self._live.values()), 0)

    def advance(self, char: str) -> int:
        live = {state: length + 1 for state, length in self._live.items()}
        live.setdefault(self._automaton.start, 1)
        for byte in char.encode("utf-8"):
            stepped: dict[int, int] = {}
            for state, length in live.items():
                stepped.setdefault(self._automaton.step(state, byte), length)
            stepped.pop(0, None)
            live = stepped
        self._live = live
        return max(
            (n for state, n in live.items() if self._automaton.is_accepting(state)), default=0
        )
