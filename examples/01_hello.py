"""The smallest program: a chat of one turn. python examples/01_hello.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, gen, system, user


@function
def hello(s: State, name: str) -> None:
    """A program describes the text; `gen` marks what the model writes."""
    s += system("You are a friendly host.")
    s += user(f"Greet {name} in one short sentence.")
    s += assistant(gen("greeting", max_tokens=30, temperature=0))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        state = hello.run("Ada", backend=engine)
        print("greeting:", state["greeting"])
        for message in state.messages():
            print(f"  {message['role']}: {message['content']}")

        # Without a program: one chat, one completion.
        messages = [{"role": "user", "content": "Name a primary colour."}]
        print("chat:", engine.chat(messages, max_tokens=10, temperature=0).text)
        print("text:", engine.generate("Once upon a time", max_tokens=10, temperature=0).text)


if __name__ == "__main__":
    main(*sys.argv[1:])
