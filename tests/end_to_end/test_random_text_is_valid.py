"""Text drawn at random from the masks of a constraint is valid, for many constraints."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import random
import re
import uuid
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import jsonschema
import numpy as np
import pydantic
import pytest
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from sestina.backend.grammar import CompiledGrammar, GrammarCompiler
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang.constraint import Constraint, json_schema, regex
from sestina.lang.typed import parse

NUM_TEXTS = 12
MAX_TOKENS = 600
TOKENIZER = ByteTokenizer(60)
ENDINGS = [ord(c) for c in '"}]']


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TOKENIZER)


def draw(grammar: CompiledGrammar, rng: random.Random, num_free: int) -> str | None:
    """A text of the language, hurrying after `num_free` tokens; None if it finds no end."""
    matcher = grammar.matcher()
    row = np.zeros((TOKENIZER.vocab_size + 31) // 32, dtype=np.int32)
    data = b""
    for step in range(MAX_TOKENS):
        matcher.fill_mask(row)
        bits = np.unpackbits(row.view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits).tolist()
        assert allowed, f"dead end after {data!r}"
        may_end = any(token in allowed for token in TOKENIZER.eos_ids)
        assert may_end == matcher.is_accepting()
        others = [token for token in allowed if token not in TOKENIZER.eos_ids]
        if may_end and (not others or step >= num_free or rng.random() < 0.3):
            return data.decode()
        endings = [token for token in ENDINGS if token in others]
        hurries = endings and rng.random() < (0.8 if step >= num_free else 0.15)
        token = rng.choice(endings if hurries else others)
        assert matcher.accept_token(token)
        data += TOKENIZER.token_bytes(token)
    return None


def texts(compiler: GrammarCompiler, constraint: Constraint) -> list[str]:
    grammar = compiler.compile(constraint)
    rng = random.Random(0)
    found = [draw(grammar, rng, 4 * i) for i in range(NUM_TEXTS)]
    return [text for text in found if text is not None]


class Color(enum.Enum):
    red = "red"
    two = 2


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    owner: Optional[str] = Field(None, alias="the owner", max_length=5)  # noqa: UP045


class Tree(pydantic.BaseModel):
    value: Annotated[float, Field(gt=0)]
    children: list[Tree] = []


class Shelter(pydantic.BaseModel):
    pets: list[Annotated[Union[Cat, Dog], Field(discriminator="kind")]]  # noqa: UP007
    opened: datetime.date
    by_color: dict[str, Color] = {}
    numbers: set[int] = Field(default_factory=set, max_length=2)
    pair: tuple[int, str]


T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    item: T
    more: list[T] = []


class Row(TypedDict):
    id: Annotated[str, Field(pattern=r"^[A-Z]{2}\d+$", max_length=6)]
    parent: NotRequired[Row]


@dataclasses.dataclass
class Reading:
    at: datetime.datetime
    share: Annotated[float, Field(ge=0, lt=1)]
    color: Color = Color.red


TYPES = [
    *(int, float, bool, str, None, Any, list, dict, Color, Cat, Dog, Tree, Shelter, Row, Reading),
    *(Box[int], Box[Color | None], list[Tree], dict[str, list[bool]], tuple[int, ...]),
    *(Literal["a", '"\\', 1, True, None], Union[int, str, None], Optional[list[int]]),  # noqa: UP007, UP045
    *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta, decimal.Decimal),
    *(uuid.UUID, pydantic.UUID4, pydantic.HttpUrl, pydantic.AnyUrl, pydantic.AwareDatetime),
    *(pydantic.conint(ge=-3, lt=7), pydantic.confloat(gt=0, le=1), pydantic.FiniteFloat),
    *(pydantic.constr(min_length=2, max_length=4), pydantic.constr(pattern=r"\d[a-z]$")),
    *(pydantic.constr(strip_whitespace=True, min_length=3), pydantic.condecimal(gt=0, le=10)),
    *(pydantic.conlist(int, min_length=1, max_length=2), pydantic.PositiveInt),
]


@pytest.mark.parametrize("python_type", TYPES, ids=str)
def test_types(compiler: GrammarCompiler, python_type: Any) -> None:
    adapter = pydantic.TypeAdapter(python_type)
    constraint = json_schema(type(None) if python_type is None else python_type)
    for text in texts(compiler, constraint):
        adapter.validate_python(parse(python_type, text))


SCHEMAS: list[Any] = [
    {"type": "object", "properties": {name: {"type": "integer"}}, "required": [name, "x"]}
    for name in ("", '"', "\\", "\n", "\u2028", "é😀", "a/b~c", "$ref", "const", "x" * 200)
]
SCHEMAS += [{"enum": [1, 1.5, True, "1", None, [1], {}, {"a": "\x00"}, -1e-300]}, {"const": []}]
SCHEMAS += [
    {"type": "number", low: a, high: b}
    for low in ("minimum", "exclusiveMinimum")
    for high in ("maximum", "exclusiveMaximum")
    for a, b in ((-1, 1), (1e-10, 1e-9), (0.1, 0.3), (99.99, 100), (-2.5, 1e300))
]
SCHEMAS += [
    {"type": "string", "pattern": pattern, "minLength": 2, "maxLength": 6}
    for pattern in ("^a|b$", "^(a|b)", r"\d", r"^\S+$", r"^[^\x00-\x7F]+$", "^😀", '"', r"\\", "^")
]
SCHEMAS += [
    {"format": name}
    for name in [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uuid",
    ]
]
SCHEMAS += [
    {"type": "array", "prefixItems": [{"type": "null"}, False], "items": {"type": "null"}},
    {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
    {"type": ["object", "string"], "additionalProperties": {"$ref": "#"}, "maxLength": 1},
    {"allOf": [{"anyOf": [{"type": "integer"}, {"minLength": 2}]}, {"minimum": 5, "pattern": "b"}]},
    {"oneOf": [{"type": "integer", "maximum": -5}, {"type": "string"}, {"const": None}]},
    {"properties": {"a": {"type": "null"}, "ab": {"type": "integer"}},
     "additionalProperties": {"type": "boolean"}, "type": "object"},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_schemas(compiler: GrammarCompiler, schema: Any) -> None:
    kind = jsonschema.Draft202012Validator
    validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
    for text in texts(compiler, json_schema(schema)):
        validator.validate(json.loads(text.replace(":60", ":59")))  # it knows no leap seconds


@pytest.mark.parametrize(
    "pattern",
    [
        *("a|b", "^a|b$", "(^a|b)c?", "a{2,4}b?", "(|a)+", r"[^\d\s]+", "[]a]+", ".{2,4}"),
        *(
            r"\S+\s\S",
            "[😀-🙂é]{1,3}",
            '"[^"\\\\]*(\\\\.[^"\\\\]*)*"',
            "((a*)*)*",
            r"(ab|a)(bc|c)?",
        ),
        *(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", r"(?:25[0-5]|2[0-4]\d|1?\d?\d)(\.\d){3}"),
    ],
)
def test_regexes(compiler: GrammarCompiler, pattern: str) -> None:
    for text in texts(compiler, regex(pattern)):
        assert re.fullmatch(pattern, text)


def test_free_numbers_are_finite(compiler: GrammarCompiler) -> None:
    for text in texts(compiler, json_schema({"type": "array", "items": {"type": "number"}})):
        assert all(abs(number) < float("inf") for number in json.loads(text))
