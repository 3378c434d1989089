"""The radix tree to look at: as text, one line a node, and as data for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sestina.backend.cache.radix_node import Node

if TYPE_CHECKING:
    from sestina.backend.cache.radix_tree import RadixTree

Decode = Callable[[Sequence[int]], str]

MAX_SHOWN = 60
"""Characters of an edge's text in one line."""


def as_text(tree: RadixTree, decode: Decode | None = None) -> str:
    """A line of totals, then one a node, indented by depth.

    `decode` turns token ids into text, which is shown in place of the first ids.
    """
    lines = [f"{tree.num_cached} slots, {tree.num_locked} locked, {tree.num_leased} leased"]
    for depth, node in tree.nodes():
        shown = repr(node) if decode is None else f"{node!r} {_shortened(decode, node)}"
        lines.append("  " * depth + shown)
    return "\n".join(lines)


def as_data(tree: RadixTree, decode: Decode | None = None) -> dict[str, object]:
    """What `json.dumps` takes: totals, and a flat list of nodes, parents before their children.

    A node's `id` is its place in the list; `parent` is None for the root of a namespace. tokens,
    and `text` with `decode`, are those of its edge. locks and leases count those on the node and
    below. evictable: a leaf that nobody uses; last_used: in ticks of `clock`.
    """
    ids: dict[int, int] = {}
    nodes: list[dict[str, object]] = []
    for _, node in tree.nodes():
        ids[id(node)] = len(nodes)
        entry: dict[str, object] = {
            "id": len(nodes),
            "parent": None if node.parent is None else ids[id(node.parent)],
            "namespace": node.namespace,
            "tokens": node.tokens.tolist(),
            "locks": node.num_locks,
            "leases": node.num_leases,
            "evictable": node.is_evictable,
            "last_used": node.last_used,
        }
        if decode is not None:
            entry["text"] = decode(node.tokens.tolist())
        nodes.append(entry)
    return {
        "cached": tree.num_cached,
        "locked": tree.num_locked,
        "leased": tree.num_leased,
        "clock": tree.clock,
        "nodes": nodes,
    }


def _shortened(decode: Decode, node: Node) -> str:
    """The edge's text, its middle left out where it is long."""
    text = decode(node.tokens.tolist())
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN // 2]} ... {text[-MAX_SHOWN // 2 :]}"
    return repr(text)
