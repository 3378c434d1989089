"""Expressions: what `s += ...` takes. Immutable, composable with `+`, built by `sestina.lang.api`.

An expression is a sequence of steps; a step is one op plus how to read its answer. Strings, other
expressions and lists of both are accepted wherever an expression is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sestina.lang.ir import Op, Text

Part = Any
"""What a program may append: an Expr, a str, or a list or tuple of parts."""


class Step(NamedTuple):
    """One op; `parse` turns its text into the variable's value (None: the text is the value)."""

    op: Op
    parse: Callable[[str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Expr:
    """A sequence of steps. `+` joins it with strings, lists and other expressions.

    >>> from sestina import gen
    >>> len(("Name: " + gen("name") + "\\n").steps)
    3
    """

    steps: tuple[Step, ...]

    def __add__(self, other: Part) -> Expr:
        return Expr(self.steps + expression(other).steps)

    def __radd__(self, other: Part) -> Expr:
        return Expr(expression(other).steps + self.steps)

    def __format__(self, spec: str) -> str:
        raise TypeError("an expression has no text yet; join it with + instead of an f-string")

    def __str__(self) -> str:
        raise TypeError("an expression has no text yet; join it with + instead of % or str()")

    def __bool__(self) -> bool:
        raise TypeError("an expression has no value yet; append it, then test s['name']")


def expression(part: Part) -> Expr:
    """Any part as an expression. ValueError for None, TypeError for what is not a part."""
    if isinstance(part, Expr):
        return part
    if isinstance(part, str):
        return Expr((Step(Text((part,))),) if part else ())
    if isinstance(part, (list, tuple)):
        return Expr(tuple(step for item in part for step in expression(item).steps))
    if part is None:
        raise ValueError("cannot append None to a program; did a function forget its return?")
    raise TypeError(
        f"cannot append {type(part).__name__} to a program: "
        "give a string, an expression such as gen(...), or a list of these"
    )
