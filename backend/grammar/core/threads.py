"""Walking the vocabulary's trie with expressions as they are, without making an automaton of them.

The walk carries a set of threads, each a place in an expression with what must follow it (a chain
of frames), as Thompson's simulation of regular expressions does (1968); frames that are equal are
the same frame, so that a set of threads stays as small as the expression and the token allow.
Parts that are better walked as an automaton (`dense.is_state`) are one thread, a row of the table.

Scratch tables below need no clearing: a slot counts only if the frame it names points back at it
(Briggs and Torczon 1993, "An efficient representation for sparse sets").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.dense import ACCEPTING, after, group_of, is_state, row_of
from sestina.backend.grammar.core.memory import (
    ALT,
    CAT,
    EPSILON,
    LITERAL,
    NUM_BYTES,
    OK,
    PERMUTE,
    POOL,
    REPEAT,
    RULE,
    SET,
    SET_WORDS,
    STATUS,
    Int32s,
    Words,
    kind_of,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body
from sestina.kernels.token_mask.cpu import allow

_ROW = NUM_BYTES  # the operation of a thread that is a row of the table


class Tokens(NamedTuple):
    """A vocabulary's trie, see `sestina.kernels.token_mask.Trie`, and what is said beside."""

    byte: NDArray[np.uint8]
    depth: Int32s
    end: Int32s
    token_start: Int32s
    token_ids: Int32s
    groups: Int32s  # of the bytes below each node, see `dense.group_of`
    height: Int32s  # bytes on the longest way below it


@jit_with_arrays
def look_below(byte: NDArray[np.uint8], end: Int32s) -> tuple[Int32s, Int32s]:
    """`Tokens.groups` and `height` of a trie."""
    groups, height = np.zeros(len(byte), np.int32), np.zeros(len(byte), np.int32)
    for i in range(len(byte) - 1, -1, -1):
        child = word(i) + 1
        while child < end[i]:
            groups[i] |= groups[child] | (1 << group_of(word(byte[child])))
            height[i] = max(height[i], height[child] + 1)
            child = word(end[child])
    return groups, height


# ---- the scratch of a walk, one array of words

_NUM_THREADS, _NUM_FRAMES, _STACK_LEN, _CLOSURE, _FULL, _FUEL, _NUM_LEVELS = range(7)
# In use: threads, frames, entries of the stack; the number of this closure, whether room or fuel
# ran out, the fuel left; how many levels there is room for.

# What takes more steps of threads than this is walked as an automaton instead: as a rule it has few
# states, and the next mask of its kind needs them again.
_MAX_STEPS = 4000

_MAX_THREADS = 16384
_MAX_FRAMES = 16384
_SLOTS = 32768
_MAX_STACK = 16384

_THREADS = 7  # four words each: operation, x, y, frame after
_FRAMES = _THREADS + 4 * _MAX_THREADS  # six: expression, copies begun, frame after, mark, closure,
_FRAME_LEN = 6  # slot
_FRAME_SLOTS = _FRAMES + _FRAME_LEN * _MAX_FRAMES
_STACK = _FRAME_SLOTS + _SLOTS  # three: expression, copies begun, frame after
_LEVELS = _STACK + 3 * _MAX_STACK  # threads and frames in use; a set of bytes; whether any is a row
_LEVEL_LEN = 2 + SET_WORDS + 1
_FIRST_BYTES, _HAS_ROW = 2, 2 + SET_WORDS


def new_scratch(max_depth: int) -> Words:
    """Scratch for walks of a trie with tokens of up to max_depth bytes."""
    scratch = np.zeros(_LEVELS + (max_depth + 2) * _LEVEL_LEN, np.int64)
    scratch[_NUM_LEVELS] = max_depth + 2
    return scratch


@jit
def num_levels(w: Words) -> int:
    """How many levels a walk may have."""
    return w[_NUM_LEVELS]


@jit
def max_len(w: Words) -> int:
    """Bytes in the longest token."""
    return w[_NUM_LEVELS] - 2


