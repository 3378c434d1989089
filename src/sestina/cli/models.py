"""`sestina models`: fetch models and see which are here."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sestina.cli.report import EXIT_FAILED, EXIT_OK, size, table
from sestina.lang.errors import ModelError

_EPILOG = """\
  sestina models pull smollm2-135m-instruct
  sestina models list

Models are kept in ~/.cache/sestina, packed weights in its folder packed; SESTINA_CACHE names
another one.
"""


def add_parser(commands: Any) -> None:
    """Add the command and its own sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models",
        help="fetch models, list them, tell where they are",
        description="Fetch models, list them, tell where they are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    pull = actions.add_parser("pull", help="fetch a model into the cache, unless it is there")
    pull.add_argument("name", metavar="NAME")
    pull.set_defaults(execute=execute_pull)
    show = actions.add_parser("list", help="the models known by name, and which are fetched")
    show.set_defaults(execute=execute_list)
    path = actions.add_parser("path", help="print the file of a fetched model")
    path.add_argument("name", metavar="NAME")
    path.set_defaults(execute=execute_path)


def execute_pull(args: argparse.Namespace) -> int:
    """Fetch; what happens is told on stderr, the file's path on stdout."""
    from sestina.backend.weights.fetch import pull

    print(pull(args.name, progress=lambda line: print(line, file=sys.stderr)))
    return EXIT_OK


def execute_list(args: argparse.Namespace) -> int:
    """Print every model with a name of its own."""
    from sestina.backend.weights.aliases import ALIASES
    from sestina.backend.weights.fetch import cached_model

    rows = [
        (alias.name, size(alias.size), alias.licence, cached_model(alias.name) or "not fetched")
        for alias in ALIASES
    ]
    print(table(("model", "size", "licence", "file"), rows))
    return EXIT_OK


def execute_path(args: argparse.Namespace) -> int:
    """Print the file of a model; exit 1 and say how to get it when it is not here."""
    from sestina.backend.weights.aliases import ALIASES
    from sestina.backend.weights.fetch import cached_model

    names = [alias.name for alias in ALIASES]
    if args.name not in names:
        raise ModelError(f"unknown model {args.name!r}; known: {', '.join(names)}")
    path = cached_model(args.name)
    if path is None:
        print(f"not fetched; run: sestina models pull {args.name}", file=sys.stderr)
        return EXIT_FAILED
    print(path)
    return EXIT_OK
