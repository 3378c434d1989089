"""Branches that share a prefix and run side by side. python examples/05_fork_join.py [model]"""

from __future__ import annotations

import sys

from sestina import Engine, State, assistant, function, gen, select, user

STORY = (
    "On Monday the lighthouse keeper found a bottle on the beach. In it was a map of the island "
    "with a red cross on the old well. She took a spade, a lamp and her dog, and went to look."
)


@function
def read_story(s: State, story: str) -> None:
    s += user(f"Here is a story. {story}") + assistant("I have read it.")

    # Three questions about the same text: it is computed once and shared by all branches.
    with s.fork(3) as (who, where, sad):
        who += user("Who is it about?") + assistant(gen("who", max_tokens=12, temperature=0))
        where += user("Where is it?") + assistant(gen("where", max_tokens=12, temperature=0))
        sad += user("Is it sad?") + assistant(select("sad", ["yes", "no"]))
        s["notes"] = f"Who: {who['who']}\nWhere: {where['where']}\nSad: {sad['sad']}"

    s += user(f"My notes:\n{s['notes']}\nGive the story a title.")
    s += assistant(gen("title", max_tokens=12, stop="\n", temperature=0))


def main(model: str = "smollm2-135m-instruct") -> None:
    with Engine(model) as engine:
        state = read_story.run(STORY, backend=engine)
        print(state["notes"])
        print("Title:", state["title"])
        stats = engine.stats()
        print(f"{stats.cached} prompt tokens from the cache, {stats.prefilled} computed")


if __name__ == "__main__":
    main(*sys.argv[1:])
