"""Tool calls as constraints: a known tool, and arguments that are valid under its schema.

A tool is a function, a class (pydantic model, dataclass, TypedDict), or a dict as APIs take it:
{"name", "parameters"}, or that under {"type": "function", "function": ...}. How a call is written
depends on the model: a `CallLayout`.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from sestina.lang import json_text, typed
from sestina.lang.algebra import AnyOf, Constraint, Text
from sestina.lang.constraint import JsonSchema
from sestina.lang.errors import ConstraintError, InvalidConstraint, UnsupportedConstraint
from sestina.lang.structural import Special, Tag, tag, triggered


@dataclass(frozen=True, slots=True)
class CallLayout:
    """How a model writes calls: begin, head, the name, middle, the arguments, tail, end.

    Name and arguments are JSON. begin and end may be control tokens: `special("<tool_call>")`.
    separator: between calls that no free text surrounds.

    >>> import dataclasses
    >>> from sestina import special
    >>> begin = special("<tool_call>")
    >>> dataclasses.replace(LAYOUTS["hermes"], begin=begin).begin
    Special(token='<tool_call>')
    """

    begin: str | Special
    head: str
    middle: str
    tail: str
    end: str | Special
    separator: str


LAYOUTS: Mapping[str, CallLayout] = MappingProxyType(
    {
        # What the chat templates of Hermes 2 Pro, Qwen 2.5 and Qwen 3 render.
        "hermes": CallLayout(
            "<tool_call>", '\n{"name": ', ', "arguments": ', "}\n", "</tool_call>", "\n"
        ),
        # That of Llama 3.1 and 3.2; their calls carry no marker.
        "llama": CallLayout('{"name": ', "", ', "parameters": ', "}", "", "; "),
    }
)


class Tool(NamedTuple):
    """A name, and the schema of the arguments."""

    name: str
    parameters: Any


def tool_calls(
    tools: Iterable[Any],
    *,
    layout: str | CallLayout = "hermes",
    parallel: bool = True,
    free_text: bool = False,
    excludes: Sequence[str] = (),
    whitespace: str = "spaced",
) -> Constraint:
    """Calls of `tools`, with arguments that are valid under their schemas.

    layout: how the model writes them: "hermes" (Qwen too), "llama", or a CallLayout.
    parallel: more than one call, or exactly one.
    free_text: text around the calls, and maybe no call; see `triggered`, whose `excludes` it has.
    whitespace: in the arguments, as in `json_schema`.

    Calls or an answer: `tool_calls([...]) | json_schema(Answer)`.

    >>> def add(a: int, b: int = 0) -> int: ...
    >>> calls = tool_calls([add], layout="llama", parallel=False)
    >>> calls.content.items[0], calls.content.items[1].source[:50]
    ('"add", "parameters": ', '{"$ref":"#/$defs/add","$defs":{"add":{"type":"obje')
    """
    how = _layout(layout)
    known = [tool_of(tool) for tool in tools]
    if not known:
        raise InvalidConstraint("tool_calls needs at least one tool")
    names = [tool.name for tool in known]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidConstraint(f"the tool {twice!r} is given twice")
    tags = [_call(tool, how, whitespace) for tool in known]
    if free_text:
        return triggered(tags, excludes=excludes, stop_after_first=not parallel)
    if excludes:
        raise InvalidConstraint("excludes has no meaning without free_text")
    one: Constraint = AnyOf(tuple(tags)) if len(tags) > 1 else tags[0]
    return one + (how.separator + one).repeat(0, None) if parallel else one


def tool_of(tool: Any) -> Tool:
    """Name and parameters of what was given as a tool; raises a ConstraintError."""
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, Mapping):
        return _tool_of_mapping(tool)
    if isinstance(tool, type):
        return Tool(tool.__name__, typed.schema_of(tool))
    if callable(tool) and isinstance(getattr(tool, "__name__", None), str):
        return Tool(tool.__name__, parameters_of(tool))
    raise InvalidConstraint(f"a tool is a dict, a class or a function, got {tool!r:.80}")


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The schema of a function's arguments by name; what has no annotation may be any value.

    >>> def greet(name: str) -> None: ...
    >>> parameters_of(greet)["$defs"]["greet"]["properties"]
    {'name': {'type': 'string'}}
    """
    name = getattr(function, "__name__", "parameters")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        raise UnsupportedConstraint(f"the signature of {name!r} cannot be read: {error}") from error
    members: list[tuple[str, Any, Any]] = []
    for each in signature.parameters.values():
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise UnsupportedConstraint(f"{name!r} takes {each}, which is not given by name")
        required = each.default is each.empty
        default = dataclasses.field() if required else dataclasses.field(default=None)
        members.append((each.name, hints.get(each.name, Any), default))
    return typed.schema_of(dataclasses.make_dataclass(name, members, kw_only=True))


def _tool_of_mapping(tool: Mapping[str, Any]) -> Tool:
    inside = tool.get("function", tool)
    name = inside.get("name") if isinstance(inside, Mapping) else None
    if not isinstance(name, str) or not name:
        raise InvalidConstraint(f"a tool needs a name: {tool!r:.80}")
    # OpenAI: without parameters, a function has none.
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    parameters = inside.get("parameters")
    return Tool(name, nothing if parameters is None else parameters)


def _call(tool: Tool, layout: CallLayout, whitespace: str) -> Tag:
    try:
        arguments = JsonSchema(json_text.dumps(tool.parameters), whitespace)
    except ConstraintError as error:
        raise type(error)(
            f"tool {tool.name!r}: {error.reason}",
            pointer=error.pointer,
            keyword=error.keyword,
            source=error.source,
            position=error.position,
        ) from None
    named = Text(layout.head + json_text.scalar(tool.name) + layout.middle)
    return tag(layout.begin, named + arguments + layout.tail, layout.end)


def _layout(layout: str | CallLayout) -> CallLayout:
    if isinstance(layout, CallLayout):
        return layout
    if layout not in LAYOUTS:
        raise InvalidConstraint(f"unknown layout of calls {layout!r}; known: {sorted(LAYOUTS)}")
    return LAYOUTS[layout]
