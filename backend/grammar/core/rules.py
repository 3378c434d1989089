"""The rules of a grammar: which match something, which recur, in what order they can be made.

A grammar's bodies are numbered: 0 is the start, k + 1 rule k; roots[body] is its last instruction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sestina.backend.grammar.core.assemble import (
    AND,
    CAT,
    PERMUTE,
    REPEAT,
    RULE,
    num_operands,
    operand,
)
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.memory import (
    EMPTY,
    NULLABLE,
    Words,
    has,
)
from sestina.backend.grammar.core.permute import REQUIRED

NO_TEXT, SOME_TEXT, EMPTY_TEXT = 0, 1, 2
"""A language matches nothing, something, or (also) the empty text. A sequence has the least of its
parts' numbers and an alternation the greatest."""


class Lists(NamedTuple):
    """Lists of numbers: list k is items[starts[k] : starts[k + 1]]."""

    starts: Words
    items: Words


class Order(NamedTuple):
    """rules: those that mention only themselves and earlier ones, in such an order. endless: for
    each rule, whether its expansion never ends (it is on a cycle of mentions, or leads to one)."""

    rules: Words
    endless: Words


# ---- what the bodies have in them


@jit_with_arrays
def open_parts(code: Words, args: Words, out: Words, roots: Words) -> Lists:
    """For each body its open instructions, operands before what uses them."""
    stamp = np.full(len(code), -1, np.int64)
    starts = np.zeros(len(roots) + 1, np.int64)
    items = np.empty(64, np.int64)
    todo = [word(0)]
    count = 0
    for body in range(len(roots)):
        todo.clear()
        todo.append(roots[body])
        while len(todo):
            i = todo.pop()
            if out[i] >= 0 or stamp[i] == body:
                continue
            stamp[i] = body
            if count == len(items):
                items = np.concatenate((items, np.empty_like(items)))
            items[count] = i
            count += 1
            for k in range(num_operands(code, i)):
                todo.append(operand(code, args, i, k))
        items[starts[body] : count].sort()
        starts[body + 1] = count
    return Lists(starts, items[:count])


@jit_with_arrays
def mentions(code: Words, parts: Lists) -> Lists:
    """For each body the rules that it mentions."""
    starts = np.zeros(len(parts.starts), np.int64)
    items = np.empty(len(parts.items), np.int64)
    count = 0
    for body in range(len(starts) - 1):
        for k in range(parts.starts[body], parts.starts[body + 1]):
            if code[parts.items[k], 0] == RULE:
                items[count] = code[parts.items[k], 1]
                count += 1
        items[starts[body] : count].sort()
        starts[body + 1] = count
    return Lists(starts, items[:count])


@jit_with_arrays
def users(named: Lists) -> Lists:
    """For each rule the rules that mention it."""
    num_rules = len(named.starts) - 2
    starts = np.zeros(num_rules + 1, np.int64)
    for r in named.items[named.starts[1] :]:
        starts[r + 1] += 1
    for r in range(num_rules):
        starts[r + 1] += starts[r]
    items = np.empty(starts[num_rules], np.int64)
    filled = starts[:-1].copy()
    for user in range(num_rules):
        for k in range(named.starts[user + 1], named.starts[user + 2]):
            r = named.items[k]
            items[filled[r]] = user
            filled[r] += 1
    return Lists(starts, items)


@jit_with_arrays
def order_of(named: Lists) -> Order:
    """Kahn 1962, with rules that mention themselves as if they did not."""
    used = users(named)
    num_rules = len(used.starts) - 1
    waits_for = np.zeros(num_rules, np.int64)
    endless = np.zeros(num_rules, np.int64)
    for r in range(num_rules):
        for k in range(named.starts[r + 1], named.starts[r + 2]):
            if named.items[k] == r:
                endless[r] = 1
            else:
                waits_for[r] += 1
    found = np.empty(num_rules, np.int64)
    count = 0
    is_found = np.zeros(num_rules, np.bool_)
    for r in range(num_rules):
        if waits_for[r] == 0:
            found[count] = r
            count += 1
    at = 0
    while at < count:
        r = found[at]
        at += 1
        is_found[r] = True
        for k in range(named.starts[r + 1], named.starts[r + 2]):
            if endless[named.items[k]]:
                endless[r] = 1
        for k in range(used.starts[r], used.starts[r + 1]):
            user = used.items[k]
            if user != r:
                waits_for[user] -= 1
                if waits_for[user] == 0:
                    found[count] = user
                    count += 1
    for r in range(num_rules):
        if not is_found[r]:
            endless[r] = 1
    return Order(found[:count], endless)


# ---- which rules match something


