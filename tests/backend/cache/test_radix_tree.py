from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.fuzz import tries

from sestina.backend.cache import Inserted, Lease, Lock, PagePool, RadixTree
from sestina.backend.cache.radix_dump import as_data, as_text
from sestina.backend.cache.radix_tree import LEASE_TURNOVERS
from sestina.lang.errors import InternalError

NUM_SLOTS = 48
Prefix = tuple[str, tuple[int, ...]]

namespaces = st.sampled_from(["", "tenant"])
sequences = st.lists(st.integers(0, 2), max_size=12).map(tuple)


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def compute(
    tree: RadixTree, pool: PagePool, tokens: tuple[int, ...], namespace: str = ""
) -> Inserted:
    """What a scheduler does for one sequence, without letting go of a lock too early."""
    match = tree.match(ids(*tokens), namespace)
    lock = tree.lock(match.node)
    fresh = pool.allocate(len(tokens) - match.length)
    assert fresh is not None
    slots = np.concatenate([match.slots, fresh])
    done = tree.insert(ids(*tokens), slots, match.length, namespace)
    lock.release()
    return done


class TreeMachine(RuleBasedStateMachine):
    """Tree and pool against a set of cached prefixes and what each slot's memory would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(NUM_SLOTS)
        self.tree = RadixTree(self.pool)
        self.cached: set[Prefix] = set()
        self.memory: dict[int, Prefix] = {}
        self.locks: list[tuple[Lock, set[Prefix]]] = []
        self.leases: dict[Lease, Prefix] = {}
        self.running: list[tuple[str, tuple[int, ...], int, np.ndarray, Lock]] = []

    def prefixes(self, namespace: str, tokens: tuple[int, ...]) -> list[Prefix]:
        return [(namespace, tokens[: i + 1]) for i in range(len(tokens))]

    def cached_len(self, namespace: str, tokens: tuple[int, ...]) -> int:
        return sum(p in self.cached for p in self.prefixes(namespace, tokens))

    @rule(tokens=sequences, namespace=namespaces, limit=st.none() | st.integers(0, 12))
    def match(self, tokens: tuple[int, ...], namespace: str, limit: int | None) -> None:
        match = self.tree.match(ids(*tokens), namespace, limit)
        wanted = tokens[:limit]
        assert self.tree.cached_len(ids(*tokens), namespace, limit) == match.length
        assert match.length == len(match.slots) == self.cached_len(namespace, wanted)
        found = [self.memory[slot] for slot in match.slots.tolist()]
        assert found == self.prefixes(namespace, wanted)[: match.length]

    @rule(tokens=sequences, namespace=namespaces)
    def start(self, tokens: tuple[int, ...], namespace: str) -> None:
        """Match, lock and compute; the slots stay the branch's until `finish`."""
        match = self.tree.match(ids(*tokens), namespace)
        lock = self.tree.lock(match.node)
        fresh = self.pool.allocate(len(tokens) - match.length)
        if fresh is None:
            lock.release()
            return
        slots = np.concatenate([match.slots, fresh])
        for slot, prefix in zip(slots.tolist(), self.prefixes(namespace, tokens), strict=True):
            self.memory.setdefault(slot, prefix)
            if slot in fresh:
                self.memory[slot] = prefix
        self.running.append((namespace, tokens, match.length, slots, lock))
        self.locks.append((lock, set(self.prefixes(namespace, tokens)[: match.length])))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def finish(self, data: st.DataObject, keep: bool) -> None:
        pick = data.draw(st.integers(0, len(self.running) - 1))
        namespace, tokens, owned_from, slots, lock = self.running.pop(pick)
        already = self.cached_len(namespace, tokens)
        done = self.tree.insert(ids(*tokens), slots, owned_from, namespace)
        assert done.num_duplicates == already - owned_from
        found = [self.memory[slot] for slot in done.slots.tolist()]
        assert found == self.prefixes(namespace, tokens)
        self.cached.update(found)
        if keep:
            self.locks.append((self.tree.lock(done.node), set(found)))
        self.drop(lock)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        pick = data.draw(st.integers(0, len(self.running) - 1))
        _, _, owned_from, slots, lock = self.running.pop(pick)
        self.pool.free(slots[owned_from:])
        self.drop(lock)

    @precondition(lambda self: len(self.locks) > len(self.running))
    @rule()
    def unlock(self) -> None:
        in_use = {id(lock) for *_, lock in self.running}
        self.drop(next(lock for lock, _ in self.locks if id(lock) not in in_use))

    def drop(self, lock: Lock) -> None:
        lock.release()
        self.locks = [pair for pair in self.locks if pair[0] is not lock]

    @rule(tokens=sequences, namespace=namespaces)
    def lease(self, tokens: tuple[int, ...], namespace: str) -> None:
        match = self.tree.match(ids(*tokens), namespace)
        self.leases[self.tree.lease(match.node)] = (namespace, tokens[: match.length])

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(list(self.leases)))
        lease.release()
        del self.leases[lease]
        assert not lease.is_held

    @rule(num_slots=st.integers(0, 20))
    def evict(self, num_slots: int) -> None:
        evictable, free = self.tree.num_evictable, self.pool.num_free
        freed = self.tree.evict(num_slots)
        assert min(num_slots, evictable) <= freed <= evictable
        assert self.pool.num_free == free + freed
        left = self.contents()
        assert left <= self.cached
        assert len(left) == len(self.cached) - freed
        assert set().union(*(held for _, held in self.locks)) <= left
        self.cached = left

    @rule()
    def reset(self) -> None:
        self.tree.reset()
        self.cached = self.contents()
        assert self.cached == set().union(*(held for _, held in self.locks))

    def contents(self) -> set[Prefix]:
        paths: dict[int, tuple[int, ...]] = {}
        found: set[Prefix] = set()
        for _, node in self.tree.nodes():
            above = () if node.parent is None else paths[id(node.parent)]
            paths[id(node)] = path = above + tuple(node.tokens.tolist())
            found.update(
                (node.namespace, path[:end]) for end in range(len(above) + 1, len(path) + 1)
            )
        return found

    @invariant()
    def everything_adds_up(self) -> None:
        self.tree.check()
        self.pool.check()
        held = sum(len(slots) - owned_from for _, _, owned_from, slots, _ in self.running)
        assert self.pool.num_free + self.tree.num_cached + held == NUM_SLOTS
        assert self.tree.num_cached == len(self.cached)
        locked = set().union(*(prefixes for _, prefixes in self.locks))
        assert locked <= self.cached
        assert self.tree.num_locked == len(locked)
        leased: set[Prefix] = set()
        for lease, (namespace, tokens) in self.leases.items():
            # What is left of a leased prefix, which may be nothing.
            left = self.prefixes(namespace, tokens)[: self.cached_len(namespace, tokens)]
            assert lease.is_held <= bool(left)
            leased.update(left if lease.is_held else ())
        assert self.tree.num_leased == len(leased) <= NUM_SLOTS // 2


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = tries(40, steps=30)


