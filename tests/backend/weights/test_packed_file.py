"""Weights from the disk are those that would be packed now, or they are not used."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from sestina.backend.batch import ModelConfig
from sestina.backend.loading import _packed_file, load_model
from sestina.backend.models.llama_loader import build_packed_llama
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.packed_llama import PackedLlama, expected_arrays
from sestina.backend.models.tiny import random_tensors, tiny_config
from sestina.backend.weights import packed_file
from sestina.backend.weights.fetch import cached_model
from sestina.backend.weights.packed_file import LINE, PackedFile
from sestina.backend.weights.read import read_checkpoint
from sestina.kernels.linear.packed import LAYOUT, interleave, pack, quantise

DTYPES = [torch.float32, torch.bfloat16, torch.int8]
IDS = list(range(40))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the tiny model; the cache folder is beside it."""
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    save_file(random_tensors(CONFIG, seed=1), file)
    return file


CONFIG = tiny_config(vocab_size=90, hidden_size=72)  # 72 floats are no whole lines


def load(
    source: Path,
    dtype: torch.dtype = torch.int8,
    *,
    config: ModelConfig = CONFIG,
    seed: int | None = 1,
) -> PackedLlama:
    """Without a seed there are no tensors: all must come from the disk."""
    tensors = {} if seed is None else random_tensors(config, seed)
    return build_packed_llama(config, tensors, dtype, PackedFile.of(source, config, dtype))


def kept(source: Path, dtype: torch.dtype = torch.int8) -> Path:
    return PackedFile.of(source, CONFIG, dtype).path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_more", [False, True])
def test_logits_have_the_same_bits(source: Path, dtype: torch.dtype, has_more: bool) -> None:
    config = replace(CONFIG, tie_embeddings=has_more, attention_bias=has_more, mlp_bias=has_more)
    plain = build_packed_llama(config, random_tensors(config, 1), dtype)
    first, second = (
        load(source, dtype, config=config),
        load(source, dtype, config=config, seed=None),
    )
    expected = sequence_logits(plain, IDS)
    assert torch.equal(sequence_logits(first, IDS), expected)
    assert torch.equal(sequence_logits(second, IDS), expected)


def test_arrays_are_mapped_and_begin_cache_lines(source: Path) -> None:
    load(source)
    arrays = PackedFile.of(source, CONFIG, torch.int8).read(expected_arrays(CONFIG, torch.int8))
    assert arrays is not None
    before = kept(source).read_bytes()
    for name, array in arrays.items():
        assert "." not in name or array.ctypes.data % LINE == 0
        array[:] = 0
    assert kept(source).read_bytes() == before
    # ... and any other reader of safetensors understands the file.
    assert load_file(kept(source)).keys() == arrays.keys()


def damage_cut(data: bytes) -> bytes:
    return data[:-64]


def damage_long(data: bytes) -> bytes:
    return data + bytes(64)


def damage_bit(data: bytes) -> bytes:
    return data[:-1000] + bytes([data[-1000] ^ 4]) + data[-999:]


def damage_empty(data: bytes) -> bytes:
    return b""


def damage_header(data: bytes) -> bytes:
    return data[:20] + b"\xff" + data[21:]


def damage_size(data: bytes) -> bytes:
    return bytes([255] * 8) + data[8:]


