"""A GGUF file written for peers holds the same model in another type."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _scripts() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


def test_the_same_fields_and_dequantised_tensors(tmp_path: Path) -> None:
    from serve_convert import _GGUF_TYPES, _write_gguf

    matrix = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    quantised = gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q4_1)
    source = tmp_path / "q4_1.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_block_count(3)
    writer.add_token_list(["a", "b", "\u0120c"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_tensor("m.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor("norm.weight", np.arange(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    wanted = gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q4_1)
    for name, digits in (("float32", 0.0), ("bfloat16", 2**-8)):
        target = tmp_path / f"{name}.gguf"
        _write_gguf(source, target, _GGUF_TYPES[name])
        read = gguf.GGUFReader(target)
        assert read.fields["general.architecture"].contents() == "llama"
        assert read.fields["llama.block_count"].contents() == 3
        assert read.fields["tokenizer.ggml.tokens"].contents() == ["a", "b", "\u0120c"]
        assert read.fields["general.file_type"].contents() == _GGUF_TYPES[name][1]
        found = {tensor.name: tensor for tensor in read.tensors}
        got = gguf.quants.dequantize(found["m.weight"].data, found["m.weight"].tensor_type)
        np.testing.assert_allclose(got, wanted, rtol=digits)
        np.testing.assert_array_equal(found["norm.weight"].data, np.arange(4))
