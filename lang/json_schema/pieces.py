"""The alternatives of a negated schema, arranged such that several negations do not multiply."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_TAGS = 2


def flat(pieces: Iterable[Any]) -> list[Any]:
    """The pieces, those that are alternatives themselves one by one."""
    found: list[Any] = []
    for piece in pieces:
        is_alternative = isinstance(piece, dict) and piece.keys() == {"anyOf"}
        found += piece["anyOf"] if is_alternative else [piece]
    return found


def tags_first(pieces: list[Any]) -> list[Any]:
    """The pieces such that none of the others holds where a property is none of its constants.

    As often as not it is a tag, and then tells which of several negations is in question: with it
    known all others hold, so that they do not multiply.
    """
    tags: list[Any] = []
    others: list[Any] = []
    known: dict[str, Any] = {}
    for piece in pieces:
        tag = _tag(piece)
        if tag is None:
            others.append(piece)
        elif len(known) < MAX_TAGS:
            tags.append({"allOf": [{"properties": dict(known)}, piece]} if known else piece)
            known[tag[0]] = tag[1]
        else:
            others.append(piece)
    if not known or not others:
        return pieces
    return [*tags, *({"allOf": [{"properties": known}, piece]} for piece in others)]


def _tag(piece: Any) -> tuple[str, Any] | None:
    """The name and schema of the property that a piece says is not one of some strings."""
    if not isinstance(piece, dict) or piece.keys() != {"type", "required", "properties"}:
        return None
    ((name, value),) = piece["properties"].items()
    negated = value.get("not") if isinstance(value, dict) and len(value) == 1 else None
    is_tag = isinstance(negated, dict) and {"const", "enum", "pattern"} & negated.keys()
    return (name, negated) if is_tag else None


def plainest(negation: Any) -> Any:
    """Of a negation that objects meet without some property: that, and values of other types.

    A part of it that tells objects apart as well, and makes few alternatives with others.
    """
    pieces = negation.get("anyOf", ()) if isinstance(negation, dict) and len(negation) == 1 else ()
    plain = [piece for piece in pieces if _is_plain(piece)]
    return {"anyOf": plain} if any("properties" in piece for piece in plain) else negation


def _is_plain(piece: Any) -> bool:
    """Whether this says no more than that values have another type, or lack some properties."""
    if not isinstance(piece, dict) or piece.keys() - {"type", "properties"}:
        return False
    return all(value is False for value in piece.get("properties", {}).values())