@jit
def _frame(w: Words, e: int, count: int, following: int, mark: int) -> int:
    """The frame (go on with e, of which `count` copies were begun, then with `following`)."""
    h = (e * 40503 + count * 9973 + following * 30011 + mark * 613) & (_SLOTS - 1)
    while True:
        f = w[_FRAME_SLOTS + h]
        at = _FRAMES + f * _FRAME_LEN
        if f <= 0 or f >= w[_NUM_FRAMES] or w[at + 5] != h:
            break
        if w[at] == e and w[at + 1] == count and w[at + 2] == following and w[at + 3] == mark:
            return f
        h = (h + 1) & (_SLOTS - 1)
    f = w[_NUM_FRAMES]
    if f >= _MAX_FRAMES:
        w[_FULL] = 1
        return 0
    w[_NUM_FRAMES] = f + 1
    w[_FRAME_SLOTS + h] = f
    at = _FRAMES + f * _FRAME_LEN
    w[at] = e
    w[at + 1] = count
    w[at + 2] = following
    w[at + 3] = mark
    w[at + 4] = -1
    w[at + 5] = h
    return f


@jit
def _push(w: Words, e: int, count: int, following: int) -> None:
    if w[_STACK_LEN] >= _MAX_STACK:
        w[_FULL] = 1
        return
    at = _STACK + 3 * w[_STACK_LEN]
    w[at] = e
    w[at + 1] = count
    w[at + 2] = following
    w[_STACK_LEN] += 1


@jit
def _emit(w: Words, operation: int, x: int, y: int, following: int) -> None:
    if w[_NUM_THREADS] >= _MAX_THREADS:
        w[_FULL] = 1
        return
    at = _THREADS + 4 * w[_NUM_THREADS]
    w[at] = operation
    w[at + 1] = x
    w[at + 2] = y
    w[at + 3] = following
    w[_NUM_THREADS] += 1


@jit
def _resume(w: Words, f: int, at: int) -> None:
    """Go on with a frame, once per closure; with frame 0 a text is over."""
    frame = _FRAMES + f * _FRAME_LEN
    if f and w[frame + 4] != w[_CLOSURE]:
        w[frame + 4] = w[_CLOSURE]
        # A copy that began here and is over was empty; it need not be taken.
        if w[frame + 3] != at:
            _push(w, w[frame], w[frame + 1], w[frame + 2])


@jit
def _emit_row(w: Words, table: Int32s, row: int, following: int, at: int) -> None:
    _emit(w, _ROW, row, 0, following)
    if table[row, ACCEPTING]:
        _resume(w, following, at)


@jit
def _close(mem: Words, table: Int32s, w: Words, at: int) -> None:
    """Follow what is on the stack to the bytes that may come next; `at` counts bytes read."""
    while w[_STACK_LEN] > 0:
        w[_STACK_LEN] -= 1
        top = _STACK + 3 * w[_STACK_LEN]
        e, count, following = w[top], w[top + 1], w[top + 2]
        kind = kind_of(mem, e)
        if kind in (SET, LITERAL):
            _emit(w, kind, x_of(mem, e), y_of(mem, e), following)
        elif kind == CAT:
            _push(w, x_of(mem, e), 0, _frame(w, y_of(mem, e), 0, following, -1))
        elif kind == ALT:
            for k in range(y_of(mem, e)):
                _push(w, mem[mem[POOL] + x_of(mem, e) + k], 0, following)
        elif kind in (RULE, PERMUTE):
            _push(w, body(mem, e), 0, following)
        elif e == EPSILON:
            _resume(w, following, at)
        elif is_state(mem, e):
            _emit_row(w, table, row_of(mem, table, e), following, at)
        elif kind == REPEAT:
            lo, hi = y_of(mem, e), z_of(mem, e)
            if count >= lo:
                _resume(w, following, at)
            if hi < 0 or count < hi:
                begun = min(count + 1, lo) if hi < 0 else count + 1
                _push(w, x_of(mem, e), 0, _frame(w, e, begun, following, at))
        if w[_FULL] or mem[STATUS] != OK:
            return


