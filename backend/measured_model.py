"""A model that counts and times its forward passes, and is otherwise the model it holds."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, Model, ModelConfig
from sestina.backend.trace import BATCHES, Tracer


class MeasuredModel:
    """Costs under a microsecond a pass. On a GPU it measures the launch, not the computation."""

    def __init__(self, model: Model, tracer: Tracer | None) -> None:
        self._model = model
        self._tracer = tracer
        self.forward_s = 0.0
        self.num_rows = 0
        self.num_tokens = 0

    @property
    def config(self) -> ModelConfig:
        return self._model.config

    @property
    def dtype(self) -> torch.dtype:
        return self._model.dtype

    @property
    def device(self) -> torch.device:
        return self._model.device

    @property
    def kv_dtype(self) -> torch.dtype:
        return self._model.kv_dtype

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        started = time.perf_counter()
        try:
            return self._model.forward(batch, kv)
        finally:
            self.forward_s += time.perf_counter() - started
            self.num_rows += batch.num_rows
            self.num_tokens += batch.num_tokens
            if self._tracer is not None:
                # Shapes only: to read a tensor of a GPU would wait for it.
                rows, tokens, logits = batch.num_rows, batch.num_tokens, len(batch.logit_rows)
                name = f"{rows} x {tokens}"
                self._tracer.record(BATCHES, name, started, rows=rows, tokens=tokens, logits=logits)
