"""How a value came about, readable by attribute (our names) and by key (SGLang's names)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from sestina.lang.session import GenMeta, TokenLogprob


def _finish_reason(meta: GenMeta) -> dict[str, Any]:
    reason: dict[str, Any] = {"type": meta.finish_reason}
    return reason if meta.matched is None else {**reason, "matched": meta.matched}


def _token_logprobs(tokens: tuple[TokenLogprob, ...] | None) -> list[Any] | None:
    return None if tokens is None else [(t.logprob, t.id, t.text) for t in tokens]


def _top_logprobs(tokens: tuple[TokenLogprob, ...] | None) -> list[Any] | None:
    if tokens is None:
        return None
    return [[(logprob, token_id, text) for token_id, logprob, text in t.top] for t in tokens]


_SGLANG_KEYS: Mapping[str, Callable[[GenMeta], Any]] = MappingProxyType(
    {
        "finish_reason": _finish_reason,
        "prompt_tokens": lambda meta: meta.prefilled + meta.cached + meta.healed,
        "cached_tokens": lambda meta: meta.cached,
        "completion_tokens": lambda meta: meta.forced + meta.sampled,
        "input_token_logprobs": lambda meta: _token_logprobs(meta.prompt_logprobs),
        "input_top_logprobs": lambda meta: _top_logprobs(meta.prompt_logprobs),
        "output_token_logprobs": lambda meta: _token_logprobs(meta.logprobs),
        "output_top_logprobs": lambda meta: _top_logprobs(meta.logprobs),
    }
)


@dataclass(frozen=True, slots=True)
class MetaInfo(GenMeta):
    """GenMeta that can also be read like SGLang's dict: `meta["completion_tokens"]`.

    Keys whose record was not asked for (`return_logprob`) are absent.

    >>> meta = MetaInfo.of(GenMeta("stop", matched="\\n", sampled=3, forced=2))
    >>> meta.finish_reason, meta["finish_reason"], meta["completion_tokens"]
    ('stop', {'type': 'stop', 'matched': '\\n'}, 5)
    """

    @classmethod
    def of(cls, meta: GenMeta) -> MetaInfo:
        return cls(**{f.name: getattr(meta, f.name) for f in fields(GenMeta)})

    def __getitem__(self, key: str) -> Any:
        value = _SGLANG_KEYS[key](self) if key in _SGLANG_KEYS else None
        if value is None:
            raise KeyError(f"no {key!r} in this meta info; known: {', '.join(self.keys())}")
        return value

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401

    def keys(self) -> list[str]:
        """The names of what was recorded."""
        return [key for key, read in _SGLANG_KEYS.items() if read(self) is not None]
