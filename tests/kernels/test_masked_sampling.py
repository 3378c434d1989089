"""Masked sampling: numba against the float64 reference, and both against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.kernels.masked_sampling import (
    RowSettings,
    cpu,
    logprobs_of,
    masked_sample,
    reference,
    top_logprobs,
)

NO_MASKS = np.empty((0, 0), dtype=np.int32)


def same_for_all(
    num_rows: int,
    *,
    temperature: float = 1.0,
    top_k: int = -1,
    top_p: float = 1.0,
    min_p: float = 0.0,
    seed: int = 0,
) -> RowSettings:
    """One setting for every row; row b draws at position b."""
    return RowSettings(
        temperature=np.full(num_rows, temperature, dtype=np.float32),
        top_k=np.full(num_rows, top_k, dtype=np.int32),
        top_p=np.full(num_rows, top_p, dtype=np.float32),
        min_p=np.full(num_rows, min_p, dtype=np.float32),
        seeds=np.full(num_rows, seed, dtype=np.uint64),
        positions=np.arange(num_rows, dtype=np.int64),
    )


def pack(allowed: np.ndarray, num_words: int | None = None) -> np.ndarray:
    """bool [V] -> int32 [W]."""
    if num_words is None:
        num_words = (len(allowed) + 31) // 32
    bits = np.zeros(32 * num_words, dtype=np.uint8)
    bits[: len(allowed)] = allowed[: len(bits)]
    return np.packbits(bits, bitorder="little").view(np.int32)


def draw(
    logits: np.ndarray, wishes: RowSettings, mask: np.ndarray | None = None
) -> tuple[list[int], list[float]]:
    masks = NO_MASKS if mask is None else mask[None]
    rows = np.full(len(logits), -1 if mask is None else 0, dtype=np.int32)
    ids, removed = masked_sample(torch.from_numpy(logits), masks, rows, wishes)
    assert ids.dtype == np.int32
    assert removed.dtype == np.float32
    return ids.tolist(), removed.tolist()


@st.composite
def batches(
    draw: st.DrawFn,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, RowSettings]:
    """Logits with ties and -inf, shared masks of any width, and every setting mixed."""
    num_rows = draw(st.integers(1, 5))
    vocab_size = draw(st.integers(1, 150) | st.integers(1000, 2200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(0, draw(st.sampled_from([0.0, 0.5, 4.0, 60.0])), (num_rows, vocab_size))
    if draw(st.booleans()):
        logits = np.round(logits)  # ties
    logits[rng.random(logits.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = -np.inf
    num_masks, num_words = draw(st.integers(0, 3)), draw(st.integers(1, 6) | st.integers(30, 70))
    density = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    masks = np.stack(
        [pack(rng.random(num_words * 32) < density, num_words) for _ in range(num_masks)]
        or [np.zeros(num_words, dtype=np.int32)]
    )[:num_masks]

    def some(*values: float) -> np.ndarray:
        return rng.choice(np.array(values), num_rows)

    wishes = RowSettings(
        temperature=some(0, 1e-3, 0.7, 1, 2, 100).astype(np.float32),
        top_k=some(-1, 1, 2, 40, 1000).astype(np.int32),
        top_p=some(1e-6, 0.1, 0.5, 0.9, 0.999, 1, 1).astype(np.float32),
        min_p=some(0, 0, 0.05, 0.5, 1).astype(np.float32),
        seeds=rng.integers(0, 2**64, num_rows, dtype=np.uint64),
        positions=rng.integers(0, 2**40, num_rows),
    )
    mask_rows = rng.integers(-1, num_masks, num_rows).astype(np.int32)
    return logits.astype(np.float32), masks, mask_rows, wishes


@settings(deadline=None, max_examples=300)
@given(batches())
def test_numba_equals_the_reference(
    batch: tuple[np.ndarray, np.ndarray, np.ndarray, RowSettings],
) -> None:
    logits, masks, mask_rows, wishes = batch
    ids, removed = cpu.masked_sample(logits, np.arange(len(logits)), masks, mask_rows, wishes)
    expected_ids, expected_removed = reference.masked_sample(logits, masks, mask_rows, wishes)
    assert ids.tolist() == expected_ids.tolist()
    np.testing.assert_allclose(removed, expected_removed, atol=2e-6)


@settings(deadline=None, max_examples=100)
@given(batches())
def test_never_draws_what_is_forbidden(
    batch: tuple[np.ndarray, np.ndarray, np.ndarray, RowSettings],
) -> None:
    logits, masks, mask_rows, wishes = batch
    ids = masked_sample(torch.from_numpy(logits), masks, mask_rows, wishes).ids
    for b, token_id in enumerate(ids.tolist()):
        allowed = logits[b] > -np.inf
        if mask_rows[b] >= 0:
            allowed &= reference.unpack(masks[mask_rows[b]], logits.shape[1])
        assert (token_id >= 0 and allowed[token_id]) or (token_id == -1 and not allowed.any())


def test_large_vocabulary_with_every_limit() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(-5, 3, (6, 49_153)).astype(np.float32)
    mask = pack(rng.random(49_153) < 0.4)[None]
    for top_k, top_p, min_p, heat in [
        (-1, 1.0, 0.0, 1.0),
        (-1, 0.95, 0.0, 2.0),
        (500, 1.0, 0.0, 1.0),
        (2000, 0.9, 0.02, 0.7),
        (-1, 0.99, 0.0, 100.0),
    ]:
        wishes = same_for_all(6, temperature=heat, top_k=top_k, top_p=top_p, min_p=min_p, seed=9)
        rows = np.array([0, -1, 0, -1, 0, -1], dtype=np.int32)
        ids, removed = cpu.masked_sample(logits, np.arange(len(logits)), mask, rows, wishes)
        expected_ids, expected_removed = reference.masked_sample(logits, mask, rows, wishes)
        assert ids.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(removed, expected_removed, atol=1e-6)


# ---- the distribution -------------------------------------------------------------------------

WEIGHTS = np.array([0.40, 0.25, 0.15, 0.10, 0.06, 0.04])
LOGITS = np.log(WEIGHTS).astype(np.float32)
CHI_SQUARE_999 = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}  # 99.9 % quantiles by df


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("wishes", "forbidden", "expected"),
    [
        ({}, [], WEIGHTS),
        ({"temperature": 0.5}, [], WEIGHTS**2),
        ({"temperature": 2.0}, [], WEIGHTS**0.5),
        ({"top_k": 3}, [], WEIGHTS * [1, 1, 1, 0, 0, 0]),
        ({"top_p": 0.7}, [], WEIGHTS * [1, 1, 1, 0, 0, 0]),
        ({"min_p": 0.2}, [], WEIGHTS * [1, 1, 1, 1, 0, 0]),
        # Renormalised after top-k: of .40 .25 .15, the first two are 81 %.
        ({"top_k": 3, "top_p": 0.75}, [], WEIGHTS * [1, 1, 0, 0, 0, 0]),
        ({}, [0], WEIGHTS * [0, 1, 1, 1, 1, 1]),
        ({"top_k": 2}, [0, 2], WEIGHTS * [0, 1, 0, 1, 0, 0]),
        ({"top_p": 0.75}, [0], WEIGHTS * [0, 1, 1, 1, 0, 0]),
        ({"min_p": 0.35, "temperature": 2.0}, [0], WEIGHTS**0.5 * [0, 1, 1, 1, 1, 1]),
    ],
)
def test_frequencies_follow_the_probabilities(
    wishes: dict[str, float], forbidden: list[int], expected: np.ndarray, seed: int
) -> None:
    n = 20_000
    allowed = np.isin(np.arange(6), forbidden, invert=True)
    logits = np.broadcast_to(LOGITS, (n, 6)).copy()
    ids, removed = draw(logits, same_for_all(n, seed=seed, **wishes), pack(allowed))  # type: ignore[arg-type]
    counts = np.bincount(ids, minlength=6)
    wanted = n * expected / expected.sum()
    assert (counts[wanted == 0] == 0).all()
    is_possible = wanted > 0
    chi_square = ((counts - wanted)[is_possible] ** 2 / wanted[is_possible]).sum()
    assert chi_square < CHI_SQUARE_999[int(is_possible.sum()) - 1]
    assert removed[0] == pytest.approx(WEIGHTS[forbidden].sum(), abs=1e-6)


def test_noise_is_independent_across_seeds_positions_and_ids() -> None:
    """Neighbouring counters must not give related noise: correlations within 4 sigma of 0."""
    seeds = np.arange(100, dtype=np.uint64)[:, None, None]
    positions = np.arange(20)[None, :, None]
    noise = reference.gumbel(seeds, positions, np.arange(50)[None, None, :])  # [100, 20, 50]
    centred = (noise - np.euler_gamma) / (np.pi / 6**0.5)
    assert abs(centred.mean()) < 4 / centred.size**0.5
    for axis in range(3):
        ahead, behind = np.delete(centred, 0, axis), np.delete(centred, -1, axis)
        assert abs((ahead * behind).mean()) < 4 / ahead.size**0.5


def test_the_noise_is_the_documented_function() -> None:
    """Values that other devices must reproduce, worked out with Python's own integers."""

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def nth(state: int, i: int) -> int:
        return mix((state + (i + 1) * 0x9E3779B97F4A7C15) % 2**64)

    assert nth(1234567, 0) == 6457827717110365317  # the published SplitMix64 test vector
    seed, position, token_id = 2**64 - 3, 2**40 + 1, 151_935
    u = ((nth(nth(mix(seed), position), token_id) >> 12) + 0.5) / 2**52
    noise = reference.gumbel(
        np.array([seed], np.uint64), np.array([position]), np.array([token_id])
    )
    assert noise[0] == pytest.approx(-np.log(-np.log(u)), rel=1e-15)


