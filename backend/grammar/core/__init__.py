"""The engine's core: expressions, derivatives, liveness and mask walks, compiled by numba.

    memory     the array it all lives in           intern, union   making expressions
    derive     derivatives, byte classes           liveness        what And and Not leave empty
    dense      the automaton's table               threads         walking the vocabulary without one
    clamp      counters as far as a token sees     masks           masks put together from parts
    assemble   making a whole grammar in one call

Everything here is plain functions over arrays; `sestina.backend.grammar.machine` owns the arrays,
enlarges them and turns what goes wrong into errors.
"""
