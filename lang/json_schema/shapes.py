"""Whether the keywords of a schema have values of the right shape, before anything reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sestina.lang.errors import InvalidConstraint
from sestina.lang.json_schema.keywords import count, types_of
from sestina.lang.json_schema.linking import Reference


def check_shape(schema: Any, pointer: str) -> None:
    """InvalidConstraint unless `schema` is a boolean or an object whose keywords are well-formed.

    Sub-schemas are not entered: each is checked when it is reached.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise InvalidConstraint("a schema is an object or a boolean", pointer=pointer)
    for keyword, value in schema.items():
        shape = _SHAPES.get(keyword)
        if shape is not None and not shape[0](value):
            raise InvalidConstraint(
                f"{keyword} must be {shape[1]}, got {value!r:.60}", pointer=pointer, keyword=keyword
            )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


def _is_accepted_by(read: Callable[[Any], object]) -> Callable[[Any], bool]:
    def is_accepted(value: Any) -> bool:
        try:
            read(value)
        except InvalidConstraint:
            return False
        return True

    return is_accepted


_Shape = tuple[Callable[[Any], bool], str]

_COUNT: _Shape = (_is_accepted_by(count), "a non-negative integer")
_NUMBER: _Shape = (_is_number, "a number")
_OBJECT: _Shape = (_is_object, "an object")
_SCHEMA: _Shape = (_is_schema, "a schema")
# Several that have met in one place are a tuple, which JSON has not.
_SOME_SCHEMA: _Shape = (lambda v: _is_schema(v) or isinstance(v, tuple), "a schema")
_SOME_SCHEMAS: _Shape = (lambda v: _are_schemas(v) and bool(v), "a non-empty list of schemas")
_TEXTS: _Shape = (lambda v: _is_text(v) or isinstance(v, tuple), "a string")

_SHAPES: Mapping[str, _Shape] = MappingProxyType(
    {
        "type": (
            _is_accepted_by(lambda value: types_of({"type": value})),
            "integer, number, string, boolean, null, array, object, or a list of these",
        ),
        "enum": (_is_list, "a list"),
        "required": (_are_names, "a list of names"),
        "items": (lambda v: _is_schema(v) or _are_schemas(v), "a schema"),
        "prefixItems": (_are_schemas, "a list of schemas"),
        "$ref": (lambda v: isinstance(v, (str, Reference)), "a string"),
        **dict.fromkeys(("pattern", "format"), _TEXTS),
        **dict.fromkeys(("not", "contains"), _SOME_SCHEMA),
        **dict.fromkeys(("if", "then", "else", "propertyNames"), _SCHEMA),
        **dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), _SCHEMA),
        # As strings they have become a `$ref` (`linking`).
        **dict.fromkeys(("$dynamicRef", "$recursiveRef"), (lambda _: False, "a string")),
        "multipleOf": (lambda v: _is_number(v) and v > 0, "a number above 0"),
        "uniqueItems": (lambda v: isinstance(v, bool), "true or false"),
        "dependentRequired": (
            lambda v: _is_object(v) and all(map(_are_names, v.values())),
            "an object of lists of names",
        ),
        "dependentSchemas": (
            lambda v: _is_object(v) and all(map(_is_schema, v.values())),
            "an object of schemas",
        ),
        "dependencies": (
            lambda v: _is_object(v) and all(_is_schema(d) or _are_names(d) for d in v.values()),
            "an object of schemas and lists of names",
        ),
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), _SOME_SCHEMAS),
        "additionalItems": _SCHEMA,
        "additionalProperties": _SOME_SCHEMA,
        **dict.fromkeys(("properties", "patternProperties"), _OBJECT),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
        **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
        **dict.fromkeys(("minContains", "maxContains"), _COUNT),
    }
)
