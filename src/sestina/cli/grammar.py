"""`sestina grammar`: what a constraint allows, and where and why it rejects a text."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sestina.cli.report import EXIT_FAILED, EXIT_OK, UsageError, positive

if TYPE_CHECKING:
    from sestina.backend.grammar import Automaton
    from sestina.lang.constraint import Constraint

MAX_EXPLORED = 200  # states made to tell how many there are
MAX_FORCED = 80  # bytes shown of what must come next
MAX_LISTED = 40  # places in a list
MAX_WIDTH = 96  # characters of a keyword and its value

_EPILOG = """\
  sestina grammar explain schema.json
  sestina grammar explain schema.json --text '{"name": 7}'
  sestina grammar explain --regex '[a-z]+@[a-z]+' --table 20
  sestina grammar explain --grammar calc.lark --text-file sum.txt

exit status: 0 the text is accepted (or none was given), 1 it is not, 2 usage, or the constraint
cannot be used (then the place in its source is named)
"""


def add_parser(commands: Any) -> None:
    """Add the command and its one sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "grammar",
        help="what a schema, regex or grammar allows, and why it rejects a text",
        description="Look into a constraint.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    explain: argparse.ArgumentParser = actions.add_parser(
        "explain",
        help="what is enforced, what may come next, where a text is rejected and why",
        description="Show what a constraint enforces, what it allows next, and where it rejects.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = explain.add_argument
    add("schema", nargs="?", metavar="SCHEMA.json", type=Path, help="a JSON Schema")
    add("--regex", metavar="R", help="a regular expression instead")
    add("--grammar", metavar="FILE", type=Path, help="a grammar in Lark's syntax instead")
    add("--whitespace", metavar="W", default="spaced", help="of JSON (default: spaced)")
    text = explain.add_mutually_exclusive_group()
    text.add_argument("--text", metavar="T", help="a text to walk")
    text.add_argument("--text-file", metavar="FILE", type=Path, help="the same, from a file")
    shown = explain.add_mutually_exclusive_group()
    shown.add_argument("--table", metavar="N", type=positive, help="also list the first N states")
    shown.add_argument(
        "--dot", metavar="N", type=positive, help="print N states for Graphviz, no more"
    )
    explain.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Explain; what the user's constraint raises is told by `main`."""
    from sestina.backend.grammar import compile_automaton
    from sestina.backend.grammar.table import dot, table

    source = _source(args)
    automaton = compile_automaton(source.constraint.to_grammar())
    if args.dot is not None:
        print(dot(automaton, max_states=args.dot))
        return EXIT_OK
    text = args.text if args.text_file is None else _read(args.text_file)
    if text is not None and any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("the text is not UTF-8")
    print(source.title)
    code = EXIT_OK
    if text is None:
        lines = [*_report(source.constraint), *_at_start(automaton)]
    else:
        lines, code = _walk(automaton, source, text)
    print("\n".join(lines))
    if args.table is not None:
        print(f"\n{table(automaton, max_states=args.table)}")
    return code


@dataclass(frozen=True, slots=True)
class _Source:
    """The constraint of the command line; `schema` is the document of a JSON Schema."""

    title: str
    constraint: Constraint
    schema: Any = None
    is_schema: bool = False


