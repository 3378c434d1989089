"""Which slots of the KV pool are free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.lang.errors import InternalError

Slots = NDArray[np.int32]

_MIN_WINDOW = 1024


class PagePool:
    """Slots 0 .. num_slots-1, each free or taken.

    A bitmap rather than a stack: freed neighbours coalesce by themselves, so that a prefill finds
    runs that attention can read as slices. The search goes on where the last one ended (next fit,
    Knuth TAOCP 1, 2.5), which keeps the slots of one prefill together. Both operations cost O(n)
    numpy work, plus one byte read per taken slot that a search has to pass over.
    """

    def __init__(self, num_slots: int) -> None:
        if num_slots < 1:
            raise InternalError(f"a pool needs at least one slot, got {num_slots}")
        self._is_free = np.ones(num_slots, dtype=np.bool_)
        self._last_seen = np.zeros(num_slots, dtype=np.int32)  # scratch of `require_taken`
        self._num_free = num_slots
        self._cursor = 0

    @property
    def num_slots(self) -> int:
        return len(self._is_free)

    @property
    def num_free(self) -> int:
        return self._num_free

    def allocate(self, n: int) -> Slots | None:
        """n distinct slots, ascending, int32 [n]; None (and nothing taken) when fewer are free.

        One contiguous run where there is one near the cursor, else the next free slots.
        """
        if n < 0:
            raise InternalError(f"cannot allocate {n} slots")
        if n > self._num_free:
            return None
        if self._num_free == self.num_slots:
            self._cursor = 0
        start = self._cursor
        if start + n <= self.num_slots and self._is_free[start : start + n].all():
            slots = np.arange(start, start + n, dtype=np.int32)
        else:
            slots = self._search(n)
        self._is_free[slots] = False
        self._num_free -= n
        if n:
            self._cursor = (int(slots[-1]) + 1) % self.num_slots
        return slots

    def _search(self, n: int) -> Slots:
        """The first run of n free slots in a window from the cursor, else the first n free ones."""
        found = np.empty(0, dtype=np.int32)
        position = self._cursor
        window = max(_MIN_WINDOW, 8 * n)
        while len(found) < n:
            end = min(position + window, self.num_slots)
            fresh = np.flatnonzero(self._is_free[position:end]).astype(np.int32) + np.int32(
                position
            )
            found = np.concatenate([found, fresh])
            # Ascending slots a..b are a run of n exactly when they are n apart.
            is_run = found[n - 1 :] - found[: max(0, len(found) - n + 1)] == n - 1
            if is_run.any():
                first = int(is_run.argmax())
                return found[first : first + n]
            position = 0 if end == self.num_slots else end
        # A search that wrapped around has its low slots last.
        return np.sort(found[:n])

    def free(self, slots: Slots) -> None:
        """Give slots back. InternalError, freeing nothing, unless each is taken and named once."""
        self.require_taken(slots)
        self._is_free[slots] = True
        self._num_free += len(slots)

    def require_taken(self, slots: Slots) -> None:
        """InternalError unless every slot exists, is taken, and is named once. O(n)."""
        if not len(slots):
            return
        low, high = int(slots.min()), int(slots.max())
        if low < 0 or high >= self.num_slots:
            raise InternalError(f"slot {low if low < 0 else high} is not one of {self.num_slots}")
        free = self._is_free[slots]
        if free.any():
            raise InternalError(f"slot {int(slots[free.argmax()])} is free already")
        # Writing each slot's index and reading it back finds repeats without sorting.
        order = np.arange(len(slots), dtype=np.int32)
        self._last_seen[slots] = order
        repeated = self._last_seen[slots] != order
        if repeated.any():
            raise InternalError(f"slot {int(slots[repeated.argmax()])} is named twice")

    def check(self) -> None:
        """Verify the count against the bitmap: O(num_slots)."""
        counted = int(np.count_nonzero(self._is_free))
        if counted != self._num_free:
            raise InternalError(f"the pool counts {self._num_free} free slots but has {counted}")
