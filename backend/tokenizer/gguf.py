"""A tokenizer from the metadata of a GGUF file.

Keys and token types are llama.cpp's (`tokenizer.ggml.*`, gguf-py/gguf/constants.py). Two models of
tokenizer are read: "gpt2" (byte-level BPE, merges in the file) and "llama" (SentencePiece BPE with
byte fallback, merges recovered from the scores). The result is a tokenizer.json as data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sestina.backend.tokenizer.gguf_pre import pre_tokenizer
from sestina.backend.tokenizer.hf import TokenizerSpec
from sestina.backend.tokenizer.vocabulary import SPACE
from sestina.backend.weights.gguf_file import Value, read_metadata
from sestina.lang.errors import ModelError

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 2, 3, 4, 5, 6
_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def read_gguf_tokenizer(path: Path) -> TokenizerSpec:
    """The tokenizer of a GGUF file. ModelError if it has none or one of an unknown kind."""
    metadata = read_metadata(path)
    fields = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    kind = fields.get("model")
    if kind is None:
        raise ModelError(f"{path} has no tokenizer (tokenizer.ggml.model)")
    if kind not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise ModelError(f"{path} has a tokenizer of kind {kind!r}; readable: {known}")
    tokens = _list(fields, "tokens", str, path)
    if len(set(tokens)) != len(tokens):
        raise ModelError(f"{path} has several tokens of one spelling")
    # Gemma's scores do not follow its merge order, its ids do (as transformers reads it).
    fields["merges_by_id"] = str(metadata.get("general.architecture", "")).startswith("gemma")
    types = _list(fields, "token_type", int, path) if "token_type" in fields else [1] * len(tokens)
    if len(types) != len(tokens):
        raise ModelError(f"{path}: {len(tokens)} tokens but {len(types)} token types")
    data, adds_bos = _READERS[str(kind)](fields, tokens, types, path)
    said = fields.get("add_bos_token")
    template = metadata.get("tokenizer.chat_template")
    return TokenizerSpec(
        data=data,
        special_tokens={
            role: tokens[i] for role, key in _ROLES.items() for i in _ids(fields, key, tokens)
        },
        eos_ids=tuple(
            i for key in ("eos", "eot", "eom") for i in _ids(fields, f"{key}_token_id", tokens)
        ),
        adds_bos=said if isinstance(said, bool) else adds_bos,
        chat_template=template if isinstance(template, str) else None,
        unused=frozenset(i for i, kind in enumerate(types) if kind == _UNUSED),
    )


Fields = dict[str, Value]


def _byte_level(
    fields: Fields, tokens: list[str], types: list[int], path: Path
) -> tuple[dict[str, Any], bool]:
    name = fields.get("pre")
    pre = pre_tokenizer(name if isinstance(name, str) else None, str(path))
    merges = [merge.split(" ") for merge in _list(fields, "merges", str, path)]
    model = {
        "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": merges,
        "ignore_merges": pre.ignore_merges,
    }
    return _data(model, _added(tokens, types), pre_tokenizer=pre.to_data()), pre.adds_bos


def _sentencepiece(
    fields: Fields, tokens: list[str], types: list[int], path: Path
) -> tuple[dict[str, Any], bool]:
    # Gemma files write tokens of spaces alone as spaces, all other tokens with the mark.
    spelled = [SPACE * len(token) if not token.strip(" ") else token for token in tokens]
    vocab = {token: i for i, token in enumerate(spelled)}
    if len(vocab) != len(tokens):
        raise ModelError(f"{path} has several tokens of one spelling")
    if "merges" in fields:
        merges = [tuple(merge.split(" ")) for merge in _list(fields, "merges", str, path)]
    else:
        scores = (
            [-float(i) for i in range(len(tokens))]
            if fields["merges_by_id"]
            else _list(fields, "scores", float, path)
        )
        if len(scores) != len(tokens):
            raise ModelError(f"{path}: {len(tokens)} tokens but {len(scores)} scores")
        whole = (_UNKNOWN, _CONTROL, _UNUSED, _BYTE)
        parts = {t: i for t, i in vocab.items() if types[i] not in whole}
        merges = _merges_from_scores(parts, scores)
    unknown = _ids(fields, "unknown_token_id", tokens) or [i for i, t in enumerate(types) if t == 2]
    model = {
        "vocab": vocab,
        "merges": merges,
        "byte_fallback": True,
        "fuse_unk": True,
        "unk_token": tokens[unknown[0]] if unknown else None,
    }
    to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    return _data(model, _added(spelled, types), normalizer=to_mark), True


_READERS = {"gpt2": _byte_level, "llama": _sentencepiece}


def _merges_from_scores(vocab: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to make a token of two others, best token first.

    SentencePiece merges the adjacent pair whose result scores best; ranking the pairs so gives
    BPE the same choices (transformers' `generate_merges`, whose order of ties is kept).
    """
    merges: list[tuple[float, int, int, str, str]] = []
    for token, token_id in vocab.items():
        ways = [
            (token[:i], token[i:])
            for i in range(1, len(token))
            if token[:i] in vocab and token[i:] in vocab
        ]
        ways.sort(key=lambda way: (vocab[way[0]], vocab[way[1]]))
        merges += [(scores[token_id], len(a), len(b), a, b) for a, b in ways]
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [(a, b) for _, _, _, a, b in merges]


def _added(tokens: list[str], types: list[int]) -> list[dict[str, Any]]:
    """Control tokens, and user-defined ones: matched whole, but text."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": i, "content": token, **flags, "special": kind in (_UNKNOWN, _CONTROL)}
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        # A user-defined token with the mark is met in the marked text, by merges.
        if kind in (_UNKNOWN, _CONTROL) or (kind == _USER_DEFINED and SPACE not in token)
    ]


def _data(
    model: dict[str, Any],
    added: list[dict[str, Any]],
    *,
    normalizer: dict[str, Any] | None = None,
    pre_tokenizer: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": None,
        "model": {"type": "BPE", **model},
    }


def _list(fields: Fields, key: str, item_type: type, path: Path) -> list[Any]:
    value = fields.get(key)
    if not isinstance(value, list) or not all(isinstance(item, item_type) for item in value):
        what = f"a list of {item_type.__name__} as tokenizer.ggml.{key}"
        raise ModelError(f"{path} must have {what}")
    return value


def _ids(fields: Fields, key: str, tokens: list[str]) -> list[int]:
    """The id at `key` in a list, or nothing: files also write 0xFFFFFFFF for none."""
    value = fields.get(key)
    return [value] if isinstance(value, int) and 0 <= value < len(tokens) else []
