r"""Regular expressions as a format: those of ECMA-262, section 22.2.1, with the flag `u`.

Brackets match, so this is a recursive grammar, of one rule. It is narrower than the standard where
the whole pattern decides, or the edition: it has no groups with names or flags, no references to
groups, and no half of a surrogate pair. Each character is spelled as JSON does: `\d` as `\\d`.

`regular` is a part of it that may stand where recursion would be too costly or has no place.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import NOTHING, Expr, Rule, complement, normalise
from sestina.lang.json_schema.formats.ecma_sets import SYNTAX, hexadecimal, numbered, ranges
from sestina.lang.json_schema.formats.in_order import Span, among, in_order, text
from sestina.lang.json_schema.string import spelled
from sestina.lang.regex.properties import CATEGORIES

PATTERN = Rule("format regex")

MAX_COUNT_DIGITS = 4
MAX_NESTING = 3  # of groups in the regular part

_DIGITS = "0123456789"

# Of the properties of ECMA-262, tables 67 to 70, all categories, but only what is common else.
_BINARY = (
    *("Any", "ASCII", "ASCII_Hex_Digit", "Alphabetic", "Assigned", "Emoji"),
    *("Emoji_Presentation", "ID_Continue", "ID_Start", "Lowercase", "Uppercase", "White_Space"),
)
_SCRIPTS = (
    *("Arabic", "Cyrillic", "Devanagari", "Greek", "Han", "Hangul", "Hebrew"),
    *("Hiragana", "Katakana", "Latin", "Thai"),
)


def recursive() -> Expr:
    """What PATTERN stands for."""
    return _terms(PATTERN, _set(*ranges()), _quantifier(MAX_COUNT_DIGITS))


def regular() -> Expr:
    """Groups are not nested deeper than MAX_NESTING, ranges are of letters or of digits alone, and
    counts have one digit."""
    found: Expr = NOTHING
    characters, quantifier = _set(*_plain_ranges()), _quantifier(1)
    for _ in range(MAX_NESTING + 1):
        found = _terms(found, characters, quantifier)
    return found


def _terms(inner: Expr, characters: Expr, quantifier: Expr) -> Expr:
    """Terms and bars, in any order and number; `inner` is what groups hold."""
    closing = text(")")
    group = seq(either([text("("), text("(?:")]), inner, closing)
    look = seq(either(map(text, ("(?=", "(?!", "(?<=", "(?<!"))), inner, closing)
    edges = map(text, ("^", "$", "\\b", "\\B", "|"))
    plain = _all_but(SYNTAX.replace("/", "") + _DIGITS)
    atoms = either([plain, text("."), _escape(), characters, group])
    nul = seq(text("\\0"), quantifier)
    others = either([*edges, look, seq(atoms, maybe(quantifier)), nul])
    return _amid_nul(seq(among(_DIGITS), maybe(quantifier)), others)


def _amid_nul(digits: Expr, others: Expr) -> Expr:
    r"""Any number of these and of `\0`, behind which no digit may stand."""
    nul = text("\\0")
    item = either([digits, others, seq(times(nul, 1, None), others)])
    return seq(times(item, 0, None), times(nul, 0, None))


def _quantifier(max_digits: int) -> Expr:
    """Counts have no zeros before them, and the first of two is not the greater one."""
    places: list[Sequence[Span]] = [[(0, 9)]]
    places += ([(1, 9), *[(0, 9)] * more] for more in range(1, max_digits))
    counts = [_decimal(one) for one in places]
    comma, bounds = text(","), [seq(either(counts), maybe(text(",")))]
    for i, one in enumerate(places):
        bounds += in_order(_decimal, _decimal, one, comma)
        bounds.append(seq(counts[i], comma, either(counts[i + 1 :])))
    braces = seq(text("{"), either(bounds), text("}"))
    return seq(either([among("*+?"), braces]), maybe(text("?")))


def _decimal(places: Sequence[Span]) -> Expr:
    return seq(*(among(_DIGITS[low : high + 1]) for low, high in places))


def _escape(more: str = "") -> Expr:
    r"""A backslash and what may follow it but `0`; `more` are letters that may."""
    named = among(f"{SYNTAX}dDsSwWfnrtv{more}")
    control = seq(text("c"), spelled(((0x41, 0x5A), (0x61, 0x7A))))
    byte = seq(text("x"), hexadecimal([(0, 15), (0, 15)]))
    return either([seq(text("\\"), either([named, control, byte, _property()])), numbered()])


def _property() -> Expr:
    categories = sorted({*CATEGORIES, *CATEGORIES.values()})
    names = [*_BINARY, *categories]
    names += [f"{key}={name}" for key in ("General_Category", "gc") for name in categories]
    keys = ("Script", "sc", "Script_Extensions", "scx")
    names += [f"{key}={name}" for key in keys for name in _SCRIPTS]
    return seq(among("pP"), text("{"), either(map(text, names)), text("}"))


def _plain_ranges() -> tuple[Expr, Expr]:
    found = []
    for chars in (_DIGITS, string.ascii_lowercase, string.ascii_uppercase):
        pairs = (seq(text(f"{char}-"), among(chars[i:])) for i, char in enumerate(chars))
        found.append(either(pairs))
    return found[0], either(found[1:])


def _set(from_digit: Expr, from_others: Expr) -> Expr:
    """The ranges given and any characters; a dash stands for itself at the beginning, at the end,
    and behind a range."""
    dash = maybe(text("-"))
    digits = either([among(_DIGITS), seq(from_digit, dash)])
    others = either([_all_but("\\]-" + _DIGITS), _escape("b-"), seq(from_others, dash)])
    return seq(text("["), maybe(text("^")), dash, _amid_nul(digits, others), dash, text("]"))


def _all_but(chars: str) -> Expr:
    return spelled(complement(normalise((ord(char), ord(char)) for char in chars)))
