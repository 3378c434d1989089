"""Reading a tokenizer from Hugging Face's files: tokenizer.json and what lies beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sestina.backend.tokenizer.hf import TokenizerSpec
from sestina.lang.errors import ModelError

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def read_tokenizer_file(path: Path) -> TokenizerSpec:
    """The tokenizer of a tokenizer.json and, where they are there, the files beside it:
    tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json,
    chat_template.jinja and chat_template.json.
    """
    data = _read_json(path)
    if not isinstance(data.get("model"), dict):
        raise ModelError(f"{path} is not a tokenizer.json: it has no model")
    folder = path.parent
    config = _read_json_if_there(folder / "tokenizer_config.json")
    names = _special_tokens(config, _read_json_if_there(folder / "special_tokens_map.json"))
    ids = _ids_by_name(data)
    eos_ids = list(_eos_ids(folder))
    if names.get("eos_token") in ids:
        eos_ids.insert(0, ids[names["eos_token"]])
    return TokenizerSpec(
        data=data,
        special_tokens=names,
        eos_ids=tuple(dict.fromkeys(eos_ids)),
        adds_bos=_adds_bos(data, config, names.get("bos_token")),
        chat_template=_chat_template(folder, config),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return data


def _read_json_if_there(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.is_file() else {}


def _special_tokens(*files: Mapping[str, Any]) -> dict[str, str]:
    names: dict[str, str] = {}
    for role in _ROLES:
        for file in files:
            value = file.get(role)
            name = value.get("content") if isinstance(value, dict) else value
            if isinstance(name, str) and name:
                names.setdefault(role, name)
    return names


def _ids_by_name(data: Mapping[str, Any]) -> dict[str, int]:
    vocab = data["model"].get("vocab") or {}
    ids = dict(vocab) if isinstance(vocab, dict) else {t[0]: i for i, t in enumerate(vocab)}
    ids.update({token["content"]: token["id"] for token in data.get("added_tokens") or []})
    return ids


def _eos_ids(folder: Path) -> Iterator[int]:
    for name in ("generation_config.json", "config.json"):
        config = _read_json_if_there(folder / name)
        for part in (config, config.get("text_config")):
            value = part.get("eos_token_id") if isinstance(part, dict) else None
            for token_id in value if isinstance(value, list) else [value]:
                if isinstance(token_id, int):
                    yield token_id


def _adds_bos(data: Mapping[str, Any], config: Mapping[str, Any], bos: str | None) -> bool:
    """Whether a bare prompt starts with BOS: the config says so, or else the post-processor."""
    said = config.get("add_bos_token")
    if isinstance(said, bool):
        return said and bos is not None
    return any(
        "SpecialToken" in piece and piece["SpecialToken"]["id"] == bos
        for processor in _processors(data.get("post_processor"))
        for piece in (processor.get("single") or [])[:1]
    )


def _processors(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if part is not None and part["type"] == "Sequence":
        for inner in part["processors"]:
            yield from _processors(inner)
    elif part is not None and part["type"] == "TemplateProcessing":
        yield part


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    own_file = folder / "chat_template.jinja"
    if own_file.is_file():
        return own_file.read_text(encoding="utf-8")
    value = _read_json_if_there(folder / "chat_template.json").get("chat_template")
    value = value or config.get("chat_template")
    if isinstance(value, list):  # several, by name
        by_name = {entry["name"]: entry["template"] for entry in value}
        value = by_name.get("default")
    return value if isinstance(value, str) else None
