"""Typed values: a dataclass or a pydantic model in, an object out. python examples/03_json.py"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from sestina import Engine, State, assistant, function, gen, user


@dataclass
class Lamp:
    colour: Literal["red", "green", "blue"]
    is_blinking: bool


class Ticket(BaseModel):
    subject: str = Field(max_length=40)
    mood: Literal["happy", "neutral", "angry"]
    order_numbers: list[Annotated[int, Field(ge=0, le=99_999)]] = Field(max_length=3)
    wants_refund: bool


@function
def read_mail(s: State, mail: str) -> None:
    s += user(f"{mail}\n\nWrite this mail as a ticket in JSON.")
    s += assistant(gen("ticket", schema=Ticket, max_tokens=150, temperature=0))


def main(model: str = "smollm2-135m-instruct") -> None:
    mail = "Order 4711 arrived broken, and 4712 not at all. I want my money back!"
    with Engine(model) as engine:
        ticket = read_mail.run(mail, backend=engine)["ticket"]
        assert isinstance(ticket, Ticket)
        print(f"{ticket.subject!r}: {ticket.mood}, orders {ticket.order_numbers}")

        lamp = engine.generate("The lamp, in JSON: ", schema=Lamp, temperature=0).value
        assert isinstance(lamp, Lamp)
        print(lamp)


if __name__ == "__main__":
    main(*sys.argv[1:])
