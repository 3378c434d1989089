"""Constraints to compiled grammars, cached per vocabulary."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

from sestina.backend.grammar.automaton import Automaton, compile_automaton
from sestina.backend.grammar.core import memory
from sestina.backend.grammar.limits import Budget, Limits
from sestina.backend.grammar.matcher import CompiledGrammar, SharedMasks
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang import grammar_ir as ir

if TYPE_CHECKING:
    from sestina.lang.constraint import Constraint


def compile_grammar(
    grammar: ir.Grammar,
    tokenizer: Tokenizer,
    *,
    trie: TokenTrie | None = None,
    limits: Limits | None = None,
    shared: SharedMasks | None = None,
) -> CompiledGrammar:
    """A grammar over a tokenizer's vocabulary.

    trie: the tokenizer's, if it was built before (it is what takes time with a large vocabulary).
    shared: of the same tokenizer, to share what is worked out with its other grammars.
    Raises a ConstraintError: see `compile_automaton`; besides, InvalidConstraint for a control
    token that the vocabulary lacks, UnsupportedConstraint for one that ends the text.
    """
    if trie is None:
        trie = TokenTrie.from_tokenizer(tokenizer)
    elif trie.fingerprint != tokenizer.fingerprint:
        raise ValueError("the token trie is of another tokenizer")
    limits = limits or Limits()
    if shared is None:
        shared = SharedMasks(trie, tokenizer, limits.max_mask_cache_bytes)
    automaton = compile_automaton(grammar, limits, machine=shared.machine)
    return CompiledGrammar(automaton, shared)


class GrammarCompiler:
    """Compiles constraints for one tokenizer and keeps the results. Thread-safe.

    max_grammars: compiled grammars kept, the least recently used going first. Threads that ask for
    the same constraint at once share one compilation, and its error if it fails.

    All grammars are built into one machine, so that what they have in common is worked out once.
    When it has grown past `limits.max_shared_bytes`, later ones get a new machine; those compiled
    before keep the old one for as long as they are used.
    """

    def __init__(
        self, tokenizer: Tokenizer, limits: Limits | None = None, *, max_grammars: int = 256
    ) -> None:
        self.tokenizer = tokenizer
        self.limits = limits or Limits()
        self.trie = TokenTrie.from_tokenizer(tokenizer)
        self.max_grammars = max_grammars
        self._lock = threading.Lock()
        self._shared = self._fresh()
        self._kept: OrderedDict[Constraint, Future[CompiledGrammar]] = OrderedDict()

    def compile(self, constraint: Constraint) -> CompiledGrammar:
        """The compiled grammar of a constraint. Blocks while it is being compiled.

        An interrupt (KeyboardInterrupt) ends the thread that compiles, and no other: one of those
        that wait begins anew.
        """
        while True:
            with self._lock:
                future = self._kept.get(constraint)
                mine = future is None
                if future is None:
                    future = self._kept[constraint] = Future()
                self._kept.move_to_end(constraint)
            if mine:
                return self._run(constraint, future)
            try:
                return future.result()
            except CancelledError:
                continue

    def anything(self) -> CompiledGrammar:
        """The grammar of all texts, of any bytes; it has limits of its own each time."""
        shared = self._current()
        automaton = Automaton(shared.machine, memory.ALL, Budget(self.limits))
        return CompiledGrammar(automaton, shared)

    def _fresh(self) -> SharedMasks:
        return SharedMasks(self.trie, self.tokenizer, self.limits.max_mask_cache_bytes)

    def _current(self) -> SharedMasks:
        with self._lock:
            if self._shared.memory_bytes() > self.limits.max_shared_bytes:
                self._shared = self._fresh()
            return self._shared

    def _run(self, constraint: Constraint, future: Future[CompiledGrammar]) -> CompiledGrammar:
        try:
            made = compile_grammar(
                constraint.to_grammar(),
                self.tokenizer,
                trie=self.trie,
                limits=self.limits,
                shared=self._current(),
            )
        except BaseException as error:
            with self._lock:
                if self._kept.get(constraint) is future:
                    del self._kept[constraint]
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()
            raise
        future.set_result(made)
        with self._lock:
            done = [each for each, kept in self._kept.items() if kept.done()]
            for each in done[: max(0, len(self._kept) - self.max_grammars)]:
                del self._kept[each]
        return made


def compile_constraint(
    constraint: Constraint, tokenizer: Tokenizer | GrammarCompiler, *, limits: Limits | None = None
) -> CompiledGrammar:
    """A constraint over a tokenizer's vocabulary.

    With a tokenizer, its vocabulary is read each time; pass a GrammarCompiler to read it once and
    to keep what was compiled (its own limits hold then, so `limits` must be left out).
    """
    if isinstance(tokenizer, GrammarCompiler):
        if limits is not None:
            raise ValueError("limits are the GrammarCompiler's own")
        return tokenizer.compile(constraint)
    grammar = constraint.to_grammar()
    return compile_grammar(grammar, tokenizer, limits=limits)
