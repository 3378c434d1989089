"""Sixteen documents become sixteen typed records: python examples/extract_demo.py [out.jsonl]

Invoices, product pages, CVs and incident reports, each read into the pydantic model of its kind.
The instructions are the same for all, so they are computed once and shared through the KV cache;
keys, quotes and braces are forced by the schema and cost no sampling; every record validates.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from sestina import Engine, State, assistant, function, gen, system, user

Short = Annotated[str, Field(max_length=40)]
Few = Annotated[list[Annotated[str, Field(max_length=30)]], Field(max_length=4)]
Amount = Annotated[int, Field(ge=0, le=9_999_999)]


class Currency(str, Enum):
    CHF = "CHF"
    EUR = "EUR"
    GBP = "GBP"
    JPY = "JPY"
    NOK = "NOK"
    USD = "USD"


class Severity(str, Enum):
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


class Invoice(BaseModel):
    seller: Short
    customer: Short
    invoice_number: Short
    invoice_date: date
    items: Few
    currency: Currency
    total: Amount
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
    start_date: date | None
    willing_to_relocate: bool


class Incident(BaseModel):
    title: Short
    incident_date: date
    severity: Severity
    cause: Short
    actions: Few
    duration_minutes: Annotated[int, Field(ge=0, le=99_999)]
    resolved: bool


RECORDS: dict[str, type[BaseModel]] = {
    "invoice": Invoice,
    "product": Product,
    "cv": Resume,
    "incident": Incident,
}
HERE = Path(__file__).parent
INSTRUCTIONS = (HERE / "data" / "instructions.md").read_text(encoding="utf-8")


@function
def read_document(s: State, kind: str, document: str) -> None:
    s += system(INSTRUCTIONS)
    s += user(f"{document}\n\nWrite the {kind} record of this document.")
    s += assistant(gen("record", schema=RECORDS[kind], max_tokens=400, temperature=0))


def main(out: str = "out/demo.jsonl", model: str = "smollm2-135m-instruct") -> int:
    """Read every document, write the records, print what happened; 1 if any record failed."""
    paths = sorted((HERE / "data").glob("*_*.txt"))
    batch = [{"kind": p.name.split("_")[0], "document": p.read_text("utf-8")} for p in paths]
    with Engine(model) as engine:
        started = time.perf_counter()
        states = read_document.run_batch(batch, backend=engine, progress_bar=True)
        seconds = time.perf_counter() - started
        stats = engine.stats()

    Path(out).parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    with open(out, "w", encoding="utf-8") as lines:
        for path, item, state in zip(paths, batch, states, strict=True):
            if error := state.error():
                failed += 1
                print(f"{path.name:16} failed: {error}")
                continue
            record: BaseModel = RECORDS[item["kind"]].model_validate(state["record"])
            data = record.model_dump(mode="json")
            lines.write(json.dumps({"document": path.name, "record": data}) + "\n")
            meta = state.get_meta_info("record")
            fields = "  ".join(str(v) for v in list(data.values())[:4])
            print(f"{path.name:16} {meta.forced:4} forced {meta.sampled:4} sampled  {fields[:80]}")

    print(f"\n{len(states) - failed} of {len(states)} records written to {out}")
    print(f"prefilled         {stats.prefilled:6} tokens")
    print(f"from the cache    {stats.cached:6} tokens ({stats.cache_hit_rate:.0%} of the prompts)")
    print(f"forced by grammar {stats.forced:6} tokens")
    print(f"sampled           {stats.sampled:6} tokens")
    print(f"forward passes    {stats.forward_passes:6}")
    print(f"seconds           {seconds:6.1f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
