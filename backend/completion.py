"""`engine.generate` and `engine.chat`: programs of one gen, written in the language itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sestina.lang.api import gen, role, role_begin
from sestina.lang.errors import InvalidParams, ProgramError
from sestina.lang.expression import Expr
from sestina.lang.program import Program
from sestina.lang.session import Backend, GenMeta
from sestina.lang.state import State

NAME = "completion"


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote after one prompt.

    Of a list of prompts some may fail: then `error` is set, and reading anything else raises it.
    With n > 1, `texts`, `values` and `metas` have all n; `text`, `value`, `meta` the first.
    """

    _values: tuple[Any, ...]
    _metas: tuple[GenMeta, ...]
    error: ProgramError | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(meta.text for meta in self.metas)

    @property
    def values(self) -> tuple[Any, ...]:
        """The typed values with `schema=` or `dtype=`, else the texts."""
        self._raise()
        return self._values

    @property
    def metas(self) -> tuple[GenMeta, ...]:
        self._raise()
        return self._metas

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def value(self) -> Any:
        return self.values[0]

    @property
    def meta(self) -> GenMeta:
        return self.metas[0]

    @property
    def finish_reason(self) -> str:
        return self.meta.finish_reason

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


def _append(s: State, expr: Expr) -> None:
    s += expr


async def _append_in_loop(s: State, expr: Expr) -> None:
    s += expr


class Completions:
    """Completions on one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._program = Program.of(_append)
        self._async_program = Program.of(_append_in_loop)  # which needs no thread

    def generate(
        self, prompt: str | Sequence[str], options: Mapping[str, Any]
    ) -> Completion | list[Completion]:
        wanted = gen(NAME, **options)  # validated once, before anything runs
        if isinstance(prompt, str):
            return _completion(self._program.run(prompt + wanted, backend=self._backend))
        batch = [(text + wanted,) for text in _texts(prompt)]
        states = self._program.run_batch(batch, backend=self._backend)
        return [_completion(state, keep_error=True) for state in states]

    def chat(self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> Completion:
        expr = _conversation(messages) + gen(NAME, **options)
        return _completion(self._program.run(expr, backend=self._backend))

    async def agenerate(
        self, prompt: str | Sequence[str], options: Mapping[str, Any]
    ) -> Completion | list[Completion]:
        wanted = gen(NAME, **options)
        if isinstance(prompt, str):
            return _completion(await self._run(prompt + wanted))
        states = await asyncio.gather(*(self._run(text + wanted) for text in _texts(prompt)))
        return [_completion(state, keep_error=True) for state in states]

    async def achat(
        self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]
    ) -> Completion:
        return _completion(await self._run(_conversation(messages) + gen(NAME, **options)))

    async def _run(self, expr: Expr) -> State:
        return await self._async_program.arun(expr, backend=self._backend)


def _texts(prompts: object) -> list[str]:
    if isinstance(prompts, (bytes, Mapping)) or not isinstance(prompts, Iterable):
        kind = type(prompts).__name__
        raise InvalidParams(f"a prompt is a text, or a list of texts; got {kind}")
    texts = list(prompts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidParams(f"prompt {i} is no text but {type(text).__name__}")
    return texts


def _conversation(messages: Sequence[Mapping[str, str]]) -> Expr:
    """The turns so far and the opening of the assistant's next one."""
    if isinstance(messages, (str, Mapping)) or not messages:
        raise InvalidParams("a chat is a list of at least one message, each with role and content")
    turns = Expr(())
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidParams(f"message {i} is no mapping but {type(message).__name__}")
        name, content = message.get("role"), message.get("content")
        if not isinstance(name, str) or not isinstance(content, str):
            raise InvalidParams(f"message {i} needs a 'role' and a 'content', both texts")
        turns = turns + role(name, content)
    return turns + role_begin("assistant")


def _completion(state: State, *, keep_error: bool = False) -> Completion:
    try:
        value = state[NAME]
    except ProgramError as error:
        if not keep_error:
            raise
        return Completion((), (), error)
    except BaseException:  # Ctrl-C: nobody waits for it any more
        state.cancel()
        raise
    metas = tuple(state.get_meta_infos(NAME))
    return Completion(tuple(value) if len(metas) > 1 else (value,), metas)
