"""The memory: what is remembered, and that it may run out anywhere without a difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, statuses, words

from sestina.backend.grammar import TokenTrie, compile_grammar
from sestina.backend.grammar.core import calls, memory
from sestina.backend.grammar.core.dense import new_table
from sestina.backend.grammar.core.memory import (
    COMPONENTS_FULL,
    MEMO_FULL,
    NODES_FULL,
    NUM_MEMO,
    OK,
    POOL_FULL,
    STACK_FULL,
    STATUS,
    TABLE_FULL,
)
from sestina.lang import grammar_ir as ir

WORDS = words(4)
A_LETTER = ir.byte_range(97, 99)


@given(
    st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(0, 1 << 22), st.integers(0, 1 << 20)))
)
@settings(deadline=None, max_examples=30)
def test_the_memo_is_a_dictionary(entries: list[tuple[int, int, int]]) -> None:
    mem = memory.new_memory(1 << 10, np.full(memory.SET_WORDS, -1, np.int64))
    kept: dict[tuple[int, int], int] = {}
    for e, symbol, result in entries:
        memory.remember(mem, e, symbol, result)
        kept[e, symbol] = result
    for (e, symbol), result in kept.items():
        assert memory.recall(mem, e, symbol) == result
        assert memory.recall(mem, e, symbol + 1) == kept.get((e, symbol + 1), -1)


def test_nothing_is_remembered_once_something_went_wrong() -> None:
    mem = memory.new_memory(64, np.full(memory.SET_WORDS, -1, np.int64))
    mem[STATUS] = NODES_FULL
    memory.remember(mem, 5, 97, 6)
    assert memory.recall(mem, 5, 97) == -1


def test_a_full_memo_grows_and_one_of_full_size_is_emptied() -> None:
    mem = memory.new_memory(64, np.full(memory.SET_WORDS, -1, np.int64))
    for size in (1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20):
        assert mem[memory.MEMO_MASK] == size - 1
        _fill_memo(mem, size // 2 + 1)
        if size >= memory.MAX_MEMO:
            break
        assert mem[STATUS] == MEMO_FULL
        mem[STATUS] = OK
        mem = memory.enlarged(mem, MEMO_FULL)
        assert mem[NUM_MEMO] == 0
    assert mem[STATUS] == OK
    assert 0 < mem[NUM_MEMO] < 10
    assert memory.recall(mem, 1, 97) == -1


def _fill_memo(mem: memory.Words, count: int) -> None:
    for e in range(1, count + 3):
        memory.remember(mem, e, 97, e)


@pytest.mark.parametrize("status", [NODES_FULL, POOL_FULL, STACK_FULL, MEMO_FULL])
def test_growing_keeps_every_expression(core: Core, status: int) -> None:
    nodes = [
        ir.literal("abc"),
        ir.star(ir.Alt((ir.literal("ab"), ir.literal("cc")))),
        ir.And((ir.star(A_LETTER), ir.Not(ir.literal("aa")))),
        ir.literal("a literal of some length"),
    ]
    made = [core.make(node) for node in nodes]
    core.machine.mem = memory.enlarged(core.mem, status)
    assert [core.make(node) for node in nodes] == made
    assert core.accepts(made[1], b"abcc")
    assert not core.accepts(made[2], b"aa")


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_a_machine_that_starts_tiny(exprs: st.SearchStrategy[ir.Expr], data: st.DataObject) -> None:
    node = data.draw(exprs)
    tiny, roomy = Core(16), Core(1 << 13)
    for core in (tiny, roomy):
        core.live(core.make(node))
    for word in WORDS:
        assert tiny.accepts(tiny.make(node), word) == roomy.accepts(roomy.make(node), word)
    assert not roomy.statuses


def hungry() -> ir.Expr:
    """Wants much of everything: many words, long ones, wide alternations, large automata."""
    numbers = ir.Alt(tuple(ir.literal(f"{i * 7919:06}") for i in range(300)))
    counts = ir.Alt(tuple(ir.Repeat(ir.literal("x"), i, i) for i in range(0, 40_000, 2)))
    string = ir.Repeat(ir.Alt((ir.chars(ir.ANY_CHAR), ir.literal("ab"))), 0, 90)
    no_word = ir.And((ir.star(ir.byte_range(32, 126)), ir.Not(ir.Concat((numbers, string)))))
    loops = (ir.star(ir.ByteSet(((1 << 256) - 1) & ~(1 << b))) for b in range(33, 60))
    return ir.Alt(
        (
            ir.Concat((ir.literal("1"), numbers, no_word, ir.literal("\0"))),
            ir.Concat((ir.literal("2"), counts, ir.literal("."))),
            ir.Concat((ir.literal("3"), string, no_word)),
            ir.Concat((ir.literal("4"), ir.Alt(tuple(loops)), ir.literal("\0"))),
        )
    )


def test_every_region_runs_out_and_nothing_changes(tokenizer: object, trie: TokenTrie) -> None:
    from sestina.backend.grammar.matcher import SharedMasks

    tiny, roomy = (SharedMasks(trie, tokenizer, 1 << 20) for _ in range(2))  # type: ignore[arg-type]
    tiny.machine.__init__(tiny.machine.alphabet, 16)  # type: ignore[misc]
    tiny.machine.table = new_table(2)
    asked, grammar = statuses(tiny.machine), ir.Grammar(hungry())
    small, large = (
        compile_grammar(grammar, tokenizer, trie=trie, shared=shared)  # type: ignore[arg-type]
        for shared in (tiny, roomy)
    )
    for text in (b"1000000ab", b"2xxxx", b"3ab\xc3\xa9", b"4a("):
        ours, theirs = small.matcher(), large.matcher()
        for byte in text:
            rows = np.zeros((2, trie.num_words), np.int32)
            ours.fill_mask(rows[0])
            theirs.fill_mask(rows[1])
            assert rows[0].tolist() == rows[1].tolist()
            assert ours.forced_tokens() == theirs.forced_tokens()
            assert ours.accept_token(byte)
            assert theirs.accept_token(byte)
    regions = {NODES_FULL, POOL_FULL, STACK_FULL, MEMO_FULL, TABLE_FULL, COMPONENTS_FULL}
    assert set(asked) == regions


def test_the_dead_state_costs_nothing(core: Core) -> None:
    before = core.mem[NUM_MEMO]
    for byte in range(256):
        assert core.run(calls.step_one, memory.EMPTY, byte) == memory.EMPTY
    assert core.mem[NUM_MEMO] == before
