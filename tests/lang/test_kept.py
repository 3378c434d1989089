"""Results that are remembered by their size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sestina.lang.kept import Kept, kept


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 30))
def test_the_last_ones_that_fit_are_remembered(asked: list[int], most: int) -> None:
    made: list[int] = []

    def make(number: int) -> list[int]:
        made.append(number)
        return [number] * number

    cache = Kept(make, most, len)
    model: list[int] = []  # what is remembered, the one asked for last at the end
    for number in asked:
        before = len(made)
        assert cache(number) == [number] * number
        assert (len(made) == before) is (number in model)
        model = [*(n for n in model if n != number), number]
        while sum(model) > most and len(model) > 1:
            model.pop(0)
        assert len(cache) == len(model)
        assert cache.size == sum(model)


def test_errors_are_not_remembered() -> None:
    tries = []

    @kept(max_size=1, size_of=len)
    def fails_once(text: str) -> str:
        tries.append(text)
        if len(tries) == 1:
            raise ValueError(text)
        return text

    for _ in range(2):
        try:
            fails_once("a")
        except ValueError:
            assert len(fails_once) == 0
    assert tries == ["a", "a"]
    assert fails_once("a") == "a"
    assert len(tries) == 2


def test_what_is_worked_out_twice_at_once_counts_once() -> None:
    waiting = [0, 1]  # the first one asks for the same thing again before it is done

    @kept(max_size=10, size_of=len)
    def four(text: str) -> str:
        return four(text) if waiting.pop() else text * 4

    assert four("x") == "xxxx"
    assert four.size == 4
    assert len(four) == 1
