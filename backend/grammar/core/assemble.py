"""Running the instructions that make a grammar's expressions: a call or two for a whole grammar.

Instruction i is code[i], four numbers, and makes one expression; its operands are instructions
before it. Grammars come as instructions for the start and all rules, with what they share once.

    KNOWN    x y        the expression x, made by a tree of height y
    LITERAL  x y        the bytes args[x : x + y]
    LONG     x y        the bytes pool[x : x + y]
    SET      x          the byte set args[x : x + SET_WORDS]
    SPECIAL  x          the control token of symbol NUM_BYTES + x
    CAT, ALT, AND  x y  the operands args[x : x + y]; what And leaves empty is EMPTY
    NOT      x          the complement of operand x
    REPEAT   x y z      y to z copies of operand x, z -1 for any number
    RULE     x          rule x
    PERMUTE  x y        args[x : x + y] the separator's instruction and the parts'; behind them lo,
                        hi (-1 for no bound) and the flags of each part, see `permute`

An instruction with a rule below it is open, any other closed.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core import memory
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays
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
    HAS_SPECIAL,
    OK,
    RECURSIVE,
    SET_WORDS,
    STATUS,
    TOP,
    Words,
    has,
    push,
)
from sestina.backend.grammar.core.permute import permute

KNOWN, LITERAL, LONG, SET, SPECIAL, CAT, ALT, AND, NOT, REPEAT, RULE, PERMUTE = range(12)

OPEN = -1
"""In place of an open instruction's expression."""

SPECIAL_IN_BOOLEAN = -2
"""In place of an And or Not of something with control tokens, which is refused."""

RULES_IN_BOOLEAN = -3
"""In place of an And or Not of closed parts of which one has rules, which were made earlier."""


@jit_with_arrays
def heights(code: Words, args: Words) -> Words:
    """How tall the tree below each instruction is, int64 [len(code)]."""
    height = np.ones(len(code), np.int64)
    for i in range(len(code)):
        if code[i, 0] == KNOWN:
            height[i] = code[i, 2]
        for k in range(num_operands(code, i)):
            height[i] = max(height[i], height[operand(code, args, i, k)] + 1)
    return height


@jit_with_arrays
def assemble_closed(mem: Words, code: Words, args: Words) -> Words:
    """The expressions of all closed instructions, OPEN for the others, int64 [len(code)]; for an
    And or Not also what is said above.

    Look at mem[STATUS] afterwards.
    """
    out = np.full(len(code), OPEN, np.int64)
    for i in range(len(code)):
        if mem[STATUS] != OK:
            break
        op = code[i, 0]
        is_open, has_special, has_rules = op == RULE, False, False
        for k in range(num_operands(code, i)):
            j = operand(code, args, i, k)
            is_open = is_open or out[j] < 0
            if out[j] >= 0:
                has_special = has_special or has(mem, out[j], HAS_SPECIAL)
                has_rules = has_rules or has(mem, out[j], RECURSIVE)
        if op in (AND, NOT) and has_special:
            out[i] = SPECIAL_IN_BOOLEAN
        elif op in (AND, NOT) and has_rules:
            out[i] = RULES_IN_BOOLEAN
        elif not is_open:
            out[i] = code[i, 1] if op == KNOWN else make(mem, code, args, i, out)
    return out


@jit_with_arrays
def has_rules_in_booleans(code: Words, out: Words) -> bool:
    """Whether rules stand in And or Not, given what `assemble_closed` made."""
    for i in range(len(code)):
        if code[i, 0] in (AND, NOT) and (out[i] == OPEN or out[i] == RULES_IN_BOOLEAN):
            return True
    return False


@jit_with_arrays
def without_rules(mem: Words, out: Words) -> Words:
    """The same, but OPEN in place of what has rules."""
    kept = np.full(len(out), OPEN, np.int64)
    for i in range(len(out)):
        if out[i] >= 0 and not has(mem, out[i], RECURSIVE):
            kept[i] = out[i]
    return kept


@jit
def num_operands(code: Words, i: int) -> int:
    """How many instructions an instruction refers to."""
    op = code[i, 0]
    if op in (CAT, ALT, AND, PERMUTE):
        return code[i, 2]
    return 1 if op in (NOT, REPEAT) else 0


@jit
def operand(code: Words, args: Words, i: int, k: int) -> int:
    """The number of its k-th operand."""
    return code[i, 1] if code[i, 0] in (NOT, REPEAT) else args[code[i, 1] + k]


@jit
def make(mem: Words, code: Words, args: Words, i: int, out: Words) -> int:
    """The expression of an instruction but KNOWN and RULE, given those of its operands."""
    op, x, y, z = code[i, 0], code[i, 1], code[i, 2], code[i, 3]
    start = mem[TOP]
    if op == LITERAL:
        return _short_literal(mem, args, x, y)
    if op == LONG:
        return literal(mem, x, y)
    if op == SPECIAL:
        return special(mem, x)
    if op == REPEAT:
        return repeat(mem, out[x], y, z)
    if op == NOT:
        return live(mem, complement(mem, out[x]))
    if op == CAT:
        found = EPSILON
        for k in range(x + y - 1, x - 1, -1):
            found = cat(mem, out[args[k]], found)
        return found
    if op == PERMUTE:
        for word in (out[args[x]], args[x + y], args[x + y + 1], y - 1):
            push(mem, word)
        for k in range(1, y):
            push(mem, out[args[x + k]])
            push(mem, args[x + y + 1 + k])
        return permute(mem, start)
    if op == SET:
        for w in range(SET_WORDS):
            push(mem, args[x + w])
        found = byte_set(mem, start)
    else:
        for k in range(x, x + y):
            push(mem, out[args[k]])
        found = alt(mem, start, FACTOR_DEPTH) if op == ALT else both(mem, start)
        if op == AND and not has(mem, found, RECURSIVE):
            found = live(mem, found)
    mem[TOP] = start
    return found


@jit
def _short_literal(mem: Words, args: Words, x: int, count: int) -> int:
    if count < 2:
        return one_byte(mem, args[x]) if count else EPSILON
    start = mem[TOP]
    for k in range(x, x + count):
        push(mem, args[k])
    found = intern_words(mem, memory.LITERAL, start, count, 0, count)
    mem[TOP] = start
    return found