def test_a_match_inside_an_edge_ends_at_a_node() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    done = compute(tree, pool, (1, 2, 3, 4))
    match = tree.match(ids(1, 2, 9))
    assert match.length == 2
    assert match.slots.tolist() == done.slots[:2].tolist()
    assert match.node.tokens.tolist() == [1, 2]
    assert done.node.tokens.tolist() == [3, 4]
    tree.check()


def test_a_split_keeps_locks() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    lock = tree.lock(compute(tree, pool, (1, 2, 3, 4)).node)
    tree.match(ids(1, 2))
    assert tree.num_locked == 4
    assert tree.evict(4) == 0
    lock.release()
    assert tree.num_locked == 0
    assert tree.evict(1) == 2
    tree.check()


def test_duplicates_are_freed_and_replaced() -> None:
    pool = PagePool(10)
    tree = RadixTree(pool)
    mine, other = pool.allocate(4), pool.allocate(4)
    assert mine is not None
    assert other is not None
    first = tree.insert(ids(1, 2, 3, 4), mine, 0)
    second = tree.insert(ids(1, 2, 3, 5), other, 0)
    assert (first.num_duplicates, second.num_duplicates) == (0, 3)
    assert second.slots.tolist() == [*mine[:3].tolist(), int(other[3])]
    assert pool.num_free == 5
    tree.check()