# ---- independence, order, broken logits ---------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(batches(), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_the_batch(
    batch: tuple[np.ndarray, np.ndarray, np.ndarray, RowSettings], random: object
) -> None:
    logits, masks, mask_rows, wishes = batch
    together = masked_sample(torch.from_numpy(logits), masks, mask_rows, wishes)
    order = np.arange(len(logits))
    random.shuffle(order)  # type: ignore[attr-defined]
    for rows in (order, order[:1]):
        part = RowSettings(
            *(getattr(wishes, name)[rows] for name in RowSettings.__dataclass_fields__)
        )
        alone = masked_sample(torch.from_numpy(logits[rows]), masks, mask_rows[rows], part)
        assert alone.ids.tobytes() == together.ids[rows].tobytes()
        assert alone.removed_mass.tobytes() == together.removed_mass[rows].tobytes()


def test_rows_are_drawn_from_the_places_named() -> None:
    logits = torch.from_numpy(np.random.default_rng(4).normal(0, 3, (5, 90)).astype(np.float32))
    places = np.array([4, 0, 4, 2])
    for wishes in (same_for_all(4, temperature=0), same_for_all(4, seed=6)):
        rows = np.full(4, -1, np.int32)
        there = masked_sample(logits, NO_MASKS, rows, wishes, places)
        assert (
            there.ids.tolist() == masked_sample(logits[places], NO_MASKS, rows, wishes).ids.tolist()
        )
    for wrong in ([0, 1, 2, 5], [0, -1, 2, 3]):
        with pytest.raises(ValueError, match="places beyond 5 rows"):
            masked_sample(logits, NO_MASKS, rows, wishes, np.array(wrong))


