"""The engine's core: expressions, derivatives, liveness and mask walks, compiled by numba.

    memory     the array it all lives in           intern, union   making expressions
    permute    parts in any order                  rules, link     the rules of a grammar
    components, walks                              parts of masks, and how the trie is walked
    entries, dispatch, compiled                    how all this is compiled, and called
    derive     derivatives, byte classes           liveness        what And and Not leave empty
    dense      the automaton's table               threads         walking a vocabulary without it
    clamp      counters as far as a token sees     masks           masks put together from parts
    assemble   making a whole grammar in one call

    endings, ending_words, ending_search    the shortest text to an end: its length, its symbols
    ending_tokens, ending_reach             tokens that it takes, and masks that leave room for it

Everything here is plain functions over arrays; `sestina.backend.grammar.machine` owns the arrays,
enlarges them and turns what goes wrong into errors.
"""
