"""Whether a text is a regular expression of ECMA-262 with the flag `u`: plain recursive descent.

After the grammar of section 22.2.1 and its early errors, but for groups with flags. Properties are
taken by the form of their name. It knows nothing of the real lowering: one is the other's oracle.
"""

from __future__ import annotations

import re

SYNTAX = "^$\\.*+?()[]{}|/"
CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


class _Wrong(Exception):
    pass


def is_ecma_regex(pattern: str) -> bool:
    """Whether `new RegExp(pattern, "u")` would have it."""
    reader = _Reader(pattern)
    try:
        reader.disjunction()
    except _Wrong:
        return False
    is_whole = reader.at == len(pattern)
    return is_whole and reader.most <= reader.groups and reader.used <= set(reader.names)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.most = 0  # the highest number of a group that is referred to
        self.names: list[str] = []
        self.used: set[str] = set()

    def take(self, expression: str) -> re.Match[str] | None:
        found = re.compile(expression, re.DOTALL).match(self.pattern, self.at)
        if found:
            self.at = found.end()
        return found

    def need(self, expression: str) -> re.Match[str]:
        found = self.take(expression)
        if not found:
            raise _Wrong
        return found

    def disjunction(self) -> None:
        while self.at < len(self.pattern) and self.pattern[self.at] != ")":
            self.term()

    def term(self) -> None:
        if self.take(r"[|^$]|\\[bB]"):
            return
        if self.take(r"\(\?(?:<[=!]|[=!])"):
            self.disjunction()
            self.need(r"\)")
            return
        self.atom()
        if self.take(r"[*+?]\??"):
            return
        bounds = self.take(r"\{([0-9]+)(?:,([0-9]*))?\}\??")
        if bounds and bounds[2] and int(bounds[2]) < int(bounds[1]):
            raise _Wrong

    def atom(self) -> None:
        if self.take(r"\(\?:"):
            self.disjunction()
            self.need(r"\)")
        elif self.take(r"\("):
            self.groups += 1
            if self.take(r"\?"):
                name = self.need(r"<([A-Za-z_$][A-Za-z_$0-9]*)>")[1]
                if name in self.names:
                    raise _Wrong
                self.names.append(name)
            self.disjunction()
            self.need(r"\)")
        elif self.take(r"\["):
            self.characters()
        elif name := self.take(r"\\k<([A-Za-z_$][A-Za-z_$0-9]*)>"):
            self.used.add(name[1])
        elif number := self.take(r"\\([1-9][0-9]*)"):
            self.most = max(self.most, int(number[1]))
        elif self.take(r"\\"):
            self.escape(SYNTAX)
        else:
            self.need(r"[^\^$\\.*+?()\[\]{}|]|\.")

    def characters(self) -> None:
        self.take(r"\^")
        while not self.take(r"\]"):
            low = self.one()
            if not self.take(r"-(?!\])"):
                continue
            high = self.one()
            if low is None or high is None or low > high:
                raise _Wrong

    def one(self) -> int | None:
        """The code of a character in a set; None for a class."""
        if self.take(r"\\b"):
            return 8
        if self.take(r"\\"):
            return self.escape(SYNTAX + "-")
        return ord(self.need(r"[^\]]")[0])

    def escape(self, syntax: str) -> int | None:
        if self.take(r"[dDsSwW]|[pP]\{[A-Za-z_]+(?:=[A-Za-z_]+)?\}"):
            return None
        if found := self.take(r"[tnvfr]"):
            return CONTROLS[found[0]]
        if found := self.take(r"c([A-Za-z])"):
            return ord(found[1]) % 32
        if self.take(r"0(?![0-9])"):
            return 0
        if found := self.take(r"x([0-9A-Fa-f]{2})"):
            return int(found[1], 16)
        if found := self.take(r"u([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})"):
            high, low = int(found[1], 16), int(found[2], 16)
            return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        if found := self.take(r"u([0-9A-Fa-f]{4})"):
            return int(found[1], 16)
        if found := self.take(r"u\{([0-9A-Fa-f]+)\}"):
            if int(found[1], 16) > 0x10FFFF:
                raise _Wrong
            return int(found[1], 16)
        found = self.need(r".")
        if found[0] not in syntax:
            raise _Wrong
        return ord(found[0])
