"""Class letters, case and properties, over all of Unicode: against `re` and `unicodedata`."""

from __future__ import annotations

import re
import unicodedata

import pytest

from sestina.lang.grammar_ir import ANY_CHAR, Ranges
from sestina.lang.regex.casing import Folding, fold
from sestina.lang.regex.classes import in_category, intersect, inverse, meaning
from sestina.lang.regex.properties import of_property


def text_of(ranges: Ranges) -> str:
    return "".join(chr(code) for lo, hi in ranges for code in range(lo, hi + 1))


EVERY_CHAR = text_of(ANY_CHAR)
SAMPLE = [(char, unicodedata.category(char)) for char in EVERY_CHAR[::101]]


def test_every_character_is_of_its_category() -> None:
    names = {unicodedata.category(char) for char in EVERY_CHAR}
    runs = [(lo, hi, name) for name in names for lo, hi in in_category(name)]
    for lo, hi, name in sorted(runs):
        assert {unicodedata.category(chr(code)) for code in range(lo, hi + 1)} == {name}
    assert sum(hi + 1 - lo for lo, hi, _ in runs) == len(EVERY_CHAR)


def chosen(pattern: str, flags: re.RegexFlag = re.UNICODE) -> str:
    return "".join(re.findall(pattern, EVERY_CHAR, flags))


@pytest.mark.parametrize("letter", "dwsDWS")
def test_letters_with_a_flag_are_those_of_python(letter: str) -> None:
    assert text_of(meaning(letter, True).sure) == chosen(f"\\{letter}", re.ASCII)
    assert text_of(meaning(letter, False).sure) == chosen(f"\\{letter}")


@pytest.mark.parametrize("letter", "dwsDWS")
def test_letters_without_one_have_all_readings_between_sure_and_maybe(letter: str) -> None:
    both = meaning(letter)
    for flag in (True, False):
        one = meaning(letter, flag).sure
        assert intersect(both.sure, one) == both.sure
        assert intersect(one, both.maybe) == one
    assert inverse(both) == meaning(letter.swapcase())


@pytest.mark.parametrize("pattern", ["k", "s", "µ", "İ", "ß", "Σ", "[a-z]", "[À-Þ]", "[Ḁ-ἀ]"])
def test_ignoring_case_is_that_of_python(pattern: str) -> None:
    exact = re.findall(pattern, EVERY_CHAR)
    for folding, flags in ((Folding.PYTHON, re.I), (Folding.ASCII, re.I | re.ASCII)):
        found = fold(tuple((ord(char), ord(char)) for char in exact), folding)
        assert text_of(found) == chosen(pattern, flags)


@pytest.mark.slow
def test_every_character_with_a_case_matches_what_it_does_in_python() -> None:
    has_case = [c for c in EVERY_CHAR if c.lower() != c or c.upper() != c or c.casefold() != c]
    text = "".join(has_case)
    for char in has_case:
        found = fold(((ord(char), ord(char)),), Folding.PYTHON)
        assert set(re.findall(re.escape(char), text, re.I)) == set(text_of(found)), char


def test_ecma_folds_one_character_to_one() -> None:
    assert text_of(fold(((0xDF, 0xDF),), Folding.ECMA)) == "ßẞ"
    assert text_of(fold(((0x130, 0x130),), Folding.ECMA)) == "İ"
    assert text_of(fold(((0x6B, 0x6B),), Folding.ECMA)) == "Kk\u212a"


@pytest.mark.parametrize("name", ["L", "LC", "Nd", "C"])
def test_properties_are_the_categories(name: str) -> None:
    wanted = ("Lu", "Ll", "Lt") if name == "LC" else (name,)
    found = of_property(name)
    assert found is not None
    sure, maybe = set(text_of(found.sure)), set(text_of(found.maybe))
    for char, category in SAMPLE:
        inside = category.startswith(wanted)
        is_open = category == "Cn" and not is_nonchar(char)  # a later Unicode may assign it
        assert (char in sure) == (inside and not is_open)
        assert (char in maybe) == (inside or is_open)


def test_long_names_and_unknown_ones() -> None:
    assert of_property("Uppercase_Letter") == of_property("gc=Lu") == of_property("Lu")
    assert of_property("General_Category=Letter") == of_property("L")
    assert of_property("Script=Greek") is None
    assert of_property("lu") is None


def is_nonchar(char: str) -> bool:
    return ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
