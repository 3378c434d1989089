"""The tokenizer of a model: Hugging Face's `tokenizers` pipeline, exact to the byte."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tokenizers

from sestina.backend.tokenizer.special import end_ids
from sestina.backend.tokenizer.vocabulary import SPACE, exact, read_vocabulary
from sestina.lang.errors import ModelError


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """What a model's files say about its tokenizer, whatever their format.

    data: a tokenizer.json. special_tokens: names the files give to roles ("bos_token",
    "eos_token", ...), for the chat template. eos_ids: declared ends of text, most important first.
    adds_bos: a bare prompt starts with bos_token. unused: ids that stand for nothing.
    """

    data: dict[str, Any]
    special_tokens: Mapping[str, str]
    eos_ids: Sequence[int] = ()
    adds_bos: bool = False
    chat_template: str | None = None
    unused: Collection[int] = field(default_factory=frozenset)


class HFTokenizer:
    """A `Tokenizer` over byte-level BPE or a SentencePiece-style vocabulary.

    The bytes of the ids of a text are the text's bytes, for every text and at every place in a
    sequence; so no dummy space is put before a text (Llama 2's own tokenizer does at the start:
    write the space to get those ids) and no Unicode normalization is applied (Qwen's does NFC;
    text in NFC gets the same ids). ValueError for text that the vocabulary cannot write.

    Thread-safe; encoding costs about a microsecond a token.
    """

    def __init__(self, spec: TokenizerSpec) -> None:
        data = exact(spec.data, special=_control_names(spec))
        text = json.dumps(data, ensure_ascii=False)
        try:
            self._pipeline = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"cannot read the tokenizer: {error}") from error
        self._pipeline.encode_special_tokens = True  # spelled control tokens are ordinary text
        vocabulary = read_vocabulary(data, unused=spec.unused)
        self._tokens = vocabulary.tokens
        self._control = vocabulary.control
        self._control_set = frozenset(vocabulary.control.values())
        self._byte_ids = vocabulary.byte_ids
        self._control_pattern = _control_pattern(data["added_tokens"])
        self._hazard = _hazard(vocabulary.control, vocabulary.byte_level)
        self._writes_bytes = len(vocabulary.byte_ids) == 256
        # Bytes of tokens' own; SmolLM2 has none for 0x13, and the pipeline would drop it silently.
        self._writable = bytes(vocabulary.byte_ids) if vocabulary.byte_level else None
        self._names = {i: name.encode("utf-8") for name, i in self._control.items()}
        self._special_tokens = dict(spec.special_tokens)
        self._bos_id = self._control.get(spec.special_tokens.get("bos_token", ""))
        self._adds_bos = spec.adds_bos
        self._chat_template = spec.chat_template
        self._eos_ids = end_ids(self._known_ids(spec.eos_ids), self._control, spec.chat_template)
        digest = hashlib.sha256(text.encode("utf-8"))
        digest.update(repr(sorted(spec.unused)).encode())
        self._fingerprint = f"hf:{digest.hexdigest()}"

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return self._eos_ids

    @property
    def bos_id(self) -> int | None:
        return self._bos_id if self._adds_bos else None

    @property
    def control_ids(self) -> dict[str, int]:
        return dict(self._control)

    @property
    def chat_template(self) -> str | None:
        return self._chat_template

    @property
    def special_tokens(self) -> dict[str, str]:
        """Names by role ("bos_token", "eos_token", ...), the variables of a chat template."""
        return dict(self._special_tokens)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else b""

    def encode(self, text: str, *, allow_control: bool = False) -> list[int]:
        if not text.isascii():
            text.encode("utf-8")  # UnicodeEncodeError, a ValueError, for lone surrogates
        if not allow_control:
            return self._encode_text(text)
        ids: list[int] = []
        end = 0
        for match in self._control_pattern.finditer(text):
            ids += self._encode_text(text[end : match.start()])
            ids.append(self._control[match.group(match.lastgroup or 0)])
            end = match.end()
        return ids + self._encode_text(text[end:])

    def decode(self, ids: Sequence[int]) -> str:
        pieces = (self._names.get(i) or self.token_bytes(i) for i in ids)
        return b"".join(pieces).decode("utf-8", errors="replace")

    # ---- ordinary text -------------------------------------------------------------------------

    def _encode_text(self, text: str) -> list[int]:
        if not text:
            return []
        ids = self._pipeline.encode(text, add_special_tokens=False).ids
        if not self._control_set.isdisjoint(ids) or (
            self._may_misread(text) and not self._spells(ids, text)
        ):
            ids = self._encode_in_parts(text)
            if not (self._control_set.isdisjoint(ids) and self._spells(ids, text)):
                raise ValueError(f"the tokenizer has no tokens for {self._culprit(text)!r}")
        return ids

    def _may_misread(self, text: str) -> bool:
        """Whether the pipeline could lose or change a part of the text; fast, may say yes idly."""
        if self._writable is not None:
            return bool(text.encode("utf-8").translate(None, self._writable))
        return not self._writes_bytes or self._hazard.search(text) is not None

    def _culprit(self, text: str) -> str:
        """The first character that cannot be written on its own, or the start of the text."""
        alone = (char for char in dict.fromkeys(text) if not self._spells(self._plain(char), char))
        return next(alone, text[:80])

    def _spells(self, ids: Iterable[int], text: str) -> bool:
        return b"".join([self._tokens[i] for i in ids]) == text.encode("utf-8")

    def _encode_in_parts(self, text: str) -> list[int]:
        """For text the pipeline misreads: what it misreads is written a character at a time."""
        ids: list[int] = []
        end = 0
        for match in self._hazard.finditer(text):
            ids += self._plain(text[end : match.start()])
            for char in match.group():
                ids += self._byte_tokens(char) if char == SPACE else self._plain(char)
            end = match.end()
        return ids + self._plain(text[end:])

    def _plain(self, text: str) -> list[int]:
        return self._pipeline.encode(text, add_special_tokens=False).ids if text else []

    def _byte_tokens(self, char: str) -> list[int]:
        found = [self._byte_ids.get(byte) for byte in char.encode("utf-8")]
        return [i for i in found if i is not None]

    def _known_ids(self, ids: Iterable[int]) -> list[int]:
        """The declared end ids; files of larger siblings may list ids this vocabulary lacks."""
        return [i for i in ids if 0 <= i < len(self._tokens) and not self._tokens[i]]


def _control_names(spec: TokenizerSpec) -> set[str]:
    """Tokens that must be control tokens even if the vocabulary does not mark them."""
    names = {token["id"]: token["content"] for token in spec.data.get("added_tokens") or []}
    vocab = (spec.data.get("model") or {}).get("vocab") or {}
    if isinstance(vocab, dict):
        wanted = set(spec.eos_ids)
        names.update({i: name for name, i in vocab.items() if i in wanted})
    else:
        names.update({i: vocab[i][0] for i in spec.eos_ids if 0 <= i < len(vocab)})
    roles = {spec.special_tokens.get(role, "") for role in ("bos_token", "eos_token")} - {""}
    return roles | {names[i] for i in spec.eos_ids if i in names}


def _control_pattern(added: Iterable[Mapping[str, Any]]) -> re.Pattern[str]:
    """Matches a control token's name (group 1) with the white space it swallows.

    Longest name first, as `tokenizers` prefers the longest match.
    """
    special = sorted(
        (token for token in added if token["special"]), key=lambda token: -len(token["content"])
    )
    groups: dict[tuple[bool, bool], list[str]] = {}
    for token in special:
        sides = bool(token.get("lstrip")), bool(token.get("rstrip"))
        groups.setdefault(sides, []).append(re.escape(token["content"]))
    parts = [
        (r"\s*" if left else "") + f"(?P<n{i}>{'|'.join(names)})" + (r"\s*" if right else "")
        for i, ((left, right), names) in enumerate(groups.items())
    ]
    return re.compile("|".join(parts) if parts else r"(?!)")


def _hazard(control: Iterable[str], byte_level: bool) -> re.Pattern[str]:
    """Text that a pipeline may take for something else: names, and SentencePiece's own marks."""
    parts = [re.escape(name) for name in sorted(control, key=len, reverse=True)]
    if not byte_level:
        parts += [SPACE, "<0x[0-9A-F]{2}>"]
    return re.compile("|".join(parts) if parts else r"(?!)")
