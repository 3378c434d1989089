"""What pydantic demands beyond its own JSON Schema is said there, or refused."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import re
import sys
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import pydantic
import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field
from support.ir_matcher import accepts

from sestina.lang.constraint import json_schema
from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.typed import parse


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: str = ""


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    name: str = Field(min_length=2)


class Nested(BaseModel):
    value: int = Field(validation_alias=pydantic.AliasPath("a", "b"))


class Renamed(BaseModel):
    value: int = Field(validation_alias=pydantic.AliasChoices(pydantic.AliasPath("a", "b"), "c"))


@dataclasses.dataclass
class Limited:
    share: Annotated[int, Field(ge=0, le=100)]
    tags: list[Annotated[str, Field(max_length=2)]] = dataclasses.field(default_factory=list)


@pydantic.dataclasses.dataclass
class Checked:
    count: Annotated[int, Field(gt=3)] = 5


class Extended(typing_extensions.TypedDict):
    code: Annotated[str, Field(pattern="^[A-Z]+$")]
    more: typing_extensions.NotRequired[int]


Pet = Annotated[Union[Cat, Dog], Field(discriminator="kind")]  # noqa: UP007
UserId = typing.NewType("UserId", int)


# A type, texts that are taken and parse, texts that are left.
TAKEN: list[tuple[Any, list[str], list[str]]] = [
    (Annotated[int, Field(ge=0, lt=7)], ["0", "6"], ["7", "-1"]),
    (Annotated[int, "only a note"], ["7"], ["1.5"]),
    (list[pydantic.PositiveInt], ["[]", "[1]"], ["[0]"]),
    (Annotated[list[int], Field(min_length=1)], ["[1]"], ["[]"]),
    (Limited, ['{"share": 100, "tags": ["ab"]}'], ['{"share": 101}', '{"share":1,"tags":["abc"]}']),
    (Checked, ['{"count":4}', "{}"], ['{"count":3}']),
    (Extended, ['{"code":"A"}', '{"code":"A","more":1}'], ['{"code":"a"}', '{"more":1}']),
    (Pet, ['{"kind":"cat","lives":9}', '{"kind":"dog"}'], ['{"lives":9}', "{}"]),
    (decimal.Decimal, ["1.50", "-3"], ['"1.50"']),
    (Annotated[decimal.Decimal, Field(gt=0)], ["0.1", "3"], ["0", '"3"']),
    (set[pydantic.PositiveInt], ["[1, 1]", "[]"], ["[0]"]),
    (pydantic.UUID4, [f'"{uuid.UUID(int=7, version=4)}"'], [f'"{uuid.UUID(int=7, version=1)}"']),
    (pydantic.HttpUrl, ['"https://a.example.org/x?y#z"'], ['"ftp://a.org"', '"http:x"', '"x"']),
    (pydantic.AwareDatetime, ['"2024-02-29T00:00:00Z"'], ['"2024-02-29T00:00:00"']),
    (datetime.timedelta, ['"P1DT2H"'], ['"1 day"', '"P1234567D"']),
    (Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2)],
     ['"a b"', '"ab"'], ['" a "', '"a "', '"a"']),
    (Stripped, ['{"name": "ab"}'], ['{"name": " a"}']),
    (Annotated[str, pydantic.StringConstraints(strip_whitespace=True)], ['" a "'], []),
    (Annotated[datetime.date, Field(ge=datetime.date(2020, 1, 1)),
               pydantic.WithJsonSchema({"type": "string", "pattern": "^202[0-9]-01-0[1-9]$"})],
     ['"2021-01-09"'], ['"2019-01-09"']),
    (Renamed, ['{"c": 1}'], ['{"value": 1}']),
    (UserId, ["5"], ['"5"']),
    (Sequence[int], ["[1]"], ['["a"]']),
    (Mapping[str, bool], ['{"a": true}'], ['{"a": 1}']),
]  # fmt: skip


@pytest.mark.parametrize(("python_type", "taken", "left"), TAKEN, ids=lambda case: str(case)[:40])
def test_what_is_demanded_is_enforced(python_type: Any, taken: list[str], left: list[str]) -> None:
    grammar = json_schema(python_type).to_grammar()
    for text in taken:
        assert accepts(grammar, text)
        parse(python_type, text)
    for text in left:
        assert not accepts(grammar, text)


def one_field(annotation: Any) -> Any:
    return pydantic.create_model("Record", field=(annotation, ...))


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        (Annotated[datetime.date, Field(gt=datetime.date(2020, 1, 1))], "gt=2020-01-01 of a date"),
        (pydantic.PastDate, "in the past"),
        (pydantic.FutureDatetime, "in the future"),
        (pydantic.NaiveDatetime, "the time zone"),
        (Annotated[decimal.Decimal, Field(max_digits=3)], "max_digits"),
        (Annotated[decimal.Decimal, Field(decimal_places=2)], "decimal_places"),
        (Annotated[set[int], Field(min_length=2)], "distinct"),
        (Annotated[str, pydantic.StringConstraints(to_lower=True, pattern="^a$")], "to_lower"),
        (
            Annotated[str, pydantic.StringConstraints(strip_whitespace=True, pattern="a$")],
            "strip_whitespace",
        ),
        (Annotated[str, Field(pattern=re.compile("a b", re.VERBOSE))], "flags"),
        (dict[int, str], "keys of type int"),
        (pydantic.Json[int], "JSON inside a string"),
        (pydantic.Base64Str, "'base64'"),
        (pydantic.IPvAnyAddress, "'ipvanyaddress'"),
        (pydantic.FilePath, "'file-path'"),
        (type[int], "is-subclass"),
        (complex, "complex"),
    ],
    ids=str,
)
def test_what_cannot_be_said_is_refused_with_its_place(annotation: Any, what: str) -> None:
    with pytest.raises(UnsupportedConstraint, match=re.escape(what)) as caught:
        json_schema(one_field(annotation))
    assert caught.value.pointer == "/properties/field"


def test_more_refusals() -> None:
    with pytest.raises(UnsupportedConstraint, match="AliasPath") as caught:
        json_schema(list[Nested])
    assert caught.value.pointer == "/properties/value"
    with pytest.raises(UnsupportedConstraint, match="Callable"):
        json_schema(one_field(Callable[[int], int]))
    with pytest.raises(UnsupportedConstraint, match="subclass of BaseModel"):
        json_schema(BaseModel)


def test_without_pydantic_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(UnsupportedConstraint, match="more types are known with pydantic"):
        json_schema(datetime.timedelta)
    assert accepts(json_schema(list[datetime.date]).to_grammar(), '["2024-02-29"]')


def test_a_repeated_key_of_a_generated_dict_counts_as_everywhere() -> None:
    assert parse(dict[str, int], '{"": 1, "": 2}') == {"": 2}
