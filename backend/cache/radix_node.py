"""One node of the radix tree: an edge of token ids, the slots that hold them, and its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache.page_pool import Slots
from sestina.lang.errors import InternalError

if TYPE_CHECKING:
    from sestina.backend.cache.lease import Lease

Ids = NDArray[np.int32]

ID_BYTES = 4


class Node:
    """A prefix: the edges from the root down to here. `slots` int32 [n] hold this edge's n tokens.

    The edge is kept as the memory of its int32 ids, so that one memcmp compares it with a
    sequence. `num_locks` counts the locks on this node and on all below it: a locked node's whole
    path is locked; so does `num_leases`, while `leases` are those on this very node.
    """

    __slots__ = (
        "children",
        "edge",
        "last_used",
        "leases",
        "namespace",
        "num_leases",
        "num_locks",
        "offer",
        "parent",
        "slots",
    )

    def __init__(self, edge: bytes, slots: Slots, parent: Node | None, namespace: str) -> None:
        self.edge = edge
        self.slots = slots
        self.parent = parent
        self.namespace = namespace
        self.children: dict[int, Node] = {}  # by first token
        self.num_locks = 0
        self.num_leases = 0
        self.leases: set[Lease] = set()
        self.last_used = 0  # ticks of the tree's clock
        self.offer = 0  # number of the heap entry that counts; 0: none

    @classmethod
    def root(cls, namespace: str) -> Node:
        """The empty prefix. It owns no slots, so it is never locked or evicted."""
        return cls(b"", np.empty(0, dtype=np.int32), None, namespace)

    @property
    def tokens(self) -> Ids:
        """The edge, int32 [n], read-only."""
        return np.frombuffer(self.edge, dtype=np.int32)

    @property
    def first_token(self) -> int:
        return int(self.tokens[0])

    @property
    def is_evictable(self) -> bool:
        return self.parent is not None and not self.children and not self.num_locks

    @property
    def is_evicted(self) -> bool:
        return self.parent is None and bool(self.edge)

    @property
    def num_own_locks(self) -> int:
        """Locks on this very node."""
        return self.num_locks - sum(child.num_locks for child in self.children.values())

    def __repr__(self) -> str:
        ids = ",".join(map(str, self.tokens[:6])) + (",..." if len(self.slots) > 6 else "")
        name = f" namespace={self.namespace!r}" if self.parent is None else ""
        users = f"locks={self.num_locks} leases={self.num_leases}"
        return f"<{len(self.slots)} tokens [{ids}]{name} {users} t={self.last_used}>"

    def check(self) -> None:
        """Verify the node against its children."""
        facts = {
            "as many slots as tokens": len(self.edge) == ID_BYTES * len(self.slots),
            "only a root has no tokens": (self.parent is None) == (not self.edge),
            "children name their parent": all(c.parent is self for c in self.children.values()),
            "children are keyed by their first token": all(
                key == child.first_token for key, child in self.children.items()
            ),
            "children share the namespace": all(
                child.namespace == self.namespace for child in self.children.values()
            ),
            "a path is used no earlier than what is below it": self.parent is None
            or all(child.last_used <= self.last_used for child in self.children.values()),
            "a path is locked as often as what is below it": self.parent is None
            or self.num_own_locks >= 0,
            "a path is leased as often as what is below it": self.parent is None
            or self.num_leases
            == len(self.leases) + sum(child.num_leases for child in self.children.values()),
            "leases name their node": all(lease.node is self for lease in self.leases),
            "a root is neither locked nor leased": self.parent is not None
            or not (self.num_locks or self.num_leases or self.leases),
        }
        for fact, holds in facts.items():
            if not holds:
                raise InternalError(f"radix node {self!r}: not true that {fact}")


def common_prefix_len(a: Ids, b: Ids) -> int:
    """How many leading ids two sequences share.

    >>> common_prefix_len(np.array([1, 2, 3], np.int32), np.array([1, 2, 4, 5], np.int32))
    2
    """
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    return int(differs.argmax()) if differs.any() else n
