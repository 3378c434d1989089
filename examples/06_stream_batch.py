"""Watch one program write, then run many at once. python examples/06_stream_batch.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, gen, user

SUBJECTS = ["the sea", "a bicycle", "winter", "bread"]


@function
def poem(s: State, subject: str) -> None:
    s += user(f"Write two lines about {subject}.")
    s += assistant(gen("lines", max_tokens=40))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model, seed=7) as engine:
        # Pieces arrive as they are generated, always whole characters.
        state = poem.run("rain", backend=engine, temperature=0, stream=True)
        for piece in state.text_iter("lines"):
            print(piece, end="", flush=True)
        print("\n")

        # A batch: every program gets its own seed, so the result does not depend on the order.
        batch = [{"subject": subject} for subject in SUBJECTS]
        for item, state in zip(
            batch, poem.run_batch(batch, backend=engine, seed=1, progress_bar=True), strict=True
        ):
            if state.error() is not None:  # one that fails harms no other
                print(f"{item['subject']}: {state.error()}")
                continue
            print(f"{item['subject']}: {state['lines']!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
