"""Choose by probability instead of writing. python examples/04_select.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, select, user

OPTIONS = ["positive", "negative", "neutral"]
REVIEWS = [
    "The soup was cold and the waiter laughed at us.",
    "Best bread in town, and so friendly!",
    "The shop is on the corner.",
]


@function
def classify(s: State, review: str) -> None:
    """`select` scores every option in one forward pass; nothing is sampled."""
    s += user(f"Review: {review}\nIs this review positive, negative or neutral?")
    s += assistant("This review is " + select("mood", OPTIONS))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        states = classify.run_batch([{"review": review} for review in REVIEWS], backend=engine)
        for review, state in zip(REVIEWS, states, strict=True):
            scores = state.get_meta_info("mood").choices
            shown = ", ".join(f"{score.text} {score.probability:.0%}" for score in scores)
            print(f"{state['mood']:9} ({shown})  {review}")


if __name__ == "__main__":
    main(*sys.argv[1:])
