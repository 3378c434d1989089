"""Leases: cached prefixes that are evicted last, because a program that lives may go on from them.

Advisory, unlike locks: where memory is short a leased prefix goes too, and is computed again.
Peers that pinned such prefixes met deadlocks (SGLang reverted it), so nothing here refuses memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from sestina.backend.cache.radix_node import Node


class Lease:
    """Eviction priority of the prefix that ends at `node`, until released or dropped."""

    __slots__ = ("_book", "node")

    def __init__(self, book: LeaseBook, node: Node) -> None:
        self._book = book
        self.node = node

    @property
    def is_held(self) -> bool:
        """False once it was released, dropped for the budget, or all of its prefix was evicted."""
        return self in self._book

    def release(self) -> None:
        """Give the priority up. Idempotent: the cache may have dropped it before."""
        self._book.drop(self)


class LeaseBook:
    """The leases of one radix tree. `budget`: slots that may be leased, the oldest are dropped.

    A lease adds 1 to `num_leases` of its node and all above, as a lock does to `num_locks`.
    `on_drop` is told of every node whose own lease ended.
    """

    def __init__(self, budget: int, on_drop: Callable[[Node], None]) -> None:
        self.budget = budget
        self.num_leased = 0  # slots of nodes with leases
        self._on_drop = on_drop
        self._leases: OrderedDict[Lease, None] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: object) -> bool:
        return lease in self._leases

    def take(self, node: Node) -> Lease:
        """A lease on a node of the tree; of the empty prefix, one that is not held. O(depth)."""
        lease = Lease(self, node)
        if node.parent is None:
            return lease
        self._leases[lease] = None
        node.leases.add(lease)
        above: Node | None = node
        while above is not None and above.parent is not None:
            if not above.num_leases:
                self.num_leased += len(above.slots)
            above.num_leases += 1
            above = above.parent
        while self.num_leased > self.budget:
            self.drop(next(iter(self._leases)))
        return lease

    def drop(self, lease: Lease) -> None:
        """End a lease; nothing happens to one that ended. O(depth)."""
        if lease not in self._leases:
            return
        del self._leases[lease]
        node = lease.node
        node.leases.remove(lease)
        above: Node | None = node
        while above is not None and above.parent is not None:
            above.num_leases -= 1
            if not above.num_leases:
                self.num_leased -= len(above.slots)
            above = above.parent
        self._on_drop(node)

    def move_up(self, node: Node) -> None:
        """The node, a leaf, is about to be evicted: what is left of its leases is its parent."""
        parent = node.parent
        assert parent is not None
        if node.num_leases:
            self.num_leased -= len(node.slots)
        for lease in node.leases:
            lease.node = parent
            if parent.parent is None:
                del self._leases[lease]
            else:
                parent.leases.add(lease)
        node.leases.clear()
        node.num_leases = 0
