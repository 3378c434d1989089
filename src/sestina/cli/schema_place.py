"""Which sub-schemas of a JSON Schema apply at a place in an instance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from sestina.cli.json_place import Place

MAX_CANDIDATES = 200

_KEYWORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "value": (
            *("type", "enum", "const", "format", "pattern", "minLength", "maxLength"),
            *("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        ),
        "name": (
            *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties"),
            *("propertyNames", "minProperties", "maxProperties"),
        ),
        "member": (
            *("required", "minProperties", "maxProperties", "additionalProperties"),
            *("unevaluatedProperties", "dependentRequired", "dependencies", "dependentSchemas"),
        ),
        "item": (
            *("minItems", "maxItems", "items", "prefixItems", "additionalItems", "contains"),
            *("minContains", "maxContains", "uniqueItems", "unevaluatedItems"),
        ),
    }
)
"""What could refuse a text, by the part of a Place."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sub-schema that applies, or may apply (under `anyOf`, `if` and the like)."""

    pointer: str
    schema: Any
    is_certain: bool

    def keywords(self, place: Place) -> dict[str, Any]:
        """What it says that could refuse a text there."""
        if isinstance(self.schema, bool):
            return {} if self.schema else {"": False}
        wanted = _KEYWORDS.get(place.part, ())
        return {key: self.schema[key] for key in wanted if key in self.schema}


Matches = Callable[[str, str], bool | None]
"""Whether a pattern matches a property name; None where that cannot be told."""


def candidates(
    document: Any,
    path: Sequence[str | int],
    matches: Matches,
) -> list[Candidate]:
    """The sub-schemas for the instance location `path`, in the order of the schema.

    References within the document are followed (JSON pointers and `$anchor`); others end the way
    there. matches: for `patternProperties`. At most MAX_CANDIDATES.
    """
    found = _in_place([Candidate("", document, True)], document)
    for step in path:
        below = [inner for each in found for inner in _below(each, step, matches)]
        found = _in_place(below, document)
    return found


def reasons(found: Sequence[Candidate], place: Place, refused: str, name: str | None) -> list[str]:
    """What is plain from the schemas that certainly apply.

    refused: the character. name: the member name that it begins, or is in, or is the comma before;
    None if there is no whole one.
    """
    certain = [each for each in found if each.is_certain]
    if name is not None and (place.part == "name" or refused == ","):
        if name in place.names:
            return [f"the object has a member {json.dumps(name)} already"]
        return list(_about_name(certain, place.names, name))
    if place.part == "member" and refused == "}":
        return [
            f"{each.pointer}/required: {json.dumps(key)} is missing"
            for each in certain
            for key in _strings(_object(each.schema).get("required"))
            if key not in place.names
        ]
    return []


def _about_name(found: Sequence[Candidate], names: Sequence[str], name: str) -> Iterator[str]:
    told = json.dumps(name)
    for each in found:
        schema = _object(each.schema)
        declared = list(_object(schema.get("properties")))
        required = _strings(schema.get("required"))
        if name in declared:
            at = declared.index(name)
            missing = [n for n in declared[:at] if n in required and n not in names]
            passed = [n for n in names if n in declared[at + 1 :] or n not in declared]
            if missing:
                yield f"{each.pointer}/required: {json.dumps(missing[0])} comes before {told}"
            elif passed:
                place = f"{each.pointer}/properties"
                yield f"{place}: {told} is declared, so it comes before {json.dumps(passed[0])}"
        elif schema.get("additionalProperties") is False and not schema.get("patternProperties"):
            yield f"{each.pointer}/additionalProperties: {told} is not declared"


def _in_place(found: Sequence[Candidate], document: Any) -> list[Candidate]:
    """These and what they apply to the same value: references, `allOf`, `anyOf`, ..."""
    known: dict[str, Candidate] = {}
    pending = list(reversed(found))
    while pending and len(known) < MAX_CANDIDATES:
        each = pending.pop()
        before = known.get(each.pointer)
        if before is not None and (before.is_certain or not each.is_certain):
            continue
        known[each.pointer] = each
        pending += reversed(list(_applied(each, document)))
    return list(known.values())


