"""The grammar engine: from a constraint to the tokens allowed next.

    constraint --lang--> constraint IR --build--> expressions --derivative, liveness--> states
    expressions x TokenTrie --mask_cache--> token masks, by state    --forced--> forced runs
    Machine: expressions, states and transitions, shared by all grammars of a GrammarCompiler
    Automaton: one grammar in a machine     Matcher: one branch's place in it

`compile_constraint` is the way in; `compile_automaton` gives the bare automaton over bytes.
"""

from sestina.backend.grammar.automaton import Automaton, compile_automaton
from sestina.backend.grammar.compiler import GrammarCompiler, compile_constraint, compile_grammar
from sestina.backend.grammar.limits import Limits
from sestina.backend.grammar.machine import DEAD
from sestina.backend.grammar.matcher import CompiledGrammar, Matcher
from sestina.backend.grammar.token_trie import TokenTrie

__all__ = [
    "DEAD",
    "Automaton",
    "CompiledGrammar",
    "GrammarCompiler",
    "Limits",
    "Matcher",
    "TokenTrie",
    "compile_automaton",
    "compile_constraint",
    "compile_grammar",
]
