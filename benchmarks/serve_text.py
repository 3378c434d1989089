"""Text for the workloads: plain English of a wanted number of tokens, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

Count = Callable[[str], int]
"""How many tokens a text has."""


def _words(text: str) -> list[str]:
    return text.split()


NAMES = _words(
    "Ada Bruno Clara David Elena Felix Greta Hugo Iris Jonas Karin Leo Maria Nils Olga Paul"
)
FAMILIES = _words(
    "Ames Berg Costa Dunn Eriksen Fischer Grant Holm Ivanov Jensen Keller Lund Moreau"
)
CITIES = _words("Lisbon Bergen Turin Lyon Porto Ghent Malmo Krakow Graz Seville Utrecht Basel Cork")
TRADES = ["bakery", "bookshop", "workshop", "school", "museum"]
ADJECTIVES = _words(
    "small old quiet famous modern narrow bright crowded simple northern stone wooden"
)
THINGS = _words(
    "harbour market garden bridge library station tower river square theatre road island"
)
VERBS = _words("opened painted repaired bought visited described measured closed moved sold")
WAYS = [
    "before the rain came",
    "with the help of two friends",
    "and nobody in the street was surprised",
    "because the winter had been long",
    "while the bells were ringing",
    "after a long talk about money",
]


class Facts(NamedTuple):
    """What a document says, and an extraction is asked for."""

    name: str
    city: str
    year: int
    trade: str
    visitors: int
    is_open: bool

    @classmethod
    def drawn(cls, rng: random.Random) -> Facts:
        return cls(
            f"{rng.choice(NAMES)} {rng.choice(FAMILIES)}",
            rng.choice(CITIES),
            rng.randint(1900, 2020),
            rng.choice(TRADES),
            rng.randint(10, 900),
            rng.random() < 0.5,
        )

    def told(self) -> str:
        state = "still open" if self.is_open else "closed now"
        return (
            f"{self.name} founded the {self.trade} in {self.city} in {self.year}. "
            f"It has {self.visitors} visitors a day and is {state}."
        )


def sentence(rng: random.Random) -> str:
    name, verb = rng.choice(NAMES), rng.choice(VERBS)
    place = f"the {rng.choice(ADJECTIVES)} {rng.choice(THINGS)} in {rng.choice(CITIES)}"
    return f"In {rng.randint(1900, 2020)} {name} {verb} {place} {rng.choice(WAYS)}."


def prose(rng: random.Random, num_tokens: int, count: Count, start: str = "") -> str:
    """`start` and sentences after it, cut at the word that reaches `num_tokens`.

    Cost: some ten calls of `count`.
    """
    words = start.split(" ") if start else []
    while count(" ".join(words)) < num_tokens:
        for _ in range(1 + num_tokens // 64):
            words += sentence(rng).split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high) // 2
        if count(" ".join(words[:middle])) < num_tokens:
            low = middle + 1
        else:
            high = middle
    return " ".join(words[:low])
