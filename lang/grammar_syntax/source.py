"""What both dialects are read into: named definitions whose bodies are constraint IR.

A body refers to other definitions as `Rule(name)`. Lark's terminals are definitions too; a string
or regex that stands in a rule becomes a terminal named by its own spelling, so that every place
where ignored text may follow is a reference to a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint, UnsupportedConstraint


@dataclass(frozen=True, slots=True)
class Definition:
    """A rule, a terminal or a template (which has `params`). position: of its name."""

    body: ir.Expr
    position: int
    is_terminal: bool = False
    params: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """`template{args}`; each argument is the name of a definition or of a parameter."""

    template: str
    args: tuple[str, ...]
    position: int


@dataclass(slots=True)
class Source:
    """A grammar as read. uses: where each name is used first, for errors.

    merged: rules of embedded grammars (`%json`), under names that no source can spell.
    """

    text: str
    definitions: dict[str, Definition] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    template_uses: dict[str, TemplateUse] = field(default_factory=dict)
    ignored: list[Definition] = field(default_factory=list)
    merged: dict[str, ir.Expr] = field(default_factory=dict)

    def define(self, name: str, definition: Definition) -> None:
        if name in self.definitions:
            raise InvalidConstraint(
                f"{name} is defined twice",
                keyword=name,
                source=self.text,
                position=definition.position,
            )
        self.definitions[name] = definition


class Cursor:
    """A place in a source, and the errors that point at one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Read what the pattern matches here; None, and nothing is read, if it does not."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def expect(self, char: str, message: str) -> None:
        if self.peek() != char:
            self.fail(message, self.at)
        self.at += 1

    def fail(self, message: str, position: int) -> NoReturn:
        raise InvalidConstraint(f"invalid grammar: {message}", source=self.text, position=position)

    def refuse(self, keyword: str, message: str, position: int) -> NoReturn:
        raise UnsupportedConstraint(
            f"not supported in a grammar: {message}",
            keyword=keyword,
            source=self.text,
            position=position,
        )

    def exceed(self, message: str, position: int) -> NoReturn:
        raise ConstraintLimitExceeded(message, source=self.text, position=position)


def read_escape(cursor: Cursor, controls: Mapping[str, str]) -> str:
    r"""The character of the escape whose backslash was just read: one of `controls`, or
    `\xhh`, `\uhhhh`, `\Uhhhhhhhh`."""
    start = cursor.at - 1
    letter = cursor.peek()
    cursor.at += 1
    if letter in controls:
        return controls[letter]
    if letter not in _NUM_HEX:
        cursor.fail(f"unknown escape \\{letter}", start)
    digits = cursor.text[cursor.at : cursor.at + _NUM_HEX[letter]]
    if len(digits) < _NUM_HEX[letter] or not _HEX.fullmatch(digits):
        cursor.fail(f"\\{letter} needs {_NUM_HEX[letter]} hexadecimal digits", start)
    cursor.at += len(digits)
    code = int(digits, 16)
    if code > ir.MAX_CODE_POINT or ir.SURROGATES[0] <= code <= ir.SURROGATES[1]:
        cursor.fail("not a character", start)
    return chr(code)


_NUM_HEX: Mapping[str, int] = {"x": 2, "u": 4, "U": 8}
_HEX = re.compile("[0-9a-fA-F]+")
