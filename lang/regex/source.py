"""A place in the source of a regular expression, and the errors that point at one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint
from sestina.lang.regex.casing import Folding


@dataclass(frozen=True, slots=True)
class Flags:
    """What is switched on at a place; is_ascii None: neither re.ASCII nor re.UNICODE is said."""

    folding: Folding | None = None
    multi_line: bool = False
    dot_all: bool = False
    verbose: bool = False
    is_ascii: bool | None = None


NO_FLAGS = Flags()


class Cursor:
    """A place in a pattern. `ecma` selects the dialect."""

    def __init__(self, pattern: str, *, ecma: bool, flags: Flags = NO_FLAGS) -> None:
        self.pattern = pattern
        self.ecma = ecma
        self.flags = flags
        self.at = 0

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self.pattern[self.at : self.at + 1]

    def fail(self, message: str, position: int) -> NoReturn:
        raise InvalidConstraint(f"invalid regex: {message}", source=self.pattern, position=position)

    def refuse(self, keyword: str, what: str, position: int) -> NoReturn:
        raise UnsupportedConstraint(
            f"not supported in a regex, because not enforced exactly: {what}",
            keyword=keyword,
            source=self.pattern,
            position=position,
        )
