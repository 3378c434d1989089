"""JSON text in and out without loss: duplicate keys refused, decimals kept exact, order kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint

MAX_DEPTH = 128
MAX_TEXT_LEN = 4 << 20

_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")


def loads(text: str, *, distinct_keys: bool = True) -> Any:
    """Parse JSON text; numbers with a fraction or exponent become Decimal.

    Raises InvalidConstraint for malformed text, a key that occurs twice in one object (unless
    `distinct_keys` is false: the last one counts, as for every reader), NaN or Infinity, or a lone
    surrogate; ConstraintLimitExceeded beyond MAX_DEPTH or MAX_TEXT_LEN.

    >>> loads('{"a": 0.10}')
    {'a': Decimal('0.10')}
    """
    if len(text) > MAX_TEXT_LEN:
        raise ConstraintLimitExceeded(f"{len(text)} characters of JSON; at most {MAX_TEXT_LEN}")
    try:
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_refuse,
            object_pairs_hook=_distinct if distinct_keys else dict,
        )
    except json.JSONDecodeError as error:
        raise InvalidConstraint(
            f"not JSON: {error.msg}", source=text, position=error.pos
        ) from error
    except RecursionError:
        raise ConstraintLimitExceeded(f"JSON nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # an integer beyond Python's own limit of digits
        raise InvalidConstraint(f"not usable JSON: {error}") from error
    # What is left to check shows in the text, mostly: so the value is rarely walked.
    if (not text.isascii() or "\\u" in text) and _SURROGATE.search(text):
        check(value)
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(value)
    return value


def dumps(value: Any) -> str:
    """Canonical text: no whitespace, keys in order, non-ASCII characters raw.

    Raises InvalidConstraint for what JSON cannot say: NaN, keys that are not strings, other types.
    """
    if not _has_exact_form(value):
        check(value)
        return "".join(_pieces(value))
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError):  # the same in Python says what is wrong
        check(value)
        return "".join(_pieces(value))
    return text


def _has_exact_form(value: Any) -> bool:
    """Whether the json module's own encoder writes the keys of a value as they are."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            parts: Iterable[Any] = container
            if isinstance(container, dict):
                if not _STRINGS.issuperset(map(type, container)):
                    return False
                parts = container.values()
            below += [part for part in parts if isinstance(part, _CONTAINERS)]
        if not below:
            return True
        level = below
    return False


_CONTAINERS = (dict, list, tuple)
_STRINGS = frozenset({str})


def scalar(value: Any) -> str:
    """The canonical spelling of a string, number, boolean or null."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, true is not 1, key order does not matter."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def check(value: Any) -> None:
    """Raise InvalidConstraint or ConstraintLimitExceeded unless `value` has a JSON form."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ConstraintLimitExceeded(f"JSON nested deeper than {MAX_DEPTH}")
        if isinstance(item, dict):
            pending += [(part, depth + 1) for pair in item.items() for part in pair]
            if any(not isinstance(key, str) for key in item):
                raise InvalidConstraint("a key of a JSON object is not a string")
        elif isinstance(item, (list, tuple)):
            pending += [(part, depth + 1) for part in item]
        elif isinstance(item, str):
            _check_scalar_values(item)
        elif isinstance(item, (float, Decimal)):
            if not Decimal(item).is_finite():
                raise InvalidConstraint(f"JSON has no number {item}")
        elif item is not None and not isinstance(item, (bool, int)):
            raise InvalidConstraint(f"JSON has no value of type {type(item).__name__}")


def _check_depth(value: Any) -> None:
    """The part of `check` that is about depth, for what was parsed."""
    parts = [value]
    for _ in range(MAX_DEPTH):
        parts = [
            part
            for whole in parts
            if isinstance(whole, (dict, list))
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not parts:
            return
    raise ConstraintLimitExceeded(f"JSON nested deeper than {MAX_DEPTH}")


def _pieces(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield ("," if i else "") + scalar(key) + ":"
            yield from _pieces(item)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for i, item in enumerate(value):
            if i:
                yield ","
            yield from _pieces(item)
        yield "]"
    else:
        yield scalar(value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidConstraint(f"the key {key!r} occurs twice in one object")
            seen.add(key)
    return result


def _refuse(name: str) -> Any:
    raise InvalidConstraint(f"JSON has no number {name}")


def _check_scalar_values(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidConstraint(f"the string {text!r} holds a lone surrogate") from None