def _applied(each: Candidate, document: Any) -> Iterator[Candidate]:
    schema = each.schema
    if not isinstance(schema, dict):
        return
    for keyword in ("$ref", "$dynamicRef"):
        target = _resolve(document, schema.get(keyword))
        if target is not None:
            yield Candidate(*target, each.is_certain)
    for keyword in ("allOf", "anyOf", "oneOf"):
        is_certain = each.is_certain and keyword == "allOf"
        for i, branch in enumerate(_list(schema.get(keyword))):
            yield Candidate(_child(each.pointer, keyword, i), branch, is_certain)
    for keyword in ("if", "then", "else", "not"):
        if keyword in schema:
            yield Candidate(_child(each.pointer, keyword), schema[keyword], False)
    for name, branch in _object(schema.get("dependentSchemas")).items():
        yield Candidate(_child(each.pointer, "dependentSchemas", name), branch, False)


def _below(each: Candidate, step: str | int, matches: Matches) -> Iterator[Candidate]:
    """What a schema applies to a member or an item of the value."""
    schema = each.schema
    if not isinstance(schema, dict):
        return
    if isinstance(step, int):
        yield from _item(each, schema, step)
        return
    properties = _object(schema.get("properties"))
    if step in properties:
        yield Candidate(_child(each.pointer, "properties", step), properties[step], each.is_certain)
    patterns = _object(schema.get("patternProperties"))
    matched = {pattern: matches(pattern, step) for pattern in patterns}
    for pattern, verdict in matched.items():
        if verdict is not False:
            pointer = _child(each.pointer, "patternProperties", pattern)
            is_certain = each.is_certain and verdict is True
            yield Candidate(pointer, patterns[pattern], is_certain)
    if step in properties or True in matched.values():
        return
    # Whether a member is unevaluated depends on other schemas, too.
    is_certain = each.is_certain and None not in matched.values()
    for keyword, certain in (
        ("additionalProperties", is_certain),
        ("unevaluatedProperties", False),
    ):
        if keyword in schema:
            yield Candidate(_child(each.pointer, keyword), schema[keyword], certain)


def _item(each: Candidate, schema: dict[str, Any], index: int) -> Iterator[Candidate]:
    keyword = "items" if isinstance(schema.get("items"), list) else "prefixItems"
    first = _list(schema.get(keyword))
    rest = "additionalItems" if keyword == "items" else "items"
    if index < len(first):
        yield Candidate(_child(each.pointer, keyword, index), first[index], each.is_certain)
    elif rest in schema:
        yield Candidate(_child(each.pointer, rest), schema[rest], each.is_certain)
    for keyword in ("contains", "unevaluatedItems"):
        if keyword in schema:
            yield Candidate(_child(each.pointer, keyword), schema[keyword], False)


def _resolve(document: Any, reference: object) -> tuple[str, Any] | None:
    """The pointer and the schema of a reference within the document, None for any other."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    fragment = unquote(reference[1:])
    if fragment and not fragment.startswith("/"):
        return _anchored(document, fragment)
    target = document
    for token in fragment.split("/")[1:]:
        step = token.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
            target = target[int(step)]
        else:
            return None
    return fragment, target


def _anchored(document: Any, name: str) -> tuple[str, Any] | None:
    pending = [("", document)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, dict):
            if name in (value.get("$anchor"), value.get("$dynamicAnchor")):
                return pointer, value
            pending += [(_child(pointer, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(_child(pointer, i), inner) for i, inner in enumerate(value)]
    return None


def _child(pointer: str, *steps: str | int) -> str:
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "/".join([pointer, *escaped])


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    return [item for item in _list(value) if isinstance(item, str)]
