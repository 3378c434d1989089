"""Reading one character, escape or class of a regular expression."""

from __future__ import annotations

from typing import NoReturn

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint
from sestina.lang.regex_classes import CONTROLS, is_class_letter, meaning

HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class Cursor:
    """A place in a pattern, and the errors that point at one. `ecma` selects the dialect.

    `widest` makes a class letter mean what any engine counts as one, not what all of them do.
    """

    def __init__(self, pattern: str, *, ecma: bool, widest: bool = False) -> None:
        self.pattern = pattern
        self.ecma = ecma
        self.widest = widest
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


def read_class(cursor: Cursor, start: int) -> ir.Ranges:
    """The set whose `[` is at `start`, up to and with its `]`."""
    inverted = cursor.peek() == "^"
    cursor.at += inverted
    first = cursor.at
    found: list[tuple[int, int]] = []
    # A `]` that comes first stands for itself in Python and closes the set in ECMA-262.
    while cursor.peek() != "]" or (cursor.at == first and not cursor.ecma):
        ranges, letter = _class_item(cursor, start)
        if letter and _is_range(cursor):
            cursor.fail("bad character range", cursor.at)
        if _is_range(cursor):
            ranges = _range_from(cursor, ranges[0][0], start)
        # In [^\d] the engines' widest reading of \d must stay out, see `regex_classes`.
        found += meaning(letter, widest=not cursor.widest) if letter and inverted else ranges
    cursor.at += 1
    return ir.complement(found) if inverted else ir.normalise(found)


def read_escape(cursor: Cursor, start: int) -> ir.Ranges:
    """The characters of the escape whose backslash is at `start`."""
    letter = cursor.peek()
    cursor.at += 1
    if is_class_letter(letter):
        return meaning(letter, widest=cursor.widest)
    code = CONTROLS[letter] if letter in CONTROLS else _code(cursor, letter, start)
    return ((code, code),)


def _class_item(cursor: Cursor, class_start: int) -> tuple[ir.Ranges, str]:
    """One character or escape inside a set; with the letter if it is `\\d` or its like."""
    start = cursor.at
    char = cursor.peek()
    if not char:
        cursor.fail("unterminated character set", class_start)
    cursor.at += 1
    if char != "\\":
        return ((ord(char), ord(char)),), ""
    letter = cursor.peek()
    if letter == "b":
        cursor.at += 1
        return ((0x08, 0x08),), ""
    return read_escape(cursor, start), letter if is_class_letter(letter) else ""


def _is_range(cursor: Cursor) -> bool:
    return cursor.peek() == "-" and cursor.pattern[cursor.at + 1 : cursor.at + 2] not in ("]", "")


def _range_from(cursor: Cursor, low: int, class_start: int) -> ir.Ranges:
    dash = cursor.at
    cursor.at += 1
    ranges, letter = _class_item(cursor, class_start)
    if letter or ranges[0][0] < low:
        cursor.fail("bad character range", dash)
    return ((low, ranges[0][0]),)


def _code(cursor: Cursor, letter: str, start: int) -> int:
    """The code point of an escape that stands for one character."""
    digits = {"x": 2, "u": 4} if cursor.ecma else {"x": 2, "u": 4, "U": 8}
    if letter == "u" and cursor.ecma:
        return _ecma_unicode(cursor, start)
    if letter in digits:
        return _hex(cursor, digits[letter], start)
    if letter == "a" and not cursor.ecma:
        return 0x07
    if letter == "c" and cursor.ecma and cursor.peek().isascii() and cursor.peek().isalpha():
        cursor.at += 1
        return ord(cursor.pattern[cursor.at - 1]) % 32
    if letter in ("p", "P", "N"):
        cursor.refuse("property", "Unicode properties and names", start)
    if letter.isdigit() and (letter != "0" or cursor.peek().isdigit()):
        cursor.refuse("octal escape", "octal escapes", start)
    if letter == "0":
        return 0
    if not letter or (letter.isascii() and letter.isalpha()):
        cursor.fail(f"bad escape \\{letter}" if letter else "a lone backslash", start)
    return ord(letter)


def _ecma_unicode(cursor: Cursor, start: int) -> int:
    """`\\u{h...}`, `\\uhhhh`, or a surrogate pair of two `\\uhhhh` (one character)."""
    if cursor.peek() == "{":
        end = cursor.pattern.find("}", cursor.at)
        digits = cursor.pattern[cursor.at + 1 : max(end, cursor.at + 1)]
        cursor.at = end + 1
        return _code_point(cursor, digits, start)
    code = _hex(cursor, 4, start)
    if 0xD800 <= code < 0xDC00 and cursor.pattern.startswith("\\u", cursor.at):
        cursor.at += 2
        low = _hex(cursor, 4, start)
        if not 0xDC00 <= low < 0xE000:
            cursor.fail("a lone surrogate", start)
        return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
    return code


def _hex(cursor: Cursor, num_digits: int, start: int) -> int:
    digits = cursor.pattern[cursor.at : cursor.at + num_digits]
    if len(digits) < num_digits:
        cursor.fail("incomplete escape", start)
    cursor.at += num_digits
    return _code_point(cursor, digits, start)


def _code_point(cursor: Cursor, digits: str, start: int) -> int:
    if not digits or not HEX_DIGITS.issuperset(digits):
        cursor.fail("incomplete escape", start)
    code = int(digits, 16) if len(digits) <= 8 else ir.MAX_CODE_POINT + 1
    if code > ir.MAX_CODE_POINT:
        cursor.fail("an escape beyond U+10FFFF", start)
    return code
