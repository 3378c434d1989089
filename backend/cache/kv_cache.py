"""The KV memory of every sequence: which slots it may read, which it owns, and who shares them.

Slot bookkeeping only; the tensors are `sestina.backend.batch.KVPool`, with the same slot numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache.lease import Lease
from sestina.backend.cache.page_pool import PagePool, Slots
from sestina.backend.cache.page_table import PageTable
from sestina.backend.cache.radix_tree import Lock, RadixTree
from sestina.lang.errors import InternalError

MIN_RUN = 16
"""From so many tokens on a chunk gets neighbouring slots for itself, where there are any."""


@dataclass(slots=True, eq=False)
class KVHandle:
    """One sequence's place in the KV memory.

    interval of tokens          their slots
    [0, tree_len)               owned by the radix tree, kept from eviction by `lock`
    [tree_len, computed_len)    owned by this sequence ("held"), seen by no one else
    """

    namespace: str
    row: int
    lock: Lock | None
    tree_len: int
    _computed_lens: NDArray[np.int64]  # `KVCache.computed_lens`

    @property
    def computed_len(self) -> int:
        return int(self._computed_lens[self.row])

    @computed_len.setter
    def computed_len(self, value: int) -> None:
        self._computed_lens[self.row] = value

    @property
    def num_held(self) -> int:
        return self.computed_len - self.tree_len


class KVCache:
    """Pages, page table and radix tree as one: free + cached + held == total, always.

    computed_lens: int64 [R], the `computed_len` of each row's handle.
    """

    def __init__(self, *, num_slots: int, num_rows: int, max_len: int) -> None:
        self.pool = PagePool(num_slots)
        self.table = PageTable(num_rows, max_len)
        self.tree = RadixTree(self.pool)
        self.computed_lens = np.zeros(num_rows, np.int64)
        self.num_evicted = 0

    @property
    def num_available(self) -> int:
        """Slots that are free or could be freed by evicting."""
        return self.pool.num_free + self.tree.num_evictable

    def cached_len(self, tokens: NDArray[np.int32], namespace: str, limit: int) -> int:
        """How many leading tokens (at most `limit`) the tree holds."""
        return self.tree.cached_len(tokens, namespace, limit)

    def attach(self, tokens: NDArray[np.int32], namespace: str, limit: int) -> KVHandle | None:
        """Start a sequence on the longest cached prefix of at most `limit` tokens, locking it.

        None when every row of the page table is taken.
        """
        row = self.table.take_row()
        if row is None:
            return None
        match = self.tree.match(tokens, namespace, limit)
        lock = self.tree.lock(match.node)
        self.table.write(row, 0, match.slots)
        self.computed_lens[row] = match.length
        return KVHandle(namespace, row, lock, match.length, self.computed_lens)

    def extend(self, handle: KVHandle, num_tokens: int) -> Slots | None:
        """Take slots for the next tokens, evicting if need be; None when there are not enough.

        The caller computes the tokens before anything else reads the handle.
        """
        return self.extend_rows(np.array([handle.row]), np.array([num_tokens]))

    def extend_rows(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> Slots | None:
        """`extend` for many at once: counts[i] slots for rows[i], concatenated in this order.

        All or nothing. Nothing in it is done once per row, but for chunks of MIN_RUN or more.
        """
        total = int(counts.sum())
        short = total - self.pool.num_free
        if short > 0:
            if self.tree.num_evictable < short:
                return None
            self.num_evicted += self.tree.evict(short)
        slots = self._take(counts, total)
        self.table.write_rows(rows, self.computed_lens[rows], counts, slots)
        self.computed_lens[rows] += counts
        return slots

    def _take(self, counts: NDArray[np.int64], total: int) -> Slots:
        """`total` slots that are free: those of one long chunk side by side, where possible."""
        long = (counts >= MIN_RUN).nonzero()[0]
        if not len(long):
            return self._allocate(total)
        ends = counts.cumsum()
        slots = np.empty(total, np.int32)
        is_short = np.ones(total, np.bool_)
        for start, end in zip((ends - counts)[long].tolist(), ends[long].tolist(), strict=True):
            slots[start:end] = self._allocate(end - start)
            is_short[start:end] = False
        slots[is_short] = self._allocate(int(is_short.sum()))
        return slots

    def _allocate(self, num_slots: int) -> Slots:
        slots = self.pool.allocate(num_slots)
        if slots is None:
            raise InternalError(f"evicting left fewer than {num_slots} free slots")
        return slots

    def publish(self, handle: KVHandle, tokens: NDArray[np.int32]) -> None:
        """Hand what the sequence computed to the tree, so that others can share it.

        `tokens` are the sequence's tokens (at least the computed ones). Only computed tokens are
        ever published. Where the tree already has them, the sequence goes on with the tree's slots.
        """
        end = handle.computed_len
        if end == handle.tree_len:
            return
        slots = self.table.read(handle.row, 0, end)
        inserted = self.tree.insert(tokens[:end], slots, handle.tree_len, handle.namespace)
        self.table.write(handle.row, handle.tree_len, inserted.slots[handle.tree_len :])
        lock = self.tree.lock(inserted.node)
        if handle.lock is not None:
            handle.lock.release()
        handle.lock = lock
        handle.tree_len = end

    def truncate(self, handle: KVHandle, tokens: NDArray[np.int32], length: int) -> None:
        """Forget the keys and values of every token from `length` on."""
        if length >= handle.computed_len:
            return
        if length < handle.tree_len:
            self.publish(handle, tokens)
            match = self.tree.match(tokens, handle.namespace, length)
            lock = self.tree.lock(match.node)
            if handle.lock is not None:
                handle.lock.release()
            handle.lock, handle.tree_len, handle.computed_len = lock, match.length, match.length
            return
        self.pool.free(self.table.read(handle.row, length, handle.computed_len))
        handle.computed_len = length

    def detach(
        self, handle: KVHandle, tokens: NDArray[np.int32], *, takes_lease: bool = False
    ) -> Lease | None:
        """End the sequence: what it computed stays in the tree, evictable, later if leased."""
        self.publish(handle, tokens)
        lease = None
        if handle.lock is not None:
            if takes_lease:
                lease = self.tree.lease(handle.lock.node)
            handle.lock.release()
            handle.lock = None
        handle.tree_len = handle.computed_len = 0
        self.table.release_row(handle.row)
        return lease

    def check(self, handles: Iterable[KVHandle]) -> None:
        """Verify the books in every detail, O(slots); `handles` are all attached ones."""
        self.pool.check()
        self.tree.check()
        self.check_totals(handles)

    def check_totals(self, handles: Iterable[KVHandle]) -> None:
        """Raise InternalError unless every slot is accounted for. O(handles)."""
        held = sum(handle.num_held for handle in handles)
        free, cached, total = self.pool.num_free, self.tree.num_cached, self.pool.num_slots
        if free + cached + held != total:
            raise InternalError(
                f"KV accounting: {free} free + {cached} cached + {held} held != {total} slots"
            )
