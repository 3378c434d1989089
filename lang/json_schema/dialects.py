"""The drafts of JSON Schema, as far as they differ in what identifies a schema and what counts.

A schema that names no known draft is read as 2020-12, with the older spellings it does not give
another meaning to: that is what real schemas need.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sestina.lang import json_text
from sestina.lang.errors import ConstraintError, UnsupportedConstraint

_DRAFT = re.compile(r"^https?://json-schema\.org/(?:draft-0([34567])|draft/(2019-09|2020-12))/")
_VOCABULARY = re.compile(r"^https://json-schema\.org/draft/(?:2019-09|2020-12)/vocab/([a-z-]+)$")
_KNOWN_VOCABULARIES = frozenset(
    {
        *("core", "applicator", "unevaluated", "validation", "meta-data", "content"),
        *("format", "format-annotation", "format-assertion"),
    }
)

VALIDATION = frozenset(
    {
        *("type", "enum", "const", "multipleOf", "maximum", "minimum"),
        *("exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength", "pattern"),
        *("maxItems", "minItems", "uniqueItems", "maxContains", "minContains"),
        *("maxProperties", "minProperties", "required", "dependentRequired"),
    }
)
"""The keywords of the validation vocabulary, in which a dialect may do without."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a schema's draft decides. `draft` is 3 to 7, 2019 or 2020."""

    draft: int = 2020
    has_validation: bool = True

    @property
    def ref_stands_alone(self) -> bool:
        """Whether keywords beside `$ref` are ignored, as before 2019-09."""
        return self.draft <= 7

    def id_of(self, schema: Any) -> str | None:
        """The URI reference by which the schema names itself; None if it begins no resource."""
        if not isinstance(schema, dict) or (self.ref_stands_alone and "$ref" in schema):
            return None
        name = schema.get("id" if self.draft <= 4 else "$id")
        return None if not isinstance(name, str) or name.startswith("#") or not name else name

    def anchors_of(self, schema: dict[str, Any]) -> list[str]:
        """The plain names for a schema; until draft-07 an `$id` of a fragment only was one."""
        found = [schema.get("$anchor")]
        if self.ref_stands_alone and "$ref" not in schema:
            name = schema.get("id" if self.draft <= 4 else "$id")
            if isinstance(name, str) and name.startswith("#") and not name.startswith("#/"):
                found.append(name[1:])
        return [name for name in found if isinstance(name, str) and name]


def dialect_of(
    schema: Any, registry: Mapping[str, str], inherited: Dialect | None = None
) -> Dialect:
    """The dialect that `$schema` names, else the inherited one, else 2020-12."""
    otherwise = inherited or Dialect()
    declared = schema.get("$schema") if isinstance(schema, dict) else None
    if not isinstance(declared, str):
        return otherwise
    if (draft := draft_of(declared)) is not None:
        return Dialect(draft)
    uri = declared.rstrip("#")
    return _custom(registry[uri]) if uri in registry else otherwise


def draft_of(uri: str) -> int | None:
    """The draft that a `$schema` of the specification stands for.

    >>> draft_of("http://json-schema.org/draft-07/schema#"), draft_of("https://example.com")
    (7, None)
    """
    found = _DRAFT.match(uri)
    return None if found is None else int(found[1] or found[2][:4])


@functools.lru_cache(maxsize=64)
def _custom(source: str) -> Dialect:
    """The dialect of a meta-schema by the vocabularies it lists (core 2020-12, section 8.1.2)."""
    try:
        meta = json_text.loads(source)
    except ConstraintError:
        return Dialect()
    vocabularies = meta.get("$vocabulary") if isinstance(meta, dict) else None
    if not isinstance(vocabularies, dict):
        return Dialect()
    names = {uri: _VOCABULARY.match(uri) for uri in vocabularies}
    known = {found[1] for found in names.values() if found is not None}
    for uri, found in names.items():
        is_known = found is not None and found[1] in _KNOWN_VOCABULARIES
        if not is_known and vocabularies[uri] is not False:
            raise UnsupportedConstraint(
                f"the vocabulary {uri!r}", pointer="", keyword="$vocabulary"
            )
    return Dialect(has_validation="validation" in known)
