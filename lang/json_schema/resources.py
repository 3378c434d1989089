"""Schema resources: the documents that references are looked up in, by URI and by anchor.

A schema with an `$id` begins a resource: a base for the references inside it, and a place of its
own for anchors (JSON Schema core 2020-12, section 4.3.5 and 8.2). `Resources` knows those of one
document and of the documents of a registry, each read when something first refers to it. Nothing
is ever fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urljoin

from sestina.lang import json_text
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint
from sestina.lang.json_schema.dialects import Dialect, dialect_of
from sestina.lang.json_schema.refs import child, step

# Keywords whose value is a schema, a list of schemas, or an object of schemas (some are either).
ONE = frozenset(
    {
        *("additionalProperties", "unevaluatedProperties", "propertyNames", "not", "if", "then"),
        *("else", "items", "additionalItems", "unevaluatedItems", "contains"),
    }
)
MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
NAMED = frozenset(
    {
        *("properties", "patternProperties", "dependentSchemas", "dependencies"),
        *("$defs", "definitions"),
    }
)

Place = tuple[Any, str]
"""A schema and its pointer, which begins with a URI where the document is of the registry."""

RECURSIVE = "$recursiveAnchor"  # stands for the one dynamic anchor of 2019-09, which has no name


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A schema that is the root of its own URI, and what can be named inside it."""

    uri: str
    root: Any
    pointer: str
    dialect: Dialect
    anchors: dict[str, Place] = field(default_factory=dict)
    dynamic: dict[str, Place] = field(default_factory=dict)


def sub_schemas(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas directly inside one, as far as keywords say so, with the steps to each."""
    for keyword, value in schema.items():
        if isinstance(value, dict) and keyword in NAMED:
            yield from (((keyword, name), item) for name, item in value.items())
        elif isinstance(value, dict) and keyword in ONE:
            yield (keyword,), value
        elif isinstance(value, list) and keyword in MANY:
            yield from (((keyword, i), item) for i, item in enumerate(value))


class Resources:
    """The resources of a document, and of the registry's documents that were asked for.

    registry: JSON text by URI. Cost: every document is walked once, when it is needed.
    """

    def __init__(self, document: Any, registry: Mapping[str, str]) -> None:
        self.registry = {uri.rstrip("#"): text for uri, text in registry.items()}
        self.by_uri: dict[str, Resource] = {}
        self.owners: dict[int, Resource] = {}  # by the identity of a schema inside
        self.main = self.read(document, "", "", dialect_of(document, self.registry))

    def read(self, document: Any, uri: str, pointer: str, dialect: Dialect) -> Resource:
        """Index a document that is known by `uri`."""
        own_uri = join(uri, dialect.id_of(document) or "").partition("#")[0]
        root = Resource(own_uri, document, pointer, dialect)
        self.by_uri.setdefault(uri, root)
        self.by_uri.setdefault(own_uri, root)
        self.index(document, pointer, root)
        return root

    def index(self, schema: Any, pointer: str, owner: Resource) -> None:
        """Find the resources and anchors in a part of the resource `owner`."""
        pending = [(schema, pointer, owner)]
        while pending:
            item, at, owner = pending.pop()
            if not isinstance(item, dict) or id(item) in self.owners:
                continue
            own_id = owner.dialect.id_of(item)
            if own_id is not None and item is not owner.root:
                dialect = dialect_of(item, self.registry, owner.dialect)
                own_uri = join(owner.uri, own_id).partition("#")[0]
                owner = Resource(own_uri, item, at, dialect)
                self.by_uri.setdefault(own_uri, owner)
            self.owners[id(item)] = owner
            self.name(item, at, owner)
            pending += [(sub, child(at, *steps), owner) for steps, sub in sub_schemas(item)]

    def name(self, schema: dict[str, Any], at: str, owner: Resource) -> None:
        """Note the anchors of one schema."""
        for name in owner.dialect.anchors_of(schema):
            if owner.anchors.setdefault(name, (schema, at))[0] is not schema:
                raise InvalidConstraint(f"the anchor {name!r} is given twice", pointer=at)
        if isinstance(dynamic := schema.get("$dynamicAnchor"), str):
            owner.dynamic.setdefault(dynamic, (schema, at))
        if schema.get(RECURSIVE) is True and schema is owner.root:
            owner.dynamic.setdefault(RECURSIVE, (schema, at))

    def find(self, uri: str) -> Resource | None:
        """The resource with this URI; None if neither the document nor the registry has it."""
        if uri in self.by_uri:
            return self.by_uri[uri]
        # It is a document of the registry or, if none has that name, a resource inside one.
        for name in [uri] if uri in self.registry else list(self.registry):
            if name not in self.by_uri:
                document = json_text.loads(self.registry[name])
                dialect = dialect_of(document, self.registry, self.main.dialect)
                self.read(document, name, f"{name}#", dialect)
        return self.by_uri.get(uri)

    def locate(self, base: Resource, text: str, at: str) -> tuple[Any, str, Resource]:
        """The schema that a reference inside `base` names, its pointer and its resource.

        UnsupportedConstraint where it leaves the known resources, InvalidConstraint for a broken
        one; `at` is the pointer of the reference.
        """
        uri, _, fragment = join(base.uri, text).partition("#")
        resource = base if uri == base.uri else self.find(uri)
        if resource is None:
            raise UnsupportedConstraint(
                f"the reference {text!r} leaves the schema, and the registry has no {uri!r}",
                pointer=at,
                keyword="$ref",
            )
        fragment = unquote(fragment)
        if not fragment:
            return resource.root, resource.pointer, resource
        if fragment.startswith("/"):
            return self.follow(resource, fragment, text, at)
        found = resource.anchors.get(fragment) or resource.dynamic.get(fragment)
        if found is None:
            raise InvalidConstraint(
                f"the reference {text!r}: no schema has the anchor {fragment!r}",
                pointer=at,
                keyword="$ref",
            )
        return (*found, resource)

    def follow(
        self, owner: Resource, fragment: str, text: str, at: str
    ) -> tuple[Any, str, Resource]:
        """Walk a JSON pointer from the root of a resource, perhaps into another one."""
        target, pointer = owner.root, owner.pointer + fragment
        for token in fragment.split("/")[1:]:
            target = step(target, token, text, at)
            owner = self.owners.get(id(target), owner)
        if isinstance(target, dict) and id(target) not in self.owners:
            self.index(target, pointer, owner)  # under a keyword nobody knows
            owner = self.owners[id(target)]
        return target, pointer, owner


def join(base: str, reference: str) -> str:
    """A reference against its base URI (RFC 3986, section 5); any scheme may be the base.

    >>> join("urn:uuid:1", "#a"), join("http://a/b", "c#d"), join("", "c")
    ('urn:uuid:1#a', 'http://a/c#d', 'c')
    """
    if not reference or reference.startswith("#"):
        return base.partition("#")[0] + reference
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", reference):
        return reference
    return urljoin(base, reference)
