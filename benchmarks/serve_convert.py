"""One model in the forms that other engines read, so that all run the same weights.

    python benchmarks/serve_convert.py smollm2-135m-instruct FOLDER

writes FOLDER/hf (config.json, safetensors in bfloat16, tokenizer.json) and, if the model is a GGUF
file, FOLDER/bfloat16.gguf and FOLDER/float32.gguf with its tensors dequantised. serve.py does so
itself when it has peers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf.quants import dequantize, quantize
from mask_tokenizer import export
from safetensors.torch import save_file

from sestina.backend.batch import ModelConfig
from sestina.backend.tokenizer import Tokenizer
from sestina.backend.weights.read import read_checkpoint
from sestina.backend.weights.source import resolve_source


def convert(source: str, folder: Path) -> None:
    """Write what is not there yet. Cost: seconds, and three times the model in bfloat16 on disk."""
    path = resolve_source(source)
    hf = folder / "hf"
    if not (hf / "model.safetensors").exists():
        exported = export(source, hf)
        checkpoint = read_checkpoint(path)
        _write_json(hf / "config.json", hf_config(checkpoint.config, exported.tokenizer))
        _write_json(hf / "tokenizer_config.json", _tokenizer_config(exported.tokenizer))
        tensors = {
            name: checkpoint.tensors[name].to(torch.bfloat16).contiguous()
            for name in checkpoint.tensors
        }
        save_file(tensors, hf / "model.safetensors", metadata={"format": "pt"})
    if path.suffix == ".gguf":
        for name, kind in _GGUF_TYPES.items():
            if not (folder / f"{name}.gguf").exists():
                _write_gguf(path, folder / f"{name}.gguf", kind)


def hf_config(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json of a Llama-shaped model."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_len,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": config.rope_scaling or None,
        "tie_word_embeddings": config.tie_embeddings,
        "eos_token_id": tokenizer.eos_ids[0],
        "bos_token_id": tokenizer.eos_ids[0],
        "torch_dtype": "bfloat16",
    }


def _tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    names = {i: name for name, i in tokenizer.control_ids.items()}
    eos = names[tokenizer.eos_ids[0]]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": eos,
        "clean_up_tokenization_spaces": False,
    }


_GGUF_TYPES = {
    "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "float32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}


def _write_gguf(
    source: Path, target: Path, kind: tuple[gguf.GGMLQuantizationType, gguf.LlamaFileType]
) -> None:
    """The same file with its matrices in another type; vectors stay as they are (float32)."""
    reader = gguf.GGUFReader(source)
    tensor_type, file_type = kind
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    writer = gguf.GGUFWriter(target, architecture)
    skipped = ("GGUF.", gguf.Keys.General.ARCHITECTURE, gguf.Keys.General.FILE_TYPE)
    for key, field in reader.fields.items():
        if not key.startswith(skipped):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], inner)
    writer.add_file_type(file_type)
    for tensor in reader.tensors:
        if len(tensor.shape) < 2:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        else:
            values = dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, quantize(values, tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
