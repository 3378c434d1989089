"""Dates, times and durations (RFC 3339).

Exact: the calendar with its leap years from year 0000, any number of digits of a second, `T` and
`Z` in either case, and a leap second only where RFC 3339 (section 5.7) has one: at 23:59 UTC,
whatever the offset, and with a date at the end of a June or December. Whether one was announced
for that year is a fact, not a form.

Readers are often narrower. Python's `datetime` has no year 0000 and no leap second.
"""

from __future__ import annotations

import functools

from sestina.lang.expr import either, seq
from sestina.lang.grammar_ir import And, Expr, Literal
from sestina.lang.json_schema.formats.pattern import pattern

_SIXTIETH = "[0-5][0-9]"
_HOUR_MINUTE = f"(?:[01][0-9]|2[0-3]):{_SIXTIETH}"
_OFFSET = f"(?:[Zz]|[+-]{_HOUR_MINUTE})"
_FRACTION = r"(?:\.[0-9]+)?"
_REGULAR_TIME = f"{_HOUR_MINUTE}:{_SIXTIETH}{_FRACTION}{_OFFSET}"


def _date() -> str:
    """full-date, with the days of each month as in appendix C."""
    fours = "0[48]|[2468][048]|[13579][26]"
    leap_year = f"(?:[0-9]{{2}}(?:{fours})|(?:{fours}|00)00)"
    long_months = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    short_months = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    february = "02-(?:0[1-9]|1[0-9]|2[0-8])"
    return f"(?:[0-9]{{4}}-(?:{long_months}|{short_months}|{february})|{leap_year}-02-29)"


def date() -> tuple[Expr, ...]:
    return (pattern(_date()),)


def time() -> tuple[Expr, ...]:
    """full-time."""
    return (either([pattern(_REGULAR_TIME), _leap_times(True), _leap_times(False)]),)


def date_time() -> tuple[Expr, ...]:
    """date-time. West of Greenwich 23:59 UTC is on the same day, east of it on the next one."""
    return (
        either(
            [
                pattern(f"{_date()}[Tt]{_REGULAR_TIME}"),
                seq(pattern("[0-9]{4}-(?:06-30|12-31)[Tt]"), _leap_times(False)),
                seq(pattern("[0-9]{4}-(?:07-01|01-01)[Tt]"), _leap_times(True)),
            ]
        ),
    )


@functools.lru_cache(maxsize=2)
def _leap_times(is_east: bool) -> Expr:
    """The times of leap seconds at the positive offsets, or at all others.

    Local time and offset determine each other. Their minutes do, as do their hours but for the
    carry of the minutes, so it is one language about each: 23:59 + 01:30 is 01:29.
    """
    sixty = pattern(f":60{_FRACTION}")
    hour, minute = pattern("(?:[01][0-9]|2[0-3])"), pattern(_SIXTIETH)
    later_minute = pattern("(?:0[1-9]|[1-5][0-9])")
    sign, minutes, hours = Literal(b"+" if is_east else b"-"), [], []
    for local in range(60):
        at = Literal(b":%02d" % local)
        offset = Literal(b":%02d" % ((local + 1) % 60 if is_east else 59 - local))
        minutes.append(seq(hour, at, sixty, sign, hour, offset))
    for local in range(24):
        at = Literal(b"%02d:" % (local if is_east else 23 - local))
        ends = [seq(at, later_minute if is_east else minute)]
        if is_east and local != 23:
            ends.append(Literal(b"%02d:00" % (local + 1)))
        hours.append(seq(Literal(b"%02d:" % local), minute, sixty, sign, either(ends)))
    both = And((either(minutes), either(hours)))
    return both if is_east else either([both, pattern(rf"23:59:60{_FRACTION}(?:[Zz]|\+00:00)")])


def duration() -> tuple[Expr, ...]:
    """Appendix A: units in order without gaps, at least one; weeks alone. Of any size.

    In upper case, as ISO 8601 writes them, though ABNF itself does not tell the cases apart.
    """
    time = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
    date = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
    return (pattern(f"P(?:{date}(?:{time})?|{time}|[0-9]+W)"),)
