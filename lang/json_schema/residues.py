"""Decimals by their remainders: the automaton that reads digits from the left, as grammar rules.

A number with at most `places` digits after the point (and zeros behind them) is an integer when
scaled by 10^places. Reading one more digit of its whole part takes a remainder r to 10 r + digit,
so remainders are states. Those after which the same digits lead to the same end are one state: of
86,400 remainders, a few hundred are left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, And, Expr, Rule
from sestina.lang.json_schema.digits import DIGIT, NO_FRACTION, POINT, ZERO, between
from sestina.lang.kept import kept

MAX_STATES = 4_000
MAX_PLACES = 20
MAX_ZEROS = 40
MAX_NODES = 2_000
MAX_KEPT_RULES = 1_000  # of several dozen objects each


@dataclass(frozen=True, slots=True)
class Wanted:
    """Numbers x for which 10^places x is a multiple of `step` and of none of `excluded`.

    is_plain: no fraction is written, not even one of zeros; `places` is 0 then.
    """

    step: int
    places: int = 0
    excluded: tuple[int, ...] = ()
    is_plain: bool = False

    @property
    def modulus(self) -> int:
        return math.lcm(self.step, *self.excluded)

    @property
    def is_any(self) -> bool:
        """Whether there is such a number."""
        return self.holds(self.step)

    def holds(self, remainder: int) -> bool:
        return remainder % self.step == 0 and all(remainder % other for other in self.excluded)


class Spellings(NamedTuple):
    """A language and the rules that it refers to."""

    expr: Expr
    rules: Mapping[str, Expr]

    def ending(self, ends: tuple[Expr, ...]) -> Spellings:
        """Those that end as each of these languages without rules says."""
        if not ends or is_nothing(self.expr):
            return self
        return Spellings(And((self.expr, *ends)), self.rules)


@kept(MAX_KEPT_RULES, lambda found: 1 + len(found.rules))
def spellings(wanted: Wanted, low: int, high: int | None) -> Spellings:
    """The wanted numbers x with 0 <= low <= 10^places x <= high, without sign.

    Raises ConstraintLimitExceeded beyond MAX_STATES states or MAX_NODES of them by digits.
    """
    if not wanted.is_any or (high is not None and high < low):
        return Spellings(NOTHING, {})
    machine = _machine(wanted)
    return Spellings(_Interval(machine, low, high).lower(), machine.rules)


@kept(MAX_KEPT_RULES, lambda machine: 1 + len(machine.rules))
def _machine(wanted: Wanted) -> _Machine:
    return _Machine(wanted)


class _Machine:
    """States of whole parts are indices into `remainders`, each for all that act like it."""

    def __init__(self, wanted: Wanted) -> None:
        if wanted.places > MAX_PLACES:
            raise ConstraintLimitExceeded(f"multiples with {wanted.places} digits after the point")
        if 10**MAX_ZEROS % (wanted.step // coprime_to_ten(wanted.step)):
            raise ConstraintLimitExceeded(f"multiples that end in more than {MAX_ZEROS} zeros")
        self.wanted = wanted
        self.modulus = wanted.modulus
        self.remainders: list[int] = []
        self.steps: list[list[int]] = []
        self._find_states()
        self.fractions: dict[tuple[int, int, str | None, str | None], Expr] = {}
        scaled = [r * 10**wanted.places % self.modulus for r in self.remainders]
        self.ends = [self.after_whole(r) for r in scaled]
        self.rules = self._make_rules()

    # ---- the whole part

    def _find_states(self) -> None:
        found: dict[tuple[int | None, ...], int] = {}
        period = self.modulus // math.gcd(self.modulus, 10**self.wanted.places)

        def state(remainder: int) -> int:
            key = self._behaviour(remainder)
            if key not in found:
                if len(found) >= MAX_STATES:
                    raise ConstraintLimitExceeded(f"multiples of more than {MAX_STATES} states")
                found[key] = len(found)
                self.remainders.append(remainder)
            return found[key]

        state(0)
        while len(self.steps) < len(self.remainders):
            remainder = self.remainders[len(self.steps)]
            self.steps.append([state((10 * remainder + digit) % period) for digit in range(10)])

    def _behaviour(self, remainder: int) -> tuple[int | None, ...]:
        """What decides which digits may follow: equal for remainders that may be one state.

        After j more digits, these have to make up for -10^j r, and can if that is below 10^j. Once
        10^j has all factors 2 and 5 of the step, only the rest of the step matters.
        """
        if self.wanted.excluded:
            return (remainder,)
        step, power = self.wanted.step, 10**self.wanted.places
        key: list[int | None] = []
        while True:
            missing = -remainder * power % step
            key.append(missing if missing < power else None)
            rest = step // math.gcd(step, power)
            if math.gcd(rest, 10) == 1:
                return (*key, remainder % rest)
            power *= 10

    def _make_rules(self) -> Mapping[str, Expr]:
        if len(self.steps) == 1:
            return MappingProxyType({})
        # The same object wherever something is mentioned, so that it is read once.
        targets = [Rule(self._name(state)) for state in range(len(self.steps))]
        one_digit = [between(digit, digit) for digit in range(10)]
        rules = {}
        for rule, steps, end in zip(targets, self.steps, self.ends, strict=True):
            digits: dict[int, list[Expr]] = {}
            for digit, target in enumerate(steps):
                digits.setdefault(target, []).append(one_digit[digit])
            following = [seq(either(some), targets[to]) for to, some in digits.items()]
            rules[rule.name] = either([end, *following])
        return MappingProxyType(rules)

    def _name(self, state: int) -> str:
        wanted = self.wanted
        kind = f"{wanted.step}e-{wanted.places}" + "".join(f", not {e}" for e in wanted.excluded)
        plain = ", plain" if wanted.is_plain else ""
        return f"multiple of {kind}{plain}: {self.remainders[state]}"

    def any_more(self, state: int) -> Expr:
        """What may follow in a state if no bound counts any more."""
        if self.rules:
            return Rule(self._name(state))
        return seq(times(DIGIT, 0, None), self.ends[0])

    # ---- the fraction, with remainders of the number scaled by 10^places

    def after_whole(self, remainder: int, low: str | None = None, high: str | None = None) -> Expr:
        """What may follow a whole part: nothing, or a point and digits.

        low, high: the fractions of bounds with the same whole part, all `places` digits of them.
        """
        may_end = self.wanted.holds(remainder) and not (low or "").strip("0")
        end = EPSILON if self.wanted.places or self.wanted.is_plain else NO_FRACTION
        digits = self._digits(self.wanted.places, remainder, low, high)
        return either([end if may_end else NOTHING, seq(POINT, digits)])

    def _digits(self, places: int, remainder: int, low: str | None, high: str | None) -> Expr:
        """At least one digit of a fraction, of which `places` count; zeros may follow those."""
        if not places:
            return NOTHING
        power = 10 ** (places - 1)
        least = 0 if low is None else int(low[0])
        most = 9 if high is None else int(high[0])
        found = []
        for digit in range(least, most + 1):
            rest = self._more_digits(
                places - 1,
                (remainder + digit * power) % self.modulus,
                None if low is None or digit > least else low[1:],
                None if high is None or digit < most else high[1:],
            )
            found.append(seq(between(digit, digit), rest))
        return either(found)

    def _more_digits(self, places: int, remainder: int, low: str | None, high: str | None) -> Expr:
        """The end of a fraction, or more of its digits."""
        key = places, remainder, low, high
        if key not in self.fractions:
            if len(self.fractions) > MAX_NODES:
                raise ConstraintLimitExceeded("multiples with too many fractions")
            may_end = self.wanted.holds(remainder) and not (low or "").strip("0")
            end = times(ZERO, 0, 0 if places else None) if may_end else NOTHING
            can_go_on = -remainder % self.wanted.step < 10**places
            more = self._digits(places, remainder, low, high) if can_go_on else NOTHING
            self.fractions[key] = either([end, more])
        return self.fractions[key]


class _Interval:
    """Numbers between bounds, read digit by digit: a state of the machine, and how the whole part
    read so far compares (-1, 0, 1) with as many digits of the low and of the high bound."""

    def __init__(self, machine: _Machine, low: int, high: int | None) -> None:
        self.machine = machine
        self.low_whole, self.low_fraction = self._split(low)
        self.high_whole, self.high_fraction = self._split(high or 0)
        self.is_bounded = high is not None
        self.longest = len(self.high_whole if self.is_bounded else self.low_whole)

    def _split(self, bound: int) -> tuple[str, str]:
        places = self.machine.wanted.places
        digits = f"{bound:0{places + 1}}"
        return digits[: len(digits) - places], digits[len(digits) - places :]

    def lower(self) -> Expr:
        start = (0, 0, 0 if self.is_bounded else -1)
        levels = [dict.fromkeys(self._step(0, start, digit) for digit in range(1, 10))]
        num_nodes = 0
        for length in range(1, self.longest):
            num_nodes += len(levels[-1])
            if num_nodes > MAX_NODES:
                raise ConstraintLimitExceeded("multiples between bounds of too many digits")
            found = (self._step(length, at, digit) for at in levels[-1] for digit in range(10))
            levels.append(dict.fromkeys(found))
        following: dict[_At, Expr] = {}
        for length in range(self.longest, 0, -1):
            following = {at: self._node(length, at, following) for at in levels[length - 1]}
        digits = [
            seq(between(digit, digit), following[self._step(0, start, digit)])
            for digit in range(1, 10)
        ]
        return either([seq(ZERO, self._end(1, self._step(0, start, 0))), *digits])

    def _step(self, length: int, at: _At, digit: int) -> _At:
        """After one digit more than `length`."""
        state, low, high = at
        if length >= len(self.low_whole):
            low = 1
        elif not low:
            low = _sign(digit - int(self.low_whole[length]))
        if not high:
            high = _sign(digit - int(self.high_whole[length]))
        return self.machine.steps[state][digit], low, high

    def _node(self, length: int, at: _At, following: Mapping[_At, Expr]) -> Expr:
        """What may follow `length` digits of a whole part."""
        state, low, _ = at
        if length < self.longest:
            more = [seq(between(d, d), following[self._step(length, at, d)]) for d in range(10)]
        elif self.is_bounded:
            more = []
        elif low > 0:
            return self.machine.any_more(state)
        else:
            steps = enumerate(self.machine.steps[state])
            more = [seq(between(digit, digit), self.machine.any_more(to)) for digit, to in steps]
        return either([self._end(length, at), *more])

    def _end(self, length: int, at: _At) -> Expr:
        """What may follow a whole part of this length."""
        state, low, high = at
        low = -1 if length < len(self.low_whole) else low
        high = -1 if length < self.longest else high
        if low < 0 or high > 0:
            return NOTHING
        if low and high:
            return self.machine.ends[state]
        whole = int(self.high_whole if low else self.low_whole)
        remainder = whole * 10**self.machine.wanted.places % self.machine.modulus
        return self.machine.after_whole(
            remainder, None if low else self.low_fraction, None if high else self.high_fraction
        )


_At = tuple[int, int, int]


def coprime_to_ten(number: int) -> int:
    """The number without its factors 2 and 5."""
    while (common := math.gcd(number, 10)) > 1:
        number //= common
    return number


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
