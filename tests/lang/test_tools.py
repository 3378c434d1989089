"""Tool calls: whatever is generated names a known tool, with arguments it can take."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Annotated, Any

import jsonschema
import pydantic
import pytest
from support.engines import scripted_engine
from support.walks import TOKENIZER, walks

from sestina.backend.grammar import compile_automaton
from sestina.lang import constraint as c
from sestina.lang.api import gen
from sestina.lang.constraint import Constraint, json_schema
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint
from sestina.lang.program import Program
from sestina.lang.structural import special, thinking
from sestina.lang.tools import LAYOUTS, CallLayout, Tool, tool_calls, tool_of

WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9},
                       "unit": {"enum": ["C", "F"]}},
        "required": ["days"],
        "additionalProperties": False,
    },
}  # fmt: skip
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time."}}
SCHEMAS = {"get_weather": WEATHER["parameters"], "clock": {"maxProperties": 0}}
HINTS = [b"<tool_call>", b'{"days": 3, "unit": "C"}', b"}\n</tool_call>", b"clock"]
CALL = re.compile(r'<tool_call>\n(\{"name": .*\})\n</tool_call>')


class Answer(pydantic.BaseModel):
    ok: bool


def accepted(constraint: Constraint, texts: list[str]) -> list[str]:
    automaton = compile_automaton(constraint.to_grammar())
    ends = [(text, automaton.advance(automaton.start, text.encode())) for text in texts]
    return [text for text, state in ends if state and automaton.is_accepting(state)]


def check_call(text: str) -> None:
    call = json.loads(text)
    assert list(call) == ["name", "arguments"]
    jsonschema.validate(call["arguments"], SCHEMAS[call["name"]])


def test_random_calls_can_be_carried_out() -> None:
    for ids in walks(tool_calls([WEATHER, CLOCK]), HINTS):
        for call in TOKENIZER.decode(ids).split("\n</tool_call>\n<tool_call>\n"):
            check_call(call.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))


def test_random_text_around_calls_has_no_broken_call() -> None:
    found = [TOKENIZER.decode(ids) for ids in walks(tool_calls([WEATHER], free_text=True), HINTS)]
    calls = [call for text in found for call in CALL.findall(text)]
    assert calls
    for call in calls:
        check_call(call)
    assert not [text for text in found if "<tool_call>" in CALL.sub("", text)]


ONE = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
SAY = '<tool_call>\n{"name": "get_weather", "arguments": {"days": 2, "unit": "C"}}\n</tool_call>'


LLAMA = '{"name": "clock", "parameters": {}}'
BOTH = tool_calls([WEATHER, CLOCK])
OR_ANSWER = tool_calls([CLOCK]) | json_schema(Answer)


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (BOTH, [ONE, SAY, f"{ONE}\n{SAY}\n{ONE}"], ["", f"{ONE}{SAY}", f"{ONE}\n"]),
        (tool_calls([WEATHER, CLOCK], parallel=False), [ONE, SAY], ["", f"{ONE}\n{SAY}"]),
        (
            tool_calls([CLOCK], free_text=True),
            ["", "hi", f"a{ONE}b{ONE}"],
            [SAY, f"a{ONE}<tool_call>"],
        ),
        (
            tool_calls([CLOCK], free_text=True, parallel=False),
            ["", f"a{ONE}"],
            [f"{ONE}b", ONE + ONE],
        ),
        (tool_calls([CLOCK], free_text=True, excludes=["<think>"]), ["<thin"], ["<think>"]),
        (OR_ANSWER, [ONE, '{"ok": true}'], ["", '{"ok": 1}', ONE + "{}"]),
        (
            thinking("\n" + OR_ANSWER),
            [f"<think>x</think>\n{ONE}", '<think></think>\n{"ok": false}'],
            [ONE, f"<think>{ONE}", "<think></think>\n"],
        ),
        (
            tool_calls([CLOCK, WEATHER], layout="llama"),
            [LLAMA, f"{LLAMA}; {LLAMA}"],
            [LLAMA.replace("parameters", "arguments"), '{"name": "clock"}'],
        ),
        (
            tool_calls([WEATHER], whitespace="compact", parallel=False),
            [SAY.replace(": 2, ", ":2,").replace('unit": ', 'unit":')],
            [SAY],
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else repr(value)[:40],
)
def test_accepts(constraint: Constraint, good: list[str], bad: list[str]) -> None:
    assert accepted(constraint, good + bad) == good
    assert c.from_data(json.loads(json.dumps(constraint.to_data()))) == constraint


def test_markers_may_be_control_tokens() -> None:
    begin, end = special("<|im_start|>"), special("<|pad|>")
    layout = dataclasses.replace(LAYOUTS["hermes"], begin=begin, end=end)
    calls = tool_calls([CLOCK], layout=layout, free_text=True)
    begin_id, end_id = (TOKENIZER.control_ids[each.token] for each in (begin, end))
    found = walks(calls, [[begin_id], [end_id], *HINTS])
    assert any(begin_id in ids for ids in found)
    for ids in found:
        for place in (i for i, token in enumerate(ids) if token == begin_id):
            inside = TOKENIZER.decode(ids[place + 1 : ids.index(end_id, place)])
            assert json.loads(inside) == {"name": "clock", "arguments": {}}


# ---- what a tool is ---------------------------------------------------------------------------


def search(query: str, limit: Annotated[int, pydantic.Field(ge=1, le=5)] = 3, *, tag: Any) -> str:
    """A function: its signature is what counts."""
    return query


@dataclasses.dataclass
class Move:
    x: int
    y: int = 0


@pytest.mark.parametrize(
    ("tool", "name", "good", "bad"),
    [
        (search, "search", ['{"query":"a","tag":[]}', '{"query":"a","limit":5,"tag":1}'],
         ['{"query":"a"}', '{"query":"a","limit":9,"tag":1}']),
        (Move, "Move", ['{"x":1}', '{"x":1,"y":2}'], ["{}", '{"x":1,"z":2}']),
        (Answer, "Answer", ['{"ok":true}'], ["{}"]),
        (CLOCK, "clock", ["{}"], ['{"a":1}', "[]"]),
        (Tool("é\n", {"const": 1}), "é\n", ["1"], ["2"]),
    ],
)  # fmt: skip
def test_tools_of_all_kinds(tool: Any, name: str, good: list[str], bad: list[str]) -> None:
    assert tool_of(tool).name == name
    head = '<tool_call>\n{"name": ' + json.dumps(name, ensure_ascii=False) + ', "arguments": '
    texts = [head + arguments + "}\n</tool_call>" for arguments in good + bad]
    assert accepted(tool_calls([tool], whitespace="compact"), texts) == texts[: len(good)]


def takes_the_rest(*args: int) -> None: ...


def unreadable(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("tools", "options", "message"),
    [
        ([], {}, "at least one"),
        ([CLOCK, CLOCK], {}, "'clock' is given twice"),
        ([{"parameters": {}}], {}, "needs a name"),
        ([{"name": "f", "parameters": {"type": 3}}], {}, "tool 'f': "),
        ([3], {}, "a dict, a class or a function"),
        ([CLOCK], {"layout": "pythonic"}, r"unknown layout .*known: \['hermes', 'llama'\]"),
        ([CLOCK], {"excludes": ["x"]}, "no meaning without free_text"),
    ],
)
def test_mistakes(tools: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConstraint, match=message):
        tool_calls(tools, **options)


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (takes_the_rest, "not given by name"),
        (unreadable, "cannot be read"),
        ({"name": "f", "parameters": {"$ref": "#/x"}}, "tool 'f': "),
    ],
)
def test_what_has_no_schema_is_refused(tool: Any, message: str) -> None:
    with pytest.raises((UnsupportedConstraint, InvalidConstraint), match=message):
        tool_calls([tool])


def test_a_refused_schema_keeps_its_place() -> None:
    bad = {"name": "f", "parameters": {"properties": {"a": {"type": "integer", "minimum": "1"}}}}
    with pytest.raises(InvalidConstraint) as raised:
        tool_calls([CLOCK, bad])
    assert raised.value.pointer == "/properties/a"


# ---- many, and all the way --------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_tools() -> None:
    """Generous: a machine under load, but nothing that grows with the square."""
    tools = [{**WEATHER, "name": f"tool_{i}_{'x' * (i % 7)}"} for i in range(1000)]
    calls = tool_calls(tools, free_text=True)
    text = f"Hello {SAY.replace('get_weather', 'tool_77_')} bye"
    assert accepted(calls, [text, text.replace("tool_77_", "tool_77_x")]) == [text]


def test_a_program_gets_calls_it_can_carry_out() -> None:
    layout = CallLayout("<c>", "", " ", "", "</c>", "\n")
    calls = tool_calls([WEATHER, CLOCK], layout=layout, parallel=False, whitespace="compact")

    def ask(s: Any) -> None:
        s += "Call: " + gen("call", 60, constraint=calls | "no call")

    with scripted_engine() as engine:
        texts = {Program.of(ask).run(backend=engine, seed=i)["call"] for i in range(5)}
    for text in texts - {"no call"}:
        name, arguments = text.removeprefix("<c>").removesuffix("</c>").split(" ", 1)
        jsonschema.validate(json.loads(arguments), SCHEMAS[json.loads(name)])
    assert texts
