"""How a GGUF file's `tokenizer.ggml.pre` splits text before byte-level BPE.

The names are llama.cpp's (src/llama-vocab.cpp), which a converter writes for the vocabulary it
recognised. Each stands for the splitting of that model's own tokenizer.json. A name that is not
here is refused: the wrong splitting gives ids that the model was never trained on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sestina.lang.errors import ModelError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
_LOWER_WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER_WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
_MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = _LOWER_WORD + "|" + _UPPER_WORD + r"|\p{N}" + _MARKS + _TAIL
_GPT4O = (
    f"{_LOWER_WORD}{_CONTRACTIONS}?|{_UPPER_WORD}{_CONTRACTIONS}?" + r"|\p{N}{1,3}" + _MARKS + _TAIL
)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*""" + _TAIL,
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")


class PreTokenizer(NamedTuple):
    """Patterns, each splitting the pieces of the one before; matches and gaps are both pieces.

    ignore_merges: a piece that is a token as a whole is that token, whatever its merges.
    adds_bos: what holds when the file does not say.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    adds_bos: bool = False

    def to_data(self) -> dict[str, Any]:
        """As the pre_tokenizer of a tokenizer.json."""
        steps: list[dict[str, Any]] = [
            {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            }
            for pattern in self.patterns
        ]
        to_bytes = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        steps.append({"type": "ByteLevel", **to_bytes})
        return {"type": "Sequence", "pretokenizers": steps}


def pre_tokenizer(name: str | None, where: str) -> PreTokenizer:
    """The splitting called `name`; ModelError, naming the file `where`, if it is not known."""
    for names, found in _TABLE:
        if name in names:
            return found
    if name is None:
        raise ModelError(f"{where} does not name its pre-tokenizer (tokenizer.ggml.pre)")
    known = ", ".join(sorted(name for names, _ in _TABLE for name in names))
    raise ModelError(f"{where} has an unknown pre-tokenizer {name!r}; known: {known}")


_TABLE: tuple[tuple[tuple[str, ...], PreTokenizer], ...] = (
    (("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "mellum"), PreTokenizer((_GPT2,))),
    (
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        PreTokenizer((r"\p{N}", _GPT2)),
    ),
    (
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral", "lfm2", "midm-2.0"),
        PreTokenizer((_LLAMA3,), ignore_merges=True, adds_bos=True),
    ),
    (("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), PreTokenizer((_LLAMA3,))),
    (("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"), PreTokenizer((_QWEN2,))),
    (("tekken",), PreTokenizer((_TEKKEN,), ignore_merges=True, adds_bos=True)),
    (("gpt-4o", "llama4"), PreTokenizer((_GPT4O,))),
    (("deepseek-v3",), PreTokenizer(_DEEPSEEK3)),
    (("default",), PreTokenizer(_DEFAULT)),
)
