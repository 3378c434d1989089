"""What a model's files say: its shape, its tensors, and which ids end a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sestina.backend.batch import ModelConfig


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files, read as far as needed: the config now, tensors when they are asked for.

    tensors: under Hugging Face names; each access reads (and dequantises) that tensor anew, so
        take each once. eos_ids: the ids the files say end a text; () where they say nothing.
    bos_id: as the config says, whether or not prompts should start with it.
    dtype: the dtype the weights were made in (float32 for quantised files), None if not said.
    """

    path: Path
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    eos_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    dtype: torch.dtype | None = None


class LazyTensors(Mapping[str, Tensor]):
    """Names to tensors, each read when it is asked for and not kept."""

    def __init__(self, readers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> Tensor:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __contains__(self, name: object) -> bool:
        return name in self._readers
