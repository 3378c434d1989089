"""A tokenizer.json as data: made exact to the byte, and the bytes of its tokens.

Hugging Face's format describes a pipeline: added tokens, normalizer, pre-tokenizer, model. The
engine needs the tokens of a text to spell exactly that text, wherever in a sequence it stands, so
`exact` takes out what only decorates (an NFC normalizer, a dummy space in front) and refuses
pipelines that lose text (lower-casing, dropped white space). What is left is one of two kinds:
byte-level BPE (GPT-2) or SentencePiece style ("▁" for a space, "<0xE2>" for other bytes).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sestina.lang.errors import ModelError

SPACE = "\u2581"  # SentencePiece's visible space

_LOSSLESS_PRE_TOKENIZERS = frozenset(
    ("ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "UnicodeScripts", "FixedLength")
)

Data = dict[str, Any]


class Vocabulary(NamedTuple):
    """The tokens of an exact pipeline.

    tokens: bytes by id, b"" for control tokens and unused ids. control: id by name.
    byte_ids: the id of each single byte that has one (byte fallback, or the byte alphabet).
    """

    tokens: list[bytes]
    control: dict[str, int]
    byte_ids: dict[int, int]
    byte_level: bool


def byte_alphabet() -> dict[str, int]:
    """GPT-2's one printable character per byte (Radford et al. 2019, `bytes_to_unicode`).

    >>> byte_alphabet()["Ġ"]
    32
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in plain}
    others = (byte for byte in range(256) if byte not in set(plain))
    alphabet.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return alphabet


def exact(data: Data, *, special: Collection[str] = ()) -> Data:
    """A copy of a tokenizer.json that keeps every byte; names in `special` become control tokens.

    ModelError for a pipeline that cannot: it would not spell the text it was given.
    """
    model = data.get("model") or {}
    _check_model(model)
    normalizer = _exact_normalizer(data.get("normalizer"))
    pre_tokenizer = _exact_pre_tokenizer(data.get("pre_tokenizer"))
    added = [_exact_added(token, special) for token in data.get("added_tokens") or []]
    missing = set(special) - {token["content"] for token in added}
    ids = _model_ids(model)
    added += [_added_token(ids[name], name) for name in sorted(missing) if name in ids]
    changed: Data = {
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "added_tokens": sorted(added, key=lambda token: int(token["id"])),
    }
    result = {**data, **changed}
    if not is_byte_level(result) and SPACE not in repr((normalizer, pre_tokenizer)):
        raise ModelError(
            "unsupported tokenizer: neither byte-level BPE nor SentencePiece style"
            f" (normalizer {_type(normalizer)}, pre-tokenizer {_type(pre_tokenizer)})"
        )
    return result


def is_byte_level(data: Data) -> bool:
    """Whether the pipeline maps text to the byte alphabet."""
    parts = [*_flat(data.get("normalizer")), *_flat(data.get("pre_tokenizer"))]
    return any(part["type"] == "ByteLevel" for part in parts)


def read_vocabulary(data: Data, *, unused: Collection[int] = ()) -> Vocabulary:
    """The tokens of a pipeline from `exact`. Ids in `unused` get no bytes."""
    byte_level = is_byte_level(data)
    model = data["model"]
    ids = _model_ids(model)
    added = data["added_tokens"]
    size = 1 + max([*ids.values(), *(token["id"] for token in added)], default=-1)
    tokens = [b""] * size
    byte_ids: dict[int, int] = {}
    fallback = _byte_fallback(ids) if model.get("byte_fallback") else {}
    if byte_level:
        alphabet = byte_alphabet()
        to_latin = {ord(char): byte for char, byte in alphabet.items()}
        for token, token_id in ids.items():
            tokens[token_id] = _from_alphabet(token, alphabet, to_latin)
        byte_ids = {byte: ids[char] for char, byte in alphabet.items() if char in ids}
    else:
        for token, token_id in ids.items():
            tokens[token_id] = token.replace(SPACE, " ").encode("utf-8")
        for byte, token_id in fallback.items():
            tokens[token_id] = bytes((byte,))
        byte_ids = fallback
    control = {}
    for token in added:
        content: str = token["content"]
        text = content if byte_level else content.replace(SPACE, " ")
        tokens[token["id"]] = b"" if token["special"] else text.encode("utf-8")
        if token["special"]:
            control[content] = token["id"]
    for token_id in unused:
        tokens[token_id] = b""
    return Vocabulary(tokens, control, byte_ids, byte_level)


# ---- parts of the pipeline ---------------------------------------------------------------------


def _check_model(model: Data) -> None:
    kind = model.get("type")
    if kind not in ("BPE", "Unigram"):
        raise ModelError(f"unsupported tokenizer model {kind!r}: it must be BPE or Unigram")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise ModelError(f"unsupported tokenizer: its BPE sets {option}={model[option]!r}")


def _exact_normalizer(part: Data | None) -> Data | None:
    kept: list[Data] = []
    for item in _flat(part):
        kind = item["type"]
        if kind in ("NFC", "Prepend"):
            continue
        to_space = kind == "Replace" and item["pattern"] == {"String": " "}
        if not (kind == "ByteLevel" or (to_space and item["content"] == SPACE)):
            raise ModelError(f"unsupported tokenizer: its normalizer {kind} changes the text")
        kept.append(item)
    return {"type": "Sequence", "normalizers": kept} if kept else None


def _exact_pre_tokenizer(part: Data | None) -> Data | None:
    kept: list[Data] = []
    for item in _flat(part):
        kind = item["type"]
        if kind not in _LOSSLESS_PRE_TOKENIZERS or item.get("behavior") == "Removed":
            raise ModelError(f"unsupported tokenizer: its pre-tokenizer {kind} drops text")
        changed = dict(item)
        if kind == "ByteLevel":
            changed["add_prefix_space"] = False
        elif kind == "Metaspace":
            changed.pop("add_prefix_space", None)
            changed["prepend_scheme"] = "never"
        kept.append(changed)
    return {"type": "Sequence", "pretokenizers": kept} if kept else None


def _exact_added(token: Data, special: Collection[str]) -> Data:
    if token["special"] or token["content"] in special:
        return {**token, "special": True}
    # Stripping the white space around ordinary text would lose it.
    return {**token, "lstrip": False, "rstrip": False}


def _added_token(token_id: int, content: str) -> Data:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **flags, "special": True}


def _flat(part: Data | None) -> list[Data]:
    """The steps of a normalizer or pre-tokenizer, sequences unpacked."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    inner = part.get("normalizers") or part.get("pretokenizers") or []
    return [step for item in inner for step in _flat(item)]


def _type(part: Data | None) -> str:
    return ", ".join(item["type"] for item in _flat(part)) or "none"


def _model_ids(model: Data) -> dict[str, int]:
    vocab = model.get("vocab") or {}
    if isinstance(vocab, dict):
        return vocab
    return {entry[0]: i for i, entry in enumerate(vocab)}  # Unigram: [[token, score], ...]


def _byte_fallback(ids: dict[str, int]) -> dict[int, int]:
    names = ((byte, f"<0x{byte:02X}>") for byte in range(256))
    return {byte: ids[name] for byte, name in names if name in ids}


def _from_alphabet(token: str, alphabet: dict[str, int], to_latin: dict[int, int]) -> bytes:
    if all(char in alphabet for char in token):
        return token.translate(to_latin).encode("latin-1")
    return token.encode("utf-8")  # as Hugging Face's ByteLevel decoder reads it
