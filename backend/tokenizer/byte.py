"""A tokenizer with one token per byte, for tests and for tiny models."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

CONTROL = ("<|eos|>", "<|bos|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
FIRST_MERGE_ID = 256 + len(CONTROL)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_SAMPLE = """{"name": "Ada Lovelace", "age": 36, "tags": ["a", "b"], "paid": true, "total": 12.50}
The quick brown fox jumps over the lazy dog. Answer yes or no: is it there? "quoted", null, false.
Zürich, naïve café, 日本語のテキスト, привет мир, 🙂🙃 emoji; 2024-02-29T12:30:00Z https://example.com
    def main(model: str = "tiny") -> None:\n        return [x for x in range(10)]\n"""


class ByteTokenizer:
    """Ids 0..255 are the bytes, then come the control tokens, then merges.

    `num_merges` adds that many tokens of 2 to 8 bytes (not always whole characters), drawn from a
    sample text by `seed`: enough for healing, forced runs and tries to meet a real vocabulary's
    cases. Encoding takes the longest token at each place, left to right. `add_bos` sets `bos_id`.

    >>> ByteTokenizer().encode("hé")
    [104, 195, 169]
    >>> ByteTokenizer().decode([104, 105, 259])
    'hi<|im_end|>'
    """

    def __init__(self, num_merges: int = 0, *, seed: int = 0, add_bos: bool = False) -> None:
        self._control = {name: 256 + i for i, name in enumerate(CONTROL)}
        merges = _merges(num_merges, seed)
        self._bytes = [bytes((i,)) for i in range(256)] + [b""] * len(CONTROL) + merges
        self._ids = {data: i for i, data in enumerate(self._bytes) if data}
        self._longest = max(map(len, self._ids))
        self._bos_id = self._control["<|bos|>"] if add_bos else None
        self._names = {i: name.encode() for name, i in self._control.items()}
        self._pattern = re.compile("|".join(map(re.escape, CONTROL)))
        digest = hashlib.sha256(repr((self._bytes, CONTROL)).encode()).hexdigest()
        self._fingerprint = f"byte:{digest}"

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return (self._control["<|eos|>"], self._control["<|im_end|>"])

    @property
    def bos_id(self) -> int | None:
        return self._bos_id

    @property
    def control_ids(self) -> dict[str, int]:
        return dict(self._control)

    @property
    def chat_template(self) -> str | None:
        return CHAT_TEMPLATE

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    def encode(self, text: str, *, allow_control: bool = False) -> list[int]:
        if not allow_control:
            return self._encode_bytes(text.encode("utf-8"))
        ids: list[int] = []
        end = 0
        for match in self._pattern.finditer(text):
            ids += self._encode_bytes(text[end : match.start()].encode("utf-8"))
            ids.append(self._control[match.group()])
            end = match.end()
        return ids + self._encode_bytes(text[end:].encode("utf-8"))

    def decode(self, ids: Sequence[int]) -> str:
        pieces = (self._names.get(i) or self.token_bytes(i) for i in ids)
        return b"".join(pieces).decode("utf-8", errors="replace")

    def _encode_bytes(self, data: bytes) -> list[int]:
        if self._longest == 1:
            return list(data)
        ids: list[int] = []
        start = 0
        while start < len(data):
            for size in range(min(self._longest, len(data) - start), 0, -1):
                token_id = self._ids.get(data[start : start + size])
                if token_id is not None:
                    ids.append(token_id)
                    start += size
                    break
        return ids


def _merges(count: int, seed: int) -> list[bytes]:
    """`count` distinct pieces of the sample text, in a seeded order."""
    sample = _SAMPLE.encode()
    pieces = sorted({sample[i : i + n] for n in range(2, 9) for i in range(len(sample) - n + 1)})
    if not 0 <= count <= len(pieces):
        raise ValueError(f"num_merges must be in [0, {len(pieces)}], got {count}")
    return random.Random(seed).sample(pieces, count)
