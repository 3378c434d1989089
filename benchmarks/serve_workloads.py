"""The workloads of serve.py, after those of SGLang's paper (arXiv 2312.07104), from a seed.

A row is plain data (see serve_peer.py for who runs it), the same for every engine. Prompts are raw
text, greedy, no chat template. Lengths are in tokens of the model's tokenizer.

    W1              32 documents of 150 to 300 tokens after 600 shared ones; JSON of six fields
    W2              32 questions, 4 options each, after 10 shots (1,000 tokens): by log-probability
    W2-constrained  the same, written under a constraint
    W3              8 contexts of 400 tokens, 4 branches of 32, an end of 32 that has read them
    W4              8 agents of 5 turns: a call that matches a regex, an observation of 60 tokens
    W5-first        64 tokens of prompt: milliseconds to the first token
    W5-plain        64 tokens of prompt, 128 more
    W5-schema       the same under a schema (at most 128 tokens)
    W6              64 prompts of 128 tokens, 64 tokens each

and shapes of sharing, each smaller than its model:

    B1              4 prefixes of 512 tokens, 16 ends of 64 each, one token (in-batch prefix)
    B2              8 trees of thought: 2 + 4 + 8 + 16 thoughts of 32 tokens
    B3              10 articles of 512 tokens, 6 judges of 32 tokens, a verdict of 2
    B4              50 characters under SGLang's regex (jump-forward), at most 256 tokens
    B5              40 questions, 8 shots, 4 options of 16 tokens (hellaswag)
    B6-short, -long 16 chats of 4 turns: 64 to 128 tokens asked, 8 or 64 answered
    B7              16 agents of 6 turns of 48 tokens after 768 shared; a tool takes 20 ms
    B9-N, -N-regex  N prompts of 64 tokens, 64 tokens each, plain and under a regex of that length
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serve_text import CITIES, NAMES, TRADES, Count, Facts, prose, sentence

Data = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the table. unit: "s" (lower is better), "ms" (so too) or "tok/s" (higher)."""

    name: str
    unit: str
    data: Data


@dataclass(frozen=True)
class Maker:
    """Draws texts. `few` and `size` scale counts and lengths down for a smoke test."""

    rng: random.Random
    count: Count
    is_small: bool

    def few(self, number: int) -> int:
        return min(number, 2) if self.is_small else number

    def size(self, tokens: int) -> int:
        return max(tokens // 8, 2) if self.is_small else tokens

    def prose(self, tokens: int, start: str = "") -> str:
        return prose(self.rng, self.size(tokens), self.count, start)


RECORD: Data = {
    "type": "object",
    "properties": {
        "founder": {"type": "string", "maxLength": 24},
        "city": {"type": "string", "maxLength": 16},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2030},
        "kind": {"enum": TRADES},
        "visitors": {"type": "integer", "minimum": 0, "maximum": 9999},
        "open": {"type": "boolean"},
    },
    "required": ["founder", "city", "year", "kind", "visitors", "open"],
    "additionalProperties": False,
}
PAGE: Data = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 10, "maxLength": 60},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2030},
        "tags": {
            "type": "array",
            "items": {"type": "string", "minLength": 3, "maxLength": 12},
            "minItems": 3,
            "maxItems": 3,
        },
        "summary": {"type": "string", "minLength": 200, "maxLength": 400},
    },
    "required": ["title", "year", "tags", "summary"],
    "additionalProperties": False,
}
CALL = {
    "regex": r"(search|lookup)\[[a-z ]{8,24}\]",
    "gbnf": 'root ::= ("search" | "lookup") "[" [a-z ]{8,24} "]"',
}
LETTERS = {"regex": "[A-Za-z ,.]{100,}", "gbnf": "root ::= [A-Za-z ,.]{100,}"}
_FIELDS: tuple[tuple[str, str | tuple[str, ...]], ...] = (
    ('{\n    "name": "', "[A-Za-z0-9 ]{1,16}"),
    ('",\n    "house": "', ("Gryffindor", "Slytherin", "Ravenclaw", "Hufflepuff")),
    ('",\n    "blood status": "', ("Pure-blood", "Half-blood", "Muggle-born")),
    ('",\n    "occupation": "', ("student", "teacher", "auror", "ministry of magic")),
    ('",\n    "wand": {\n        "wood": "', "[A-Za-z0-9 ]{1,16}"),
    ('",\n        "core": "', "[A-Za-z0-9 ]{1,16}"),
    ('",\n        "length": ', "[0-9]{1,2}"),
    ('\n    },\n    "alive": "', ("Alive", "Deceased")),
    ('",\n    "patronus": "', "[A-Za-z0-9 ]{1,16}"),
    ('",\n    "bogart": "', "[A-Za-z0-9 ]{1,16}"),
)


