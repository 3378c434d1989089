"""Strongly connected components (Tarjan 1972), without recursion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def components(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The components, each before those that lead to it.

    >>> components({"a": ["b"], "b": ["c"], "c": ["b"]})
    [['c', 'b'], ['a']]
    """
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_names: dict[str, None] = {}
    found: list[list[str]] = []
    for root in edges:
        walk: list[tuple[str, Iterator[str]]] = []
        following: str | None = None if root in number else root
        while following is not None or walk:
            if following is not None:
                number[following] = low[following] = len(number)
                open_names[following] = None
                walk.append((following, iter(edges[following])))
            name, rest = walk[-1]
            following = None
            for other in rest:
                if other not in number:
                    following = other
                    break
                if other in open_names:
                    low[name] = min(low[name], number[other])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[name])
                if low[name] == number[name]:
                    found.append(_popped(open_names, name))
    return found


def _popped(open_names: dict[str, None], last: str) -> list[str]:
    out: list[str] = []
    while not out or out[-1] != last:
        out.append(open_names.popitem()[0])
    return out