@jit
def _enter_level(mem: Words, w: Words, level: int, start: int) -> None:
    """Begin a level with the threads from `start` on; note which bytes they may read."""
    at = _LEVELS + level * _LEVEL_LEN
    w[at] = w[_NUM_THREADS]
    w[at + 1] = w[_NUM_FRAMES]
    w[at + _FIRST_BYTES : at + _LEVEL_LEN] = 0
    for t in range(start, w[_NUM_THREADS]):
        operation, x = w[_THREADS + 4 * t], w[_THREADS + 4 * t + 1]
        if operation == SET:
            for k in range(SET_WORDS):
                w[at + _FIRST_BYTES + k] |= mem[mem[POOL] + x + k]
        elif operation == LITERAL:
            b = mem[mem[POOL] + x]
            w[at + _FIRST_BYTES + (b >> 6)] |= word(1) << (b & 63)
        else:
            w[at + _FIRST_BYTES : at + _LEVEL_LEN] = -1


@jit
def may_read(w: Words, level: int, b: int) -> bool:
    """Whether some thread of a level may read byte b; exact unless one is a row."""
    return (w[_LEVELS + level * _LEVEL_LEN + _FIRST_BYTES + (b >> 6)] >> (b & 63)) & 1 != 0


@jit
def _step(mem: Words, table: Int32s, w: Words, level: int, b: int) -> bool:
    """Let the threads of a level read byte b; what goes on is put after them and on the stack.

    Returns whether any could.
    """
    here = _LEVELS + level * _LEVEL_LEN
    start, stop = w[here - _LEVEL_LEN] if level else 0, w[here]
    at = level + 1
    w[_FUEL] -= stop - start
    if w[_FUEL] < 0:
        w[_FULL] = 1
    w[_NUM_THREADS] = stop
    w[_NUM_FRAMES] = w[here + 1]
    w[_CLOSURE] += 1
    alive = False
    for t in range(start, stop):
        thread = _THREADS + 4 * t
        operation, x, following = w[thread], w[thread + 1], w[thread + 3]
        if operation == SET:
            if (mem[mem[POOL] + x + (b >> 6)] >> (b & 63)) & 1:
                alive = True
                _resume(w, following, at)
        elif operation == LITERAL:
            if mem[mem[POOL] + x] == b:
                alive = True
                if w[thread + 2] > 1:
                    _emit(w, LITERAL, x + 1, w[thread + 2] - 1, following)
                else:
                    _resume(w, following, at)
        else:
            row = after(mem, table, x, b)
            if row > 0:
                alive = True
                _emit_row(w, table, row, following, at)
    return alive


@jit
def start_walk(mem: Words, table: Int32s, w: Words, first: int, stop: int) -> bool:
    """Put the expressions mem[first : stop], on the core's stack, at the start of what will be
    walked. False if room ran out."""
    w[:_NUM_LEVELS] = 0
    w[_NUM_FRAMES] = 1
    w[_FUEL] = _MAX_STEPS
    for k in range(first, stop):
        _push(w, mem[k], 0, 0)
    _close(mem, table, w, 0)
    _enter_level(mem, w, 0, 0)
    return w[_FULL] == 0 and mem[STATUS] == OK


@jit
def walk_nodes(
    mem: Words,
    table: Int32s,
    w: Words,
    tokens: Tokens,
    i: int,
    stop: int,
    row: Int32s,
) -> bool:
    """Allow in `row` every token at the nodes [i, stop), siblings and what is below them, that some
    text of what `start_walk` was given begins with.

    False if room ran out; what `row` has is right even so, though perhaps not all.
    O(nodes reached * threads), about 100 ns each.
    """
    base = tokens.depth[i] if i < stop else np.int32(0)
    while i < stop:
        level = word(tokens.depth[i] - base)
        b = word(tokens.byte[i])
        below = word(tokens.end[i])
        if not may_read(w, level, b):
            i = below
            continue
        is_leaf = below == i + 1
        here = _LEVELS + level * _LEVEL_LEN
        if not is_leaf or w[here + _HAS_ROW] != 0:
            alive = _step(mem, table, w, level, b)
            if is_leaf:
                w[_STACK_LEN] = 0
            else:
                _close(mem, table, w, level + 1)
            if w[_FULL] or mem[STATUS] != OK:
                return False
            if not alive:
                i = below
                continue
        allow(tokens.token_start, tokens.token_ids, i, row)
        if is_leaf:
            i += 1
            continue
        if w[_NUM_THREADS] == w[here]:
            i = below
            continue
        _enter_level(mem, w, level + 1, w[here])
        i += 1
    return True