def test_logits_are_only_read() -> None:
    logits = torch.randn(2, 64)
    before = logits.clone()
    masked_sample(logits, NO_MASKS, np.full(2, -1, np.int32), same_for_all(2, top_k=3, top_p=0.5))
    assert torch.equal(logits, before)


@pytest.mark.parametrize("vocab_size", [5, 32, 33, 100, 2100])
def test_ties_go_to_the_lowest_allowed_id(vocab_size: int) -> None:
    logits = np.zeros((1, vocab_size), dtype=np.float32)
    logits[0, 3] = -0.0
    allowed = np.arange(vocab_size) >= 3
    assert draw(logits, same_for_all(1, temperature=0), pack(allowed))[0] == [3]
    assert draw(logits, same_for_all(1, temperature=0))[0] == [0]
    kept = {draw(logits, same_for_all(1, top_k=2, seed=s), pack(allowed))[0][0] for s in range(40)}
    assert kept == {3, 4}


def test_ids_beyond_the_mask_are_forbidden() -> None:
    logits = np.zeros((1, 70), dtype=np.float32)
    logits[0, 69] = 9
    mask = pack(np.ones(32, dtype=np.bool_))
    for temperature in (0.0, 1.0):
        (token_id,), (removed,) = draw(logits, same_for_all(1, temperature=temperature), mask)
        assert 0 <= token_id < 32
        assert removed == pytest.approx(1 - 32 / (69 + np.exp(9)), abs=1e-6)


