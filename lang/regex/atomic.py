"""Atomic groups and possessive quantifiers as look-aheads, where that is exact.

`(?>x)` matches what the first way that a backtracking engine finds to match `x` matches, and no
other. If all matches of `x` that begin at one place are equally long, that is `x` itself. Else,
for `r` of one fixed width, and `(?>.)` read from the inside out:

    (?>a|b)      =  (?>a) | (?!a)(?>b)
    (?>r{m,n})   =  r{m,n-1}(?!r) | r{n}        as many as there are
    (?>r{m,n}?)  =  r{m}                        as few as are needed
    (?>rx)       =  r(?>x)
"""

from __future__ import annotations

from sestina.lang.regex.nodes import Look, Loop, Node, Or, Seq, fixed_width, loop_of, or_of, seq_of

# The i-th alternative stands behind a look at all before it: their number counts squared.
MAX_ALTERNATIVES = 32


def atomic(node: Node) -> Node | None:
    """What `(?>node)` matches, without the group; None where that is not one of the forms above."""
    if fixed_width(node) is not None:
        return node
    match node:
        case Or(items) if len(items) <= MAX_ALTERNATIVES:
            return _first_of(items)
        case Seq(items) if fixed_width(seq_of(items[:-1])) is not None:
            last = atomic(items[-1])
            return None if last is None else seq_of([*items[:-1], last])
        case Loop(item, lo, hi, is_lazy) if fixed_width(item) is not None:
            if is_lazy:
                return loop_of(item, lo, lo)
            no_more = Look(item, is_ahead=True, is_negative=True)
            if hi is None:
                return seq_of([loop_of(item, lo, None), no_more])
            fewer = seq_of([loop_of(item, lo, hi - 1), no_more])
            return or_of([fewer, loop_of(item, hi, hi)])
    return None


def _first_of(items: tuple[Node, ...]) -> Node | None:
    found: list[Node] = []
    for i, item in enumerate(items):
        node = atomic(item)
        if node is None:
            return None
        if i:
            node = seq_of([Look(or_of(items[:i]), is_ahead=True, is_negative=True), node])
        found.append(node)
    return or_of(found)
