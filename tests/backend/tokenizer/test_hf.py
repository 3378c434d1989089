"""Exactness of the two kinds of vocabulary, on small ones made here."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from sestina.backend.tokenizer import load_tokenizer
from sestina.backend.tokenizer.hf import HFTokenizer, TokenizerSpec
from sestina.lang.errors import ModelError

CORPUS = [
    "the cat sat on the mat, the dog; naïve café 日本語 日本",
    "  def f(x):\n    return x  ",
] * 3
CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
SPELLINGS = [
    "<|im_end|>",
    "<|im_start|>",
    "<think>",
    " <think> ",
    "▁",
    " ▁▁",
    "<0xE2>",
    "</s>",
    "<s>",
]

texts = st.lists(
    st.text(max_size=12) | st.sampled_from(SPELLINGS) | st.text("the cat  日本é\n", max_size=12),
    max_size=6,
).map("".join)


def byte_level_data(**changes):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(CONTROL)
    tokenizer.add_tokens([AddedToken("<think>", lstrip=True, rstrip=True, special=False)])
    return {**json.loads(tokenizer.to_str()), "normalizer": {"type": "NFC"}, **changes}


def sentencepiece_data(kind="BPE"):
    """Llama 2's layout: dummy space in front, byte fallback; and pieces that invite mistakes."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    pieces += [*"▁thecasomdg<>/sx0E2", "th", "the", "▁the", "▁▁", "日", "日本", "</", "s>", "0x"]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    pairs = ["t h", "th e", "▁ the", "▁ ▁", "s >", "< /", "</ s>", "0 x"]
    model = {"type": "BPE", "vocab": vocab, "merges": pairs, "byte_fallback": True}
    model |= {"fuse_unk": True, "unk_token": "<unk>"}
    if kind == "Unigram":
        scored = [[piece, -float(i)] for piece, i in vocab.items()]
        model = {"type": "Unigram", "vocab": scored, "unk_id": 0, "byte_fallback": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    mark = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": pieces[i], **flags, "special": True} for i in range(3)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, mark],
        },
        "pre_tokenizer": None,
        "decoder": None,
        "model": model,
    }


def tokenizer_of(data, **fields):
    return HFTokenizer(TokenizerSpec(data=data, special_tokens={}, **fields))


BYTE_LEVEL = tokenizer_of(byte_level_data())
SENTENCEPIECE = tokenizer_of(sentencepiece_data())
UNIGRAM = tokenizer_of(sentencepiece_data("Unigram"))
METASPACE = tokenizer_of(
    {
        **sentencepiece_data(),
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True},
    }
)
ALL = pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, SENTENCEPIECE, UNIGRAM, METASPACE])


@ALL
@given(texts)
@settings(deadline=None, max_examples=150)
def test_ids_spell_the_text_and_hold_no_control_token(tokenizer, text):
    ids = tokenizer.encode(text)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.control_ids.values())


