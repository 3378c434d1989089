"""Sixteen documents become sixteen typed records: python examples/extract_demo.py [out.jsonl]

Invoices, product pages, CVs and incident reports, each read into the pydantic model of its kind.
The instructions are the same for all: computed once, then taken from the KV cache. What the schema
forces (keys, quotes, braces) is not sampled. Every record validates whatever the model thinks; how
true it is depends on the model, and the default one is tiny (135 million parameters).
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from sestina import Engine, State, assistant, function, gen, system, user

Short = Annotated[str, Field(pattern="^[A-Z]", max_length=40)]
Item = Annotated[str, Field(pattern="^[A-Za-z][^,]*$", max_length=30)]
Few = Annotated[list[Item], Field(min_length=1, max_length=4)]
Amount = Annotated[int, Field(ge=0, le=9_999_999)]
Currency = Literal["CHF", "EUR", "GBP", "JPY", "NOK", "USD"]
Day = Annotated[date, WithJsonSchema({"type": "string", "format": "date", "pattern": "^20[12]"})]


class Severity(str, Enum):
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


class Invoice(BaseModel):
    seller: Short
    customer: Short
    invoice_number: Annotated[str, Field(min_length=2, max_length=12)]
    invoice_date: Day
    currency: Currency
    total: Amount
    items: Few
    paid: bool


class Product(BaseModel):
    product_name: Short
    brand: Short
    price: Amount
    currency: Currency
    colours: Few
    warranty_years: Annotated[int, Field(ge=0, le=20)]
    in_stock: bool


class Resume(BaseModel):
    name: Short
    profession: Short
    languages: Few
    skills: Few
    years_of_experience: Annotated[int, Field(ge=0, le=60)]
    start_date: Day | None
    willing_to_relocate: bool


class Incident(BaseModel):
    title: Short
    incident_date: Day
    severity: Severity
    duration_minutes: Annotated[int, Field(ge=0, le=99_999)]
    actions: Few
    resolved: bool


RECORDS = {"invoice": Invoice, "product": Product, "cv": Resume, "incident": Incident}
DATA = Path(__file__).parent / "data"
INSTRUCTIONS = (DATA / "instructions.md").read_text(encoding="utf-8")


@function
def read_document(s: State, kind: str, document: str) -> None:
    s += system(INSTRUCTIONS)
    s += user(f"{document}\n\nWrite the {kind} record of this document.")
    s += assistant(gen("record", schema=RECORDS[kind], max_tokens=400, temperature=0))


def main(out: str = "out/demo.jsonl", model: str = "smollm2-135m-instruct") -> int:
    """Read every document, write the records, print what happened; 1 if any record failed."""
    paths = sorted(DATA.glob("*.txt"))
    batch = [{"kind": p.name.split("_")[0], "document": p.read_text("utf-8")} for p in paths]
    with Engine(model) as engine:
        started = time.perf_counter()
        states = read_document.run_batch(batch, backend=engine, progress_bar=True)
        seconds = time.perf_counter() - started
        stats = engine.stats()

    num_failed = 0
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    print(f"\n{'document':16} cached forced sampled  record")
    with open(out, "w", encoding="utf-8") as lines:
        for path, state in zip(paths, states, strict=True):
            if error := state.error():
                num_failed += 1
                print(f"{path.name:16} FAILED: {error}")
                continue
            data = state["record"].model_dump(mode="json")  # an Invoice, a Product, ...
            lines.write(json.dumps({"document": path.name, "record": data}) + "\n")
            usage, values = state.usage, ", ".join(map(str, data.values()))
            counts = f"{usage.cached:6} {usage.forced:6} {usage.sampled:7}"
            print(f"{path.name:16} {counts}  {values[:66]}")

    print(f"\n{len(paths) - num_failed} of {len(paths)} records written to {out}")
    for counter in ("prefilled", "cached", "forced", "sampled", "forward_passes"):
        print(f"{counter.replace('_', ' '):15}{getattr(stats, counter):8,}")
    print(f"seconds        {seconds:8.1f}")
    return 1 if num_failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
