"""Which engine generates what: everything once, no engine idle, no start or reload that can be spared."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.dealing import Share, choose, deal
from tests.builders import asked

SUITE = asked.suite("choose", 40)
ROWS = tuple((problem, sample) for problem in SUITE.problems for sample in range(2))


def share(name: str, rows: int = 80) -> Share:
    return Share(Contestant(name, "candidate", 1, Path(name), name, name), SUITE, ROWS[:rows])


@given(st.lists(st.integers(1, 80), min_size=1, max_size=9), st.integers(1, 8), st.booleans())
def test_every_row_is_dealt_once(sizes: list[int], slots: int, exchangeable: bool) -> None:
    whole = [share(str(number), rows) for number, rows in enumerate(sizes)]
    shares = deal(whole, slots, exchangeable=exchangeable)
    for one in whole:
        rows = [(p.id, sample) for part in shares if part.model == one.model for p, sample in part.asked]
        assert sorted(rows) == sorted((p.id, sample) for p, sample in one.asked)
    assert all(part.asked for part in shares)


@pytest.mark.parametrize(
    ("models", "slots", "exchangeable", "parts"),
    [
        (1, 2, False, [2]),
        (1, 4, True, [4]),
        (2, 2, True, [1, 1]),
        (3, 2, True, [1, 1, 2]),
        (3, 2, False, [1, 1, 1]),
        (2, 3, True, [2, 2]),
        (5, 4, True, [1, 1, 1, 1, 4]),
        (6, 1, True, [1] * 6),
    ],
)
def test_the_rows_of_fewer_models_than_engines_are_split(
    models: int, slots: int, exchangeable: bool, parts: list[int]
) -> None:
    whole = [share(str(number)) for number in range(models)]
    shares = deal(whole, slots, exchangeable=exchangeable)
    assert [sum(part.model == one.model for part in shares) for one in whole] == parts


def chosen(left: str, mine: str | None, others: str, exchangeable: bool) -> str | None:
    """By letters: what is left, what this engine holds, what the others hold."""
    shares = [share(letter) for letter in left]
    hashes = {letter: share(letter).model for letter in "ABC"}
    found = choose(
        shares, hashes[mine] if mine else None, {hashes[letter] for letter in others}, exchangeable=exchangeable
    )
    return found.contestant.name if found else None


def test_an_engine_stays_with_its_model_then_takes_one_that_nobody_holds() -> None:
    assert chosen("ABC", "B", "A", True) == "B"
    assert chosen("AC", "B", "A", True) == "C"
    assert chosen("ABC", None, "A", False) == "B"


def test_an_engine_helps_with_anothers_model_only_where_that_costs_no_start() -> None:
    assert chosen("A", "B", "A", True) == "A"
    assert chosen("A", None, "A", False) == "A"
    assert chosen("A", "B", "A", False) is None


def test_of_two_engines_with_one_model_the_one_that_can_go_on_to_another_does() -> None:
    assert chosen("AB", "A", "A", True) == "B"
    assert chosen("AB", "A", "A", False) == "A"
    assert chosen("A", "A", "A", True) == "A"


def test_nothing_left_is_nothing_to_do() -> None:
    assert chosen("", "A", "B", True) is None