def test_namespaces_never_share() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    compute(tree, pool, (1, 2, 3), "a")
    assert tree.match(ids(1, 2, 3), "a").length == 3
    assert tree.match(ids(1, 2, 3), "b").length == 0
    assert tree.match(ids(1, 2, 3)).length == 0


def test_the_tree_keeps_no_trace_of_empty_namespaces() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    for name in "abc":
        tree.match(ids(1), name)
        compute(tree, pool, (1, 2), name)
        assert tree.reset() == 2
    assert list(tree.nodes()) == []


@tries(40)
@given(st.lists(sequences, min_size=1, max_size=8), st.lists(sequences, max_size=8))
def test_evicts_the_least_recently_used_leaf(
    inserts: list[tuple[int, ...]], matches: list[tuple[int, ...]]
) -> None:
    pool = PagePool(128)
    tree = RadixTree(pool)
    for tokens in inserts:
        compute(tree, pool, tokens)
    for tokens in matches:
        tree.match(ids(*tokens))
    while tree.num_cached:
        leaves = [node for _, node in tree.nodes() if node.parent and not node.children]
        oldest = min(leaves, key=lambda node: node.last_used)
        assert tree.evict(1) == len(oldest.slots)
        assert oldest.is_evicted
        tree.check()


def test_refuses_a_prefix_it_does_not_hold() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    done = compute(tree, pool, (1, 2))
    fresh = pool.allocate(1)
    assert fresh is not None
    tree.reset()
    with pytest.raises(InternalError, match="was the prefix not locked"):
        tree.insert(ids(1, 2, 3), np.concatenate([done.slots, fresh]), 2)
    pool.free(fresh)
    assert pool.num_free == 8


def test_refuses_slots_that_are_not_the_callers() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    done = compute(tree, pool, (1, 2))
    with pytest.raises(InternalError, match="its own already"):
        tree.insert(ids(1, 2), done.slots, 0)
    with pytest.raises(InternalError, match="is free already"):
        tree.insert(ids(5), ids(7), 0)
    with pytest.raises(InternalError, match="owned_from=3"):
        tree.insert(ids(1, 2), done.slots, 3)
    tree.check()
    assert pool.num_free == 6


def test_refuses_a_second_release_and_an_evicted_node() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    node = compute(tree, pool, (1, 2)).node
    lock = tree.lock(node)
    lock.release()
    with pytest.raises(InternalError, match="released twice"):
        lock.release()
    tree.reset()
    with pytest.raises(InternalError, match="evicted node"):
        tree.lock(node)
    with pytest.raises(InternalError, match="evicted node"):
        tree.lease(node)


def test_the_empty_prefix_can_be_locked_and_leased() -> None:
    tree = RadixTree(PagePool(4))
    root = tree.match(ids(1, 2)).node
    lock, lease = tree.lock(root), tree.lease(root)
    tree.check()
    assert not lease.is_held
    lock.release()
    lease.release()
    tree.check()


def test_leased_prefixes_are_evicted_last_and_then_all_the_same() -> None:
    pool = PagePool(40)
    tree = RadixTree(pool)
    leased = tree.lease(compute(tree, pool, (1, 2, 3, 4)).node)
    compute(tree, pool, (1, 2, 3, 4, 5))
    compute(tree, pool, (9,) * 20)
    assert tree.num_leased == 4
    assert tree.evict(21) == 21, "what came later, and what came after the leased prefix"
    assert tree.match(ids(1, 2, 3, 4)).length == 4
    assert tree.evict(4) == 4, "a lease is no lock"
    assert not leased.is_held
    tree.check()


def test_what_is_left_of_a_leased_prefix_stays_leased() -> None:
    pool = PagePool(40)
    tree = RadixTree(pool)
    compute(tree, pool, (1, 2))
    lease = tree.lease(compute(tree, pool, (1, 2, 3, 4)).node)
    assert tree.evict(1) == 2
    assert lease.is_held
    assert lease.node.tokens.tolist() == [1, 2]
    assert tree.num_leased == 2
    lease.release()
    assert tree.num_leased == 0
    tree.check()


