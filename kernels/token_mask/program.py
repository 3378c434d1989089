"""The trie walk over a grammar that was not turned into an automaton, in numba.

The walk carries a set of threads, each a place in the program with what must follow it (a chain of
frames), as Thompson's simulation of regular expressions does (1968); frames that are equal are the
same frame, so that a set of threads stays as small as the program and the token allow.

Scratch tables below need no clearing: a slot counts only if the frame it names points back at it
(Briggs and Torczon 1993, "An efficient representation for sparse sets").
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sestina.kernels.token_mask.cpu import allow

Int32s = NDArray[np.int32]
Bytes = NDArray[np.uint8]

NOTHING, EPSILON, SET, LITERAL, CAT, ALT, STATE, REPEAT, RULE = range(9)
"""Operations; see `Program`."""

NUM_FIELDS = 4
SET_WORDS = 8

_MAX_THREADS = 16384
_MAX_FRAMES = 16384
_SLOTS = 32768
_MAX_STACK = 16384

# The numbers that the functions below share: how many threads, frames and entries of the stack are
# in use, the number of this closure, whether a thread came to its end, whether room ran out, and
# how many unknown states were met.
_THREADS, _FRAMES, _STACK, _CLOSURE, _ENDED, _FULL, _UNKNOWN = range(7)


@njit(cache=True, nogil=True)
def _frame(
    frames: Int32s, slots: Int32s, num: Int32s, e: int, count: int, after: int, mark: int
) -> int:
    """The frame (go on with e, of which `count` copies were begun, then with frame `after`)."""
    h = (e * 40503 + count * 9973 + after * 30011 + mark * 613) & (_SLOTS - 1)
    while True:
        f = slots[h]
        if f <= 0 or f >= num[_FRAMES] or frames[f, 5] != h:
            break
        if (
            frames[f, 0] == e
            and frames[f, 1] == count
            and frames[f, 2] == after
            and frames[f, 3] == mark
        ):
            return int(f)
        h = (h + 1) & (_SLOTS - 1)
    f = num[_FRAMES]
    if f >= _MAX_FRAMES:
        num[_FULL] = 1
        return 0
    num[_FRAMES] = f + 1
    slots[h] = f
    frames[f, 0] = e
    frames[f, 1] = count
    frames[f, 2] = after
    frames[f, 3] = mark
    frames[f, 4] = -1
    frames[f, 5] = h
    return int(f)


@njit(cache=True, nogil=True)
def _push(stack: Int32s, num: Int32s, e: int, count: int, after: int) -> None:
    top = num[_STACK]
    if top >= _MAX_STACK:
        num[_FULL] = 1
        return
    stack[top, 0] = e
    stack[top, 1] = count
    stack[top, 2] = after
    num[_STACK] = top + 1


@njit(cache=True, nogil=True)
def _emit(threads: Int32s, num: Int32s, op: int, x: int, y: int, after: int) -> None:
    top = num[_THREADS]
    if top >= _MAX_THREADS:
        num[_FULL] = 1
        return
    threads[top, 0] = op
    threads[top, 1] = x
    threads[top, 2] = y
    threads[top, 3] = after
    num[_THREADS] = top + 1


@njit(cache=True, nogil=True)
def _miss(unknown: Int32s, num: Int32s, state: int) -> None:
    if num[_UNKNOWN] < len(unknown):
        unknown[num[_UNKNOWN]] = state
        num[_UNKNOWN] += 1


@njit(cache=True, nogil=True)
def _resume(frames: Int32s, stack: Int32s, num: Int32s, f: int, at: int) -> None:
    """Go on with a frame, once per closure."""
    if f == 0:
        num[_ENDED] = 1
    elif frames[f, 4] != num[_CLOSURE]:
        frames[f, 4] = num[_CLOSURE]
        # A copy that began here and is over was empty; it need not be taken.
        if frames[f, 3] != at:
            _push(stack, num, frames[f, 0], frames[f, 1], frames[f, 2])


@njit(cache=True, nogil=True)
def _close(
    code: Int32s,
    pool: Int32s,
    accepting: Bytes,
    threads: Int32s,
    frames: Int32s,
    slots: Int32s,
    stack: Int32s,
    unknown: Int32s,
    num: Int32s,
    at: int,
) -> None:
    """Follow what is on the stack to the bytes that may come next; `at` counts bytes read."""
    while num[_STACK] > 0:
        num[_STACK] -= 1
        top = num[_STACK]
        e, count, after = stack[top, 0], stack[top, 1], stack[top, 2]
        op, x, y, z = code[e, 0], code[e, 1], code[e, 2], code[e, 3]
        if op in (SET, LITERAL):
            _emit(threads, num, op, x, y, after)
        elif op == CAT:
            _push(stack, num, x, 0, _frame(frames, slots, num, y, 0, after, -1))
        elif op == ALT:
            for k in range(x, x + y):
                _push(stack, num, pool[k], 0, after)
        elif op == REPEAT:
            if count >= y:
                _resume(frames, stack, num, after, at)
            if z < 0 or count < z:
                begun = min(count + 1, y) if z < 0 else count + 1
                _push(stack, num, x, 0, _frame(frames, slots, num, e, begun, after, at))
        elif op == RULE:
            _push(stack, num, x, 0, after)
        elif op == STATE and x < 0:
            _miss(unknown, num, x)
        elif op == STATE:
            _emit(threads, num, op, x, 0, after)
            if accepting[x]:
                _resume(frames, stack, num, after, at)
        elif op == EPSILON:
            _resume(frames, stack, num, after, at)
        if num[_FULL]:
            return


@njit(cache=True, nogil=True)
def _first_bytes(pool: Int32s, threads: Int32s, start: int, stop: int, words: Int32s) -> None:
    """words: [9], the set of the bytes that some thread may read; word 8 is 1 if any is a STATE."""
    words[:] = 0
    for t in range(start, stop):
        op, x = threads[t, 0], threads[t, 1]
        if op == SET:
            for w in range(SET_WORDS):
                words[w] |= pool[x + w]
        elif op == LITERAL:
            words[pool[x] >> 5] |= np.int32(1) << np.int32(pool[x] & 31)
        else:
            words[:] = -1


@njit(cache=True, nogil=True)
def _step(
    pool: Int32s,
    table: Int32s,
    accepting: Bytes,
    threads: Int32s,
    frames: Int32s,
    stack: Int32s,
    unknown: Int32s,
    num: Int32s,
    start: int,
    stop: int,
    b: int,
    at: int,
    num_frames: int,
) -> bool:
    """Let the threads [start, stop) read byte b; what goes on is put after them and on the stack.

    Returns whether any could. `at` counts bytes read with this one, num_frames the frames in use.
    """
    num[_THREADS] = stop
    num[_FRAMES] = num_frames
    num[_CLOSURE] += 1
    num[_ENDED] = 0
    alive = False
    for t in range(start, stop):
        op, x, y, after = threads[t, 0], threads[t, 1], threads[t, 2], threads[t, 3]
        if op == SET:
            if (pool[x + (b >> 5)] >> (b & 31)) & 1:
                alive = True
                _resume(frames, stack, num, after, at)
        elif op == LITERAL:
            if pool[x] == b:
                alive = True
                if y > 1:
                    _emit(threads, num, LITERAL, x + 1, y - 1, after)
                else:
                    _resume(frames, stack, num, after, at)
        else:
            state = table[x, b]
            if state > 0:
                alive = True
                _emit(threads, num, STATE, state, 0, after)
                if accepting[state]:
                    _resume(frames, stack, num, after, at)
            elif state < 0:
                _miss(unknown, num, x)
    return alive


@njit(cache=True, nogil=True)
def walk(
    byte: Bytes,
    depth: Int32s,
    end: Int32s,
    token_start: Int32s,
    token_ids: Int32s,
    max_depth: int,
    code: Int32s,
    pool: Int32s,
    table: Int32s,
    accepting: Bytes,
    nodes: Int32s,
    starts: Int32s,
    row: Int32s,
    exits: Int32s,
    unknown: Int32s,
) -> tuple[int, int]:
    """See `fill_program_mask`. Returns how many exits and unknown states there were; the first is
    -1 if room ran out."""
    threads = np.empty((_MAX_THREADS, 4), np.int32)
    frames = np.empty((_MAX_FRAMES, 6), np.int32)
    slots = np.empty(_SLOTS, np.int32)
    stack = np.empty((_MAX_STACK, 3), np.int32)
    words = np.empty((max_depth + 2, SET_WORDS + 1), np.int32)
    level_stop = np.zeros(max_depth + 2, np.int32)  # of the threads; a level begins at the last's
    level_frames = np.empty(max_depth + 2, np.int32)
    num = np.zeros(7, np.int32)
    num[_FRAMES] = 1
    num_exits = 0
    for e in starts:
        _push(stack, num, e, 0, 0)
    _close(code, pool, accepting, threads, frames, slots, stack, unknown, num, 0)
    if num[_FULL]:
        return -1, 0
    level_stop[0] = num[_THREADS]
    level_frames[0] = num[_FRAMES]
    _first_bytes(pool, threads, 0, level_stop[0], words[0])
    for n in range(len(nodes)):
        i = nodes[n]
        stop = end[i]
        base = depth[i]
        while i < stop:
            level = depth[i] - base
            b = int(byte[i])
            if not (words[level, b >> 5] >> (b & 31)) & 1:
                i = end[i]
                continue
            is_leaf = end[i] == i + 1
            alive = is_leaf and not words[level, SET_WORDS]
            first = level_stop[level]
            if not alive:
                alive = _step(
                    pool,
                    table,
                    accepting,
                    threads,
                    frames,
                    stack,
                    unknown,
                    num,
                    level_stop[level - 1] if level else 0,
                    first,
                    b,
                    level + 1,
                    level_frames[level],
                )
                _close(
                    code,
                    pool,
                    accepting,
                    threads,
                    frames,
                    slots,
                    stack,
                    unknown,
                    num,
                    level + 1,
                )
                if num[_FULL]:
                    return -1, 0
            if not alive:
                i = end[i]
                continue
            allow(token_start, token_ids, i, row)
            if is_leaf:
                i += 1
                continue
            if num[_ENDED] and len(exits):
                exits[num_exits] = i
                num_exits += 1
            if num[_THREADS] == first:
                i = end[i]
                continue
            level_stop[level + 1] = num[_THREADS]
            level_frames[level + 1] = num[_FRAMES]
            _first_bytes(pool, threads, first, num[_THREADS], words[level + 1])
            i += 1
    return num_exits, num[_UNKNOWN]


@njit(cache=True, nogil=True)
def entries(
    end: Int32s, token_start: Int32s, token_ids: Int32s, exits: Int32s, row: Int32s
) -> Int32s:
    """See `entry_nodes`."""
    num_nodes = len(end)
    # missing[i]: tokens at nodes before i that the row lacks
    missing = np.zeros(num_nodes + 1, np.int32)
    for i in range(num_nodes):
        count = missing[i]
        for t in range(token_start[i], token_start[i + 1]):
            token = token_ids[t]
            if not (row[token >> 5] >> (token & 31)) & 1:
                count += 1
        missing[i + 1] = count
    count = 0
    for filling in range(2):
        if filling:
            out = np.empty(count, np.int32)
            count = 0
        for k in range(len(exits)):
            child = exits[k] + 1
            stop = end[exits[k]]
            if missing[stop] == missing[child]:
                continue
            while child < stop:
                if missing[end[child]] > missing[child]:
                    if filling:
                        out[count] = child
                    count += 1
                child = end[child]
    return out
