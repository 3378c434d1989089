"""Sestina for serve.py: every workload as the program one would write. Options: those of Engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from serve_peer import Answer, Data, Peer, Request, merge_text, option_texts, serve

from sestina import Engine, Program, State, choices, function, gen, select

COUNTED = ("prefilled", "cached", "forced", "drafted", "accepted", "sampled", "forward_passes")


def asked(gen_data: Data) -> dict[str, Any]:
    """The keyword arguments of `gen`."""
    names = {"json_schema": "schema", "regex": "regex", "ignore_eos": "ignore_eos"}
    options = {ours: gen_data[key] for ours, key in names.items() if key in gen_data}
    if "choices" in gen_data:
        options["constraint"] = choices(gen_data["choices"])
    return {**options, "max_tokens": gen_data["max_tokens"], "temperature": 0}


# Each program returns its branches that hold all that was written.


@function
def complete(s: State, prompt: str, gen: Data) -> list[State]:
    s += prompt + _gen("text", gen)
    return [s]


@function
def answer(s: State, prompt: str, options: list[str]) -> list[State]:
    s += prompt + select("answer", options)
    return [s]


@function
def converse(s: State, texts: list[str], gen: Data, delay_s: float) -> list[State]:
    for turn, text in enumerate(texts):
        if delay_s:
            s.sync()
            time.sleep(delay_s)
        s += text + _gen(f"turn {turn}", gen)
    return [s]


@function
def map_merge(s: State, context: str, data: Data) -> list[State]:
    s += context
    branches = s.fork(len(data["branches"]))
    branches += [text + _gen(f"note {i}", data["gen"]) for i, text in enumerate(data["branches"])]
    s += merge_text(data, [branch[f"note {i}"] for i, branch in enumerate(branches)])
    s += _gen("merged", data["merge_gen"])
    return [s, *branches]


@function
def think(s: State, question: str, levels: list[list[str]], gen: Data) -> list[State]:
    s += question
    branches = [s]
    for depth, ways in enumerate(levels):
        branches = [child for branch in branches for child in branch.fork(len(ways))]
        for i, branch in enumerate(branches):
            branch += ways[i % len(ways)] + _gen(f"thought {depth}.{i}", gen)
    for branch in branches:
        branch.sync()
    return branches


def _gen(name: str, gen_data: Data) -> Any:
    return gen(name, **asked(gen_data))


class Sestina(Peer):
    is_batched = True

    def __init__(self, options: Data) -> None:
        self.engine = Engine(**options)
        self.version = version("sestina")
        self.settings = f"Engine({', '.join(f'{k}={v!r}' for k, v in options.items())})"

    def counters(self) -> Data:
        counted = asdict(self.engine.stats())
        return {name: counted[name] for name in COUNTED}

    def complete(self, requests: Sequence[Request]) -> list[str]:
        states = complete.run_batch([r._asdict() for r in requests], backend=self.engine)
        return [state["text"] for state in states]

    def work(self, data: Data) -> Callable[[], Answer]:
        program, batch = _programs(data)
        states = program.run_batch(batch, backend=self.engine)
        if failed := [error for error in (state.error() for state in states) if error]:
            raise failed[0]
        return lambda: _read(data, states)


def _programs(data: Data) -> tuple[Program, list[Data]]:
    """Which program runs a workload, and with what arguments each time."""
    kind = data["kind"]
    if kind == "complete":
        return complete, data["requests"]
    if kind == "select":
        prefix, questions = data["prefix"], data["questions"]
        return answer, [{"prompt": prefix + q["text"], "options": q["options"]} for q in questions]
    if kind == "turns":
        common = {"gen": data["gen"], "delay_s": data["delay_s"]}
        return converse, [{"texts": texts, **common} for texts in data["programs"]]
    if kind == "fork":
        return map_merge, [{"context": context, "data": data} for context in data["contexts"]]
    common = {"levels": data["levels"], "gen": data["gen"]}
    return think, [{"question": question, **common} for question in data["questions"]]


def _read(data: Data, states: Sequence[State]) -> Answer:
    """What the states hold, read when time no longer matters."""
    branches = [branch for state in states for branch in state.ret_value]
    texts = []
    for state in states:  # a name means one text in a program, whichever branch has it
        named = {name: branch[name] for branch in state.ret_value for name in branch.names()}
        texts += named.values()
    if data["kind"] == "select":
        return Answer(texts, option_texts(data), 0)
    steps = max(map(_sampled, branches))
    if data["kind"] == "fork":  # the end waits for its branches
        steps = max(
            _sampled(end) + max(map(_sampled, notes))
            for end, *notes in (s.ret_value for s in states)
        )
    return Answer(texts, [branch.text() for branch in branches], steps)


def _sampled(branch: State) -> int:
    """How many tokens were drawn one after the other for a branch's text."""
    return sum(branch.get_meta_info(name).sampled for name in branch.names())


if __name__ == "__main__":
    serve(Sestina)
