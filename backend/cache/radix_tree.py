"""The prefix cache: a radix tree from token ids to the slots that hold their keys and values.

After SGLang's RadixCache (Zheng et al. 2024, section 3): every prefix that was ever computed stays
until its slots are needed; what is in use is locked; what is not is evicted least recently used
first, leaves before their parents, and what a living program has leased later than the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sestina.backend.cache.lease import Lease, LeaseBook
from sestina.backend.cache.page_pool import PagePool, Slots
from sestina.backend.cache.radix_dump import as_text
from sestina.backend.cache.radix_node import ID_BYTES, Ids, Node, common_prefix_len
from sestina.lang.errors import InternalError

LEASE_SHARE = 2
"""At most one slot in so many may be leased."""

LEASE_TURNOVERS = 2
"""A leased prefix is evicted when one would be that has no lease and was last used this many
fillings of the pool later: a lease that nobody uses decays as the pool turns over."""

MAX_STALE = 64
"""Entries of the eviction heap that do not count any more, beyond half of all."""

_NO_SLOTS: Slots = np.empty(0, dtype=np.int32)
_NO_SLOTS.flags.writeable = False


class Match(NamedTuple):
    """The longest cached prefix: it ends at `node`, `slots` int32 [length] are its tokens' slots.

    Lock the node before anything else may evict it.
    """

    node: Node
    length: int
    slots: Slots


class Inserted(NamedTuple):
    """`slots` is the canonical int32 [num_tokens] row for the page table; the sequence ends at
    `node`. `num_duplicates` of the caller's slots were freed because the tree already had them."""

    node: Node
    slots: Slots
    num_duplicates: int


class Lock:
    """Keeps a node and the path above it from eviction, until released once."""

    __slots__ = ("_tree", "node")

    def __init__(self, tree: RadixTree, node: Node) -> None:
        self._tree: RadixTree | None = tree
        self.node = node

    def release(self) -> None:
        """Unlock. A second release is an InternalError: it would unlock somebody else's."""
        tree, self._tree = self._tree, None
        if tree is None:
            raise InternalError("a lock was released twice")
        tree._unlock(self.node)


