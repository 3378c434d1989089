"""Objects against the `jsonschema` package and against what `Permute` says: every order, counts,
names that no schema declares, repeated keys, whitespace."""

from __future__ import annotations

import json
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.backend.grammar import DEAD, compile_automaton
from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import from_data, json_schema
from sestina.lang.json_schema.any_order import any_order

jsonschema = pytest.importorskip("jsonschema")

SLOW = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)

# ---- the node ---------------------------------------------------------------------------------

PARTS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3)
COMMA = ir.Literal(b",")


@settings(deadline=None, max_examples=100)
@given(PARTS, st.integers(0, 3), st.none() | st.integers(0, 5))
def test_parts_in_any_order_are_what_permute_says(
    kinds: list[tuple[bool, bool]], lo: int, hi: int | None
) -> None:
    parts = tuple(ir.Part(ir.Literal(b"%c" % (97 + i)), *kind) for i, kind in enumerate(kinds))
    node = ir.Permute(parts, COMMA, lo, hi)
    found = any_order(parts, COMMA, lo, hi)
    automaton = compile_automaton(ir.Grammar(ir.alt([found, ir.Literal(b"-")])))
    for length in range(5):
        for letters in product("abc"[: len(parts)], repeat=length):
            text = ",".join(letters)
            wanted = accepts(ir.Grammar(node), text)
            assert accepts(ir.Grammar(found), text) == wanted, text
            state = automaton.advance(automaton.start, text.encode())
            assert automaton.is_accepting(state) == wanted, text


def test_permute_says_what_its_docstring_does() -> None:
    a, b, c = (ir.Literal(letter) for letter in (b"a", b"b", b"c"))
    parts = (ir.Part(a, required=True), ir.Part(b), ir.Part(c, repeats=True))
    grammar = ir.Grammar(ir.Permute(parts, COMMA, lo=2, hi=4))
    assert all(accepts(grammar, text) for text in ("a,b", "c,a,c", "c,b,c,a"))
    assert not any(accepts(grammar, text) for text in ("", "a", "b,c", "a,a", "c,a,c,c,c", "a,b,"))


# ---- schemas of one object --------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "ab", "x1", 'q"', "ü"])
LEAVES = st.sampled_from([True, {"type": "integer"}, {"const": 1}, {"type": "string"}, False])
SMALL = st.integers(0, 4)
KEYWORDS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(NAMES, LEAVES, max_size=4),
        "required": st.lists(NAMES, max_size=3, unique=True),
        "additionalProperties": LEAVES,
        "patternProperties": st.dictionaries(
            st.sampled_from(["^a", "b$", "^x[0-9]$", "."]), LEAVES, max_size=2
        ),
        "propertyNames": st.sampled_from(
            [{"maxLength": 1}, {"enum": ["a", "b", "ü"]}, {"pattern": "^[abx]"}]
        ),
        "minProperties": SMALL,
        "maxProperties": SMALL,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True)),
        "not": st.sampled_from(
            [
                {"required": ["a"]},
                {"properties": {"a": {"const": 1}}, "required": ["a"]},
                {"additionalProperties": False, "properties": {"a": True, "b": True}},
            ]
        ),
    },
)
OBJECTS = st.dictionaries(NAMES, st.sampled_from([1, 2, "a"]), max_size=5)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """At most five keywords beside the type: more of them rarely allow anything."""
    found = draw(KEYWORDS)
    kept = draw(st.lists(st.sampled_from(sorted(found)), max_size=5))
    return {keyword: found[keyword] for keyword in found if keyword in kept or keyword == "type"}


def is_valid(schema: Any, value: Any) -> bool:
    found: bool = jsonschema.Draft202012Validator(schema).is_valid(value)
    return found


def compiled(schema: Any, **options: str) -> ir.Grammar:
    """The grammar; skips the example where the schema is refused for a reason that is stated."""
    try:
        return json_schema(schema, **options).to_grammar()
    except errors.UnsatisfiableConstraint:
        return ir.Grammar(ir.NOTHING)
    except errors.UnsupportedConstraint as error:
        assume(error.keyword not in ("minProperties", "patternProperties", "not"))
        raise


def counts_extras(schema: Any) -> bool:
    """Whether several extras may have to be told apart, which loses some objects."""
    return bool(schema.get("minProperties", 0) > 1 + len(schema.get("required", ())))


def spelled(value: Any, item: str = ",", key: str = ":") -> str:
    return json.dumps(value, ensure_ascii=False, separators=(item, key))


@SLOW
@given(schemas(), st.lists(OBJECTS, min_size=3, max_size=6), st.randoms())
def test_in_any_order_exactly_the_valid_objects(
    schema: Any, values: list[dict[str, Any]], random: Any
) -> None:
    grammar = compiled(schema, property_order="any")
    for value in values:
        pairs = list(value.items())
        random.shuffle(pairs)
        text = spelled(dict(pairs))
        is_taken = accepts(grammar, text)
        assert is_taken == is_valid(schema, value) or (not is_taken and counts_extras(schema)), text