def _character() -> dict[str, str]:
    """SGLang's json_jump_forward: most of the text is forced."""
    regex, gbnf = "", "root ::="
    for text, form in _FIELDS:
        regex += text.replace("{", r"\{").replace("}", r"\}")
        gbnf += f" {json.dumps(text)}"
        if isinstance(form, str):
            regex, gbnf = regex + form, f"{gbnf} {form}"
        else:
            regex += f"({'|'.join(form)})"
            gbnf += f" ({' | '.join(map(json.dumps, form))})"
    return {"regex": regex + '"\n\\}', "gbnf": gbnf + ' "\\"\\n}"'}


def rows(seed: int, count: Count, is_small: bool = False) -> list[Row]:
    """Every row. Another seed gives other texts of the same sizes: no cache has seen them."""
    made = []
    for name, unit, make in _ROWS:
        maker = Maker(random.Random(f"{seed} {name}"), count, is_small)
        data = make(maker)
        made.append(Row(name, unit, _shortened(data) if is_small else data))
    return made


def _shortened(data: Data) -> Data:
    """Free generations of a few tokens only; those with a form need the room they have."""
    gens = [request["gen"] for request in data.get("requests", ())]
    for gen in [*gens, data.get("gen", {}), data.get("merge_gen", {})]:
        if gen.keys() == _free(0).keys():
            gen["max_tokens"] = min(gen["max_tokens"], 8)
    return data


