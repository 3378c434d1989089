"""Schemas with every reference tied to what it means where it stands, and to no base URI.

`link` copies a document such that each `$ref` holds a `Reference`: the schemas that come of it can
be merged with any others. `$dynamicRef` becomes one as well. What it names depends on the dynamic
scope, of which only the outermost resource with each dynamic anchor matters (core 2020-12, section
8.2.3.2); that is a finite thing, so a resource is copied once for every scope it is entered in.

Most schemas need none of this: they have no `$id` but at the root, no anchors, and references that
are JSON pointers. `needs_linking` tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.json_schema.dialects import VALIDATION
from sestina.lang.json_schema.resources import (
    MANY,
    NAMED,
    ONE,
    RECURSIVE,
    Place,
    Resource,
    Resources,
    join,
)

MAX_LINKED = 50_000

# Keywords, and references that are no pointers. All begin with a quote, which is searched for fast.
_NEEDS = re.compile(
    r'"(?:\$(?:anchor|dynamicRef|dynamicAnchor|recursiveRef|recursiveAnchor)"'
    r'|\$ref"\s*:\s*"(?!#/|#?")|exclusiveM(?:in|ax)imum"\s*:\s*(?:true|false))'
)
_IDS = re.compile(r'"\$?id"\s*:\s*"')
_SCHEMA = re.compile(r'"\$schema"')

Scope = tuple[tuple[str, str], ...]
"""For each dynamic anchor that was met, the URI of the outermost resource that has it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A `$ref`, as written in a resource that was entered with a dynamic scope."""

    base: Resource
    text: str
    scope: Scope
    is_dynamic: bool


def needs_linking(source: str, document: Any, registry: Mapping[str, str]) -> bool:
    """Whether references depend on anything but the document's JSON pointers.

    `source` is the text of the document. May say yes where it is not so.
    """
    if "\\u" in source or _NEEDS.search(source) is not None:  # that may spell any keyword
        return True
    has_own = isinstance(document, dict) and any(
        isinstance(document.get(k), str) for k in ("$id", "id")
    )
    if len(_IDS.findall(source)) > has_own:
        return True
    declared = document.get("$schema") if isinstance(document, dict) else None
    return isinstance(declared, str) and declared.rstrip("#") in registry


class Linker:
    """The linked schemas of a document and a registry, by schema and dynamic scope."""

    def __init__(self, document: Any, registry: Mapping[str, str]) -> None:
        self.resources = Resources(document, registry)
        self.linked: dict[tuple[int, Scope], Any] = {}
        self.targets: dict[Reference, Place] = {}

    def document(self) -> Any:
        """The document itself, linked."""
        main = self.resources.main
        return self.link(main.root, main, _entered((), main))

    def resolve(self, reference: Reference, at: str) -> Place:
        """What a reference names, linked, and its pointer; see `Resources.locate` for errors."""
        if reference not in self.targets:
            schema, pointer, resource = self.resources.locate(reference.base, reference.text, at)
            if reference.is_dynamic:
                name = join("", reference.text).partition("#")[2] or RECURSIVE
                if name in resource.dynamic and resource.dynamic[name][0] is schema:
                    outermost = dict(reference.scope).get(name)
                    if outermost is not None:
                        resource = self.resources.by_uri[outermost]
                        schema, pointer = resource.dynamic[name]
            scope = _entered(reference.scope, resource)
            self.targets[reference] = self.link(schema, resource, scope), pointer
        return self.targets[reference]

    def link(self, schema: Any, owner: Resource, scope: Scope) -> Any:
        """A copy of a schema in which references are tied. Recursion as deep as JSON may be."""
        if not isinstance(schema, dict):
            return schema
        inside = self.resources.owners.get(id(schema), owner)
        if inside is not owner:
            owner, scope = inside, _entered(scope, inside)
        key = (id(schema), scope)
        if key not in self.linked:
            if len(self.linked) >= MAX_LINKED:
                raise ConstraintLimitExceeded(
                    f"more than {MAX_LINKED} schemas, counted for every dynamic scope", pointer=""
                )
            self.linked[key] = self.copy(schema, owner, scope)
        return self.linked[key]

    def copy(self, schema: Mapping[str, Any], owner: Resource, scope: Scope) -> dict[str, Any]:
        dialect = owner.dialect
        text = schema.get("$ref")
        if isinstance(text, str) and dialect.ref_stands_alone:
            return {"$ref": Reference(owner, text, scope, is_dynamic=False)}
        found: dict[str, Any] = {}
        more: list[Any] = []
        for keyword, value in schema.items():
            if keyword in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                more.append(Reference(owner, value, scope, is_dynamic=keyword != "$ref"))
            elif dialect.has_validation or keyword not in VALIDATION:
                found[keyword] = self.value(keyword, value, owner, scope)
        if dialect.draft <= 4:
            _bounds_of_draft_4(found)
        if more:
            found["$ref"], *others = more
            if others:
                found["allOf"] = [*found.get("allOf", ()), *({"$ref": o} for o in others)]
        return found

    def value(self, keyword: str, value: Any, owner: Resource, scope: Scope) -> Any:
        if isinstance(value, dict) and keyword in ONE:
            return self.link(value, owner, scope)
        if isinstance(value, list) and keyword in MANY:
            return [self.link(item, owner, scope) for item in value]
        if isinstance(value, dict) and keyword in NAMED:
            return {name: self.link(item, owner, scope) for name, item in value.items()}
        return value


def _entered(scope: Scope, resource: Resource) -> Scope:
    """The dynamic scope after entering a resource: whoever was there first stays."""
    known = {name for name, _ in scope}
    new = [(name, resource.uri) for name in resource.dynamic if name not in known]
    return tuple(sorted((*scope, *new))) if new else scope


def _bounds_of_draft_4(schema: dict[str, Any]) -> None:
    """exclusiveMinimum: true, which makes `minimum` exclusive."""
    for inclusive, exclusive in (
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ):
        if isinstance(schema.get(exclusive), bool):
            is_exclusive = schema.pop(exclusive)
            if is_exclusive and inclusive in schema:
                schema[exclusive] = schema.pop(inclusive)
