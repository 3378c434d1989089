"""Python types to schemas, and JSON text back to values."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict, Union

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts
from typing_extensions import NotRequired, Required

from sestina.lang.constraint import json_schema
from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.typed import parse, schema_of


class Color(enum.Enum):
    RED = "red"
    TWO = 2


class Point(NamedTuple):
    x: int
    y: float


class Address(pydantic.BaseModel):
    street: str
    number: int = 1


class Person(pydantic.BaseModel):
    name: str
    home: Address
    boss: Optional[Person] = None  # noqa: UP045


class Options(TypedDict, total=False):
    size: Required[int]
    tag: str


class Loose(TypedDict):
    a: int
    b: NotRequired[bool]


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)
    color: Color = Color.RED


@dataclasses.dataclass
class Mixed:
    person: Person
    address: Address
    point: Point
    options: Options
    when: datetime.date | None = None


class Namesake:
    @dataclasses.dataclass
    class Color:
        shade: int


def dump(value: Any) -> Any:
    """The JSON data of a value, as a reader would write it by hand."""
    if isinstance(value, pydantic.BaseModel):
        return json.loads(value.model_dump_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [dump(item) for item in sorted(value)]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def in_order(first: str, second: str, required: Any, optional: Any) -> st.SearchStrategy[Any]:
    """Dicts whose keys come in declared order, which the strategy alone does not keep."""
    dicts = st.fixed_dictionaries(required, optional=optional)
    return dicts.map(lambda d: {name: d[name] for name in (first, second) if name in d})


TEXTS = st.text(max_size=3)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
UTC = st.just(datetime.timezone.utc)
ADDRESSES = st.builds(Address, street=TEXTS, number=st.integers())
PEOPLE = st.recursive(
    st.builds(Person, name=TEXTS, home=ADDRESSES, boss=st.none()),
    lambda inner: st.builds(Person, name=TEXTS, home=ADDRESSES, boss=inner),
    max_leaves=3,
)
OPTIONS = in_order("size", "tag", {"size": st.integers()}, {"tag": TEXTS})
CASES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: FLOATS,
    str: TEXTS,
    bool: st.booleans(),
    None: st.none(),
    Color: st.sampled_from(Color),
    Literal["a", 1, True, None]: st.sampled_from(["a", 1, True, None]),
    Annotated[int, "unit"]: st.integers(),
    list[Optional[int]]: st.lists(st.none() | st.integers(), max_size=3),  # noqa: UP045
    set[int]: st.sets(st.integers(), max_size=3),
    frozenset[str]: st.frozensets(TEXTS, max_size=3),
    tuple[int, ...]: st.lists(st.integers(), max_size=3).map(tuple),
    tuple[int, str]: st.tuples(st.integers(), TEXTS),
    tuple[()]: st.just(()),
    dict[str, list[bool]]: st.dictionaries(TEXTS, st.lists(st.booleans(), max_size=2), max_size=2),
    Union[int, str, None]: st.integers() | TEXTS | st.none(),  # noqa: UP007
    int | list[str]: st.integers() | st.lists(TEXTS, max_size=2),
    datetime.date: st.dates(),
    datetime.datetime: st.datetimes(timezones=UTC),
    datetime.time: st.times(timezones=UTC),
    uuid.UUID: st.uuids(),
    Point: st.builds(Point, st.integers(), FLOATS),
    Options: OPTIONS,
    Loose: in_order("a", "b", {"a": st.integers()}, {"b": st.booleans()}),
    Node: st.recursive(
        st.builds(Node, st.integers(), st.just([]), st.sampled_from(Color)),
        lambda inner: st.builds(Node, st.integers(), st.lists(inner, max_size=2)),
        max_leaves=4,
    ),
    Address: ADDRESSES,
    Person: PEOPLE,
    Mixed: st.builds(
        Mixed,
        PEOPLE,
        ADDRESSES,
        st.builds(Point, st.integers(), FLOATS),
        OPTIONS,
        st.none() | st.dates(),
    ),
}


@pytest.mark.parametrize("python_type", CASES, ids=str)
def test_values_round_trip_through_their_own_grammar(python_type: Any) -> None:
    grammar = json_schema({} if python_type is None else schema_of(python_type)).to_grammar()

    @settings(deadline=None, max_examples=15, database=None)
    @given(CASES[python_type])
    def check(value: Any) -> None:
        text = json.dumps(dump(value), ensure_ascii=False)
        assert accepts(grammar, text)
        again = parse(python_type, text)
        assert again == value
        assert type(again) is type(value)

    check()


@pytest.mark.parametrize(
    ("python_type", "text", "message"),
    [
        (int, "1.5", "an integer"),
        (int, "true", "an integer"),
        (list[int], '[1, "x"]', r"\$\[1\]: expected an integer"),
        (Node, '{"children": []}', "key 'value'"),
        (Node, '{"value": 1, "extra": 2}', "without the key 'extra'"),
        (Node, '{"value": 1, "children": [{"value": "x"}]}', r"\$\.children\[0\]\.value"),
        (Color, '"green"', "one of 'red', 2"),
        (Literal[1], "true", "one of 1"),
        (tuple[int, int], "[1]", "2 items"),
        (datetime.date, '"2024-02-30"', "a date"),
        (int | None, '"x"', "an integer.*or.*null"),
        (Loose, '{"b": true}', "key 'a'"),
        (Person, '{"name": 3}', "name"),
    ],
)
def test_parse_refuses_with_the_path(python_type: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(python_type, text)


@pytest.mark.parametrize(
    "python_type", [complex, dict[int, str], list[object()], "int", Literal[1.5], type], ids=str
)
def test_unknown_types_are_named(python_type: Any) -> None:
    with pytest.raises(UnsupportedConstraint):
        schema_of(python_type)


def test_objects_of_classes_take_no_extra_keys() -> None:
    for python_type in (Node, Options, Person, Mixed):
        grammar = json_schema(python_type).to_grammar()
        assert not accepts(grammar, '{"value":1,"size":1,"zzz":1}')
    person = json_schema(Person).to_grammar()
    assert accepts(person, '{"name":"a","home":{"street":"b"}}')
    assert not accepts(person, '{"name":"a","home":{"street":"b","x":1}}')
    assert not accepts(person, '{"name":"a","home":{"street":"b"},"x":1}')


def test_annotations_out_of_reach_are_named() -> None:
    @dataclasses.dataclass
    class Local:
        value: Nowhere  # noqa: F821

    with pytest.raises(UnsupportedConstraint, match=r"annotation of Local.*Nowhere"):
        schema_of(Local)


def test_two_classes_of_one_name() -> None:
    pair = tuple[Color, Namesake.Color]
    assert accepts(json_schema(pair).to_grammar(), '["red", {"shade": 3}]')
    assert parse(pair, '["red", {"shade": 3}]') == (Color.RED, Namesake.Color(3))


def test_numbers_keep_their_kind() -> None:
    assert parse(Decimal, "0.10") == Decimal("0.10")
    assert isinstance(parse(float, "1"), float)
    assert parse(Any, '{"a": [1.5, null]}') == {"a": [1.5, None]}


@pytest.mark.parametrize(
    ("text", "micros"),
    [("00:00:01Z", 0), ("00:00:01.5Z", 500_000), ("00:00:01.123456+01:00", 123456)],
)
def test_times_of_rfc_3339(text: str, micros: int) -> None:
    assert parse(datetime.time, f'"{text}"').microsecond == micros
    assert parse(datetime.datetime, f'"2024-01-01T{text}"').microsecond == micros