def test_a_released_lease_is_evicted_in_its_turn() -> None:
    pool = PagePool(40)
    tree = RadixTree(pool)
    lease = tree.lease(compute(tree, pool, (1, 2)).node)
    compute(tree, pool, (3, 4))
    tree.check()
    lease.release()
    lease.release()
    assert tree.evict(1) == 2
    assert tree.cached_len(ids(3, 4)) == 2
    tree.check()


def test_a_lease_decays_as_the_pool_turns_over() -> None:
    pool = PagePool(10)
    tree = RadixTree(pool)
    lease = tree.lease(compute(tree, pool, (7, 7)).node)
    turnovers = 0
    while lease.is_held:
        compute(tree, pool, (turnovers % 5, 1, 2, 3))
        tree.evict(4)
        turnovers += 1
    assert 2 * LEASE_TURNOVERS <= turnovers <= 3 * LEASE_TURNOVERS, "10 slots are 2.5 prefixes"


def test_the_oldest_leases_give_way_to_the_budget() -> None:
    pool = PagePool(20)
    tree = RadixTree(pool)
    leases = [tree.lease(compute(tree, pool, (i, 1, 2, 3)).node) for i in range(4)]
    assert [lease.is_held for lease in leases] == [False, False, True, True]
    assert tree.num_leased == 8
    shared = tree.lease(tree.match(ids(3, 1)).node)
    assert tree.num_leased == 8, "a shared prefix counts once"
    assert tree.evict(8) == 8, "those without a lease"
    too_long = tree.lease(compute(tree, pool, (3, 1, *range(10, 22))).node)
    assert not any(lease.is_held for lease in (*leases, shared, too_long))
    assert tree.num_leased == 0
    tree.check()


def test_leases_that_come_and_go_leave_no_trace() -> None:
    pool = PagePool(100)
    tree = RadixTree(pool)
    node = compute(tree, pool, (1, 2)).node
    for _ in range(1000):
        tree.lease(node).release()
    assert len(tree._heap) < 200
    tree.check()
    assert tree.evict(1) == 2


def test_deep_trees_need_no_recursion() -> None:
    pool = PagePool(3000)
    tree = RadixTree(pool)
    node = None
    for length in range(1, 1501):
        node = compute(tree, pool, tuple(range(length))).node
    assert node is not None
    lock = tree.lock(node)
    assert tree.num_locked == 1500
    lock.release()
    tree.check()
    assert len(as_text(tree).splitlines()) == 1502
    assert len(json.loads(json.dumps(as_data(tree)))["nodes"]) == 1501
    assert tree.reset() == 1500


def test_the_tree_as_text_and_as_data() -> None:
    pool = PagePool(16)
    tree = RadixTree(pool)
    done = compute(tree, pool, (1, 2, 3, 4, 5, 6, 7, 8), "team")
    lock = tree.lock(tree.match(ids(1, 2), "team").node)
    tree.lease(done.node)
    text = as_text(tree, lambda ids: "".join(chr(96 + i) for i in ids))
    assert text.splitlines()[0] == "8 slots, 2 locked, 8 leased"
    assert "namespace='team'" in text
    assert "6 tokens [3,4,5,6,7,8] locks=0 leases=1" in text
    assert "'cdefgh'" in text
    data = as_data(tree, str)
    assert data["cached"] == 8
    assert data["nodes"] == [
        {
            "id": i,
            "parent": parent,
            "namespace": "team",
            "tokens": tokens,
            "text": str(tokens),
            "locks": locks,
            "leases": leases,
            "evictable": evictable,
            "last_used": last_used,
        }
        for i, parent, tokens, locks, leases, evictable, last_used in [
            (0, None, [], 0, 0, False, 0),
            (1, 0, [1, 2], 1, 1, False, 9),
            (2, 1, [3, 4, 5, 6, 7, 8], 0, 1, True, 0),
        ]
    ]
    lock.release()


@pytest.mark.parametrize("field", ["_num_cached", "_num_locked", "_num_locks", "_num_stale"])
def test_check_sees_a_wrong_count(field: str) -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    compute(tree, pool, (1, 2))
    setattr(tree, field, 5)
    with pytest.raises(InternalError, match="not true"):
        tree.check()


def test_check_sees_a_broken_node() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    node = compute(tree, pool, (1, 2)).node
    node.num_locks = -1
    with pytest.raises(InternalError, match="not true that a path is locked"):
        tree.check()
