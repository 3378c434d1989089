"""Rules that only come back to themselves at their end are loops, and loops are regular.

`chars: "" | [a-z] chars` is `[a-z]*`. A runtime treats a repetition in one piece, where recursion
would be a state of its own for every character. For A = U A | V the least solution is U* V (Arden
1961), whatever other rules U and V hold.
"""

from __future__ import annotations

from collections.abc import Mapping

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import either, seq, times
from sestina.lang.grammar_syntax.references import Bodies, mentions


def without_tail_recursion(bodies: Mapping[str, ir.Expr]) -> Bodies:
    """The same rules, with a loop in each that mentions itself only as the last of a sequence.

    >>> without_tail_recursion({"a": either([seq(ir.literal("xy"), ir.Rule("a")), ir.EPSILON])})
    {'a': Repeat(item=Literal(data=b'xy'), lo=0, hi=None)}
    """
    return {name: _with_loop(name, body) for name, body in bodies.items()}


def _with_loop(name: str, body: ir.Expr) -> ir.Expr:
    itself = ir.Rule(name)
    steps: list[ir.Expr] = []
    ends: list[ir.Expr] = []
    for way in body.items if isinstance(body, ir.Alt) else (body,):
        items = way.items if isinstance(way, ir.Concat) else (way,)
        before = seq(*items[:-1])
        if items and items[-1] in (itself, ir.Repeat(itself, 0, 1)):
            steps.append(before)
            if items[-1] != itself:
                ends.append(before)
        else:
            ends.append(way)
    if not steps or any(name in mentions(part) for part in (*steps, *ends)):
        return body
    return seq(times(either(steps), 0, None), either(ends))
