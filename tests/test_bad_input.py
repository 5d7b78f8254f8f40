"""Forty kinds of bad input and more: each ends with exit code 2, one clear message, and nothing left behind."""

from __future__ import annotations

import re

import pytest
import torch

from tests import bad_input
from tests.bad_input import CASES, Bench, Case
from tests.builders import ROOT


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bad"))


def _each(real: bool) -> list[object]:
    marks = [pytest.mark.real] if real else []
    return [pytest.param(case, id=f"{case.area}: {case.name}", marks=marks) for case in CASES if case.real == real]


@pytest.mark.parametrize("case", [*_each(False), *_each(True)])
def test_bad_input_is_one_clear_message_and_leaves_nothing(bench: Bench, case: Case) -> None:
    if case.without_gpu and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    outcome = bench.outcome(case)
    assert outcome.code == 2, outcome
    (message,) = outcome.lines
    assert re.search(case.says, message)
    where, _, rest = message.removeprefix("relex: ").partition(": ")
    assert where
    assert "; " in rest or ": " in rest, "what was expected, found or can be done"
    assert ".tmp-" not in message
    assert (outcome.new, outcome.changed) == ((), ())


def test_the_table_in_docs_holds_every_kind() -> None:
    text = (ROOT / "docs/bad-input.md").read_text()
    listed = [tuple(line.split(" | ")[:3]) for line in text.splitlines() if line.startswith("| ")][1:]
    assert listed == [(f"| {case.area}", case.name, f"`{case.command}`") for case in CASES]
    assert len(CASES) >= 40
    assert len({(case.area, case.name) for case in CASES}) == len(CASES)


@pytest.mark.real
@pytest.mark.skipif(torch.cuda.is_available(), reason="a case of it needs a machine without a GPU")
def test_the_table_in_docs_is_what_the_commands_say(bench: Bench) -> None:
    found = {case: bench.outcome(case) for case in CASES}
    assert (ROOT / "docs/bad-input.md").read_text() == bad_input.page(found)
