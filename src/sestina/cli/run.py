"""`sestina run`: run one program from a user's file."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from sestina.cli.opening import DEFAULT_MODEL, MODEL_HELP, BackendFactory, open_engine
from sestina.cli.report import EXIT_FAILED, EXIT_OK, UsageError
from sestina.cli.user_file import load_object, users_traceback
from sestina.lang.errors import ConstraintError

if TYPE_CHECKING:
    from sestina.lang.program import Program
    from sestina.lang.state import State

_EPILOG = """\
A value is text where the parameter is annotated `str` or not at all, else JSON.

  sestina run examples/01_hello.py:capital --arg country=Peru
  sestina run review.py:review --arg-file code=main.py --arg strict=true --json

exit status: 0 done, 1 the program failed, 2 usage, 130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers object of argparse."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a program from a file",
        description="Run a program (an @function) from a file and print its text.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("program", metavar="FILE.py:FUNCTION", help="where the @function is")
    add("--arg", action="append", default=[], metavar="K=V", help="an argument of the function")
    add("--arg-file", action="append", default=[], metavar="K=PATH", help="the same, from a file")
    add("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    add("--seed", type=int, help="makes the run reproducible")
    add("--max-tokens", type=int, metavar="N", help="for each gen that does not say")
    add("--temperature", type=float, metavar="T", help="for each gen that does not say")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--stream", action="store_true", help="print the text as it is written")
    output.add_argument("--json", action="store_true", help="print the variables as JSON instead")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace, open_backend: BackendFactory = open_engine) -> int:
    """Run the command; the arguments are checked before the model is loaded."""
    program = _load_program(args.program)
    given = _pairs(args.arg) | {k: _read(path) for k, path in _pairs(args.arg_file).items()}
    values: dict[str, Any] = bind(program, given)
    for name in ("max_tokens", "temperature"):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    with open_backend(args.model, seed=args.seed) as backend:
        values |= {"backend": backend, "seed": args.seed}
        try:
            if inspect.iscoroutinefunction(program.fn):
                state = asyncio.run(program.arun(**values))
            else:
                state = program.run(**values, stream=args.stream)
        except Exception as error:
            shown = users_traceback(error, program.fn.__code__.co_filename)
            if shown is None:
                raise
            print(shown, file=sys.stderr)
            return EXIT_FAILED
        return _show(state, args)


def _show(state: State, args: argparse.Namespace) -> int:
    if args.stream:
        for piece in state.text_iter():
            print(piece, end="", flush=True)
        print()
    error = state.error()
    if error is not None:
        print(f"sestina: {error}", file=sys.stderr)
        return EXIT_FAILED
    if args.json:
        variables = {name: state[name] for name in state.names()}
        print(json.dumps(variables, default=_plain, ensure_ascii=False, indent=2))
    elif not args.stream:
        print(state.text())
    return EXIT_OK


def _load_program(reference: str) -> Program:
    from sestina.lang.program import Program

    found = load_object(reference)
    if not isinstance(found, Program):
        kind = "a plain function" if inspect.isfunction(found) else type(found).__name__
        raise UsageError(f"{reference} is {kind}, not a program: decorate it with @function")
    return found


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"expected NAME=VALUE, got {text!r}")
        if name in pairs:
            raise UsageError(f"argument {name!r} is given twice")
        pairs[name] = value
    return pairs


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def bind(program: Program, given: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a program from their texts, each read as its annotation says.

    UsageError names an unknown, missing or unreadable argument.
    """
    parameters = program.signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = [name for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, _EITHER)]
    for name in given:
        if name not in named and not takes_any:
            known = ", ".join(named) or "none"
            raise UsageError(f"{program.name} has no argument {name!r}; its arguments: {known}")
    for name in named:
        missing = parameters[name].default is inspect.Parameter.empty
        if missing and name not in given and name not in program.bound:
            raise UsageError(f"{program.name} needs --arg {name}=VALUE")
    try:
        hints = get_type_hints(program.fn)
    except NameError as error:
        raise UsageError(f"cannot resolve the annotations of {program.name}: {error}") from error
    return {name: _value(name, text, hints.get(name, str)) for name, text in given.items()}


_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _value(name: str, text: str, hint: Any) -> Any:
    if hint is str:
        return text
    from sestina.lang import typed

    try:
        return typed.parse(hint, text)
    except (ValueError, ConstraintError) as error:
        shown = hint.__name__ if type(hint) is type else str(hint)
        raise UsageError(f"--arg {name}: {text!r} is not JSON for {shown}: {error}") from error


def _plain(value: Any) -> object:
    """What json.dumps cannot write itself: typed values of a program."""
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.value if isinstance(value, Enum) else str(value)