@jit_with_arrays
def values_of_rules(
    mem: Words, code: Words, args: Words, out: Words, roots: Words, parts: Lists
) -> Words:
    """NO_TEXT, SOME_TEXT or EMPTY_TEXT for each rule, as the least fixed point (Hopcroft and Ullman
    1979, lemma 4.1)."""
    used = users(mentions(code, parts))
    num_rules = len(roots) - 1
    values = np.full(num_rules, NO_TEXT, np.int64)
    of = np.zeros(len(code), np.int64)
    todo = [word(r) for r in range(num_rules)]
    waits = np.ones(num_rules, np.bool_)
    while len(todo):
        r = todo.pop()
        waits[r] = False
        value = value_of_body(mem, code, args, out, roots[r + 1], r + 1, parts, values, of)
        if value > values[r]:
            values[r] = value
            for k in range(used.starts[r], used.starts[r + 1]):
                user = used.items[k]
                if not waits[user]:
                    waits[user] = True
                    todo.append(user)
    return values


@jit
def value_of_body(
    mem: Words,
    code: Words,
    args: Words,
    out: Words,
    root: int,
    body: int,
    parts: Lists,
    values: Words,
    of: Words,
) -> int:
    """The value of one body, given the rules'; `of` has those of its open instructions then."""
    for k in range(parts.starts[body], parts.starts[body + 1]):
        i = parts.items[k]
        op = code[i, 0]
        if op == RULE:
            of[i] = values[code[i, 1]]
            continue
        if op == PERMUTE:
            of[i] = _value_of_permute(mem, code, args, out, of, i)
            continue
        # Of an And over recursion this is an upper bound; see `build` for what it leaves empty.
        is_all = op in (CAT, AND)
        value = EMPTY_TEXT if is_all else NO_TEXT
        for j in range(num_operands(code, i)):
            part = _value(mem, out, of, operand(code, args, i, j))
            value = min(value, part) if is_all else max(value, part)
        of[i] = EMPTY_TEXT if op == REPEAT and code[i, 2] == 0 else value
    return _value(mem, out, of, root)


@jit
def _value_of_permute(mem: Words, code: Words, args: Words, out: Words, of: Words, i: int) -> int:
    """The value of parts in any order: those that match nothing are left out if they may be."""
    x, y = code[i, 1], code[i, 2]
    lo, hi = args[x + y], args[x + y + 1]
    num_required, num_parts = 0, 0
    for k in range(1, y):
        is_required = args[x + y + 1 + k] & REQUIRED
        if _value(mem, out, of, args[x + k]) != NO_TEXT:
            num_parts += 1
            num_required += is_required
        elif is_required:
            return NO_TEXT
    needed = max(lo, num_required)
    if needed > num_parts or (hi >= 0 and needed > hi):
        return NO_TEXT
    return SOME_TEXT if needed else EMPTY_TEXT


@jit
def _value(mem: Words, out: Words, of: Words, i: int) -> int:
    if out[i] < 0:
        return of[i]
    if out[i] == EMPTY:
        return NO_TEXT
    return EMPTY_TEXT if has(mem, out[i], NULLABLE) else SOME_TEXT


# ---- left recursion


@jit_with_arrays
def left_recursion(
    mem: Words, code: Words, args: Words, out: Words, roots: Words, parts: Lists, values: Words
) -> Words:
    """Rules that lead back to the first before a byte is read, it being last again; or none."""
    num_rules = len(roots) - 1
    firsts = _first_rules(mem, code, args, out, roots, parts, values)
    finished = np.zeros(num_rules, np.bool_)
    on_path = np.zeros(num_rules, np.bool_)
    at = firsts.starts[:-1].copy()
    for root in range(num_rules):
        path = [word(root)]
        while len(path):
            r = path[-1]
            on_path[r] = True
            if finished[r] or at[r] == firsts.starts[r + 1]:
                finished[r] = True
                on_path[r] = False
                path.pop()
                continue
            following = firsts.items[at[r]]
            at[r] += 1
            if on_path[following]:
                while path[0] != following:
                    path.pop(0)
                path.append(following)
                return np.array(path)
            if not finished[following]:
                path.append(following)
    return np.zeros(0, np.int64)


@jit_with_arrays
def _first_rules(
    mem: Words, code: Words, args: Words, out: Words, roots: Words, parts: Lists, values: Words
) -> Lists:
    """For each rule, the rules that may be entered at the very start of its body."""
    num_rules = len(roots) - 1
    starts = np.zeros(num_rules + 1, np.int64)
    items = np.empty(len(parts.items) + 1, np.int64)
    of = np.zeros(len(code), np.int64)
    stamp = np.full(len(code), -1, np.int64)
    count = 0
    todo = [word(0)]
    for r in range(num_rules):
        value_of_body(mem, code, args, out, roots[r + 1], r + 1, parts, values, of)
        todo.clear()
        todo.append(roots[r + 1])
        while len(todo):
            i = todo.pop()
            if out[i] >= 0 or stamp[i] == r:
                continue
            stamp[i] = r
            if code[i, 0] == RULE:
                items[count] = code[i, 1]
                count += 1
            for k in range(num_operands(code, i)):
                j = operand(code, args, i, k)
                todo.append(j)
                if code[i, 0] == CAT and _value(mem, out, of, j) != EMPTY_TEXT:
                    break
        starts[r + 1] = count
    return Lists(starts, items[:count])
