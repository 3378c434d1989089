"""From what a user calls a model to the file or directory it is in."""

from __future__ import annotations

import re
from pathlib import Path

from sestina.backend.weights.aliases import ALIASES, find_alias
from sestina.backend.weights.fetch import Progress, cached_model, pull
from sestina.lang.errors import ModelError

HUB_PATTERNS = ("*.safetensors", "*.json", "*.jinja")
"""What is fetched from a hub: never pickles (*.bin, *.pt) or code (*.py)."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_source(name: str | Path, progress: Progress | None = None) -> Path:
    """The local path of a model: a directory in Hugging Face's layout, or one file.

    In this order: a path that exists; a built-in alias (fetched if not cached); a hub name
    `org/name` (fetched through huggingface_hub, whose cache and settings apply; weights and
    configuration only). ModelError says what was tried.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    text = str(name)
    alias = find_alias(text)
    if alias is not None:
        return cached_model(alias.name) or pull(alias.name, progress)
    # A name with a file's suffix is a path that does not exist, not a repository.
    if _HUB_NAME.fullmatch(text) and path.suffix not in (".gguf", ".json", ".safetensors"):
        return _from_hub(text)
    known = ", ".join(alias.name for alias in ALIASES)
    raise ModelError(
        f"no model {text!r}: there is no such file or directory, the built-in models are {known},"
        " and a hub name has the form org/name"
    )


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(
            f"{name!r} is no local path, and fetching it needs `pip install huggingface_hub`"
        ) from error
    try:
        # Only the repository's root: subfolders hold other formats of the same weights.
        folder = snapshot_download(name, allow_patterns=list(HUB_PATTERNS), ignore_patterns=["*/*"])
    except Exception as error:  # network, authorisation, no such repository, offline mode
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"no model {name!r}: there is no such directory, and the hub did not give it ({reason})"
        ) from error
    return Path(folder)
