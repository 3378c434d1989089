"""Fix the form with regular expressions. python examples/02_regex.py [model]"""

from __future__ import annotations

import re
import sys

from sestina import Engine, State, assistant, function, gen, user

TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
PHONE = r"\+[0-9]{1,2} [0-9]{3} [0-9]{4}"


@function
def plan_visit(s: State, request: str) -> None:
    """Text and gens alternate in one turn: the model fills the gaps of a form."""
    s += user(f"{request}\nFill in the form.")
    s += assistant(
        "Opening time: "
        + gen("opens", regex=TIME, temperature=0)
        + "\nPhone: "
        + gen("phone", regex=PHONE, temperature=0)
        + "\nWeekday: "
        + gen("day", regex="(Mon|Tues|Wednes|Thurs|Fri)day", temperature=0)
    )


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        request = "The library opens at 09:30 on Tuesday. Call +44 555 0199."
        state = plan_visit.run(request, backend=engine)
        for name in ("opens", "phone", "day"):
            meta = state.get_meta_info(name)
            print(f"{name:6} {state[name]!r:20} forced {meta.forced}, sampled {meta.sampled}")
    # Not a hope but a property: what the regex forbids is never produced.
    assert re.fullmatch(TIME, state["opens"])
    assert re.fullmatch(PHONE, state["phone"])


if __name__ == "__main__":
    main(*sys.argv[1:])
