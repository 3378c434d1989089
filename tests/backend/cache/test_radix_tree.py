from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sestina.backend.cache import Inserted, Lease, PagePool, RadixTree
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
    lease = tree.lock(match.node)
    fresh = pool.allocate(len(tokens) - match.length)
    assert fresh is not None
    slots = np.concatenate([match.slots, fresh])
    done = tree.insert(ids(*tokens), slots, match.length, namespace)
    lease.release()
    return done


class TreeMachine(RuleBasedStateMachine):
    """Tree and pool against a set of cached prefixes and what each slot's memory would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(NUM_SLOTS)
        self.tree = RadixTree(self.pool)
        self.cached: set[Prefix] = set()
        self.memory: dict[int, Prefix] = {}
        self.leases: list[tuple[Lease, set[Prefix]]] = []
        self.running: list[tuple[str, tuple[int, ...], int, np.ndarray, Lease]] = []

    def prefixes(self, namespace: str, tokens: tuple[int, ...]) -> list[Prefix]:
        return [(namespace, tokens[: i + 1]) for i in range(len(tokens))]

    def cached_len(self, namespace: str, tokens: tuple[int, ...]) -> int:
        return sum(p in self.cached for p in self.prefixes(namespace, tokens))

    @rule(tokens=sequences, namespace=namespaces, limit=st.none() | st.integers(0, 12))
    def match(self, tokens: tuple[int, ...], namespace: str, limit: int | None) -> None:
        match = self.tree.match(ids(*tokens), namespace, limit)
        wanted = tokens[:limit]
        assert match.length == len(match.slots) == self.cached_len(namespace, wanted)
        found = [self.memory[slot] for slot in match.slots.tolist()]
        assert found == self.prefixes(namespace, wanted)[: match.length]

    @rule(tokens=sequences, namespace=namespaces)
    def start(self, tokens: tuple[int, ...], namespace: str) -> None:
        """Match, lock and compute; the slots stay the branch's until `finish`."""
        match = self.tree.match(ids(*tokens), namespace)
        lease = self.tree.lock(match.node)
        fresh = self.pool.allocate(len(tokens) - match.length)
        if fresh is None:
            lease.release()
            return
        slots = np.concatenate([match.slots, fresh])
        for slot, prefix in zip(slots.tolist(), self.prefixes(namespace, tokens), strict=True):
            self.memory.setdefault(slot, prefix)
            if slot in fresh:
                self.memory[slot] = prefix
        self.running.append((namespace, tokens, match.length, slots, lease))
        self.leases.append((lease, set(self.prefixes(namespace, tokens)[: match.length])))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def finish(self, data: st.DataObject, keep: bool) -> None:
        pick = data.draw(st.integers(0, len(self.running) - 1))
        namespace, tokens, owned_from, slots, lease = self.running.pop(pick)
        already = self.cached_len(namespace, tokens)
        done = self.tree.insert(ids(*tokens), slots, owned_from, namespace)
        assert done.num_duplicates == already - owned_from
        found = [self.memory[slot] for slot in done.slots.tolist()]
        assert found == self.prefixes(namespace, tokens)
        self.cached.update(found)
        if keep:
            self.leases.append((self.tree.lock(done.node), set(found)))
        self.drop(lease)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        pick = data.draw(st.integers(0, len(self.running) - 1))
        _, _, owned_from, slots, lease = self.running.pop(pick)
        self.pool.free(slots[owned_from:])
        self.drop(lease)

    @precondition(lambda self: len(self.leases) > len(self.running))
    @rule()
    def release(self) -> None:
        in_use = {id(lease) for *_, lease in self.running}
        self.drop(next(lease for lease, _ in self.leases if id(lease) not in in_use))

    def drop(self, lease: Lease) -> None:
        lease.release()
        self.leases = [pair for pair in self.leases if pair[0] is not lease]

    @rule(num_slots=st.integers(0, 20))
    def evict(self, num_slots: int) -> None:
        evictable, free = self.tree.num_evictable, self.pool.num_free
        freed = self.tree.evict(num_slots)
        assert min(num_slots, evictable) <= freed <= evictable
        assert self.pool.num_free == free + freed
        left = self.contents()
        assert left <= self.cached
        assert len(left) == len(self.cached) - freed
        assert set().union(*(held for _, held in self.leases)) <= left
        self.cached = left

    @rule()
    def reset(self) -> None:
        self.tree.reset()
        self.cached = self.contents()
        assert self.cached == set().union(*(held for _, held in self.leases))

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
        locked = set().union(*(prefixes for _, prefixes in self.leases))
        assert locked <= self.cached
        assert self.tree.num_locked == len(locked)


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)


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


def test_a_split_keeps_leases() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    lease = tree.lock(compute(tree, pool, (1, 2, 3, 4)).node)
    tree.match(ids(1, 2))
    assert tree.num_locked == 4
    assert tree.evict(4) == 0
    lease.release()
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


@settings(deadline=None, max_examples=40)
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
    lease = tree.lock(node)
    lease.release()
    with pytest.raises(InternalError, match="released twice"):
        lease.release()
    tree.reset()
    with pytest.raises(InternalError, match="evicted node"):
        tree.lock(node)


def test_a_root_can_be_leased() -> None:
    tree = RadixTree(PagePool(4))
    lease = tree.lock(tree.match(ids(1, 2)).node)
    tree.check()
    lease.release()
    tree.check()


def test_deep_trees_need_no_recursion() -> None:
    pool = PagePool(3000)
    tree = RadixTree(pool)
    node = None
    for length in range(1, 1501):
        node = compute(tree, pool, tuple(range(length))).node
    assert node is not None
    lease = tree.lock(node)
    assert tree.num_locked == 1500
    lease.release()
    tree.check()
    assert len(tree.render().splitlines()) == 1502
    assert tree.reset() == 1500


def test_render_shows_the_tree() -> None:
    pool = PagePool(16)
    tree = RadixTree(pool)
    compute(tree, pool, (1, 2, 3, 4, 5, 6, 7, 8), "team")
    lease = tree.lock(tree.match(ids(1, 2), "team").node)
    text = tree.render()
    assert text.splitlines()[0] == "8 slots, 2 locked, 1 leases"
    assert "namespace='team'" in text
    assert "6 tokens [3,4,5,6,7,8] locks=0" in text
    lease.release()


@pytest.mark.parametrize("field", ["_num_cached", "_num_locked", "_num_leases"])
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
