"""Structure in free text: constrained parts that begin where a trigger occurs.

    triggered([tag(...), ...])   free text, and from each trigger on one of the tags
    thinking(inner)              free text up to an end marker, then `inner`

Free text is any text at all in which no trigger occurs. A trigger counts from its first occurrence
on, wherever the boundaries of tokens are: what follows must be one of the tags that begin with it.
Control tokens are no text, so free text has none; `special(name)` is one, and may begin and end a
tag. `sestina.lang.free_text` says how this becomes a language.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sestina.lang import free_text as free_texts
from sestina.lang import grammar_ir as ir
from sestina.lang.algebra import (
    Combination,
    Constraint,
    Text,
    as_constraint,
    one_of,
    require_text,
)
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsupportedConstraint,
)
from sestina.lang.expr import either, seq, times
from sestina.lang.free_text import free, sharing_beginnings, until
from sestina.lang.grammar_merge import Merger

MAX_TEXTS = 1000
MAX_TEXT_LEN = 256


@dataclass(frozen=True, slots=True)
class Special(Constraint):
    """One control token of the vocabulary, by its name: never the text that spells it."""

    kind: ClassVar[str] = "special"
    token: str

    def __post_init__(self) -> None:
        require_text(self.token, "a control token")

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(ir.Special(self.token))


Marker = Text | Special
"""What a tag begins and ends with."""


@dataclass(frozen=True, slots=True)
class FreeText(Constraint):
    """Any text in which none of `excludes` occurs, of at most `max_chars` characters.

    As the end of a tag's content, it does not contain the tag's end either.
    """

    kind: ClassVar[str] = "free_text"
    excludes: tuple[str, ...] = ()
    max_chars: int | None = None

    def __post_init__(self) -> None:
        _require_texts(self.excludes, "excludes")
        n = self.max_chars
        if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
            raise InvalidConstraint(f"max_chars must be an integer from 0 on, got {n!r:.80}")

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(free(self.excludes, self.max_chars))

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        excludes = _without(self.excludes, ends)
        _check_stops(ends, excludes)
        return until(_endings(ends), (*_texts(ends), *excludes), self.max_chars)

    def _ends_freely(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Tag(Combination):
    """`begin`, `content`, then one of `ends`.

    If the content ends with free text, the first occurrence of an end ends it.
    """

    kind: ClassVar[str] = "tag"
    begin: Marker
    content: Constraint
    ends: tuple[Marker, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.ends, tuple) or not self.ends:
            raise InvalidConstraint("a tag needs a tuple of one end or more")
        for part in (self.begin, *self.ends):
            if not isinstance(part, (Text, Special)):
                raise InvalidConstraint(
                    f"a tag begins and ends with a text or a control token, got {part!r:.80}"
                )
        if len(self.ends) > 1 and Text("") in self.ends:
            raise InvalidConstraint("a tag that ends with the empty text has no other end")
        self._measure([self.begin, self.content, *self.ends])

    def _lower(self) -> ir.Grammar:
        merger = Merger()
        return merger.grammar(seq(_marker(self.begin), self.lower_body(merger)))

    def lower_body(self, merger: Merger) -> ir.Expr:
        """What follows the beginning."""
        if self.is_open:
            return merger.start(self.content.to_grammar())
        return self.content._lower_until(self.ends, merger)

    @property
    def is_open(self) -> bool:
        """Nothing marks the end."""
        return self.ends == (Text(""),)

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        if not self._ends_freely():
            return Combination._lower_until(self, ends, merger)
        return seq(_marker(self.begin), self.content._lower_until(ends, merger))

    def _ends_freely(self) -> bool:
        return self.is_open and self.content._ends_freely()


@dataclass(frozen=True, slots=True)
class Triggered(Combination):
    """Free text with one of `tags` wherever a trigger occurs in it; see `triggered`."""

    kind: ClassVar[str] = "triggered"
    tags: tuple[Tag, ...]
    triggers: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    at_least_one: bool = False
    stop_after_first: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.tags, tuple) or not self.tags:
            raise InvalidConstraint("triggered needs a tuple of one tag or more")
        for tag in self.tags:
            if not isinstance(tag, Tag):
                raise InvalidConstraint(f"triggered takes tags, got {tag!r:.80}")
            if tag._ends_freely():
                raise UnsupportedConstraint(
                    f"the tag that begins {tag.begin!r} ends with free text and has no end, so "
                    "that no trigger after it would count"
                )
        _require_texts(self.triggers, "triggers")
        _require_texts(self.excludes, "excludes")
        for name in ("at_least_one", "stop_after_first"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidConstraint(f"{name} must be True or False")
        _check_stops(map(Text, self.triggers), self.excludes)
        if unused := set(self.triggers) - {self._trigger(each) for each in self.tags}:
            raise InvalidConstraint(f"no tag begins with the trigger {min(unused)!r}")
        self._measure(self.tags)

    def _trigger(self, each: Tag) -> str | None:
        """The trigger that a tag's beginning begins with; None for a control token."""
        if isinstance(each.begin, Special):
            return None
        for trigger in self.triggers:
            if each.begin.text.startswith(trigger):
                return trigger
        raise InvalidConstraint(f"the tag that begins {each.begin!r} begins with no trigger")

    def _lower(self) -> ir.Grammar:
        merger = Merger()
        return merger.grammar(self._lower_until((), merger))

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        excludes = _without(self.excludes, ends)
        _check_stops((*map(Text, self.triggers), *ends), excludes)
        texts = (*self.triggers, *_texts(ends), *excludes)
        calls = self._calls(merger)
        last = until(_endings(ends), texts) if ends else free(texts)
        called = until(calls, texts)
        at_once = sharing_beginnings([seq(trigger, call) for trigger, call in calls.items()])
        if self.stop_after_first:
            end = one_of(ends, merger) if ends else ir.EPSILON
            return seq(at_once, end) if self.at_least_one else either([last, seq(called, end)])
        rest = seq(times(called, 0, None), last)
        return seq(at_once, rest) if self.at_least_one else rest

    def _ends_freely(self) -> bool:
        return True

    def _calls(self, merger: Merger) -> dict[free_texts.Marker, ir.Expr]:
        """What follows each trigger, and each control token that begins a tag."""
        found: dict[Marker, list[ir.Expr]] = {}
        for each in self.tags:
            body = each.lower_body(merger)
            trigger = self._trigger(each)
            if trigger is None:
                found.setdefault(each.begin, []).append(body)
            elif isinstance(each.begin, Text):
                rest = ir.literal(each.begin.text[len(trigger) :])
                found.setdefault(Text(trigger), []).append(seq(rest, body))
        return {_marker(begin): sharing_beginnings(bodies) for begin, bodies in found.items()}