@SLOW
@given(schemas(), st.lists(OBJECTS, min_size=3, max_size=6))
def test_in_declared_order_exactly_the_valid_objects(
    schema: Any, values: list[dict[str, Any]]
) -> None:
    grammar = compiled(schema)
    listed = schema.get("propertyNames", {}).get("enum", ())
    order = list(dict.fromkeys([*schema.get("properties", ()), *listed]))
    for value in values:
        names = [name for name in order if name in value]
        names += [name for name in value if name not in order]
        text = spelled({name: value[name] for name in names})
        is_taken = accepts(grammar, text)
        may_lose = "not" in schema or counts_extras(schema)
        assert is_taken == is_valid(schema, value) or (not is_taken and may_lose), text


PAIRS = st.lists(st.tuples(NAMES, st.sampled_from([1, 2, "a"])), max_size=4)


@SLOW
@given(schemas(), st.lists(PAIRS, min_size=3, max_size=6), st.sampled_from(["declared", "any"]))
def test_no_repeated_key_smuggles_a_value(
    schema: Any, texts: list[list[tuple[str, Any]]], order: str
) -> None:
    """Whichever of two equal keys a reader takes, the object is valid."""
    grammar = compiled(schema, property_order=order)
    for pairs in texts:
        text = "{" + ",".join(f"{spelled(k)}:{spelled(v)}" for k, v in pairs) + "}"
        if accepts(grammar, text):
            assert is_valid(schema, dict(pairs)), text
            assert is_valid(schema, dict(reversed(pairs))), text


# ---- orders -----------------------------------------------------------------------------------

POINT = {"properties": {"x": {"const": 1}, "y": {"const": 2}}, "required": ["x"]}


def test_the_default_is_the_declared_order_with_others_after() -> None:
    grammar = json_schema({"type": "object", **POINT}).to_grammar()
    assert accepts(grammar, '{"x":1,"y":2,"z":0}')
    assert not accepts(grammar, '{"y":2,"x":1}')
    assert not accepts(grammar, '{"z":0,"x":1}')


def test_any_order_reaches_nested_objects_and_constants() -> None:
    schema = {"properties": {"in": POINT, "at": {"const": {"p": 1, "q": [{"r": 1, "s": 2}]}}}}
    grammar = json_schema({"type": "object", **schema}, property_order="any").to_grammar()
    assert accepts(grammar, '{"at":{"q":[{"s":2,"r":1}],"p":1},"z":0,"in":{"y":2,"w":0,"x":1}}')
    assert not accepts(grammar, '{"at":{"q":[{"s":2,"s":2}],"p":1}}')


def test_what_is_required_but_not_declared_stands_amid_the_others() -> None:
    grammar = json_schema({"type": "object", "required": ["a", "b"]}).to_grammar()
    assert accepts(grammar, '{"z":0,"b":1,"y":0,"a":1}')
    assert not accepts(grammar, '{"z":0,"b":1,"b":0}')


def test_many_properties_in_any_order_cost_only_what_is_walked() -> None:
    names = [f"p{i}" for i in range(100)]
    schema = {"type": "object", "properties": dict.fromkeys(names, True), "required": names[:90]}
    automaton = compile_automaton(json_schema(schema, property_order="any").to_grammar())
    shuffled = names[::-7] + [n for n in names if n not in names[::-7]]
    text = "{" + ", ".join(f'"{name}": 0' for name in shuffled) + "}"
    assert automaton.is_accepting(automaton.advance(automaton.start, text.encode()))
    assert automaton.num_states < 3 * len(text)
    without = text.replace('"p1": 0, ', "")
    assert automaton.advance(automaton.start, without.encode()) == DEAD


def test_rules_behind_many_orders_are_looked_at_once() -> None:
    """9! orders lead through properties of which no text is known before others have one."""
    rules = {
        f"r{i}": {
            "type": "object",
            "properties": {f"p{j}": {"$ref": f"#/$defs/r{i + 1}"} for j in range(9)},
            "required": [f"p{j}" for j in range(9)],
        }
        for i in range(2)
    }
    rules["r2"] = {"type": "integer"}
    assert json_schema({"$ref": "#/$defs/r0", "$defs": rules}, property_order="any").report()


MANY_COUNTS = {
    "prefixItems": [
        {
            "type": "object",
            "properties": {f"p{i}": {} for i in range(60)},
            "additionalProperties": False,
            "minProperties": 20,
            "maxProperties": 40,
        }
    ]
    * 200
}


def test_many_large_counts_are_refused_together() -> None:
    with pytest.raises(errors.ConstraintLimitExceeded) as caught:
        json_schema(MANY_COUNTS)
    assert caught.value.pointer is not None
    assert caught.value.keyword == "properties"


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(errors.InvalidConstraint, match="declared, any"):
        json_schema({}, property_order="sorted")


def test_the_order_survives_a_round_trip() -> None:
    schema = json_schema({"type": "object", **POINT}, property_order="any")
    again = from_data(schema.to_data())
    assert again == schema != json_schema({"type": "object", **POINT})
    assert accepts(again.to_grammar(), '{"y":2,"x":1}')


