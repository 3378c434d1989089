"""The op `Gen`: one generation, or n of them side by side on sequences that share the prompt."""

from __future__ import annotations

from sestina.backend.branch import NO_TEXT, Branch, Prepared, QueuedOp
from sestina.backend.core import Core
from sestina.backend.ops.gen_request import GenCallbacks, GenRequest, GenResult
from sestina.backend.ops.generation import Generation
from sestina.backend.ops.healing import Healed, heal
from sestina.backend.ops.host import OpHost, ProgramHost
from sestina.backend.scheduler.sequence import Sequence
from sestina.backend.seeds import derive_seed
from sestina.lang import ir
from sestina.lang.errors import InvalidParams, SestinaError
from sestina.lang.params import SamplingParams
from sestina.lang.session import Chunk, TokenLogprob


class GenOp:
    """Runs `params.n` generations; the text goes on with the first."""

    def __init__(
        self,
        core: Core,
        program: ProgramHost,
        runner: OpHost,
        branch: Branch,
        queued: QueuedOp,
        params: SamplingParams,
        prepared: Prepared,
    ) -> None:
        self._core = core
        self._program = program
        self._runner = runner
        self._branch = branch
        self._queued = queued
        self._params = params
        self._prepared = prepared
        self._results: list[GenResult | None] = [None] * (params.n or 1)
        self._sequences: list[Sequence] = []
        self._generations: list[Generation] = []
        self._healed: Healed | None = None
        self._start = 0  # where tokens are new

    @property
    def _op(self) -> ir.Gen:
        op = self._queued.op
        if not isinstance(op, ir.Gen):
            raise TypeError(f"a gen runs Gen ops, not {type(op).__name__}")
        return op

    def begin(self) -> None:
        self._check_budget()
        first, healed = self._branch.sequence, self._heal()
        if len(self._results) > 1:
            # What is computed so far must be in the tree for the others to share it.
            self._core.scheduler.remove(first)
        if healed is not None:
            self._core.scheduler.truncate(first, len(first) - len(healed.ids))
        self._start, self._healed = len(first), healed
        others = [first.branch_off() for _ in self._results[1:]]
        self._sequences = [first, *others]
        self._generations = [self._generation(i, s) for i, s in enumerate(self._sequences)]
        for generation in self._generations:
            if self._branch.active is None:
                return  # an earlier one failed the op at once
            generation.begin()

    def _heal(self) -> Healed | None:
        return heal(self._core, self._branch, self._params, self._prepared.grammar)

    def _note_tokens(self, has_output: bool) -> None:
        """Tell the branch what became of the end of its text."""
        branch, healed = self._branch, self._healed
        if has_output:
            branch.text_run = NO_TEXT
        if healed is None or self._start >= branch.fork_token_start:
            return
        if tuple(branch.sequence.tokens[self._start : branch.fork_token_start]) != healed.ids:
            # From here on the tokens are this branch's own.
            branch.fork_token_start, branch.fork_overlap = self._start, len(healed.data)

    def _check_budget(self) -> None:
        """InvalidParams if max_tokens may be too few for the constraint.

        With 0 nothing is generated: the text before is computed, no more.
        """
        grammar, max_tokens = self._prepared.grammar, self._params.max_tokens
        if grammar is None or not max_tokens:
            return
        needed = grammar.min_tokens()
        if needed > max_tokens:
            raise InvalidParams(
                f"max_tokens is {max_tokens}, and the constraint takes {needed} tokens to be sure "
                "that its text comes to an end"
            )

    def cancel(self) -> None:
        """Stop computing; idempotent."""
        for sequence in self._sequences:
            self._core.scheduler.remove(sequence)
            sequence.task = None
        for generation, result in zip(self._generations, self._results, strict=False):
            if result is None:
                self._runner.spend(self._branch, generation.counters)

    def _generation(self, index: int, sequence: Sequence) -> Generation:
        request = GenRequest(
            self._params,
            self._seed(index),
            self._prepared.grammar,
            self._healed,
            self._prepared.stop_regexes,
        )

        def on_result(result: GenResult) -> None:
            self._results[index] = result
            self._runner.spend(self._branch, generation.counters)
            if len(self._results) > 1:
                # The others may need its memory; the first goes on when all are done.
                self._core.scheduler.remove(sequence)
            results = [r for r in self._results if r is not None]
            if len(results) == len(self._results):
                self._finish(results)

        def on_error(error: SestinaError) -> None:
            self._runner.fail(self._branch, self._queued, error)

        generation = Generation(
            request,
            sequence,
            self._core.tokenizer,
            self._core.token_sets,
            self._core.scheduler,
            self._core.guesses,
            GenCallbacks(
                self._chunk if index == 0 and self._op.stream else None, on_result, on_error
            ),
        )
        return generation

    def _seed(self, index: int) -> int:
        """The gen's own seed counts alone; else it is this op's place in the program's tree."""
        if self._params.seed is not None:
            return derive_seed(self._params.seed, "", 0, index)
        return derive_seed(self._program.seed, self._branch.id, self._queued.index, index)

    def _chunk(self, text: str, ids: tuple[int, ...], logprobs: tuple[TokenLogprob, ...]) -> None:
        self._program.emit(
            Chunk(self._branch.id, self._queued.index, self._op.name, text, ids, logprobs)
        )

    def _finish(self, results: list[GenResult]) -> None:
        branch, first = self._branch, results[0]
        if not self._op.stream and first.text:
            self._chunk(first.text, (), ())
        self._note_tokens(bool(first.meta.ids))
        branch.append_text(first.text)
        if first.tail:
            branch.untokenised.append(first.tail)
        if self._op.name is not None:
            branch.set_variable(self._op.name, first.text)
        value = first.text if len(results) == 1 else [result.text for result in results]
        self._runner.finish(
            branch, self._queued, self._op.name, value, [result.meta for result in results]
        )