def special(token: str) -> Special:
    """One control token of the model's vocabulary, such as `special("<tool_call>")`.

    The text of a variable does not show it. Compiling it for a vocabulary without that token is an
    InvalidConstraint.
    """
    return Special(token)


def free_text(*, excludes: Sequence[str] = (), max_chars: int | None = None) -> FreeText:
    """Any text in which none of `excludes` occurs, of at most `max_chars` characters."""
    return FreeText(_tuple_of(excludes, "excludes"), max_chars)


def tag(begin: str | Special, content: Constraint | str, end: str | Special | Sequence[str]) -> Tag:
    """`begin`, `content`, `end` (or one of several ends); an `end` of "" is none at all.

    >>> tag("<think>", free_text(), "</think>").begin
    '<think>'
    """
    ends = (end,) if isinstance(end, (str, Special)) else _tuple_of(end, "end")
    return Tag(_as_marker(begin), as_constraint(content), tuple(map(_as_marker, ends)))


def triggered(
    tags: Sequence[Tag],
    *,
    triggers: Sequence[str] | None = None,
    excludes: Sequence[str] = (),
    at_least_one: bool = False,
    stop_after_first: bool = False,
) -> Triggered:
    """Free text until a trigger occurs; then a tag that begins with it; then free text again.

    triggers: every tag's beginning starts with one of them, and none contains another; by default
        they are the beginnings. A tag that begins with a control token needs none.
    excludes: texts that do not occur in the free text.
    at_least_one: a tag comes first, without free text before it, as in xgrammar.
    stop_after_first: the text ends with the first tag.

    >>> from sestina import regex
    >>> triggered([tag("<sum>", regex("[0-9]+"), "</sum>")]).triggers
    ('<sum>',)
    """
    for each in tags:
        if not isinstance(each, Tag):
            raise InvalidConstraint(f"triggered takes tags, got {each!r:.80}")
    if triggers is None:
        texts = [each.begin.text for each in tags if isinstance(each.begin, Text)]
        triggers = list(dict.fromkeys(texts))
    return Triggered(
        _tuple_of(tags, "tags"),
        _tuple_of(triggers, "triggers"),
        _tuple_of(excludes, "excludes"),
        at_least_one,
        stop_after_first,
    )