# ---- whitespace -------------------------------------------------------------------------------

LAYOUTS = [
    ("compact", {"separators": (",", ":")}),
    ("spaced", {"separators": (", ", ": ")}),
    ("spaced", {"separators": (",", ": ")}),
    ("indent(2)", {"indent": 2}),
    ("indent(4)", {"indent": 4}),
    ("any", {"indent": 3}),
    ("any(1)", {"separators": (" , ", "\t:\n")}),
]


@pytest.mark.parametrize("order", ["declared", "any"])
@pytest.mark.parametrize(("whitespace", "how"), LAYOUTS)
def test_layouts_hold_in_every_order(whitespace: str, how: dict[str, Any], order: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", **POINT, "additionalProperties": False},
            "b": {"type": "array", "uniqueItems": True, "items": {"enum": [1, {"c": 2}]}},
        },
        "additionalProperties": False,
        "minProperties": 2,
    }
    grammar = json_schema(schema, whitespace=whitespace, property_order=order).to_grammar()
    value = {"a": {"x": 1, "y": 2}, "b": [{"c": 2}, 1]}
    turned = {"b": [{"c": 2}, 1], "a": {"y": 2, "x": 1}}
    assert accepts(grammar, json.dumps(value, **how))
    assert accepts(grammar, json.dumps(turned, **how)) == (order == "any")
    assert not accepts(grammar, json.dumps({"a": {"x": 1}}, **how))
    assert not accepts(grammar, json.dumps(value, **how) + "\n")


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "object", **POINT}, {}])
@pytest.mark.parametrize("order", ["declared", "any"])
def test_whitespace_is_bounded(schema: Any, order: str) -> None:
    grammar = json_schema(schema, whitespace="any(2)", property_order=order).to_grammar()
    assert accepts(grammar, '{  "x"  :  1  ,  "y"  :  2  }')
    for place in (1, 6, 9, 12, 15, 25):
        text = '{  "x"  :  1  ,  "y"  :  2  }'
        assert not accepts(grammar, text[:place] + "   " + text[place:])


# ---- counts -----------------------------------------------------------------------------------


def test_counts_of_many_properties_stay_small() -> None:
    names = [f"p{i}" for i in range(150)]
    schema = {
        "type": "object",
        "properties": {name: {"const": 0} for name in names},
        "additionalProperties": False,
        "minProperties": 2,
        "maxProperties": 3,
    }
    grammar = json_schema(schema).to_grammar()
    for size in range(5):
        value = dict.fromkeys(names[:: 150 // max(size, 1)][:size], 0)
        assert accepts(grammar, spelled(value)) == (2 <= size <= 3)


def test_extras_that_have_to_differ_are_told_apart_by_their_first_characters() -> None:
    schema = {"type": "object", "minProperties": 3, "properties": {"a": True}}
    grammar = json_schema(schema).to_grammar()
    taken = ['{"b":1,"c":2,"d":3}', '{"a":0,"b":1,"c":2}', '{"b":1,"b2":2,"c":3,"é":4}']
    left = ['{"b":1,"b":2,"b":3}', '{"a":0,"b":1}', '{"b":1,"b2":2,"c":3}', '{"é":1,"-":2,"c":3}']
    assert [text for text in taken + left if accepts(grammar, text)] == taken
    automaton = compile_automaton(grammar)
    assert automaton.advance(automaton.start, b'{"b":1,"b2":2}') == DEAD
    assert automaton.advance(automaton.start, b'{"b":1,"b2":2,') != DEAD


@pytest.mark.parametrize("order", ["declared", "any"])
def test_extras_whose_names_can_be_listed_are_counted_exactly(order: str) -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^[ab]{2}$": True, "^n(?:ow|ever)$": {"type": "null"}},
        "additionalProperties": False,
        "properties": {"x": True},
        "minProperties": 3,
    }
    grammar = json_schema(schema, property_order=order).to_grammar()
    names = ["x", "aa", "ab", "ba", "bb", "now", "never"]
    for some in permutations(names, 3):
        value = dict.fromkeys(some)
        assert accepts(grammar, spelled(value)) == (order == "any" or "x" not in some[1:])
    for text in ('{"aa":1,"aa":1,"aa":1}', '{"aa":1,"now":null}', '{"aa":1,"bb":1,"now":1}'):
        assert not accepts(grammar, text)
    too_many = {**schema, "minProperties": 8}
    with pytest.raises(errors.UnsatisfiableConstraint):
        json_schema(too_many, property_order=order)


@pytest.mark.parametrize(
    "schema",
    [
        {"minProperties": 17},
        {"minProperties": 2, "propertyNames": {"pattern": "^x"}},
        {"minProperties": 2, "patternProperties": {"^x": True}, "additionalProperties": False},
    ],
    ids=str,
)
def test_extras_that_cannot_be_told_apart_are_refused(schema: Any) -> None:
    with pytest.raises(errors.UnsupportedConstraint) as caught:
        json_schema({"type": "object", **schema})
    assert (caught.value.pointer, caught.value.keyword) == ("", "minProperties")
