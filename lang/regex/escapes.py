"""Reading one escape or set of a regular expression."""

from __future__ import annotations

import functools
import re
import unicodedata
from types import MappingProxyType

from sestina.lang.errors import ConstraintError
from sestina.lang.grammar_ir import MAX_CODE_POINT
from sestina.lang.regex.casing import fold_for_all
from sestina.lang.regex.classes import (
    CharSet,
    exactly,
    inverse,
    is_class_letter,
    meaning,
    union,
)
from sestina.lang.regex.nodes import Char, char_of
from sestina.lang.regex.properties import of_property
from sestina.lang.regex.source import Cursor, Flags

HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
OCTAL_DIGITS = frozenset("01234567")
CONTROLS = MappingProxyType({"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B})

# Where a set probably ends, to look it up by its text; `_read_set` has the last word.
_SET = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)


def read_set(cursor: Cursor, start: int) -> Char:
    """The set whose `[` is at `start`, up to and with its `]`; remembered by its text."""
    found = _SET.match(cursor.pattern, start)
    if found is not None:
        try:
            node, length = _known_set(found[0], cursor.ecma, cursor.flags)
        except ConstraintError:
            pass  # read again in its place, so that the error points there
        else:
            cursor.at = start + length
            return node
    return Char(_read_set(cursor, start))


def read_escape(cursor: Cursor, start: int) -> Char:
    """The characters of the escape whose backslash is at `start`."""
    found = _one(cursor, start)
    return char_of(found, cursor.flags.folding) if isinstance(found, int) else Char(found)


@functools.lru_cache(maxsize=1024)
def _known_set(text: str, ecma: bool, flags: Flags) -> tuple[Char, int]:
    cursor = Cursor(text, ecma=ecma, flags=flags)
    cursor.at = 1
    return Char(_read_set(cursor, 0)), cursor.at


def _read_set(cursor: Cursor, start: int) -> CharSet:
    inverted = cursor.peek() == "^"
    cursor.at += inverted
    first = cursor.at
    codes: list[tuple[int, int]] = []
    classes: list[CharSet] = []
    # A `]` that comes first stands for itself in Python and closes the set in ECMA-262.
    while cursor.peek() != "]" or (cursor.at == first and not cursor.ecma):
        low = _item(cursor, start)
        ends = [low]
        if _is_range(cursor):
            dash = cursor.at
            cursor.at += 1
            ends.append(_item(cursor, start))
            if isinstance(low, int) and isinstance(ends[1], int):
                if ends[1] < low:
                    cursor.fail("bad character range", dash)
                codes.append((low, ends[1]))
                continue
            if not cursor.ecma:
                cursor.fail("bad character range", dash)
            ends.append(0x2D)  # in [\w-.] the dash stands for itself (ECMA-262, annex B)
        for end in ends:
            if isinstance(end, int):
                codes.append((end, end))
            else:
                classes.append(end)
    cursor.at += 1
    folding = cursor.flags.folding
    plain = exactly(codes) if folding is None else fold_for_all(exactly(codes).sure, folding)
    found = union([plain, *classes]) if classes else plain
    return inverse(found) if inverted else found


def _item(cursor: Cursor, set_start: int) -> int | CharSet:
    """One character inside a set, or an escape that stands for several."""
    start = cursor.at
    char = cursor.peek()
    if not char:
        cursor.fail("unterminated character set", set_start)
    cursor.at += 1
    if char != "\\":
        return ord(char)
    if cursor.peek() == "b":
        cursor.at += 1
        return 0x08
    return _one(cursor, start, in_set=True)


def _is_range(cursor: Cursor) -> bool:
    return cursor.peek() == "-" and cursor.pattern[cursor.at + 1 : cursor.at + 2] not in ("]", "")


def _one(cursor: Cursor, start: int, *, in_set: bool = False) -> int | CharSet:
    """What the escape at `start` stands for; the cursor is behind its backslash."""
    letter = cursor.peek()
    cursor.at += 1
    if not letter:
        cursor.fail("a lone backslash", start)
    if is_class_letter(letter):
        return meaning(letter, cursor.flags.is_ascii)
    if letter in CONTROLS:
        return CONTROLS[letter]
    if letter in "pP":
        return _property(cursor, letter, start)
    if letter in "0123456789":
        return _number(cursor, letter, start, in_set=in_set)
    if letter in ("x", "u", "U", "N", "c", "a"):
        return _named(cursor, letter, start)
    if letter.isascii() and letter.isalpha():
        cursor.fail(f"bad escape \\{letter}", start)
    return ord(letter)


def _named(cursor: Cursor, letter: str, start: int) -> int:
    """An escape that names one character."""
    if letter == "x":
        return _hex(cursor, 2, start)
    if letter == "u":
        return _ecma_unicode(cursor, start) if cursor.ecma else _hex(cursor, 4, start)
    if letter == "U" and not cursor.ecma:
        return _hex(cursor, 8, start)
    if letter == "a" and not cursor.ecma:
        return 0x07
    if letter == "N" and not cursor.ecma:
        return _by_name(cursor, start)
    if letter == "c" and cursor.ecma and cursor.peek().isascii() and cursor.peek().isalpha():
        cursor.at += 1
        return ord(cursor.pattern[cursor.at - 1]) % 32
    cursor.fail(f"bad escape \\{letter}", start)


def _number(cursor: Cursor, letter: str, start: int, *, in_set: bool) -> int:
    """`\\0`, or in Python an octal escape: `\\0` and up to two digits, or three from 000 to 377."""
    digits = letter
    while cursor.peek() in OCTAL_DIGITS and len(digits) < 3:
        digits += cursor.peek()
        cursor.at += 1
    if cursor.ecma:
        if digits == "0" and not cursor.peek().isdigit():
            return 0
        cursor.refuse("octal escape", "octal escapes", start)
    if letter not in OCTAL_DIGITS or (letter != "0" and len(digits) < 3 and not in_set):
        cursor.fail("bad octal escape", start)
    if int(digits, 8) > 0o377:
        cursor.fail("an octal escape beyond \\377", start)
    return int(digits, 8)


def _by_name(cursor: Cursor, start: int) -> int:
    """`\\N{NAME}` of a character, by this Python's tables."""
    try:
        char = unicodedata.lookup(_in_braces(cursor, start))
    except KeyError:
        cursor.fail("no character has this name", start)
    if len(char) != 1:
        cursor.fail("this name is a sequence of characters", start)
    return ord(char)


def _property(cursor: Cursor, letter: str, start: int) -> CharSet:
    if cursor.flags.folding is not None:
        cursor.refuse("property", "a Unicode property where case is ignored", start)
    if cursor.peek() == "{":
        name = _in_braces(cursor, start)
    elif cursor.ecma:
        cursor.fail("a property without its braces", start)
    else:
        name = cursor.peek()
        cursor.at += 1
    found = of_property(name)
    if found is None:
        cursor.refuse("property", f"the Unicode property {name!r}", start)
    return found if letter == "p" else inverse(found)


def _in_braces(cursor: Cursor, start: int) -> str:
    end = cursor.pattern.find("}", cursor.at)
    if cursor.peek() != "{" or end < 0:
        cursor.fail("missing {...}", start)
    name = cursor.pattern[cursor.at + 1 : end]
    cursor.at = end + 1
    return name


def _ecma_unicode(cursor: Cursor, start: int) -> int:
    """`\\u{h...}`, `\\uhhhh`, or a surrogate pair of two `\\uhhhh` (one character)."""
    if cursor.peek() == "{":
        return _code_point(cursor, _in_braces(cursor, start), start)
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
    code = int(digits, 16) if len(digits) <= 8 else MAX_CODE_POINT + 1
    if code > MAX_CODE_POINT:
        cursor.fail("an escape beyond U+10FFFF", start)
    return code
