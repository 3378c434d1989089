"""Choose by probability instead of writing. python examples/04_select.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, select, user

OPTIONS = ["positive", "negative"]
REVIEWS = [
    "The soup was cold and the waiter laughed at us.",
    "Best bread in town, and so friendly!",
    "I waited for an hour and then they had closed.",
]


@function
def classify(s: State, review: str) -> None:
    """`select` scores every option in one forward pass; nothing is sampled."""
    s += user(f"Classify the sentiment: {review}")
    s += assistant("Sentiment: " + select("sentiment", OPTIONS))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        states = classify.run_batch([{"review": review} for review in REVIEWS], backend=engine)
        for review, state in zip(REVIEWS, states, strict=True):
            scores = state.get_meta_info("sentiment").choices
            shown = ", ".join(f"{score.text} {score.probability:.0%}" for score in scores)
            print(f"{state['sentiment']:9} ({shown})  {review}")


if __name__ == "__main__":
    main(*sys.argv[1:])
