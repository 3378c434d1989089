"""Walks of threads against the plain walk of the automaton's dense rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, dense_mask, tokens_in

from sestina.backend.grammar.core import memory, threads
from sestina.backend.grammar.core.memory import EMPTY, OK, STATUS, TOP
from sestina.kernels.token_mask import Trie, build_trie
from sestina.lang import grammar_ir as ir

TOKENS = st.lists(
    st.lists(st.sampled_from(b"abcd"), min_size=1, max_size=6).map(bytes), max_size=30
)


def walk(core: Core, starts: Sequence[int], trie: Trie) -> set[int] | None:
    """The tokens that a walk of threads allows, from the roots; None if it outgrew its room."""
    scratch = threads.new_scratch(trie.max_depth)
    row = np.zeros(len(trie.token_ids) // 32 + 1, np.int32)
    while True:
        mem, table = core.mem, core.machine.table
        first = int(mem[TOP])
        for e in starts:
            memory.push(mem, e)
        done = threads.start_walk(mem, table, scratch, first, int(mem[TOP])) and threads.walk_nodes(
            mem, table, scratch, threads.Tokens(*trie[:5]), 0, len(trie.byte), row
        )
        mem[TOP] = first
        if mem[STATUS] == OK:
            return tokens_in(row) if done else None
        core.machine.recover(int(mem[STATUS]), core.budget)


@given(st.data(), TOKENS)
@settings(deadline=None, max_examples=80)
def test_threads_allow_what_the_automaton_allows(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject, tokens: list[bytes]
) -> None:
    core, trie = shared_core, build_trie([(token, i) for i, token in enumerate(tokens)])
    nodes = data.draw(st.lists(exprs, min_size=1, max_size=3))
    starts = [e for e in map(core.state, nodes) if e != EMPTY]
    expected: set[int] = set()
    for e in starts:
        expected |= dense_mask(core, e, trie)
    assert walk(core, starts, trie) == expected


def test_loops_of_what_may_be_empty_end(core: Core) -> None:
    trie = build_trie([(b"ab", 0), (b"abab", 1), (b"b", 2), (b"ac", 3)])
    inner = ir.Concat((ir.star(ir.literal("a")), ir.star(ir.literal("b"))))
    e = core.make(ir.star(ir.optional(inner)))
    assert walk(core, [e], trie) == {0, 1, 2}
    counted = core.make(ir.Concat((ir.Repeat(ir.literal("ab"), 2, 2), ir.literal("c"))))
    assert walk(core, [counted], trie) == {0, 1}


def test_recursion_and_control_tokens(core: Core) -> None:
    from sestina.backend.grammar.core import intern

    rule = core.run(intern.rule, -1, intern.ALONE, 1)
    call = core.run(intern.special, 0)
    inside = core.cat(core.literal(b"("), core.cat(rule, core.literal(b")")))
    core.run(intern.set_body, rule, core.alt([inside, core.cat(call, core.literal(b"x")), 1]))
    texts = [b"(", b"((", b"()", b"(())", b"())", b"x", b"(x", b")"]
    trie = build_trie([(text, i) for i, text in enumerate(texts)])
    assert walk(core, [rule], trie) == {0, 1, 2, 3}


def test_a_walk_that_outgrows_its_room_says_so(core: Core) -> None:
    """Each byte leaves thousands of places: better walked as an automaton."""
    trie = build_trie([(b"a" * n, n) for n in range(1, 20)])
    loops = [core.repeat(core.literal(b"a"), 2 * i + 1, 2 * i + 1) for i in range(3000)]
    assert walk(core, loops, trie) is None
    assert walk(core, loops[:20], trie) == set(range(1, 20))
