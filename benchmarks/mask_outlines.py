"""outlines-core for mask.py. Options: those of build_regex_from_schema."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from mask_walk import Engine, Vocabulary, Walk, serve
from outlines_core import Guide, Index
from outlines_core import Vocabulary as OutlinesVocabulary
from outlines_core.json_schema import build_regex_from_schema


class OutlinesCore(Engine):
    """An Index per schema; its vocabulary has one end, the first of ours."""

    def __init__(self, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
        self.version = version("outlines-core")
        ids: dict[bytes, list[int]] = {}
        for token_id, data in enumerate(vocabulary.tokens):
            if data:
                ids.setdefault(data, []).append(token_id)
        self.vocabulary = OutlinesVocabulary(vocabulary.eos_ids[0], ids)
        self.options = options
        self.row = np.zeros(-(-len(vocabulary.tokens) // 32), np.int32)
        told = [f"{k}={v!r}" for k, v in options.items()]
        self.settings = ", ".join(told) or "defaults: an optional space"

    def compile(self, schema: Any) -> Index:
        return Index(build_regex_from_schema(json.dumps(schema), **self.options), self.vocabulary)

    def start(self, compiled: Index) -> Walk:
        guide = Guide(compiled)
        fill = partial(guide.write_mask_into, self.row.ctypes.data, len(self.row), 4)
        return Walk(fill, partial(guide.advance, return_tokens=False))


if __name__ == "__main__":
    serve(OutlinesCore)
