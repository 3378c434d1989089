"""What every running program shares: model, tokenizer, scheduler, grammar compiler, totals."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from sestina.backend.branch import Prepared
from sestina.backend.grammar import GrammarCompiler, compile_automaton
from sestina.backend.ops.speculation import Guesses
from sestina.backend.sampling.penalties import check_ids
from sestina.backend.sampling.token_sets import TokenSets
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.backend.scheduler.sequence import Counters
from sestina.backend.tokenizer.base import Tokenizer
from sestina.backend.tokenizer.template import chat_renderer
from sestina.lang import ir
from sestina.lang.chat_template import ChatTurns
from sestina.lang.constraint import Regex
from sestina.lang.errors import EngineClosed
from sestina.lang.params import SamplingParams

_MAX_RESOLVED = 256  # different parameters that are remembered


class Core:
    """The parts, wired once; programs borrow them."""

    def __init__(self, tokenizer: Tokenizer, scheduler: Scheduler) -> None:
        self.tokenizer = tokenizer
        self.scheduler = scheduler
        self.token_sets = TokenSets(tokenizer)
        self.compiler = GrammarCompiler(tokenizer)
        self.guesses = Guesses(scheduler.options.max_guesses)
        self.totals = Counters()
        self._turns: ChatTurns | None = None
        self._resolved: dict[tuple[SamplingParams, SamplingParams], SamplingParams] = {}
        # One worker: compiling must not take the second core from the model.
        self._compiling = ThreadPoolExecutor(1, thread_name_prefix="sestina-compile")

    @property
    def turns(self) -> ChatTurns:
        """The model's chat template, turn by turn; ChatTemplateError if it has none."""
        if self._turns is None:
            # Compiled when first needed: a broken template is no reason not to load a model.
            self._turns = ChatTurns(chat_renderer(self.tokenizer))
        return self._turns

    def prepare(self, op: ir.Gen, defaults: SamplingParams) -> Future[Prepared] | None:
        """Start compiling what a gen needs, off the scheduler's thread; None if nothing."""
        patterns = defaults.merge(op.params).stop_regex or ()
        if op.constraint is None and not patterns:
            return None
        try:
            return self._compiling.submit(self._compile, op, patterns)
        except RuntimeError as error:  # the pool was shut down
            raise EngineClosed("the engine is closed") from error

    def _compile(self, op: ir.Gen, patterns: tuple[str, ...]) -> Prepared:
        grammar = None if op.constraint is None else self.compiler.compile(op.constraint)
        stops = tuple(compile_automaton(Regex(p).to_grammar()) for p in patterns)
        return Prepared(grammar, stops)

    def resolve(self, defaults: SamplingParams, params: SamplingParams) -> SamplingParams:
        """A gen's parameters with every field set. InvalidParams for ids outside the vocabulary.

        The gens of a batch mostly say the same: validating is 0.1 ms, finding it done 5 us.
        """
        found = self._resolved.get((defaults, params))
        if found is None:
            found = defaults.merge(params).resolved()
            check_ids(found, self.scheduler.model.config.vocab_size)
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.clear()
            self._resolved[defaults, params] = found
        return found

    def close(self) -> None:
        self._compiling.shutdown(wait=True, cancel_futures=True)
