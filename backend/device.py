"""Which device and number format to compute in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from sestina.lang.errors import InvalidParams

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ON_CPU = {**DTYPES, "int8": torch.int8}
"""What weights may be on a CPU; int8 ones are quantised at load."""

_SPELLINGS = {"fp32": "float32", "f32": "float32", "bf16": "bfloat16"}


def pick_device(name: str) -> torch.device:
    """ "auto" takes CUDA where there is one. InvalidParams for an unknown or absent device."""
    if name not in ("auto", "cpu", "cuda"):
        raise InvalidParams(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise InvalidParams("device='cuda', but torch sees no CUDA device here")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 where the device computes in it natively, else float32."""
    name = _SPELLINGS.get(name, name)
    if name == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    known = ON_CPU if device.type == "cpu" else DTYPES
    if name not in known:
        raise InvalidParams(
            f"dtype on {device.type!r} must be 'auto' or one of {', '.join(known)}, got {name!r}"
        )
    return known[name]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are native (on a CPU: AVX512_BF16 or AMX)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Older torch cannot be asked; float32 is then the safe answer.
    ask: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = ask()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
