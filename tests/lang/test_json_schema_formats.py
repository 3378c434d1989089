"""Formats: the languages of their RFCs, in both directions."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import random
import re
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ecma_regex import is_ecma_regex
from support.ir_matcher import accepts

from sestina.backend.grammar import Automaton, compile_automaton
from sestina.lang import typed
from sestina.lang.constraint import json_schema
from sestina.lang.json_schema.formats import FORMATS, WIDEST_FORMATS, is_of
from sestina.lang.json_schema.key_classes import is_match

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TABLE = tomllib.loads((ROOT / "tests/data/json_formats.toml").read_text())["format"]
SUITE = ROOT.parent / "shared/data/json-schema-test-suite/draft2020-12/optional/format"


def is_accepted(format_name: str, text: str) -> bool:
    schema = {"type": "string", "format": format_name}
    return accepts(json_schema(schema).to_grammar(), json.dumps(text, ensure_ascii=False))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_table(row: dict[str, Any]) -> None:
    texts = row["accepts"] + row["rejects"]
    assert [t for t in texts if is_accepted(row["name"], t)] == row["accepts"]
    assert [t for t in texts if is_of(row["name"], t)] == row["accepts"]


def test_every_format_is_in_the_table() -> None:
    assert {row["name"] for row in TABLE} == set(FORMATS) == set(WIDEST_FORMATS)


@pytest.mark.skipif(not SUITE.is_dir(), reason="the JSON-Schema-Test-Suite is not next to the repo")
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_official_suite(name: str) -> None:
    """Right in both directions, but for A-labels, which no host name here has, and labels beyond
    ASCII, of which there are but some."""
    for case in json.loads((SUITE / f"{name}.json").read_text()):
        grammar = json_schema(case["schema"]).to_grammar()
        for test in case["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            is_a_label = "hostname" in name and "xn--" in text.lower()
            expected = test["valid"] and not is_a_label
            is_taken = accepts(grammar, text)
            is_left_out = name.startswith("idn-") and not text.isascii() and not is_taken
            assert is_taken == expected or is_left_out, test["description"]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 23 * 60 + 59), st.integers(0, 23 * 60 + 59), st.sampled_from("+-"))
def test_leap_seconds_are_at_the_end_of_a_day_in_utc(local: int, offset: int, sign: str) -> None:
    utc = (local - offset if sign == "+" else local + offset) % (24 * 60)
    for minute in (local, (local - utc - 1) % (24 * 60)):  # the second one is 23:59 in UTC
        text = f"{minute // 60:02}:{minute % 60:02}:60{sign}{offset // 60:02}:{offset % 60:02}"
        assert is_of("time", text) == ((minute - local + utc) % (24 * 60) == 24 * 60 - 1)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([(1972, 6, 30), (2016, 12, 31), (2015, 6, 29), (2016, 12, 1), (2014, 3, 31)]),
    st.integers(1 - 24 * 60, 24 * 60 - 1),
)
def test_leap_seconds_end_a_june_or_december(day: tuple[int, int, int], offset: int) -> None:
    last = datetime.datetime(*day, 23, 59, tzinfo=datetime.timezone.utc)
    local = last.astimezone(datetime.timezone(datetime.timedelta(minutes=offset)))
    text = local.isoformat().replace(":00", ":60", 1) if local.minute else None
    if text is None:
        text = local.strftime("%Y-%m-%dT%H:00:60") + local.isoformat()[19:]
    assert is_of("date-time", text) == (day[1:] in ((6, 30), (12, 31))), text


ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.text("0123456789.", min_size=1, max_size=15),
    st.text("0159af:.", min_size=1, max_size=20),
    st.lists(st.sampled_from(["", "0", "1f", "12", "::", "1.2.3.4"]), max_size=10).map(":".join),
)


@settings(deadline=None, max_examples=250)
@given(ADDRESSES)
def test_addresses_are_those_of_python(text: str) -> None:
    for name, kind in (("ipv4", ipaddress.IPv4Address), ("ipv6", ipaddress.IPv6Address)):
        try:
            kind(text)
            exists = True
        except ValueError:
            exists = False
        assert is_of(name, text) == exists, text


URI_PARTS = st.sampled_from(
    [
        *"a1:/?#@%é \\",
        "//",
        "[::1]",
        "[v1.a]",
        "%2F",
        "..",
        "http:",
        ":80",
        "b c",
        "\u202e",
        "\ue000",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(URI_PARTS, max_size=8).map("".join))
def test_uris_are_those_of_the_abnf(text: str) -> None:
    rfc3987 = pytest.importorskip("rfc3987")
    for name in ("URI", "URI_reference", "IRI", "IRI_reference"):
        expected = bool(rfc3987.match(text, rule=name)) and "\u202e" not in text
        assert is_of(name.lower().replace("_", "-"), text) == expected, text


IDN_LETTERS = st.sampled_from("az09-.ßàÿéαςωаяёんぁァヴ一龥가힣字·ー")


@settings(deadline=None, max_examples=300)
@given(st.text(IDN_LETTERS, max_size=30))
def test_host_names_beyond_ascii_are_those_of_idna_2008(text: str) -> None:
    idna = pytest.importorskip("idna")
    if is_of("idn-hostname", text):
        assert len(idna.encode(text)) <= 253
        assert is_of("idn-email", f"é@{text}") or len(text) > 100 or text.count(".") > 3


def test_the_longest_labels_beyond_ascii_fit() -> None:
    idna = pytest.importorskip("idna")
    for few in ("à가", "ÿ힣aω", "一龥가힣àÿ", "힣", "à힣" * 3):
        text = (few * 12)[:12]
        assert is_of("idn-hostname", text)
        assert len(idna.encode(text)) <= 63


# ---- regular expressions ----------------------------------------------------------------------

REGEX_PIECES = st.sampled_from(
    [
        *'ab019-^$.*+?()[]{}|/,\\"',
        *("\\d", "\\b", "\\0", "\\x41", "\\u{1F600}", "\\u0100", "-\\u0200", "\\ud83d", "\\ude00"),
        *(
            "{2,3}",
            "{10,2}",
            "(?:",
            "(?=",
            "(?<!",
            "(?<n>",
            "[a-z]",
            "[^",
            "z-",
            "-a",
            "\\-",
            "\\_",
        ),
        *("é", "-я", "я-", "-漢", "一-", "😀-", "-🙏", "\\cA", "\\p{Lu}"),
    ]
)
AS_REGEX = {"type": "string", "format": "regex"}
LEFT_OUT = re.compile(r"\\[1-9k]|\(\?<n|\\u[dD][89a-fA-F]")


@functools.lru_cache
def regex_automaton(*, is_alone: bool) -> Automaton:
    schema = AS_REGEX if is_alone else {**AS_REGEX, "minLength": 1}
    return compile_automaton(json_schema(schema).to_grammar())


def takes(automaton: Automaton, text: str) -> bool:
    state = automaton.advance(automaton.start, json.dumps(text, ensure_ascii=False).encode())
    return bool(state) and automaton.is_accepting(state)


@settings(deadline=None, max_examples=500)
@given(st.lists(REGEX_PIECES, max_size=8).map("".join), st.booleans())
def test_regular_expressions_are_those_of_ecma_262(text: str, in_set: bool) -> None:
    text = f"[{text}]" if in_set else text
    is_valid = is_ecma_regex(text)
    is_taken = takes(regex_automaton(is_alone=True), text)
    assert is_taken <= is_valid
    assert takes(regex_automaton(is_alone=False), text) <= is_taken
    if not in_set and "[" not in text and not LEFT_OUT.search(text):
        assert is_taken == is_valid, text


@pytest.mark.parametrize("is_alone", [True, False])
def test_what_is_generated_is_a_regular_expression(is_alone: bool) -> None:
    rng = random.Random(0)
    for _ in range(200):
        text = json.loads(random_text(regex_automaton(is_alone=is_alone), rng))
        assert is_ecma_regex(text), text


@pytest.mark.parametrize(
    ("more", "accepted", "rejected"),
    [
        ({"minLength": 1}, ["a", "(a(b(c)))"], ["", "(", "(((((a)))))"]),
        ({"maxLength": 3}, ["(a)", ""], ["(ab)", "(a"]),
        ({"pattern": "^.a"}, ["(a)", "[a-z]"], ["(a", "a", "[a-Z]"]),
        ({"not": {"pattern": "[a-z]"}}, ["(A)"], ["(a)"]),
        ({"enum": ["(a)", "(", "(" * 70 + ")" * 70]}, ["(a)"], ["(", "(" * 70 + ")" * 70]),
    ],
    ids=str,
)
def test_regular_expressions_of_which_more_is_asked(
    more: dict[str, Any], accepted: list[str], rejected: list[str]
) -> None:
    automaton = compile_automaton(json_schema({**AS_REGEX, **more}).to_grammar())
    texts = accepted + rejected
    assert [t for t in texts if takes(automaton, t)] == accepted


def test_regular_expressions_as_names() -> None:
    schema = {"type": "object", "propertyNames": {"format": "regex"}, "properties": {"(": True}}
    grammar = json_schema(schema).to_grammar()
    assert accepts(grammar, '{"(a)":1}')
    assert not accepts(grammar, '{"(a":1}')
    assert not accepts(grammar, '{"(":1}')


@pytest.mark.skipif(not SUITE.is_dir(), reason="the JSON-Schema-Test-Suite is not next to the repo")
def test_official_suite_of_regular_expressions() -> None:
    """Right in both directions, but for names of groups."""
    grammar = json_schema(AS_REGEX).to_grammar()
    for case in json.loads((SUITE / "ecmascript-regex.json").read_text()):
        for test in case["tests"]:
            expected = test["valid"] and not LEFT_OUT.search(test["data"])
            assert accepts(grammar, json.dumps(test["data"])) == expected, test["description"]


# ---- negation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_the_negation_leaves_out_all_of_a_format(row: dict[str, Any]) -> None:
    grammar = json_schema({"type": ["string", "null"], "not": {"format": row["name"]}}).to_grammar()
    for text in row["accepts"]:
        assert is_match(WIDEST_FORMATS[row["name"]], text, widest=True)
        assert not accepts(grammar, json.dumps(text, ensure_ascii=False))


@pytest.mark.parametrize(
    "names",
    [("date", "time", "date-time"), ("ipv4", "ipv6"), ("ipv6", "hostname"), ("uuid", "date-time")],
    ids=" ".join,
)
def test_formats_that_exclude_each_other_stay_whole(names: tuple[str, ...]) -> None:
    one_of = [{"type": "string", "format": name} for name in names]
    grammar = json_schema({"oneOf": one_of}).to_grammar()
    for row in TABLE:
        for text in row["accepts"] if row["name"] in names else ():
            expected = sum(is_of(name, text) for name in names) == 1
            assert accepts(grammar, json.dumps(text)) == expected, text


# ---- Python reads what is generated -----------------------------------------------------------


def random_text(automaton: Automaton, rng: random.Random) -> str:
    """A random walk, that ends as soon as it may."""
    state, text = automaton.start, bytearray()
    while not automaton.is_accepting(state):
        choices = [byte for byte in range(256) if automaton.step(state, byte)]
        ends = [byte for byte in b'")]}' if byte in choices] if len(text) > 40 else []
        text.append(rng.choice(ends or choices))
        state = automaton.step(state, text[-1])
    return text.decode()


@pytest.mark.parametrize(
    "python_type", [datetime.date, datetime.datetime, datetime.time, uuid.UUID]
)
def test_python_reads_what_is_generated(python_type: type) -> None:
    automaton = compile_automaton(json_schema(python_type).to_grammar())
    rng = random.Random(0)
    for _ in range(100):
        typed.parse(python_type, random_text(automaton, rng))


@pytest.mark.parametrize(
    ("python_type", "texts"),
    [
        (datetime.date, ["0000-01-01"]),
        (datetime.datetime, ["0000-01-01T00:00:00Z", "2016-12-31T23:59:60Z"]),
        (datetime.time, ["23:59:60Z"]),
    ],
)
def test_what_python_cannot_read_is_not_generated_for_it(
    python_type: type, texts: list[str]
) -> None:
    grammar = json_schema(python_type).to_grammar()
    for text in texts:
        assert not accepts(grammar, f'"{text}"')