@ALL
@given(st.lists(st.text("abc 日▁\n", max_size=8), min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=60)
def test_control_tokens_on_request(tokenizer, pieces, data):
    names = [data.draw(st.sampled_from(sorted(tokenizer.control_ids))) for _ in pieces]
    expected = []
    for piece, name in zip(pieces, names, strict=True):
        expected += [*tokenizer.encode(piece), tokenizer.control_ids[name]]
    text = "".join(p + n for p, n in zip(pieces, names, strict=True))
    assert tokenizer.encode(text, allow_control=True) == expected
    assert tokenizer.decode(expected) == text


@ALL
def test_tokens_with_bytes_are_exactly_the_ordinary_ones(tokenizer):
    control = set(tokenizer.control_ids.values())
    for token_id in range(tokenizer.vocab_size):
        assert bool(tokenizer.token_bytes(token_id)) == (token_id not in control)
    assert tokenizer.token_bytes(tokenizer.vocab_size) == b""
    with pytest.raises(ValueError, match="surrogates"):
        tokenizer.encode("a\udfff")


def test_composed_text_gets_the_models_own_ids():
    """Without the dummy space and with NFC having nothing to do, the pipeline is the file's."""
    split = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    data = byte_level_data(pre_tokenizer=split)
    own = Tokenizer.from_str(json.dumps(data))
    text = "the cat, naïve 日本語<think>x"
    assert tokenizer_of(data).encode(text) == own.encode(text, add_special_tokens=False).ids


def test_sentencepiece_spellings():
    ids = SENTENCEPIECE.encode("the the▁</s>")
    spelled = [SENTENCEPIECE.token_bytes(i) for i in ids]
    assert spelled[:2] == [b"the", b" the"]  # no dummy space
    assert spelled[2:5] == [b"\xe2", b"\x96", b"\x81"]  # a real mark is no space
    assert b"</s>" not in spelled[5:]
    assert b"".join(spelled[5:]) == b"</s>"


def test_a_token_that_swallows_space_does_so_only_as_control():
    data = byte_level_data()
    end = next(t for t in data["added_tokens"] if t["content"] == "<|im_end|>")
    end["rstrip"] = True
    tokenizer = tokenizer_of(data)
    assert tokenizer.encode("<|im_end|> \nx", allow_control=True) == [
        tokenizer.control_ids["<|im_end|>"],
        *tokenizer.encode("x"),
    ]
    assert tokenizer.decode(tokenizer.encode("<|im_end|> \nx")) == "<|im_end|> \nx"


def test_text_without_tokens_is_refused_by_character():
    data = byte_level_data()
    del data["model"]["vocab"][chr(256 + 0x13)]
    tokenizer = tokenizer_of(data)
    assert tokenizer.decode(tokenizer.encode("a\x12b")) == "a\x12b"
    with pytest.raises(ValueError, match=r"'\\x13'"):
        tokenizer.encode("a\x13b")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}}, "NFKC"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "drops text"),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "neither"),
        ({"model": {"type": "WordPiece"}}, "WordPiece"),
        ({"model": {"type": "BPE", "end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
    ],
)
def test_pipelines_that_lose_text_are_refused(changes, reason):
    with pytest.raises(ModelError, match=reason):
        tokenizer_of(byte_level_data(**changes))


def test_ends_of_text_are_control_tokens_even_if_unmarked():
    data = byte_level_data()
    the = data["model"]["vocab"]["the"]
    tokenizer = tokenizer_of(data, eos_ids=(the, 10**6), chat_template="{{ '<|im_end|>' }}")
    assert tokenizer.eos_ids[0] == the
    assert tokenizer.token_bytes(the) == b""
    names = [tokenizer.decode([i]) for i in tokenizer.eos_ids]
    assert names == ["the", "<|endoftext|>", "<|im_end|>"]
    assert tokenizer.decode(tokenizer.encode("x the cat")) == "x the cat"
    assert the not in tokenizer.encode("x the cat")


def test_fingerprints_tell_vocabularies_apart():
    assert tokenizer_of(byte_level_data()).fingerprint == BYTE_LEVEL.fingerprint
    marked = tokenizer_of(byte_level_data(), unused=[300])
    assert len({t.fingerprint for t in (marked, BYTE_LEVEL, SENTENCEPIECE, UNIGRAM)}) == 4


def test_encoding_both_ways_from_many_threads():
    text = "the cat<|im_end|>the mat"
    expected = {flag: BYTE_LEVEL.encode(text, allow_control=flag) for flag in (False, True)}
    wrong = []

    def work(flag):
        wrong.extend(
            flag
            for _ in range(200)
            if BYTE_LEVEL.encode(text, allow_control=flag) != expected[flag]
        )

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- files -------------------------------------------------------------------------------------


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(byte_level_data()))
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def test_a_directory_with_everything(tmp_path):
    folder = write(
        tmp_path,
        tokenizer_config={
            "eos_token": {"content": "<|im_end|>"},
            "bos_token": "<|im_start|>",
            "add_bos_token": True,
            "chat_template": [
                {"name": "tool_use", "template": "tools"},
                {"name": "default", "template": "from the config"},
            ],
        },
        generation_config={"eos_token_id": [5, 7]},
    )
    for source in (folder, str(folder), folder / "tokenizer.json"):
        tokenizer = load_tokenizer(source)
        assert tokenizer.bos_id == tokenizer.control_ids["<|im_start|>"]
        assert tokenizer.eos_ids[:3] == (tokenizer.control_ids["<|im_end|>"], 5, 7)
        assert tokenizer.chat_template == "from the config"
    (folder / "chat_template.jinja").write_text("from its own file")
    assert load_tokenizer(folder).chat_template == "from its own file"


def test_a_bare_tokenizer_file_and_its_post_processor(tmp_path):
    folder = write(tmp_path)
    bare = load_tokenizer(folder)
    assert (bare.bos_id, bare.chat_template) == (None, None)
    assert bare.eos_ids == (bare.control_ids["<|endoftext|>"],)
    start = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    inner = {"type": "TemplateProcessing", "single": [start, {"Sequence": {"id": "A"}}]}
    processor = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, inner]}
    data = byte_level_data(post_processor=processor)
    (folder / "tokenizer.json").write_text(json.dumps(data))
    write_config = folder / "special_tokens_map.json"
    write_config.write_text(json.dumps({"bos_token": "<|im_start|>"}))
    assert load_tokenizer(folder).bos_id == bare.control_ids["<|im_start|>"]


def test_what_is_not_there_or_not_right_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordLevel"}}')
    with pytest.raises(ModelError, match=r"tokenizer\.json: unsupported tokenizer model"):
        load_tokenizer(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        load_tokenizer("nonexistent.gguf")


QWEN3 = Path(__file__).parents[4] / "shared/data/tokenizers/qwen3"


@pytest.mark.slow
@pytest.mark.skipif(not QWEN3.is_dir(), reason="needs Qwen3's tokenizer beside the repository")
def test_qwen3():
    tokenizer = load_tokenizer(QWEN3)
    own = Tokenizer.from_file(str(QWEN3 / "tokenizer.json"))
    assert tokenizer.vocab_size == own.get_vocab_size()
    assert [tokenizer.decode([i]) for i in tokenizer.eos_ids] == ["<|im_end|>", "<|endoftext|>"]
    turn = "<|im_start|>user\nnaïve 日本語 <think>12,345</think>\n\n it's<|im_end|>\n"
    assert tokenizer.encode(turn, allow_control=True) == own.encode(turn).ids
    for text in ("e\u0301 decomposed", turn, "\x00\x13\U000e0001"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_byte_tokenizer_by_name():
    assert load_tokenizer("byte").encode("a") == [97]
