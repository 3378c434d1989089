"""The smallest program: a chat of one turn. python examples/01_hello.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, gen, system, user


@function
def capital(s: State, country: str) -> None:
    """A program describes the text; `gen` marks what the model writes."""
    s += system("You answer in one short sentence.")
    s += user(f"What is the capital of {country}?")
    s += assistant(gen("answer", max_tokens=20, temperature=0))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        state = capital.run("France", backend=engine)
        print("answer:", state["answer"])
        for message in state.messages():
            print(f"  {message['role']}: {message['content']}")

        # Without a program: one chat, one completion.
        messages = [{"role": "user", "content": "Which animal says meow?"}]
        print("chat:", engine.chat(messages, max_tokens=20, temperature=0).text)
        print("text:", engine.generate("Once upon a time", max_tokens=10, temperature=0).text)


if __name__ == "__main__":
    main(*sys.argv[1:])
