"""Putting the rules of a grammar together: their expressions, and what stands in And and Not.

Bodies are numbered as in `rules`.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.assemble import (
    AND,
    NOT,
    RULE,
    SPECIAL_IN_BOOLEAN,
    make,
    num_operands,
    operand,
)
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.intern import (
    ALONE,
    OF_BODY,
    RECURSIVE_IN,
    rule,
    set_body,
)
from sestina.backend.grammar.core.memory import (
    EMPTY,
    FLAGS,
    HAS_SPECIAL,
    NULLABLE,
    NUM_RULES,
    OK,
    STATUS,
    Words,
    has,
    node,
)
from sestina.backend.grammar.core.rules import EMPTY_TEXT, NO_TEXT, Lists, Order, mentions

# ---- And and Not over rules: these are expanded, so that what is left is regular


@jit_with_arrays
def endless_parts(code: Words, args: Words, out: Words, order: Order) -> Words:
    """1 for each open instruction with a rule in it whose expansion never ends."""
    found = np.zeros(len(code), np.int64)
    for i in range(len(code)):
        if out[i] >= 0:
            continue
        if code[i, 0] == RULE:
            found[i] = order.endless[code[i, 1]]
        for k in range(num_operands(code, i)):
            found[i] |= found[operand(code, args, i, k)]
    return found


@jit_with_arrays
def regular_parts(
    code: Words, args: Words, out: Words, roots: Words, parts: Lists, endless: Words
) -> Words:
    """1 for each open instruction that has to be expanded: in And or Not, through whatever rules,
    but for one operand of an And that never ends. In place of 1, 2 for what never ends and has to
    be expanded even so."""
    inside = np.zeros(len(code), np.int64)
    todo = [word(0)]
    todo.clear()
    for i in parts.items:
        if code[i, 0] == NOT or (code[i, 0] == AND and not endless[i]):
            todo.append(i)
        elif code[i, 0] == AND:
            free = 1  # the one operand that may be endless
            for k in range(num_operands(code, i)):
                j = operand(code, args, i, k)
                if endless[j] and free:
                    free = 0
                else:
                    todo.append(j)
    while len(todo):
        i = todo.pop()
        if inside[i] or out[i] >= 0:
            continue
        inside[i] = 2 if endless[i] else 1
        if code[i, 0] == RULE:
            todo.append(roots[code[i, 1] + 1])
        for k in range(num_operands(code, i)):
            todo.append(operand(code, args, i, k))
    return inside


@jit_with_arrays
def inline_regular(
    mem: Words,
    code: Words,
    args: Words,
    out: Words,
    roots: Words,
    parts: Lists,
    order: Order,
    inside: Words,
) -> None:
    """Put the expressions of what `regular_parts` found, rules expanded, into `out`."""
    num_bodies = len(roots)
    inlined = out.copy()
    done = np.zeros(num_bodies, np.bool_)
    for step in range(len(order.rules) + num_bodies):
        body = order.rules[step] + 1 if step < len(order.rules) else step - len(order.rules)
        if done[body]:
            continue
        done[body] = True
        for k in range(parts.starts[body], parts.starts[body + 1]):
            i = parts.items[k]
            if not inside[i] or mem[STATUS] != OK:
                continue
            op = code[i, 0]
            if op == RULE:
                inlined[i] = inlined[roots[code[i, 1] + 1]]
            elif op in (AND, NOT) and _has_special(mem, code, args, i, inlined):
                out[i] = SPECIAL_IN_BOOLEAN
                return
            else:
                inlined[i] = make(mem, code, args, i, inlined)
    if mem[STATUS] == OK:
        for i in range(len(code)):
            if inside[i] and code[i, 0] != RULE:
                out[i] = inlined[i]


@jit
def _has_special(mem: Words, code: Words, args: Words, i: int, inlined: Words) -> bool:
    for k in range(num_operands(code, i)):
        if has(mem, inlined[operand(code, args, i, k)], HAS_SPECIAL):
            return True
    return False


# ---- expressions


@jit_with_arrays
def link(
    mem: Words,
    code: Words,
    args: Words,
    out: Words,
    roots: Words,
    parts: Lists,
    order: Order,
    values: Words,
) -> tuple[int, Words, Words]:
    """The expression of the start, and those of all instructions and of all rules.

    Equal rules of other grammars are the same expression.

    In `order`, a rule mentions only itself and earlier ones, so its body with a mark in its own
    place says all about it. The others are known to this grammar alone.
    """
    num_rules = len(roots) - 1
    named = mentions(code, parts)
    made = np.full(num_rules, EMPTY, np.int64)
    whole = out.copy()  # with the open instructions as they are in the body at hand
    is_ordered = np.zeros(num_rules, np.bool_)
    is_ordered[order.rules] = True
    for r in range(num_rules):
        if values[r] and not is_ordered[r]:
            # Whether control tokens are in it shows only once it has its body: any rule may.
            made[r] = rule(mem, mem[NUM_RULES], ALONE, _nullable(values[r]) | HAS_SPECIAL)
            mem[NUM_RULES] += 1
    for r in order.rules:
        if values[r] == NO_TEXT or mem[STATUS] != OK:
            continue
        flags, kind = _nullable(values[r]), OF_BODY
        if _is_in(named, r + 1, r):
            kind = RECURSIVE_IN
            made[r] = rule(mem, -1 - (flags != 0), ALONE, flags)  # the mark
        body = _body(mem, code, args, whole, roots[r + 1], r + 1, parts, made)
        flags |= mem[node(mem, body) + FLAGS] & HAS_SPECIAL
        made[r] = rule(mem, body, kind, flags)
        if kind == RECURSIVE_IN:
            body = _body(mem, code, args, whole, roots[r + 1], r + 1, parts, made)
        if mem[STATUS] == OK:
            set_body(mem, made[r], body)
    for r in range(num_rules):
        if values[r] and not is_ordered[r]:
            body = _body(mem, code, args, whole, roots[r + 1], r + 1, parts, made)
            if mem[STATUS] == OK:
                set_body(mem, made[r], body)
    return _body(mem, code, args, whole, roots[0], 0, parts, made), whole, made


@jit_with_arrays
def alone(code: Words, parts: Lists, order: Order) -> Words:
    """The rules in order that mention no other rule."""
    named = mentions(code, parts)
    found = np.empty(len(order.rules), np.int64)
    count = 0
    for r in order.rules:
        is_alone = True
        for k in range(named.starts[r + 1], named.starts[r + 2]):
            is_alone = is_alone and named.items[k] == r
        if is_alone:
            found[count] = r
            count += 1
    return found[:count]


@jit
def _nullable(value: int) -> int:
    return NULLABLE if value == EMPTY_TEXT else 0


@jit
def _is_in(lists: Lists, k: int, wanted: int) -> bool:
    for i in range(lists.starts[k], lists.starts[k + 1]):
        if lists.items[i] == wanted:
            return True
    return False


@jit
def _body(
    mem: Words,
    code: Words,
    args: Words,
    whole: Words,
    root: int,
    body: int,
    parts: Lists,
    made: Words,
) -> int:
    """The expression of a body, given those of the rules."""
    for k in range(parts.starts[body], parts.starts[body + 1]):
        i = parts.items[k]
        whole[i] = made[code[i, 1]] if code[i, 0] == RULE else make(mem, code, args, i, whole)
    return whole[root]