@pytest.mark.parametrize("broken", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 31, 1500, 2099])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_reported_even_where_forbidden(
    broken: float, where: int, temperature: float
) -> None:
    logits = np.zeros((2, 2100), dtype=np.float32)
    logits[0, where] = broken
    mask = pack(np.arange(2100) != where)
    wishes = same_for_all(2, temperature=temperature)
    for (bad, good), removed in (draw(logits, wishes, mask), draw(logits, wishes)):
        assert bad == -1
        assert np.isnan(removed[0])
        assert good >= 0
    rows = np.zeros(2, dtype=np.int32)
    ids, removed_mass = reference.masked_sample(logits, mask[None], rows, wishes)
    assert ids.tolist()[0] == -1
    assert np.isnan(removed_mass[0])


def test_nothing_allowed() -> None:
    logits = np.zeros((1, 40), dtype=np.float32)
    nothing = np.zeros(2, dtype=np.int32)
    assert draw(logits, same_for_all(1), nothing) == ([-1], [1.0])
    assert draw(np.full((1, 40), -np.inf, np.float32), same_for_all(1)) == ([-1], [0.0])
    assert draw(np.full((1, 40), -np.inf, np.float32), same_for_all(1), nothing) == ([-1], [0.0])


def test_wrong_shapes_are_refused() -> None:
    logits, one = torch.zeros(2, 8), np.zeros((1, 1), dtype=np.int32)
    with pytest.raises(ValueError, match="mask row 1 of 1"):
        masked_sample(logits, one, np.array([0, 1], np.int32), same_for_all(2))
    with pytest.raises(ValueError, match=r"per-row arrays \[2\]"):
        masked_sample(logits, one, np.array([0, 0], np.int32), same_for_all(3))


# ---- log-probabilities ------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 50))
def test_log_probabilities(seed: int, vocab_size: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(0, 3, (3, vocab_size))).astype(np.float32)
    exact = torch.log_softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    ids = rng.integers(0, vocab_size, 3)
    chosen = logprobs_of(torch.from_numpy(logits), torch.from_numpy(ids))
    assert chosen.dtype == torch.float32
    np.testing.assert_allclose(chosen.numpy(), exact[np.arange(3), ids], atol=1e-5)

    top_ids, values = top_logprobs(torch.from_numpy(logits), k)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    assert top_ids.tolist() == best.tolist()
    np.testing.assert_allclose(values.numpy(), np.take_along_axis(exact, best, 1), atol=1e-5)
