"""`sestina extract`: one typed record per document, as JSON Lines."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sestina.cli import inputs
from sestina.cli.extraction import Extraction, Form, Tally
from sestina.cli.opening import DEFAULT_MODEL, MODEL_HELP, BackendFactory, open_engine
from sestina.cli.output import Output, errors_path
from sestina.cli.report import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UsageError, positive, table
from sestina.cli.user_file import load_object
from sestina.lang.errors import ConstraintError

if TYPE_CHECKING:
    from sestina.lang.program import Program
    from sestina.lang.state import State

_EPILOG = """\
INPUT is a text file, a folder, a quoted glob ('mails/**/*.txt') or a .jsonl file whose lines are
objects with a text. A run that was stopped goes on where it was when started again: ids that are
in OUT are skipped. What fails goes to OUT.errors.jsonl with the reason and is tried again then.

  sestina extract --schema models.py:Invoice 'in/*.txt' -o invoices.jsonl
  sestina extract --schema ticket.json mails.jsonl --text-field body -o tickets.jsonl

exit status: 0 every document has its record, 1 some failed, 2 usage, 130 interrupted
"""

_INSTRUCTIONS = "Read the user's text and extract one record from it."


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers object of argparse."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "extract",
        help="extract one typed record per document into JSON Lines",
        description="Extract one typed record per document into JSON Lines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="text file, folder, glob or .jsonl file")
    add("--schema", required=True, metavar="FILE", help="FILE.json (JSON Schema) or FILE.py:Type")
    add("-o", "--output", required=True, type=Path, metavar="OUT.jsonl", help="where records go")
    add("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    add("--instructions", default=_INSTRUCTIONS, metavar="TEXT", help="what to tell the model")
    add("--hide-schema", action="store_true", help="from the model: small ones copy words from it")
    add("--max-tokens", type=positive, default=512, metavar="N", help="of one record (512)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 (default) is greedy")
    add("--seed", type=int, help="makes sampling reproducible")
    add("--concurrency", type=positive, default=16, metavar="N", help="at the same time (16)")
    add("--text-field", default="text", metavar="NAME", help='of .jsonl lines (default "text")')
    add("--limit-chars", type=positive, default=1_000_000, metavar="N", help="refuse longer texts")
    parser.set_defaults(execute=execute)


def load_form(reference: str) -> Form:
    """From FILE.json or FILE.py:NAME. UsageError or ConstraintError says what is wrong with it."""
    from sestina.lang import typed
    from sestina.lang.constraint import json_schema

    if not reference.endswith(".json"):
        if ":" not in reference:
            raise UsageError(f"--schema takes FILE.json or FILE.py:TYPE, got {reference!r}")
        form = load_object(reference)
        if isinstance(form, (dict, str, bool)):  # a schema itself
            return Form(json_schema(form), json.loads)
        # A model's own validators can demand more than its schema says.
        return Form(json_schema(form), lambda text: typed.parse(form, text))
    try:
        source = Path(reference).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the schema {reference}: {error}") from error
    try:
        return Form(json_schema(source), json.loads)
    except ConstraintError as error:
        raise UsageError(f"{reference}: {error}") from error


def execute(args: argparse.Namespace, open_backend: BackendFactory = open_engine) -> int:
    """Run the command; what can be refused is refused before the model is loaded."""
    form = load_form(args.schema)
    paths = _input_paths(args.inputs, args.output)
    program = _make_program(form, args)
    tally = Tally()
    with Output(args.output) as output:
        interrupted = False
        try:
            _extract_all(args, open_backend, Extraction(program, form, output, tally), paths)
        except KeyboardInterrupt:
            interrupted = True
        print(_summary(output, tally))
        if interrupted:
            print("sestina: interrupted; run the same command to go on", file=sys.stderr)
            return EXIT_INTERRUPTED
        if output.num_errors:
            print(f"\nwhat failed, and why: {errors_path(args.output)}")
            return EXIT_FAILED
    return EXIT_OK


def _extract_all(
    args: argparse.Namespace,
    open_backend: BackendFactory,
    extraction: Extraction,
    paths: list[Path],
) -> None:
    from tqdm import tqdm

    items = inputs.read(paths, text_field=args.text_field, limit_chars=args.limit_chars)
    # disable=None: on a terminal only, so that logs stay readable.
    with tqdm(total=inputs.count(paths), unit="doc", disable=None) as bar:
        todo = extraction.sift(items, bar.update)
        first = next(todo, None)
        if first is None:
            return  # nothing left for the model, so it need not be loaded
        with open_backend(args.model, seed=args.seed) as backend:
            started = time.monotonic()
            work = itertools.chain([first], todo)
            try:
                asyncio.run(extraction.drain(work, backend, args.concurrency, bar.update))
            finally:
                extraction.tally.seconds = time.monotonic() - started


def _input_paths(arguments: Iterable[str], out: Path) -> list[Path]:
    """The input files; OUT and its errors file are never read, also when a folder holds them."""
    ours = {os.path.realpath(out), os.path.realpath(errors_path(out))}
    for argument in arguments:
        if os.path.realpath(argument) in ours:
            raise UsageError(f"{argument} is both input and output")
    return [path for path in inputs.expand(arguments) if os.path.realpath(path) not in ours]


def _make_program(form: Form, args: argparse.Namespace) -> Program:
    from sestina.lang.api import assistant, function, gen, system, user

    # The same for every document, and first: computed once, then taken from the cache.
    instructions = args.instructions
    if not args.hide_schema:
        schema = form.constraint.source
        instructions += f"\nAnswer in JSON that follows this JSON Schema:\n{schema}"
    record = gen(
        "record",
        constraint=form.constraint,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
    )

    @function
    async def extract(s: State, text: str) -> None:
        s += system(instructions) + user(text) + assistant(record)

    return extract


def _summary(output: Output, tally: Tally) -> str:
    rows = [
        ("records written", output.num_written),
        ("skipped, done before", tally.skipped),
        ("failed", output.num_errors),
        ("tokens prefilled", tally.prefilled),
        ("tokens from the cache", tally.cached),
        ("tokens forced by the grammar", tally.forced),
        ("tokens sampled", tally.sampled),
        ("seconds", round(tally.seconds, 1)),
    ]
    return table(("", "count"), rows)