def thinking(
    inner: Constraint | str,
    *,
    begin: str | Special = "<think>",
    end: str | Special = "</think>",
    optional: bool = False,
    max_chars: int | None = None,
) -> Constraint:
    """Free text between `begin` and the first `end`, then `inner`.

    begin: "" where the prompt has begun the thinking already.
    optional: `inner` alone will do. If it may itself begin with `begin`, as free text may, exclude
        that there.
    max_chars: the longest thought, in characters.

    >>> from sestina import regex
    >>> thinking("Answer: " + regex("yes|no")).items[1:]
    ('Answer: ', Regex(pattern='yes|no'))
    """
    if optional and begin == "":
        raise InvalidConstraint("thinking that the prompt has begun is not optional")
    if end == "":
        raise InvalidConstraint("thinking needs an end")
    answer = as_constraint(inner)
    thought = tag(begin, free_text(max_chars=max_chars), end)
    both = thought + answer
    return both | answer if optional else both


def _marker(part: Constraint) -> free_texts.Marker:
    if isinstance(part, Text):
        return ir.literal(part.text)
    assert isinstance(part, Special)
    return ir.Special(part.token)


def _endings(ends: Iterable[Constraint]) -> dict[free_texts.Marker, ir.Expr]:
    """Each end, and that nothing follows it."""
    return {_marker(end): ir.EPSILON for end in ends}


def _texts(parts: Iterable[Constraint]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]


def _as_marker(part: object) -> Marker:
    if isinstance(part, (Text, Special)):
        return part
    if isinstance(part, str):
        return Text(part)
    raise InvalidConstraint(
        f"a tag begins and ends with a string or a control token, got {part!r:.80}"
    )


def _without(excludes: tuple[str, ...], ends: tuple[Constraint, ...]) -> tuple[str, ...]:
    """The excludes, but for those that end the free text anyway."""
    return tuple(text for text in excludes if Text(text) not in ends)


def _check_stops(stops: Iterable[Constraint], excludes: Iterable[str]) -> None:
    """Which of two texts was met first must not depend on how one reads on."""
    texts = _texts(stops)
    for i, text in enumerate(texts):
        _check_len(text)
        for other in (*texts[:i], *texts[i + 1 :]):
            if other in text:
                raise InvalidConstraint(
                    f"of the triggers and ends of free text, {text!r} contains {other!r}"
                )
        for excluded in excludes:
            if excluded in text:
                raise InvalidConstraint(f"{text!r} cannot follow free text without {excluded!r}")


def _require_texts(texts: object, what: str) -> None:
    if not isinstance(texts, tuple):
        raise InvalidConstraint(f"{what} must be a tuple, got {type(texts).__name__}")
    if len(texts) > MAX_TEXTS:
        raise ConstraintLimitExceeded(f"{len(texts)} {what}; at most {MAX_TEXTS}")
    for text in texts:
        require_text(text, f"one of {what}")
        _check_len(text)
        if not text:
            raise InvalidConstraint(f"one of {what} is empty")


def _check_len(text: str) -> None:
    """All suffixes of a marker are looked at."""
    if len(text) > MAX_TEXT_LEN:
        raise ConstraintLimitExceeded(
            f"{text!r:.40} has {len(text)} characters; at most {MAX_TEXT_LEN} between free text"
        )


def _tuple_of(items: Iterable[Any], what: str) -> tuple[Any, ...]:
    if isinstance(items, str):
        raise InvalidConstraint(f"{what} must be a list, got the string {items!r:.80}")
    return tuple(items)
