"""Integers that are or are not multiples of powers of 2 and 5, which their last digits tell.

Together with other factors remainders multiply, and so do the states that tell them; on their own,
last digits are a small language without rules, to be met beside the remainders (`And`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import product

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr
from sestina.lang.json_schema.digits import DIGIT, MINUS, POINT, between
from sestina.lang.json_schema.residues import Wanted, coprime_to_ten

MAX_ENDED = 3_000  # the last digits of multiples: remainders times digits
MAX_MIXED = 4


def split(wanted: Wanted) -> Iterator[tuple[Wanted, tuple[Expr, ...]]]:
    """Alternatives: remainders by numbers without factors 2 and 5, and languages of last digits."""
    step = coprime_to_ten(wanted.step)
    is_multiple = (_ending(wanted.step // step, is_multiple=True),) if step < wanted.step else ()
    sides = [_sides(other) for other in wanted.excluded]
    if sum(len(side) > 1 for side in sides) > MAX_MIXED:
        raise ConstraintLimitExceeded("so many numbers of which there are to be no multiples")
    for chosen in product(*sides):
        excluded = tuple(other for other in chosen if other == coprime_to_ten(other))
        ends = [_ending(o, is_multiple=False) for o in chosen if o not in excluded]
        yield (
            Wanted(step, excluded=excluded, is_plain=wanted.is_plain),
            (*is_multiple, *ends),
        )


def _sides(other: int) -> tuple[int, ...]:
    """The factors one of which a number that is no multiple of `other` is no multiple of."""
    coprime = coprime_to_ten(other)
    return tuple(side for side in (coprime, other // coprime) if side > 1) or (1,)


@functools.lru_cache(maxsize=256)
def _ending(number: int, *, is_multiple: bool) -> Expr:
    """Integers by whether they are multiples of a number without factors other than 2 and 5."""
    length = next(n for n in range(number.bit_length() + 1) if 10**n % number == 0)
    if length * number > MAX_ENDED:
        raise ConstraintLimitExceeded("multiples by so many last digits")
    after: dict[int, Expr] = {
        r: EPSILON if (r == 0) is is_multiple else NOTHING for r in range(number)
    }
    whole = []
    for _ in range(length):
        after = {
            r: either(seq(between(d, d), after[(10 * r + d) % number]) for d in range(10))
            for r in range(number)
        }
        whole.append(after[0])
    whole[-1] = seq(times(DIGIT, 0, None), whole[-1])
    return seq(maybe(MINUS), either(whole), maybe(seq(POINT, times(DIGIT, 0, None))))