def damage_nesting(data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    return (100_000).to_bytes(8, "little") + b"[" * 100_000 + data[8 + size :]


def damage_no_object(data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    return data[:8] + b"[]".ljust(size) + data[8 + size :]


def damage_name(data: bytes) -> bytes:
    return data.replace(b'"qkv.scales"', b'"qkv.scalez"')


def damage_shape(data: bytes) -> bytes:
    assert b'"shape":[72]' in data
    return data.replace(b'"shape":[72]', b'"shape":[27]')


def damage_dtype(data: bytes) -> bytes:
    return data.replace(b'"dtype":"F32"', b'"dtype":"I32"', 1)


def damage_key(data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    key = json.loads(data[8 : 8 + size])["__metadata__"]["key"].encode()
    return data.replace(key, key[::-1])


DAMAGES = [damage for name, damage in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(source: Path, damage: Callable[[bytes], bytes]) -> None:
    load(source)
    good = kept(source).read_bytes()
    kept(source).write_bytes(damage(good))
    assert kept(source).read_bytes() != good
    expected = sequence_logits(
        build_packed_llama(CONFIG, random_tensors(CONFIG, 1), torch.int8), IDS
    )
    assert torch.equal(sequence_logits(load(source), IDS), expected)
    assert kept(source).read_bytes() == good


def test_a_file_of_another_checkpoint_is_not_used(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(random_tensors(CONFIG, seed=2), other)
    load(source)
    load(other, seed=2)
    assert kept(source) != kept(other)
    kept(other).write_bytes(kept(source).read_bytes())
    again = load(other, seed=2)
    plain = build_packed_llama(CONFIG, random_tensors(CONFIG, 2), torch.int8)
    assert torch.equal(sequence_logits(again, IDS), sequence_logits(plain, IDS))


def test_a_checkpoint_that_changed_is_packed_again(source: Path) -> None:
    load(source)
    stat = source.stat()
    save_file(random_tensors(CONFIG, seed=2), source)
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the size is the same too
    again = load(source, seed=2)
    plain = build_packed_llama(CONFIG, random_tensors(CONFIG, 2), torch.int8)
    assert torch.equal(sequence_logits(again, IDS), sequence_logits(plain, IDS))
    assert len(list(kept(source).parent.iterdir())) == 1  # the old file is replaced


def test_every_file_of_a_directory_counts(source: Path) -> None:
    folder = source.parent
    key = PackedFile.of(folder, CONFIG, torch.int8).key
    assert PackedFile.of(folder, CONFIG, torch.int8).key == key
    (folder / "config.json").write_text("{}")
    assert PackedFile.of(folder, CONFIG, torch.int8).key != key


def test_a_checkpoint_that_changes_meanwhile_is_not_kept(source: Path) -> None:
    file = PackedFile.of(source, CONFIG, torch.int8)
    source.write_bytes(source.read_bytes() + b" ")
    build_packed_llama(CONFIG, random_tensors(CONFIG, 1), torch.int8, file)
    assert not file.path.exists()


def test_config_and_dtype_have_keys_of_their_own(source: Path) -> None:
    first = PackedFile.of(source, CONFIG, torch.int8)
    assert PackedFile.of(source, CONFIG, torch.bfloat16).path != first.path
    assert PackedFile.of(source, replace(CONFIG, rope_theta=5e5), torch.int8).key != first.key


def test_without_a_home_the_model_loads(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(packed_file, "cache_dir", no_home)
    assert _packed_file(source, CONFIG, torch.int8) is None


def test_without_permission_the_model_loads_with_one_warning(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept(source).parent.parent.write_text("a file where the folder would be")
    with caplog.at_level(logging.WARNING):
        assert sequence_logits(load(source), IDS).shape[1] == CONFIG.vocab_size
    assert len(caplog.records) == 1
    assert "not kept" in caplog.text


def test_a_full_disk_leaves_nothing_behind(
    source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    load(source)
    assert "No space left" in caplog.text
    assert list(kept(source).parent.iterdir()) == []


def test_writers_at_the_same_time_are_harmless(source: Path) -> None:
    threads = [threading.Thread(target=load, args=(source,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(kept(source).parent.iterdir())) == 1
    load(source, seed=None)


def test_the_layout_has_a_new_number_whenever_it_changes() -> None:
    """Where this fails, the packed form has changed: raise LAYOUT, then put the new sums here."""
    numbers = torch.arange(-3000, 3000, dtype=torch.float32).remainder(97.5).view(60, 100) - 40
    whole, scales = quantise(numbers)
    found = [
        int(np.asarray(array).astype(np.int64) @ np.arange(1, array.size + 1))
        for array in (
            pack(whole),
            pack(numbers.bfloat16()),
            scales.view(torch.int32).numpy(),
            pack(interleave(*whole[:40].chunk(2))),
        )
    ]
    assert (LAYOUT, found) == (1, [397828821, 668049436516, 1930981601490, 199485143])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_real_model_has_the_same_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    model = cached_model("smollm2-135m-instruct")
    if model is None:
        pytest.skip("smollm2-135m-instruct is not in the cache: sestina models pull")
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path))
    checkpoint = read_checkpoint(model)
    plain = build_packed_llama(checkpoint.config, checkpoint.tensors, dtype)
    expected = sequence_logits(plain, IDS)
    for _ in range(2):
        loaded = load_model(model, dtype=dtype, device=torch.device("cpu")).model
        assert torch.equal(sequence_logits(loaded, IDS), expected)
    assert len(list((tmp_path / "packed").iterdir())) == 1