class RadixTree:
    """Token ids -> slots, one root per namespace (prefixes are never shared across namespaces).

    The tree owns the slots of its edges. `match` and `insert` cost one memory comparison per edge
    plus O(tokens) numpy work, nothing per token in Python; `evict` costs O(log n) per node.
    Not thread-safe: the scheduler's thread owns it.
    """

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._roots: dict[str, Node] = {}
        self._clock = 0
        # Candidates for eviction: one entry per node that counts, with a time that may have passed.
        self._heap: list[tuple[int, int, Node]] = []
        self._is_cached = np.zeros(pool.num_slots, dtype=np.bool_)
        self._num_cached = 0
        self._num_locked = 0
        self._num_offers = 0
        self._num_stale = 0  # entries of the heap that another took the place of
        self._num_locks = 0  # of nodes; a root is not locked
        self._leases = LeaseBook(max(1, pool.num_slots // LEASE_SHARE), self._on_lease_end)
        self._lease_ticks = LEASE_TURNOVERS * pool.num_slots

    @property
    def clock(self) -> int:
        """The present, in ticks: one a call, and one for each token that is new."""
        return self._clock

    @property
    def num_cached(self) -> int:
        """Slots the tree owns."""
        return self._num_cached

    @property
    def num_locked(self) -> int:
        """Slots of locked nodes; they cannot be evicted."""
        return self._num_locked

    @property
    def num_evictable(self) -> int:
        return self._num_cached - self._num_locked

    @property
    def num_leased(self) -> int:
        """Slots of leased nodes; they are evicted later than others."""
        return self._leases.num_leased

    # ---- match and insert ---------------------------------------------------------------------

    def match(self, tokens: Ids, namespace: str = "", limit: int | None = None) -> Match:
        """The longest cached prefix of tokens[:limit], int32; its path becomes most recently used.

        A match that ends inside an edge splits the node, so that it ends at one.
        """
        root = self._roots.get(namespace)
        if root is None:
            return Match(Node.root(namespace), 0, _NO_SLOTS)
        tokens = np.ascontiguousarray(tokens[:limit], dtype=np.int32)
        node, parts = self._walk(root, tokens)
        slots = np.concatenate(parts) if parts else _NO_SLOTS
        return Match(node, len(slots), slots)

    def cached_len(self, tokens: Ids, namespace: str = "", limit: int | None = None) -> int:
        """The length of the longest cached prefix of tokens[:limit]; changes nothing.

        For whoever only asks: it makes nothing recently used, and splits no node.
        """
        node = self._roots.get(namespace)
        tokens = np.ascontiguousarray(tokens[:limit], dtype=np.int32)
        key = tokens.tobytes()
        start = 0
        while node is not None and start < len(tokens):
            node = node.children.get(int(tokens[start]))
            if node is None:
                break
            if not key.startswith(node.edge, start * ID_BYTES):
                return start + common_prefix_len(tokens[start:], node.tokens)
            start += len(node.slots)
        return start

    def insert(self, tokens: Ids, slots: Slots, owned_from: int, namespace: str = "") -> Inserted:
        """Cache a computed sequence: int32 `tokens` [n] whose keys and values lie in `slots` [n].

        slots[owned_from:] were the caller's and now are the tree's; where the tree already held
        the tokens they are freed, and the tree's own slots take their place in the result.
        slots[:owned_from] must be the tree's own already. InternalError, with nothing changed but
        recency, when that does not hold or when the caller hands over a slot it cannot own.
        """
        tokens = np.ascontiguousarray(tokens, dtype=np.int32)
        slots = np.ascontiguousarray(slots, dtype=np.int32)
        if len(tokens) != len(slots) or not 0 <= owned_from <= len(slots):
            raise InternalError(
                f"{len(tokens)} tokens, {len(slots)} slots, owned_from={owned_from}"
            )
        owned = slots[owned_from:]
        self._pool.require_taken(owned)
        if self._is_cached[owned].any():
            raise InternalError("a slot handed over to the radix tree is its own already")
        root = self._roots.get(namespace)
        node, parts = self._walk(root, tokens) if root else (Node.root(namespace), [])
        held = np.concatenate(parts) if parts else _NO_SLOTS
        matched = len(held)
        if matched < owned_from or (held[:owned_from] != slots[:owned_from]).any():
            raise InternalError(
                f"the first {owned_from} slots are not the radix tree's own: it holds {matched}"
                " tokens of this sequence (was the prefix not locked?)"
            )
        if matched < len(tokens):
            if root is None:
                self._roots[namespace] = node
            node = self._append(node, tokens[matched:], slots[matched:])
        duplicates = slots[owned_from:matched]
        self._pool.free(duplicates)
        return Inserted(node, np.concatenate([held, slots[matched:]]), len(duplicates))

    def _walk(self, root: Node, tokens: Ids) -> tuple[Node, list[Slots]]:
        """The node where the longest match ends, and the slots of each edge on the way."""
        self._clock += 1
        key = tokens.tobytes()
        node, start, parts = root, 0, []
        while start < len(tokens):
            child = node.children.get(int(tokens[start]))
            if child is None:
                break
            if not key.startswith(child.edge, start * ID_BYTES):
                child = self._split(child, common_prefix_len(tokens[start:], child.tokens))
            child.last_used = self._clock
            parts.append(child.slots)
            node, start = child, start + len(child.slots)
        return node, parts

    def _split(self, node: Node, at: int) -> Node:
        """Put a new node for the first `at` tokens of the edge above `node`; returns it.

        `node` keeps its end, so that leases, matches and heap entries that name it stay true.
        """
        parent = node.parent
        assert parent is not None
        cut = at * ID_BYTES
        upper = Node(node.edge[:cut], node.slots[:at].copy(), parent, node.namespace)
        upper.num_locks, upper.last_used = node.num_locks, node.last_used
        upper.num_leases = node.num_leases
        parent.children[upper.first_token] = upper
        node.edge, node.slots, node.parent = node.edge[cut:], node.slots[at:].copy(), upper
        upper.children[node.first_token] = node
        return upper

    def _append(self, parent: Node, tokens: Ids, slots: Slots) -> Node:
        node = Node(tokens.tobytes(), slots.copy(), parent, parent.namespace)
        node.last_used = self._clock
        self._clock += len(tokens)
        parent.children[node.first_token] = node
        self._is_cached[slots] = True
        self._num_cached += len(slots)
        self._offer(node)
        return node

    # ---- locks and leases ---------------------------------------------------------------------

    def lock(self, node: Node) -> Lock:
        """Keep the node and the path above it until the lock is released. O(depth)."""
        self._require_here(node)
        lock = Lock(self, node)
        self._num_locks += node.parent is not None
        while node.parent is not None:
            if node.num_locks == 0:
                self._num_locked += len(node.slots)
            node.num_locks += 1
            node = node.parent
        return lock

    def _unlock(self, node: Node) -> None:
        self._num_locks -= node.parent is not None
        while node.parent is not None:
            node.num_locks -= 1
            if node.num_locks == 0:
                self._num_locked -= len(node.slots)
                self._offer(node)
            node = node.parent

    def lease(self, node: Node) -> Lease:
        """Evict the node and the path above it later than others. O(depth)."""
        self._require_here(node)
        return self._leases.take(node)

    def _on_lease_end(self, node: Node) -> None:
        """The node may be evicted sooner than its entry in the heap says."""
        if node.offer:
            node.offer = 0
            self._num_stale += 1
            self._offer(node)

    def _require_here(self, node: Node) -> None:
        if node.is_evicted:
            raise InternalError("an evicted node cannot be locked or leased: do so at once")

    # ---- eviction -----------------------------------------------------------------------------

    def _offer(self, node: Node) -> None:
        """Make the node a candidate for eviction, if it may be evicted."""
        if node.is_evictable and not node.offer:
            if self._num_stale > MAX_STALE + len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if entry[2].offer == entry[1]]
                heapq.heapify(self._heap)
                self._num_stale = 0
            self._num_offers += 1  # breaks ties, so that nodes are never compared
            node.offer = self._num_offers
            heapq.heappush(self._heap, (self._due(node), node.offer, node))

    def _due(self, node: Node) -> int:
        """When the node's turn to be evicted is, against that of others."""
        return node.last_used + (self._lease_ticks if node.leases else 0)

    def evict(self, num_slots: int) -> int:
        """Free at least `num_slots` slots, or all that are unlocked; returns how many.

        Whole leaves, least recently used first; a parent becomes a candidate when it loses its
        last child.
        """
        freed: list[Slots] = []
        num_freed = 0
        while num_freed < num_slots and self._heap:
            offered, number, node = heapq.heappop(self._heap)
            if node.offer != number:
                self._num_stale -= 1
                continue
            node.offer = 0
            if not node.is_evictable:
                continue  # locked or extended since; it is offered again when that ends
            if self._due(node) > offered:
                self._offer(node)
                continue
            self._remove(node)
            freed.append(node.slots)
            num_freed += len(node.slots)
        if freed:
            slots = np.concatenate(freed)
            self._is_cached[slots] = False
            self._num_cached -= num_freed
            self._pool.free(slots)
        return num_freed

    def _remove(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        self._leases.move_up(node)
        del parent.children[node.first_token]
        node.parent = None
        if parent.parent is not None:
            self._offer(parent)
        elif not parent.children:
            del self._roots[parent.namespace]

    def reset(self) -> int:
        """Evict everything that is not locked; returns the number of slots freed."""
        return self.evict(self.num_evictable)

    # ---- inspection ---------------------------------------------------------------------------

    def nodes(self) -> Iterator[tuple[int, Node]]:
        """(depth, node) of every node, parents first; roots have depth 0."""
        stack = [(0, root) for root in reversed(self._roots.values())]
        while stack:
            depth, node = stack.pop()
            yield depth, node
            stack.extend((depth + 1, child) for child in reversed(node.children.values()))

    def check(self) -> None:
        """Verify every invariant, O(tree); InternalError names the first that does not hold."""
        nodes = [node for _, node in self.nodes()]
        for node in nodes:
            node.check()
        inner = [node for node in nodes if node.parent is not None]
        slots = np.concatenate([_NO_SLOTS, *(node.slots for node in inner)])
        self._pool.require_taken(slots)
        offered = [id(node) for _, number, node in self._heap if node.offer == number]
        facts = {
            "num_cached counts the slots of all edges": len(slots) == self._num_cached,
            "the cached bitmap has exactly these slots": bool(self._is_cached[slots].all())
            and int(np.count_nonzero(self._is_cached)) == len(slots),
            "num_locked counts the slots of locked nodes": self._num_locked
            == sum(len(node.slots) for node in inner if node.num_locks),
            "every lock is on a node": self._num_locks == sum(node.num_own_locks for node in inner),
            "every lease is on a node": len(self._leases)
            == sum(len(node.leases) for node in inner),
            "num_leased counts the slots of leased nodes, within the budget": self.num_leased
            == sum(len(node.slots) for node in inner if node.num_leases)
            <= self._leases.budget,
            "the heap holds a node once, and knows which": sorted(offered)
            == sorted(id(node) for node in inner if node.offer),
            "the heap's other entries are counted": len(self._heap) - len(offered)
            == self._num_stale,
            "every evictable leaf is in the heap": all(
                node.offer for node in inner if node.is_evictable
            ),
            "offers are not from the future": all(
                t <= self._due(n) for t, number, n in self._heap if n.offer == number
            ),
            "roots are keyed by their namespace and hold something": all(
                root.namespace == name and root.children for name, root in self._roots.items()
            ),
        }
        for fact, holds in facts.items():
            if not holds:
                raise InternalError(f"radix tree: not true that {fact}\n{as_text(self)}")
