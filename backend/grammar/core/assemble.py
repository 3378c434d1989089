"""Running a list of instructions that makes expressions: one call for a whole grammar.

Instruction i is code[i], four numbers, and makes out[i]; operands are numbers of earlier ones.

    KNOWN    x          the expression x
    LITERAL  x y        the bytes args[x : x + y]
    LONG     x y        the bytes pool[x : x + y]
    SET      x          the byte set args[x : x + SET_WORDS]
    SPECIAL  x          the control token of symbol NUM_BYTES + x
    CAT, ALT, AND  x y  the operands args[x : x + y]; what And leaves empty is EMPTY
    NOT      x          the complement of operand x
    REPEAT   x y z      y to z copies of operand x, z -1 for any number
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core import memory
from sestina.backend.grammar.core.compiled import jit
from sestina.backend.grammar.core.entries import (
    FACTOR_DEPTH,
    alt,
    both,
    cat,
    complement,
    literal,
    live,
    repeat,
)
from sestina.backend.grammar.core.intern import byte_set, intern_words, one_byte, special
from sestina.backend.grammar.core.memory import (
    EPSILON,
    OK,
    SET_WORDS,
    STATUS,
    TOP,
    Words,
    push,
)

KNOWN, LITERAL, LONG, SET, SPECIAL, CAT, ALT, AND, NOT, REPEAT = range(10)


@jit
def assemble(mem: Words, code: Words, args: Words) -> Words:
    """The expressions of all instructions, int64 [len(code)]. Look at mem[STATUS] afterwards."""
    out = np.zeros(len(code), np.int64)
    for i in range(len(code)):
        if mem[STATUS] != OK:
            break
        op, x, y, z = code[i, 0], code[i, 1], code[i, 2], code[i, 3]
        start = mem[TOP]
        if op == KNOWN:
            out[i] = x
        elif op == LITERAL:
            out[i] = _short_literal(mem, args, x, y)
        elif op == LONG:
            out[i] = literal(mem, x, y)
        elif op == SET:
            for w in range(SET_WORDS):
                push(mem, args[x + w])
            out[i] = byte_set(mem, start)
        elif op == SPECIAL:
            out[i] = special(mem, x)
        elif op == REPEAT:
            out[i] = repeat(mem, out[x], y, z)
        elif op == NOT:
            out[i] = live(mem, complement(mem, out[x]))
        elif op == CAT:
            found = EPSILON
            for k in range(x + y - 1, x - 1, -1):
                found = cat(mem, out[args[k]], found)
            out[i] = found
        else:
            for k in range(x, x + y):
                push(mem, out[args[k]])
            out[i] = alt(mem, start, FACTOR_DEPTH) if op == ALT else live(mem, both(mem, start))
        mem[TOP] = start
    return out


@jit
def _short_literal(mem: Words, args: Words, x: int, count: int) -> int:
    if count < 2:
        return one_byte(mem, args[x]) if count else EPSILON
    start = mem[TOP]
    for k in range(x, x + count):
        push(mem, args[k])
    return intern_words(mem, memory.LITERAL, start, count, 0, count)
