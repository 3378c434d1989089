"""The canonical ending of a language: the first of its shortest texts, in the order of symbols.

The order is that of bytes, then of control tokens by id, so the ending is a matter of the language
alone, however it is written down. If it is `b` and `rest`, then `rest` is the canonical ending of
what remains after `b`.

It is put together from those of the parts. Of a sequence, it is theirs one after the other; of an
alternation, the first of the shortest; of what And and Not make, it is searched for (see
`ending_search`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.intern import work
from sestina.backend.grammar.core.memory import (
    ALT,
    AND,
    BOOLEAN,
    CAT,
    LITERAL,
    LONG,
    NOT,
    NULLABLE,
    NUM_BYTES,
    OK,
    PERMUTE,
    PERMUTED,
    POOL,
    RECURSIVE,
    REPEAT,
    RULE,
    SET,
    SPECIAL,
    STATUS,
    Int32s,
    Words,
    has,
    kind_of,
    min_len_of,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body, parts_to_come, separator_of

MAX_ENDING = 1 << 16
"""Symbols of the longest ending that is written down."""

LIMIT_ENDING = 32
"""The STATUS of a search that took too many steps or expressions, or of too many words."""

_MAX_WORDS = 1 << 25

_SYMBOLS_AT_ONCE = 16  # written in the time that one part of an expression takes elsewhere

USED, WANTED = 0, 1
FIRST_WORD = 2


class Notes(NamedTuple):
    """What is known about the endings of a machine's expressions; int32, by expression, 0 unknown.

    length: 1 + symbols of the shortest text. Where MIN_LEN says it, nothing is noted.
    choice: of an ALT, the part that has its ending; of And and Not, where in `words` theirs
        begins; of a PERMUTE, where there its next parts begin in order, behind how many they are;
        1 for others once all that their ending needs is chosen.
    tokens: 1 + tokens that the ending takes; UNSPELLED if the longest tokens do not spell it, and
        UNSPELLED - 1 less the tokens that end the text otherwise once these are known.
    seat: scratch, zeros between calls.
    words: endings as symbols, behind how many words are used and how many more were wanted.
    special_ids: the control token of each symbol from NUM_BYTES on.
    """

    length: Int32s
    choice: Int32s
    tokens: Int32s
    seat: Int32s
    words: Int32s
    special_ids: Int32s


@jit
def is_searched(mem: Words, e: int) -> bool:
    """Whether the ending of e is found by search rather than in its parts."""
    kind = kind_of(mem, e)
    return kind in (AND, NOT)


@jit
def known_length(mem: Words, notes: Notes, e: int) -> int:
    """Symbols of the shortest text of e, LONG for that many or none; -1 if not worked out yet."""
    if has(mem, e, NULLABLE):
        return 0
    if not has(mem, e, BOOLEAN | RECURSIVE | PERMUTED):
        return min_len_of(mem, e)
    return word(notes.length[e]) - 1


@jit_with_arrays
def choose(mem: Words, notes: Notes, e: int) -> None:
    """Make the choices that writing the ending of e needs; its length must be known.

    Only parts with shortest texts are looked at. None of them can need itself: the rule in it would
    begin with itself, everything before it being empty, and that is refused (`build`).
    """
    todo = [word(e)]
    while len(todo) and mem[STATUS] == OK and not notes.words[WANTED]:
        e = todo[-1]
        num_todo = len(todo)
        if notes.choice[e] == 0 and not has(mem, e, NULLABLE):
            _push_needed(mem, notes, e, todo)
            if len(todo) == num_todo:
                notes.choice[e] = _choice(mem, notes, e)
        if len(todo) == num_todo:
            todo.pop()


@jit
def _choice(mem: Words, notes: Notes, e: int) -> int:
    kind = kind_of(mem, e)
    if kind == ALT:
        return _best_part(mem, notes, e)
    return _best_order(mem, notes, e) if kind == PERMUTE else 1


@jit_with_arrays
def _push_needed(mem: Words, notes: Notes, e: int, todo: list[int]) -> None:
    kind = kind_of(mem, e)
    if kind == CAT:
        _push_open(mem, notes, x_of(mem, e), todo)
        _push_open(mem, notes, y_of(mem, e), todo)
    elif kind == ALT:
        length = known_length(mem, notes, e)
        for k in range(y_of(mem, e)):
            part = mem[mem[POOL] + x_of(mem, e) + k]
            if known_length(mem, notes, part) == length:
                _push_open(mem, notes, part, todo)
    elif kind == REPEAT:
        _push_open(mem, notes, x_of(mem, e), todo)
    elif kind == RULE:
        _push_open(mem, notes, body(mem, e), todo)
    elif kind == PERMUTE:
        parts, _, count = _candidates(mem, notes, e)
        for part in parts:
            _push_open(mem, notes, part, todo)
        if count > 1 or z_of(mem, e):
            _push_open(mem, notes, separator_of(mem, e), todo)


@jit_with_arrays
def _push_open(mem: Words, notes: Notes, e: int, todo: list[int]) -> None:
    if notes.choice[e] == 0 and not has(mem, e, NULLABLE):
        todo.append(e)


@jit_with_arrays
def _best_part(mem: Words, notes: Notes, e: int) -> int:
    """The part of an ALT whose ending comes first among the shortest."""
    length = known_length(mem, notes, e)
    best = -1
    first, second = np.empty(0, np.int32), np.empty(0, np.int32)
    for k in range(y_of(mem, e)):
        part = mem[mem[POOL] + x_of(mem, e) + k]
        if known_length(mem, notes, part) != length:
            continue
        if best < 0:
            best = part
            continue
        if len(first) == 0:
            first, second = np.empty(length, np.int32), np.empty(length, np.int32)
            write(mem, notes, best, first)
        write(mem, notes, part, second)
        if _is_before(second, first):
            best = part
            first, second = second, first
    return best


@jit_with_arrays
def _candidates(mem: Words, notes: Notes, e: int) -> tuple[list[int], int, int]:
    """The parts that may be in the ending of a PERMUTE: those that must, and the shortest others.

    Returns also how many must, and how many parts there are in the ending.
    """
    must, may, more = parts_to_come(mem, e)
    parts = list(must)
    if more:
        lengths = np.empty(len(may), np.int64)
        for k in range(len(may)):
            lengths[k] = known_length(mem, notes, may[k])
        longest = np.sort(lengths)[more - 1]
        for k in range(len(may)):
            if lengths[k] <= longest:
                parts.append(may[k])
    return parts, len(must), len(must) + more


@jit_with_arrays
def _best_order(mem: Words, notes: Notes, e: int) -> int:
    """The ending of a PERMUTE: the order that comes first, and the first of equally long fillers.

    One more separator, behind all, would not change which order is first. So this is the least of
    all ways to join some words, which sorting finds: of two, that one goes first with which their
    join is less.
    """
    parts, num_must, count = _candidates(mem, notes, e)
    separator = separator_of(mem, e)
    gap = known_length(mem, notes, separator) if count > 1 or z_of(mem, e) else word(0)
    order, texts, longest = [0 for _ in range(0)], [np.empty(0, np.int32) for _ in range(0)], 0
    for i in range(len(parts)):
        length = known_length(mem, notes, parts[i])
        longest = max(longest, length) if i >= num_must else longest
        work(mem, 1 + length // _SYMBOLS_AT_ONCE)
        if mem[STATUS] != OK:
            return 0
        text = np.empty(length + gap, np.int32)
        write(mem, notes, parts[i], text[:length])
        write(mem, notes, separator, text[length:])
        at = _place(texts, text)
        texts.insert(at, text)
        order.insert(at, i)
    symbols = np.empty(1 + count, np.int32)
    symbols[0], too_many = count, len(parts) - count
    at = count
    for i in order[::-1]:
        if too_many and i >= num_must and known_length(mem, notes, parts[i]) == longest:
            too_many -= 1
        else:
            symbols[at] = parts[i]
            at -= 1
    return keep_word(mem, notes, symbols)


@jit_with_arrays
def _place(texts: list[Int32s], text: Int32s) -> int:
    """Where a text goes among sorted ones."""
    low, high = 0, len(texts)
    while low < high:
        middle = (low + high) // 2
        if _goes_first(text, texts[middle]):
            high = middle
        else:
            low = middle + 1
    return low


@jit
def _goes_first(one: Int32s, other: Int32s) -> bool:
    """Whether one + other is less than other + one."""
    m, n = len(one), len(other)
    for k in range(m + n):
        a = one[k] if k < m else other[k - m]
        b = other[k] if k < n else one[k - n]
        if a != b:
            return a < b
    return False


@jit
def _is_before(one: Int32s, other: Int32s) -> bool:
    for k in range(len(one)):
        if one[k] != other[k]:
            return one[k] < other[k]
    return False


@jit_with_arrays
def write(mem: Words, notes: Notes, e: int, out: Int32s) -> int:
    """Write the ending of e, or as much of it as fits. Returns how much that is."""
    at, end = 0, len(out)
    todo = [word(e)]
    while len(todo) and at < end:
        e = todo.pop()
        kind = kind_of(mem, e)
        if has(mem, e, NULLABLE):
            continue
        if kind == SET:
            out[at] = first_of_set(mem, e)
            at += 1
        elif kind == LITERAL:
            for k in range(min(y_of(mem, e), end - at)):
                out[at] = mem[mem[POOL] + x_of(mem, e) + k]
                at += 1
        elif kind == SPECIAL:
            out[at] = NUM_BYTES + notes.special_ids[x_of(mem, e)]
            at += 1
        elif kind == CAT:
            todo.append(y_of(mem, e))
            todo.append(x_of(mem, e))
        elif kind == ALT:
            todo.append(word(notes.choice[e]))
        elif kind == REPEAT:
            for _ in range(min(y_of(mem, e), end - at)):
                todo.append(x_of(mem, e))
        elif kind == RULE:
            todo.append(body(mem, e))
        elif kind == PERMUTE:
            order = word(notes.choice[e])
            for k in range(notes.words[order], 0, -1):
                todo.append(word(notes.words[order + k]))
                if k > 1 or z_of(mem, e):
                    todo.append(separator_of(mem, e))
        else:
            symbols = word(notes.choice[e])
            for k in range(min(known_length(mem, notes, e), end - at)):
                out[at] = notes.words[symbols + k]
                at += 1
    return at


@jit
def first_of_set(mem: Words, e: int) -> int:
    words = mem[POOL] + x_of(mem, e)
    for b in range(NUM_BYTES):
        if (mem[words + (b >> 6)] >> (b & 63)) & 1:
            return b
    return -1


@jit
def keep_word(mem: Words, notes: Notes, symbols: Int32s) -> int:
    """Put a word where `choice` can point to it; 0 if there is no room."""
    at = word(notes.words[USED])
    if at + len(symbols) > _MAX_WORDS:
        mem[STATUS] = LIMIT_ENDING
        return 0
    if at + len(symbols) > len(notes.words):
        notes.words[WANTED] = len(symbols)
        return 0
    for k in range(len(symbols)):
        notes.words[at + k] = symbols[k]
    notes.words[USED] = at + len(symbols)
    return at


@jit
def sum_of(one: int, other: int) -> int:
    """Of lengths, which stop at LONG."""
    return min(one + other, LONG)
