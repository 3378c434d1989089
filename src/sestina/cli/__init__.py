"""The `sestina` command: programs, records, constraints, models, and a look at this machine.

Each command is one module with `add_parser` (the arguments) and `execute` (the work). They import
the engine only when they run, so that `sestina -h` answers at once and needs no torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import sestina.cli.doctor as doctor
import sestina.cli.extract as extract
import sestina.cli.grammar as grammar
import sestina.cli.models as models
import sestina.cli.run as run
from sestina.cli.report import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, UsageError
from sestina.lang.errors import ConstraintError, InvalidParams, SestinaError

_COMMANDS = (run, extract, grammar, models, doctor)


class _ShowVersion(argparse.Action):
    """Looks the version up only when asked: importlib.metadata is slow to import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"sestina {version('sestina')}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """The whole command line; every command sets `execute(args) -> int`."""
    parser = argparse.ArgumentParser(
        prog="sestina",
        description="Structured generation: you fix the form, the model finds the words.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns 0 when all went well, 1 when something failed, 2 when the command line or a constraint
    in it is wrong, 130 when it was interrupted. Usage errors that argparse finds exit with 2.
    """
    args = make_parser().parse_args(argv)
    try:
        code: int = args.execute(args)
    except (UsageError, ConstraintError, InvalidParams) as error:
        print(f"sestina: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (SestinaError, OSError) as error:
        print(f"sestina: {type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("sestina: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code
