"""Derivatives: what may follow one symbol of a language (Brzozowski 1964).

A symbol is a byte or, from NUM_BYTES on, a control token. Bytes that an expression cannot tell
apart are found beforehand (`partition`), the local byte classes of Owens, Reppy and Turon (2009,
section 4.2), so that a whole row of transitions costs as many derivatives as it has classes.
"""

from __future__ import annotations

from sestina.backend.grammar.core.compiled import jit, word
from sestina.backend.grammar.core.entries import (
    FACTOR_DEPTH,
    alt,
    both,
    cat,
    complement,
    literal,
    repeat,
)
from sestina.backend.grammar.core.entries import derivative as derive_part
from sestina.backend.grammar.core.intern import in_set, work
from sestina.backend.grammar.core.memory import (
    ALPHABET,
    ALT,
    AND,
    BYTE_CLASS,
    CAT,
    CLASSES,
    DEPTH,
    EMPTY,
    EPOCH,
    EPSILON,
    LIMIT_DEPTH,
    LITERAL,
    MARK,
    MAX_DEPTH,
    NOT,
    NULLABLE,
    NUM_BYTES,
    OK,
    PERMUTE,
    POOL,
    REPEAT,
    RULE,
    SET,
    SET_WORDS,
    SPECIAL,
    STATUS,
    TOP,
    Words,
    has,
    kind_of,
    node,
    push,
    recall,
    remember,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body

_FEW = 4  # an alternation of so many is derived faster than it is remembered
_DEEP = 12  # but so deep inside, the same may be met again and again


@jit
def derivative(mem: Words, e: int, symbol: int) -> int:
    """What remains of e after `symbol`; it may match nothing through And and Not without being
    EMPTY (see `liveness`). Rules must have bodies and must not begin with themselves."""
    kind = kind_of(mem, e)
    if kind == SET:
        return EPSILON if symbol < NUM_BYTES and in_set(mem, e, symbol) else EMPTY
    if kind == LITERAL:
        x = x_of(mem, e)
        return literal(mem, x + 1, y_of(mem, e) - 1) if mem[mem[POOL] + x] == symbol else EMPTY
    if kind == SPECIAL:
        return EPSILON if symbol == NUM_BYTES + x_of(mem, e) else EMPTY
    if kind <= EPSILON or mem[STATUS] != OK:
        return EMPTY
    if mem[DEPTH] >= mem[MAX_DEPTH]:
        mem[STATUS] = LIMIT_DEPTH
        return EMPTY
    is_small = kind == CAT or (kind == ALT and y_of(mem, e) <= _FEW)
    is_kept = not is_small or mem[DEPTH] >= _DEEP
    if is_kept:
        known = recall(mem, e, symbol)
        if known >= 0:
            return known
    mem[DEPTH] += 1
    work(mem, 1)
    if kind == CAT:
        found = _of_cat(mem, e, symbol)
    elif kind in (RULE, PERMUTE):
        found = derive_part(mem, body(mem, e), symbol)
    elif kind == REPEAT:
        found = _of_repeat(mem, e, symbol)
    elif kind == NOT:
        found = EMPTY  # the alphabet's bytes are all that texts are made of here
        if symbol < NUM_BYTES and (mem[ALPHABET + (symbol >> 6)] >> (symbol & 63)) & 1:
            found = complement(mem, derive_part(mem, x_of(mem, e), symbol))
    else:
        found = _of_many(mem, e, symbol)
    mem[DEPTH] -= 1
    if is_kept:
        remember(mem, e, symbol, found)
    return found


@jit
def _of_cat(mem: Words, e: int, symbol: int) -> int:
    if not has(mem, x_of(mem, e), NULLABLE):
        left = derive_part(mem, x_of(mem, e), symbol)
        return cat(mem, left, y_of(mem, e)) if left else EMPTY
    start = mem[TOP]
    while True:
        head, tail = x_of(mem, e), y_of(mem, e)
        left = derive_part(mem, head, symbol)
        if left:
            push(mem, cat(mem, left, tail))
        if not has(mem, head, NULLABLE):
            break
        e = tail
        if kind_of(mem, e) != CAT:
            push(mem, derive_part(mem, e, symbol))
            break
    return alt(mem, start, FACTOR_DEPTH)


@jit
def _of_repeat(mem: Words, e: int, symbol: int) -> int:
    # A nullable item has lo = 0 (see `intern.repeat`), so dropping one copy is exact: empty copies
    # need not be taken.
    left = derive_part(mem, x_of(mem, e), symbol)
    if left == EMPTY:
        return EMPTY
    lo, hi = y_of(mem, e), z_of(mem, e)
    return cat(mem, left, repeat(mem, x_of(mem, e), max(lo - 1, 0), hi if hi < 0 else hi - 1))


@jit
def _of_many(mem: Words, e: int, symbol: int) -> int:
    start = mem[TOP]
    is_and = kind_of(mem, e) == AND
    for k in range(y_of(mem, e)):
        left = derive_part(mem, mem[mem[POOL] + x_of(mem, e) + k], symbol)
        if left:
            push(mem, left)
        elif is_and:
            mem[TOP] = start
            return EMPTY
    return both(mem, start) if is_and else alt(mem, start, FACTOR_DEPTH)


# ---- byte classes


@jit
def partition(mem: Words, e: int) -> int:
    """Number the classes of bytes that e cannot tell apart at its start, in mem[BYTE_CLASS:].

    Returns how many there are. Bytes of one class have the same derivative; those of two classes
    may have, too. O(first positions of e * classes), some 10 ns each.
    """
    mem[EPOCH] += 1
    for k in range(SET_WORDS):
        mem[CLASSES + k] = -1
    count = 1
    start = mem[TOP]
    push(mem, e)
    while mem[TOP] > start:
        mem[TOP] -= 1
        e = mem[mem[TOP]]
        mark = node(mem, e) + MARK
        if mem[mark] == mem[EPOCH]:
            continue
        mem[mark] = mem[EPOCH]
        work(mem, 1)
        kind = kind_of(mem, e)
        if kind == SET:
            count = _split_by_set(mem, mem[POOL] + x_of(mem, e), count)
        elif kind == LITERAL:
            count = _split_off(mem, mem[mem[POOL] + x_of(mem, e)], count)
        elif kind == AND:
            for k in range(y_of(mem, e)):
                push(mem, mem[mem[POOL] + x_of(mem, e) + k])
        elif kind == NOT:  # nothing but the alphabet's bytes is in it
            count = _split_by_set(mem, ALPHABET, count)
            push(mem, x_of(mem, e))
        else:
            _push_first_parts(mem, e)
    mem[TOP] = start
    _number_classes(mem, count)
    return count


@jit
def _split_by_set(mem: Words, words: int, count: int) -> int:
    """Tell the bytes of the set in mem[words : words + SET_WORDS] from the others of a class."""
    for c in range(count):
        at, new = CLASSES + SET_WORDS * c, CLASSES + SET_WORDS * count
        inside = outside = 0
        for k in range(SET_WORDS):
            inside |= mem[at + k] & mem[words + k]
            outside |= mem[at + k] & ~mem[words + k]
        if inside and outside:
            for k in range(SET_WORDS):
                mem[new + k] = mem[at + k] & mem[words + k]
                mem[at + k] &= ~mem[words + k]
            count += 1
    return count


@jit
def _split_off(mem: Words, byte: int, count: int) -> int:
    """Give one byte a class of its own."""
    at, bit = CLASSES + (byte >> 6), word(1) << (byte & 63)
    c = 0
    while not mem[at + SET_WORDS * c] & bit:
        c += 1
    others = mem[at + SET_WORDS * c] & ~bit
    for k in range(SET_WORDS):
        if k != byte >> 6:
            others |= mem[CLASSES + SET_WORDS * c + k]
    if not others:
        return count
    mem[at + SET_WORDS * c] &= ~bit
    for k in range(SET_WORDS):
        mem[CLASSES + SET_WORDS * count + k] = 0
    mem[at + SET_WORDS * count] = bit
    return count + 1


@jit
def _number_classes(mem: Words, count: int) -> None:
    """Write the class of each byte. Bytes in a row are often of one class."""
    c = 0
    for b in range(NUM_BYTES):
        while not (mem[CLASSES + SET_WORDS * c + (b >> 6)] >> (b & 63)) & 1:
            c = c + 1 if c + 1 < count else 0
        mem[BYTE_CLASS + b] = c


@jit
def add_first_bytes(mem: Words, e: int, words: Words) -> None:
    """Add to a set of SET_WORDS words all bytes that e could begin with, perhaps more."""
    mem[EPOCH] += 1
    start = mem[TOP]
    push(mem, e)
    while mem[TOP] > start:
        mem[TOP] -= 1
        e = mem[mem[TOP]]
        mark = node(mem, e) + MARK
        if mem[mark] == mem[EPOCH]:
            continue
        mem[mark] = mem[EPOCH]
        work(mem, 1)
        kind = kind_of(mem, e)
        if kind == SET:
            for k in range(SET_WORDS):
                words[k] |= mem[mem[POOL] + x_of(mem, e) + k]
        elif kind == LITERAL:
            b = mem[mem[POOL] + x_of(mem, e)]
            words[b >> 6] |= word(1) << (b & 63)
        elif kind == NOT:
            for k in range(SET_WORDS):
                words[k] = -1
        elif kind == AND:
            push(mem, mem[mem[POOL] + x_of(mem, e)])  # any one will do
        else:
            _push_first_parts(mem, e)
    mem[TOP] = start


@jit
def _push_first_parts(mem: Words, e: int) -> None:
    """The parts that anything but an And or Not may begin with."""
    kind = kind_of(mem, e)
    if kind == CAT:
        push(mem, x_of(mem, e))
        if has(mem, x_of(mem, e), NULLABLE):
            push(mem, y_of(mem, e))
    elif kind == ALT:
        for k in range(y_of(mem, e)):
            push(mem, mem[mem[POOL] + x_of(mem, e) + k])
    elif kind == REPEAT:
        push(mem, x_of(mem, e))
    elif kind in (RULE, PERMUTE):
        push(mem, body(mem, e))
