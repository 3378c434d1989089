"""Names that are surely different, for counts that undeclared properties have to meet.

Names that were seen cannot be remembered: there is no end of them. So they are put into classes
that have none in common, and properties of different classes are counted. Names that can be listed
are a class each, which is exact. Others are told apart by their first characters, which an
automaton knows at once; by others, or the length, it would follow all classes side by side.

What is lost: objects with enough properties, but too few first characters among them.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable
from itertools import product

from sestina.lang.expr import seq
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import Alt, And, ByteSet, Concat, Expr, Literal, Repeat, complement
from sestina.lang.json_schema.key_classes import leading
from sestina.lang.json_schema.string import QUOTE, canonical_length, spelled

MAX_TOLD_APART = 16
"""Properties to count by their first characters."""

_MAX_LISTED = 64


def listed(keys: Expr) -> list[bytes] | None:
    """The names of a language, if they are few and it is plain to see which."""
    found = _texts(keys)
    return None if found is None else sorted(found)


@functools.lru_cache(maxsize=1)
def classes() -> tuple[Expr, ...]:
    """Languages of names, with their quotes, that have no name in common."""
    letters = [((ord(char), ord(char)),) for char in string.ascii_letters + string.digits + "_"]
    others = complement(span for spans in letters for span in spans)
    rest = canonical_length()
    return tuple(seq(QUOTE, spelled(ranges), rest, QUOTE) for ranges in (*letters, others))


def most_classes(names: Iterable[Expr]) -> int:
    """No fewer than those of the classes in which there are names of these languages.

    More, where it is not plain how the names begin.
    """
    seen = 0
    for one in names:
        start = leading(one)
        seen |= start[1] if len(start) > 1 else -1
    return min(seen.bit_count() if seen >= 0 else MAX_TOLD_APART, MAX_TOLD_APART)


def _texts(expr: Expr) -> set[bytes] | None:
    """At most _MAX_LISTED texts; None if there are more or that is not plain."""
    match expr:
        case Literal(data):
            return {data}
        case ByteSet(mask):
            return _few({bytes([byte]) for byte in range(256) if mask >> byte & 1})
        case Alt(items):
            parts = [_texts(item) for item in items]
            known = [part for part in parts if part is not None]
            return _few(set().union(*known)) if len(known) == len(parts) else None
        case Concat(items):
            return _products(_texts(item) for item in items)
        case Repeat(item, lo, hi) if hi is not None and hi <= _MAX_LISTED:
            one = _texts(item)
            counts = [_products([one] * count) for count in range(lo, hi + 1)]
            known = [part for part in counts if part is not None]
            return _few(set().union(*known)) if len(known) == len(counts) else None
        case And(items):
            for item in items:
                found = _texts(item)
                if found is not None:
                    return {text for text in found if all(matches(one, text) for one in items)}
    return None


def _products(parts: Iterable[set[bytes] | None]) -> set[bytes] | None:
    found: set[bytes] | None = {b""}
    for part in parts:
        if part is None or found is None:
            return None
        found = _few({a + b for a, b in product(found, part)})
    return found


def _few(texts: set[bytes]) -> set[bytes] | None:
    return texts if len(texts) <= _MAX_LISTED else None
