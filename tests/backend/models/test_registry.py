"""What build_model refuses, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sestina.backend.models.registry import build_model
from sestina.backend.models.rope import inverse_frequencies
from sestina.backend.models.tiny import random_tensors, tiny_config
from sestina.lang.errors import ModelError

CONFIG = tiny_config(num_layers=1)


def refused(message: str, tensors: dict[str, Tensor] | None = None, **changes: object) -> None:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        build_model(
            config, tensors or random_tensors(CONFIG, 0), torch.float32, torch.device("cpu")
        )


def test_an_unknown_architecture_lists_the_known() -> None:
    refused(
        "'FooForCausalLM' is not supported; known: LlamaForCausalLM", architecture="FooForCausalLM"
    )


def test_missing_and_unexpected_tensors_are_named() -> None:
    tensors = random_tensors(CONFIG, 0)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    tensors["model.layers.0.mlp.experts.0.weight"] = torch.zeros(1)
    refused(
        r"1 missing \(model\.layers\.0\.mlp\.up_proj\.weight\) and "
        r"1 unexpected \(model\.layers\.0\.mlp\.experts\.0\.weight\)",
        tensors,
    )


def test_a_wrong_shape_is_named() -> None:
    tensors = random_tensors(CONFIG, 0)
    tensors["model.norm.weight"] = torch.ones(63)
    refused(r"model\.norm\.weight has shape \[63\], the config says \[64\]", tensors)


def test_quantised_tensors_are_refused() -> None:
    tensors = random_tensors(CONFIG, 0)
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name].to(torch.int8)
    refused("quantised checkpoints", tensors)


def test_rotary_buffers_are_ignored() -> None:
    tensors = random_tensors(CONFIG, 0)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
    build_model(CONFIG, tensors, torch.float32, torch.device("cpu"))


def test_a_tied_head_may_be_stored_only_if_equal() -> None:
    tensors = random_tensors(CONFIG, 0)
    refused("ties lm_head.weight", tensors, tie_embeddings=True)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    config = replace(CONFIG, tie_embeddings=True)
    build_model(config, tensors, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, "'yarn' is not supported; known: default, linear"),
        ({"type": "dynamic", "factor": 4.0}, "'dynamic' is not supported"),
        ({"rope_type": "linear"}, "positive number 'factor', got None"),
        ({"rope_type": "linear", "factor": "8"}, "positive number 'factor', got '8'"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor"),
        ({"rope_type": "frequency_factors", "factors": [1.0]}, "must be 8 numbers"),
    ],
)
def test_rope_scaling_is_refused(scaling: dict[str, object], message: str) -> None:
    refused(message, rope_scaling=scaling)


def test_frequency_factors_divide() -> None:
    factors = [float(n) for n in range(1, 9)]
    scaling: dict[str, object] = {"rope_type": "frequency_factors", "factors": factors}
    scaled = inverse_frequencies(replace(CONFIG, rope_scaling=scaling))
    torch.testing.assert_close(scaled * torch.tensor(factors), inverse_frequencies(CONFIG))


def test_heads_that_cannot_be_grouped() -> None:
    refused("4 query heads cannot share 3", num_kv_heads=3)


def test_float16_is_refused() -> None:
    with pytest.raises(ModelError, match=r"not torch\.float16"):
        build_model(CONFIG, random_tensors(CONFIG, 0), torch.float16, torch.device("cpu"))