def _source(args: argparse.Namespace) -> _Source:
    from sestina.lang import json_text
    from sestina.lang.constraint import grammar, json_schema, regex

    given = [x for x in (args.schema, args.regex, args.grammar) if x is not None]
    if len(given) != 1:
        raise UsageError("expected one of SCHEMA.json, --regex and --grammar")
    if args.regex is not None:
        return _Source(f"regex {args.regex}", regex(args.regex))
    if args.grammar is not None:
        return _Source(f"grammar {args.grammar}", grammar(_read(args.grammar)))
    source = _read(args.schema)
    made = json_schema(source, whitespace=args.whitespace)
    return _Source(f"JSON Schema {args.schema}", made, json_text.loads(source), is_schema=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _report(constraint: Constraint) -> list[str]:
    """What a schema's report lists (what is enforced, what is an annotation), by place."""
    from sestina.lang.constraint import JsonSchema

    if not isinstance(constraint, JsonSchema):
        return []
    lines = []
    for name, entries in constraint.report()._asdict().items():
        places: dict[str, list[str]] = {}
        for entry in entries:
            pointer, _, keyword = entry.rpartition(" ")
            places.setdefault(pointer, []).append(keyword)
        lines.append(f"{name}:{'' if places else ' nothing'}")
        lines += [f"  {place}: {', '.join(places[place])}" for place in list(places)[:MAX_LISTED]]
        if len(places) > MAX_LISTED:
            lines.append(f"  and at {len(places) - MAX_LISTED} more places")
    return lines


def _at_start(automaton: Automaton) -> list[str]:
    from sestina.backend.grammar.table import expand
    from sestina.cli.expected import expected, forced

    expansion = expand(automaton, MAX_EXPLORED)
    count = len(expansion.rows)
    more = "more than " if expansion.num_pending else ""
    must = forced(automaton, automaton.start, MAX_FORCED)
    return [
        f"states: {more}{count}",
        f"may begin with: {expected(automaton, automaton.start)}",
        *([f"must begin with: {must}"] if must else []),
    ]


def _walk(automaton: Automaton, source: _Source, text: str) -> tuple[list[str], int]:
    """What becomes of a text, and the exit code."""
    from sestina.backend.grammar import DEAD
    from sestina.cli.expected import excerpt, expected, forced

    state, walked = automaton.start, {automaton.start}
    for position, char in enumerate(text):
        after = automaton.advance(state, char.encode("utf-8"))
        if after == DEAD:
            lines = [f"rejected at character {position} ({char!r}):", *excerpt(text, position)]
            break
        state = after
        walked.add(after)
    else:
        position = len(text)
        if automaton.is_accepting(state):
            told = f"accepted, and may go on with: {expected(automaton, state)}"
            if automaton.is_complete(state):
                told = "accepted, and nothing may follow"
            return [told, f"states walked: {len(walked)}"], EXIT_OK
        lines = ["rejected: the text ends too early", *excerpt(text, position)]
    must = forced(automaton, state, MAX_FORCED)
    lines += [
        f"expected next: {expected(automaton, state)}",
        *([f"what must come is: {must}"] if must else []),
        *_why(automaton, source, text, position, state),
        f"states walked: {len(walked)}",
    ]
    return lines, EXIT_FAILED


def _why(automaton: Automaton, source: _Source, text: str, position: int, state: int) -> list[str]:
    """Where in the JSON value that is, and what the schema says there."""
    if not source.is_schema:
        return []
    from sestina.backend.grammar import DEAD
    from sestina.cli.json_place import locate, name_from
    from sestina.cli.schema_place import candidates, reasons

    refused = text[position : position + 1]
    may_end = automaton.is_accepting(state) or any(
        automaton.step(state, byte) != DEAD for byte in b",]} \n"
    )
    place = locate(text[:position], refused, scalar_may_end=may_end)
    name = None
    if place.part == "name":
        name = name_from(text, place.begins)
    elif place.part == "member" and refused == ",":
        name = name_from(text, position + 1)
    found = candidates(source.schema, place.path, _matches)
    lines = [f"in the instance: {_PARTS[place.part].format(place.pointer or '/')}"]
    lines += [f"  {reason}" for reason in reasons(found, place, refused, name)]
    said = [(each, each.keywords(place)) for each in found]
    concerned = [(each, keywords) for each, keywords in said if keywords]
    if concerned:
        lines.append("in the schema:")
    for each, keywords in concerned[:MAX_LISTED]:
        may = "" if each.is_certain else "  (one of several that may apply)"
        lines.append(f"  {each.pointer or '/'}{may}")
        lines += [f"    {_keyword(key, value)}" for key, value in keywords.items()]
    return lines


_PARTS = {
    "value": "the value at {}",
    "name": "a member name of the object at {}",
    "member": "behind a member, or the end, of the object at {}",
    "item": "behind an item, or the end, of the array at {}",
    "end": "behind the whole value",
}


def _keyword(key: str, value: Any) -> str:
    from sestina.lang import json_text

    if not key:
        return "false: no value is valid"
    if isinstance(value, dict):
        told = f"{key} of {', '.join(value)}"
    else:
        told = f"{key}: {json_text.dumps(value)}"
    return told if len(told) <= MAX_WIDTH else f"{told[: MAX_WIDTH - 4]} ..."


def _matches(pattern: str, name: str) -> bool | None:
    """Whether a `patternProperties` pattern matches, asked of the engine itself."""
    from sestina.backend.grammar import compile_automaton
    from sestina.lang import json_text
    from sestina.lang.constraint import json_schema
    from sestina.lang.errors import ConstraintError

    try:
        automaton = compile_automaton(
            json_schema({"type": "string", "pattern": pattern}).to_grammar()
        )
        text = json_text.dumps(name).encode("utf-8")
        return automaton.is_accepting(automaton.advance(automaton.start, text))
    except (ConstraintError, ValueError):
        return None
