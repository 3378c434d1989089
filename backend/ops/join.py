"""What a `Join` in mode gather_variable brings into the parent."""

from __future__ import annotations

from collections.abc import Sequence

from sestina.backend.branch import Branch


def gathered(children: Sequence[Branch]) -> dict[str, list[str | None]]:
    """Lists aligned with the children, a name at its first appearance among them."""
    names = dict.fromkeys(name for child in children for name in child.own_names)
    return {
        name: [child.variables[name] if name in child.own_names else None for child in children]
        for name in names
    }
