"""The engine's side of serve.py: one process that runs workloads as its users would.

Runs in each engine's own environment, so it needs the standard library alone. A script
(serve_ours.py, serve_transformers.py, ...) makes a `Peer` and calls `serve`. What goes in and out
is JSON, a line each:

    in    {"kind", ...}    a workload's data, see serve_workloads.py
    out   {"seconds", "cpu_seconds", "counters", "texts", "sequences", "steps"}
    out   {"refused": why}    instead

A peer that has no programs of its own implements `complete` (and `select`, if it can); the
workloads of several steps are then run as its users write them: with a list of requests per step
if it runs requests side by side, else one program after the other, which is what a cache of the
last prompt wants.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TextIO

Data = dict[str, Any]


class Refused(Exception):
    """This engine cannot do that, as it is."""


class Request(NamedTuple):
    """A prompt and how to go on: max_tokens, ignore_eos, and at most one form.

    Forms: schema (JSON Schema), regex with the same as gbnf, choices (a list of texts). Greedy.
    """

    prompt: str
    gen: Data


class Answer(NamedTuple):
    """What came of a workload, told when the clock has stopped.

    texts: what was generated. sequences: all that the model had to read or write, prompts included.
    steps: the longest chain of tokens drawn one after the other, where it is known.
    """

    texts: list[str]
    sequences: list[str]
    steps: int | None = None


class Peer(ABC):
    """An engine over one model. version and settings are told in the table's footnotes."""

    version: str
    settings: str
    is_batched: bool  # `complete` runs its requests side by side

    @abstractmethod
    def complete(self, requests: Sequence[Request]) -> list[str]:
        """The text that follows each prompt."""

    def select(self, prefix: str, questions: Sequence[Data]) -> list[int]:
        """The index of each question's best option, by log-probability per token.

        The options of `question["options"]` continue prefix + question["text"].
        """
        raise Refused("no scoring of options")

    def counters(self) -> Data:
        """Hardware-free counts since the start."""
        return {}

    def work(self, data: Data) -> Callable[[], Answer]:
        """Run a workload; the result is asked for its answer outside the time."""
        texts, sequences = _KINDS[data["kind"]](self, data)
        return lambda: Answer(texts, sequences)

    def run(self, data: Data) -> Data:
        """One workload, timed and counted."""
        before = self.counters()
        started, cpu_started = time.perf_counter(), time.process_time()
        finish = self.work(data)
        times = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu_started,
        }
        after = self.counters()
        counters = {name: after[name] - before[name] for name in after}
        return {**times, "counters": counters, **finish()._asdict()}


Made = tuple[list[str], list[str]]
"""Generated texts, and the sequences that they end."""


def _complete(peer: Peer, data: Data) -> Made:
    requests = [Request(**request) for request in data["requests"]]
    texts = peer.complete(requests)
    return texts, [r.prompt + text for r, text in zip(requests, texts, strict=True)]


def _select(peer: Peer, data: Data) -> Made:
    chosen = peer.select(data["prefix"], data["questions"])
    texts = [q["options"][i] for q, i in zip(data["questions"], chosen, strict=True)]
    return texts, option_texts(data)


def option_texts(data: Data) -> list[str]:
    """What has to be read to score every option."""
    return [data["prefix"] + q["text"] + o for q in data["questions"] for o in q["options"]]


def _turns(peer: Peer, data: Data) -> Made:
    """Conversations: a text, a generation, the next text, ..."""
    made: Made = ([], [])
    for group in _groups(peer, data["programs"]):
        histories = [""] * len(group)
        for turn in range(len(group[0])):
            time.sleep(data["delay_s"])  # what the program waits for between its turns
            prompts = [h + texts[turn] for h, texts in zip(histories, group, strict=True)]
            histories = _add(made, peer, prompts, data["gen"])
    return made


def _fork(peer: Peer, data: Data) -> Made:
    """A context, branches that continue it, and an end that has read what they wrote."""
    made: Made = ([], [])
    for group in _groups(peer, data["contexts"]):
        prompts = [context + branch for context in group for branch in data["branches"]]
        _add(made, peer, prompts, data["gen"])
        width = len(data["branches"])
        notes = made[0][-len(prompts) :]
        merged = [
            context + merge_text(data, notes[i * width : (i + 1) * width])
            for i, context in enumerate(group)
        ]
        _add(made, peer, merged, data["merge_gen"])
    return made


def merge_text(data: Data, notes: Sequence[str]) -> str:
    """What follows the context once its branches have written `notes`."""
    return "".join(f"\n{i}. {note}" for i, note in enumerate(notes, 1)) + data["merge"]


def _tree(peer: Peer, data: Data) -> Made:
    """Every text of a level is continued in several ways, level after level."""
    made: Made = ([], [])
    for group in _groups(peer, data["questions"]):
        texts = list(group)
        for level in data["levels"]:
            texts = _add(made, peer, [t + way for t in texts for way in level], data["gen"])
    return made


def _groups(peer: Peer, programs: Sequence[Any]) -> list[Sequence[Any]]:
    return [programs] if peer.is_batched else [[program] for program in programs]


def _add(made: Made, peer: Peer, prompts: list[str], gen: Data) -> list[str]:
    """Generate after each prompt, note both in `made`, and give back the sequences."""
    texts = peer.complete([Request(prompt, gen) for prompt in prompts])
    whole = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
    made[0].extend(texts)
    made[1].extend(whole)
    return whole


_KINDS: dict[str, Callable[[Peer, Data], Made]] = {
    "complete": _complete,
    "select": _select,
    "turns": _turns,
    "fork": _fork,
    "tree": _tree,
}


def serve(make: Callable[[Data], Peer]) -> None:
    """Answer requests until standard input ends: SCRIPT OPTIONS-AS-JSON."""
    out = _claim_stdout()
    peer = make(json.loads(sys.argv[1]))
    _say(out, {"version": peer.version, "settings": peer.settings})
    for line in sys.stdin:
        try:
            answer = peer.run(json.loads(line))
        except Exception as error:
            answer = {"refused": f"{type(error).__name__}: {error}"[:500]}
        _say(out, answer)


def _claim_stdout() -> TextIO:
    """Standard output for the answers alone; what an engine prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _say(out: TextIO, answer: Data) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()