def chosen(made: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows whose name, or its part before a hyphen, or its letter, is among `names`."""
    known = {key for row in made for key in _keys(row)}
    if unknown := set(names) - known:
        raise ValueError(f"no workload {sorted(unknown)}; known: {sorted(known)}")
    return [row for row in made if _keys(row) & set(names)]


def _keys(row: Row) -> set[str]:
    return {row.name, row.name.partition("-")[0], row.name[0]}


def _requests(prompts: Sequence[str], **gen: Any) -> Data:
    return {"kind": "complete", "requests": [{"prompt": p, "gen": dict(gen)} for p in prompts]}


def _extract(make: Maker) -> Data:
    shots = "Extract a record from each document.\n"
    while make.count(shots) < make.size(480):
        facts = Facts.drawn(make.rng)
        record = dict(zip(RECORD["required"], facts, strict=True))
        shots += f"\nDocument: {facts.told()} {sentence(make.rng)}\nRecord: {json.dumps(record)}\n"
    prefix = make.prose(600, shots)
    documents = [
        make.prose(make.rng.randint(150, 300), Facts.drawn(make.rng).told())
        for _ in range(make.few(32))
    ]
    prompts = [f"{prefix}\n\nDocument: {document}\nRecord: " for document in documents]
    return _requests(prompts, schema=RECORD, max_tokens=128)


def _options(make: Maker, tokens: int) -> list[str]:
    """Four different texts, each with the space that separates it from the question."""
    options: list[str] = []
    while len(options) < 4:
        option = " " + make.prose(tokens)
        if option not in options:
            options.append(option)
    return options


def _questions(num_shots: int, shot: int, number: int, option: int) -> Callable[[Maker], Data]:
    def build(make: Maker) -> Data:
        shots = [
            f"Question: {make.prose(shot)} How does it go on?\nAnswer:{make.prose(option)}"
            for _ in range(make.few(num_shots))
        ]
        questions = [
            {
                "text": f"Question: {make.prose(40)} How does it go on?\nAnswer:",
                "options": _options(make, option),
            }
            for _ in range(make.few(number))
        ]
        return {"kind": "select", "prefix": "\n\n".join(shots) + "\n\n", "questions": questions}

    return build


_choose = _questions(10, 82, 32, 8)


def _constrained(make: Maker) -> Data:
    data = _choose(make)
    requests = [
        {"prompt": data["prefix"] + q["text"], "gen": {"choices": q["options"], "max_tokens": 32}}
        for q in data["questions"]
    ]
    return {"kind": "complete", "requests": requests}


def _fork(
    contexts: int, tokens: int, ways: Sequence[str], merge_tokens: int
) -> Callable[[Maker], Data]:
    def build(make: Maker) -> Data:
        return {
            "kind": "fork",
            "contexts": [make.prose(tokens) for _ in range(make.few(contexts))],
            "branches": [f"\n\nAbout the {way}: " for way in ways],
            "gen": _free(32),
            "merge": "\n\nTaken together: ",
            "merge_gen": _free(merge_tokens),
        }

    return build


def _free(tokens: int) -> Data:
    return {"max_tokens": tokens, "ignore_eos": True}


def _turns(
    number: int, turns: int, shared: int, text: int, gen: Data, delay_s: float = 0.0
) -> Callable[[Maker], Data]:
    """Programs that begin with `shared` same tokens; each later turn adds `text` tokens."""

    def build(make: Maker) -> Data:
        prefix = make.prose(shared) + "\n\n" if shared else ""
        programs = []
        for i in range(make.few(number)):
            first = f"{prefix}Task {i}: {make.prose(30)}\nAction: "
            others = [f"\nObservation: {make.prose(text)}\nAction: " for _ in range(turns - 1)]
            programs.append([first, *others])
        return {"kind": "turns", "programs": programs, "gen": dict(gen), "delay_s": delay_s}

    return build


def _chats(answer: int) -> Callable[[Maker], Data]:
    def build(make: Maker) -> Data:
        programs = [
            [f"\nUser: {make.prose(make.rng.randint(64, 128))}\nAnswer: " for _ in range(4)]
            for _ in range(make.few(16))
        ]
        return {"kind": "turns", "programs": programs, "gen": _free(answer), "delay_s": 0.0}

    return build


def _prompts(number: int, tokens: int, gen: Data) -> Callable[[Maker], Data]:
    def build(make: Maker) -> Data:
        return _requests([make.prose(tokens) for _ in range(make.few(number))], **gen)

    return build


def _page(make: Maker) -> Data:
    return _requests(
        [make.prose(54) + "\nThe same as a page in JSON: "], schema=PAGE, max_tokens=128
    )


def _prefixes(make: Maker) -> Data:
    prefixes = [make.prose(512) for _ in range(4)]
    prompts = [f"{prefix} {make.prose(64)}" for prefix in prefixes for _ in range(make.few(16))]
    return _requests(prompts, **_free(1))


def _thoughts(make: Maker) -> Data:
    steps = ("Plan", "Step", "Check", "Answer")
    return {
        "kind": "tree",
        "questions": [make.prose(120) for _ in range(make.few(8))],
        "levels": [[f"\n{step} {i}: " for i in (1, 2)] for step in steps],
        "gen": _free(32),
    }


def _characters(make: Maker) -> Data:
    people = [f"{make.rng.choice(NAMES)} of {make.rng.choice(CITIES)}" for _ in range(make.few(50))]
    prompts = [
        f"{i}. {who} is a character of a novel, described here: " for i, who in enumerate(people)
    ]
    return _requests(prompts, **_character(), max_tokens=256)


_MEANINGS = ("people", "places", "time", "money", "weather", "mood")
_ROWS: tuple[tuple[str, str, Callable[[Maker], Data]], ...] = (
    ("W1", "s", _extract),
    ("W2", "s", _choose),
    ("W2-constrained", "s", _constrained),
    ("W3", "s", _fork(8, 400, _MEANINGS[:4], 32)),
    ("W4", "s", _turns(8, 5, 300, 60, {**CALL, "max_tokens": 32})),
    ("W5-first", "ms", _prompts(1, 64, _free(1))),
    ("W5-plain", "tok/s", _prompts(1, 64, _free(128))),
    ("W5-schema", "tok/s", _page),
    ("W6", "s", _prompts(64, 128, _free(64))),
    ("B1", "s", _prefixes),
    ("B2", "s", _thoughts),
    ("B3", "s", _fork(10, 512, _MEANINGS, 2)),
    ("B4", "s", _characters),
    ("B5", "s", _questions(8, 82, 40, 16)),
    ("B6-short", "s", _chats(8)),
    ("B6-long", "s", _chats(64)),
    ("B7", "s", _turns(16, 6, 768, 64, _free(48), 0.02)),
    *(
        (f"B9-{number}{suffix}", "tok/s", _prompts(number, 64, {**_free(64), **form}))
        for number in (1, 8, 32)
        for suffix, form in (("", {}), ("-regex", LETTERS))
    ),
)
