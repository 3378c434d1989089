"""Programs and types that the tests of `sestina run` and `sestina extract` name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sestina import assistant, function, gen, user


@dataclass
class Person:
    name: str
    age: int


@function
def greet(s: Any, name: str, times: int = 1, *, loud: bool = False) -> None:
    s += f"{name!r} {times!r} {loud!r}: " + gen("greeting", max_tokens=5)


@function
async def greet_async(s: Any, name: str) -> None:
    s += f"{name}: " + gen("greeting")


@function
def typed(s: Any, person: Person) -> None:
    s += f"{person.name} is {person.age}. " + gen("person", schema=Person)


@function
def chat(s: Any, text) -> None:  # type: ignore[no-untyped-def]
    s += user(text) + assistant(gen("reply"))


@function
def broken(s: Any) -> None:
    raise ValueError("the body is broken")


@function
def misspelt(s: Any) -> None:
    s += gen("x", max_tokns=3)  # type: ignore[call-arg]


@function
def unclosed(s: Any) -> None:
    s += gen("x", regex="(")


@function
def unknown(s: Any) -> None:
    s += s["y"]


def plain(s: Any) -> None:
    """Not a program."""


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
