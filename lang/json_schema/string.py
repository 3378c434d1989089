"""JSON strings as languages (RFC 8259 section 7).

Two spellings. A *free* string may use every escape JSON has; it says nothing about its characters,
so nothing can be smuggled past it. Where the characters matter (pattern, format, enum, property
names) each is written in exactly one way, that of `json.dumps(ensure_ascii=False)`: raw where JSON
allows it, else the short escape, else `\\u00xx`.
"""

from __future__ import annotations

import functools
import json

from sestina.lang.expr import char, either, seq, times
from sestina.lang.grammar_ir import (
    ANY_CHAR,
    And,
    ByteSet,
    Expr,
    Literal,
    Not,
    Ranges,
    byte_range,
    complement,
    literal,
)

QUOTE = Literal(b'"')

# Code points that have no raw form inside a JSON string.
_ESCAPED: Ranges = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C))


@functools.lru_cache(maxsize=1024)
def spelled(ranges: Ranges) -> Expr:
    """One character of a set, in its canonical spelling inside a JSON string.

    >>> spelled(((0x0A, 0x0A),))
    Literal(data=b'\\\\n')
    """
    raw = complement(complement(ranges) + _ESCAPED)
    escaped = [
        literal(json.dumps(chr(code))[1:-1])
        for first, last in _ESCAPED
        for lo, hi in ranges
        for code in range(max(first, lo), min(last, hi) + 1)
    ]
    return either([*([char(raw)] if raw else []), *escaped])


def quoted(text: str) -> Literal:
    """Exactly this string, canonically spelled, with its quotes."""
    return _quoted(text) if len(text) <= _MAX_NAME_LEN else _quoted.__wrapped__(text)


# Names come again and again, in one schema and from schema to schema; long texts do not.
_MAX_NAME_LEN = 100


@functools.lru_cache(maxsize=4096)
def _quoted(text: str) -> Literal:
    return literal(json.dumps(text, ensure_ascii=False))


def free(min_len: int = 0, max_len: int | None = None) -> Expr:
    """Any string of min_len to max_len characters (code points), in any spelling JSON allows."""
    return seq(QUOTE, times(_free_char(), min_len, max_len), QUOTE)


def canonical_length(min_len: int = 0, max_len: int | None = None) -> Expr:
    """The inside of a canonically spelled string of min_len to max_len characters."""
    return times(spelled(ANY_CHAR), min_len, max_len)


def any_key_except(names: frozenset[str]) -> Expr:
    """Any property name, canonically spelled, that is none of `names`."""
    if not names:
        return _any_key()
    return And((_any_key(), Not(either(map(quoted, sorted(names))))))


@functools.lru_cache(maxsize=1)
def _any_key() -> Expr:
    return seq(QUOTE, canonical_length(), QUOTE)


@functools.lru_cache(maxsize=1)
def _free_char() -> Expr:
    """A raw character, or an escape; never half a surrogate pair, which is no character."""
    hex_digit = _one_of(b"0123456789abcdefABCDEF")
    basic = either(
        [
            seq(_one_of(b"0123456789abcefABCEF"), hex_digit, hex_digit, hex_digit),
            seq(_one_of(b"dD"), byte_range(0x30, 0x37), hex_digit, hex_digit),
        ]
    )
    pair = seq(
        Literal(b"\\u"),
        _one_of(b"dD"),
        _one_of(b"89abAB"),
        hex_digit,
        hex_digit,
        Literal(b"\\u"),
        _one_of(b"dD"),
        _one_of(b"cdefCDEF"),
        hex_digit,
        hex_digit,
    )
    short = seq(Literal(b"\\"), _one_of(b'"\\/bfnrt'))
    return either([char(complement(_ESCAPED)), short, seq(Literal(b"\\u"), basic), pair])


def _one_of(options: bytes) -> ByteSet:
    mask = 0
    for byte in options:
        mask |= 1 << byte
    return ByteSet(mask)
