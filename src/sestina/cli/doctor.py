"""`sestina doctor`: what this machine can do, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sestina.cli.report import EXIT_FAILED, EXIT_OK, table

if TYPE_CHECKING:
    from sestina.cli.checks import Finding

_EPILOG = """\
  sestina doctor
  sestina doctor --json

exit status: 0 Sestina can run here (hints may still help), 1 it cannot
"""


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers object of argparse."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="what this machine can do, and what is wrong with it",
        description="What this machine can do, and what is wrong with it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(execute=execute)


def execute(
    args: argparse.Namespace, checks: Sequence[Callable[[], Iterable[Finding]]] | None = None
) -> int:
    """Run every check; takes a few seconds, most of it importing torch and numba."""
    from sestina.cli.checks import CHECKS

    findings = [finding for check in checks or CHECKS for finding in check()]
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        marks = {(True, False): "!", (True, True): "X"}
        rows = [
            (marks.get((f.hint is not None, f.is_fatal), ""), f.name, f.value) for f in findings
        ]
        print(table(("", "check", "found"), rows))
        for finding in findings:
            if finding.hint is not None:
                print(f"\n{'X' if finding.is_fatal else '!'} {finding.name}: {finding.hint}")
    return EXIT_FAILED if any(f.is_fatal for f in findings) else EXIT_OK
