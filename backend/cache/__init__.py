"""KV memory: a pool of slots, a table of them per branch, and the radix tree that shares them.

A slot is one token's place in the KV pool (pages of one token). At any time every slot is in
exactly one of three hands: free in the `PagePool`, cached in the `RadixTree`, or held by a branch
that has not handed it over yet; `num_free + num_cached + held == num_slots`.
"""

from sestina.backend.cache.lease import Lease
from sestina.backend.cache.page_pool import PagePool
from sestina.backend.cache.page_table import PageTable
from sestina.backend.cache.radix_tree import Inserted, Lock, Match, RadixTree

__all__ = ["Inserted", "Lease", "Lock", "Match", "PagePool", "PageTable", "RadixTree"]
