"""The work of `sestina extract`: documents in, records and failures out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sestina.cli.inputs import BadInput, Document
from sestina.cli.output import Output
from sestina.lang.errors import ConstraintError, EngineClosed, ProgramError

if TYPE_CHECKING:
    from sestina.lang.constraint import JsonSchema
    from sestina.lang.program import Program
    from sestina.lang.session import Backend, Usage

Advance = Callable[[], object]
"""Called once per input that is dealt with."""


class Form(NamedTuple):
    """What a record looks like; `check` raises ValueError if a finished text is not one."""

    constraint: JsonSchema
    check: Callable[[str], object]


@dataclass(slots=True)
class Tally:
    """What a run has done: inputs skipped, tokens by where they came from, seconds."""

    skipped: int = 0
    prefilled: int = 0
    cached: int = 0
    forced: int = 0
    sampled: int = 0
    seconds: float = 0.0

    def add(self, usage: Usage) -> None:
        self.prefilled += usage.prefilled
        self.cached += usage.cached
        self.forced += usage.forced
        self.sampled += usage.sampled


@dataclass(frozen=True, slots=True)
class Extraction:
    """`program` turns a `text` into variable "record"; results go to `output`."""

    program: Program
    form: Form
    output: Output
    tally: Tally

    def sift(self, items: Iterable[Document | BadInput], advance: Advance) -> Iterator[Document]:
        """The documents that need the model; reports bad inputs, skips what is in the output."""
        # A copy: what this run writes is not "done before".
        done = frozenset(self.output.done)
        for item in items:
            if isinstance(item, BadInput):
                self.output.write_error(item.id, item.source, item.reason)
            elif item.id in done:
                self.tally.skipped += 1
            else:
                yield item
                continue
            advance()

    async def drain(
        self, documents: Iterator[Document], backend: Backend, concurrency: int, advance: Advance
    ) -> None:
        """Extract from every document, `concurrency` at a time, each written as it finishes.

        A document that fails harms no other. EngineClosed ends the run, as does Ctrl-C: the
        programs that are under way are cancelled and their documents stay undone.
        """

        async def work() -> None:
            for document in documents:  # shared: each worker takes the next one
                await self._extract(document, backend)
                advance()

        workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _extract(self, document: Document, backend: Backend) -> None:
        state = await self.program.arun(document.text, backend=backend)
        try:
            text = await state.aget("record")
            self.tally.add(state.usage)
            meta = state.get_meta_info("record")
            if not isinstance(meta, list) and meta.finish_reason == "length":
                raise ValueError("truncated: the record did not end within --max-tokens")
            self.form.check(text)
        except ProgramError as error:
            if isinstance(error.cause, EngineClosed):
                raise
            reason = f"{type(error.cause).__name__}: {error.cause}"
            self.output.write_error(document.id, document.source, reason)
        except (ValueError, ConstraintError) as error:
            self.output.write_error(document.id, document.source, str(error))
        else:
            self.output.write_record(document.id, document.source, text)
