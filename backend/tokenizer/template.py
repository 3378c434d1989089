"""The model's own Jinja chat template, compiled once and rendered in a sandbox.

A template comes with a model file, so it is foreign code. Jinja's immutable sandbox keeps it from
attributes and mutation; on top of that a render is refused beyond MAX_OUTPUT characters, MAX_STEPS
loop rounds and calls, or an oversized repetition. The environment is that of transformers'
`apply_chat_template`, for which templates are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context as JinjaScope
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.chat_template import Render
from sestina.lang.errors import ChatTemplateError

MAX_OUTPUT = 1_000_000
MAX_STEPS = 200_000
_STEPS = "_sestina_steps"


def chat_renderer(tokenizer: Tokenizer, **variables: Any) -> Render:
    """A renderer of the tokenizer's template; `variables` reach it (`enable_thinking=False`).

    ChatTemplateError if there is no template or it is not valid Jinja.
    """
    if tokenizer.chat_template is None:
        raise ChatTemplateError("the model has no chat template, so it has no turns or roles")
    names = {token_id: name for name, token_id in tokenizer.control_ids.items()}
    special = {
        "bos_token": names.get(-1 if tokenizer.bos_id is None else tokenizer.bos_id, ""),
        "eos_token": names.get(tokenizer.eos_ids[0], "") if tokenizer.eos_ids else "",
    }
    # A tokenizer that adds no BOS itself may still name one for its template to write.
    special.update(getattr(tokenizer, "special_tokens", {}))
    return compile_template(tokenizer.chat_template, {**special, **variables})


def compile_template(source: str, variables: Mapping[str, Any]) -> Render:
    """Compile a chat template; the result is safe to call from several threads."""
    environment = _BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.filters[_STEPS] = _counted
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        tree = environment.parse(source)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _STEPS, [], [], None, None)
        template = environment.from_string(tree)
    except (TemplateError, RecursionError) as error:
        raise ChatTemplateError(f"the chat template is not valid Jinja: {error}") from error

    def render(messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        scope: dict[str, Any] = {"tools": None, "documents": None, **variables}
        scope.update(messages=messages, add_generation_prompt=add_generation_prompt)
        scope[_STEPS] = _Steps()
        try:
            return _bounded_text(template.generate(scope))
        except ChatTemplateError:
            raise
        except Exception as error:  # whatever foreign code can raise
            reason = f"{type(error).__name__}: {error}"
            raise ChatTemplateError(f"the chat template failed: {reason}") from error

    return render


def _bounded_text(parts: Iterable[str]) -> str:
    pieces: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_OUTPUT:
            raise ChatTemplateError(f"the chat template wrote over {MAX_OUTPUT} characters")
        pieces.append(part)
    return "".join(pieces)


class _Steps:
    """Loop rounds and calls of one render."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, count: int) -> None:
        self.taken += count
        if self.taken > MAX_STEPS:
            raise ChatTemplateError(f"the chat template took over {MAX_STEPS} steps")


class _BoundedEnvironment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: JinjaScope, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(left) > MAX_OUTPUT or abs(right) > 64):
            raise ChatTemplateError(f"the chat template computes {left} ** {right}")
        if operator == "*":
            for text, count in ((left, right), (right, left)):
                if hasattr(text, "__len__") and len(text) * count > MAX_OUTPUT:
                    raise ChatTemplateError("the chat template repeats a text too often")
        return super().call_binop(context, operator, left, right)

    def call(self, context: JinjaScope, obj: Any, *args: Any, **kwargs: Any) -> Any:
        context.parent[_STEPS].take(1)
        return super().call(context, obj, *args, **kwargs)


@pass_context
def _counted(context: JinjaScope, items: Iterable[Any]) -> list[Any]:
    """Every `for` of the template goes through here."""
    listed = list(items)
    context.parent[_STEPS].take(len(listed))
    return listed


class _GenerationTag(Extension):
    """`{% generation %}` marks what the model writes, for training; here it is only its body."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own declaration)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise ChatTemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
