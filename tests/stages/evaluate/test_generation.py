"""Rows through real engines: the same whatever they were asked with, by whom, and how often it was killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from relex.core.errors import InputError, StageFailed
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.generation import Generation, Want
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.schema import NON_FINITE
from relex.stages.evaluate.suites.suite import Suite
from tests.builders import ROOT, asked
from tests.builders.contests import changed, spoil
from tests.builders.forked import Command

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    folder = tmp_path_factory.mktemp("models")
    return [asked.untrained(folder / f"m{seed}", seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(store: RowStore, model: Contestant, suite: Suite, problems: int, samples: int) -> list[dict[str, Any]]:
    return store.rows(model, suite, problems, samples).drop_columns(["seconds"]).to_pylist()


def fill(store: RowStore, wants: list[Want], **changes: Any) -> dict[str, Any]:
    models = list({want.contestant.name: want.contestant for want in wants}.values())
    with Generation(asked.evaluate(**changes), store, models) as generation:
        generation.fill(wants, "race")
    return generation.spent


@pytest.mark.usefixtures("forked")
def test_rows_depend_on_neither_order_nor_company_nor_the_number_of_engines(models: list[Contestant]) -> None:
    suite = asked.suite("choose", 20)
    settings = asked.evaluate()
    whole = asked.store(Path("whole"), settings)
    spent = fill(whole, [Want(model, suite, 20, 4) for model in models])
    assert (spent["race"]["rows"], spent["engine_starts"], spent["reloads"]) == (240, 1, 2)
    grown = asked.store(Path("grown"), settings)
    with Generation(asked.evaluate(engines=2), grown, models) as generation:
        for problems, samples in ((5, 1), (20, 1), (20, 2), (20, 4)):
            generation.fill([Want(model, suite, problems, samples) for model in reversed(models)], "race")
    assert generation.spent["engine_starts"] == 2
    assert generation.spent["race"]["rows"] == 240
    for model in models:
        assert said(grown, model, suite, 20, 4) == said(whole, model, suite, 20, 4)
        assert said(whole, model, suite, 20, 2) == [
            row for row in said(whole, model, suite, 20, 4) if row["sample"] < 2
        ]


@pytest.mark.usefixtures("forked")
def test_a_row_that_two_ask_for_is_generated_once_and_found_by_every_name(models: list[Contestant]) -> None:
    suite, more = asked.suite("choose", 6), asked.suite("gate", 6, first=3)
    twin = Contestant("twin", "observed", 2, models[0].folder, models[0].weights_sha256, models[0].speech_sha256)
    store = asked.store(Path("rows"), asked.evaluate())
    spent = fill(store, [Want(models[0], suite, 6, 2), Want(twin, suite, 4, 4), Want(twin, more, 6, 1)])
    assert spent["race"]["rows"] == 6 * 2 + 4 * 2 + 3
    assert said(store, twin, suite, 4, 4) == said(store, models[0], suite, 4, 4)
    assert fill(store, [Want(twin, suite, 6, 2)])["engine_starts"] == 0  # nothing was missing


@pytest.mark.usefixtures("forked")
def test_a_model_whose_logits_are_not_numbers_has_rows_that_say_so_and_the_others_go_on(
    models: list[Contestant],
) -> None:
    changed(models[0].folder, Path("spoilt"), spoil)
    spoilt, suite = asked.contestant(Path("spoilt")), asked.suite("choose", 6)
    store = asked.store(Path("rows"), asked.evaluate())
    fill(store, [Want(spoilt, suite, 4, 2), Want(models[0], suite, 6, 2)])
    fill(store, [Want(spoilt, suite, 6, 2)])
    found = said(store, spoilt, suite, 6, 2)
    assert {(row["finish_reason"], row["score"], row["tokens"]) for row in found} == {(NON_FINITE, 0.0, 0)}
    assert NON_FINITE not in {row["finish_reason"] for row in said(store, models[0], suite, 6, 2)}


def test_a_prompt_that_does_not_fit_is_bad_input_and_no_engine_is_left(models: list[Contestant]) -> None:
    suite, store = asked.suite("choose", 4), asked.store(Path("rows"), asked.evaluate())
    with pytest.raises(InputError, match="do not fit max_model_len 16"):
        fill(store, [Want(model, suite, 4, 1) for model in models], max_model_len=16, engines=2)
    assert children() == []


def children() -> list[list[str]]:
    return [
        process.cmdline()
        for process in psutil.Process().children(recursive=True)
        if "relex.stages.evaluate.engine" in process.cmdline()
    ]


def test_an_engine_that_is_killed_fails_the_fill_and_the_next_one_generates_only_what_is_missing(
    models: list[Contestant],
) -> None:
    suite, settings = asked.suite("choose", 100), asked.evaluate(engines=2)
    store = asked.store(Path("rows"), settings)
    wants = [Want(model, suite, 100, 8) for model in models]

    def kill_one() -> None:
        while sum(1 for _ in Path("rows").rglob("*.rows")) == 0:
            time.sleep(0.01)
        engine = next(p for p in psutil.Process().children() if "relex.stages.evaluate.engine" in p.cmdline())
        os.kill(engine.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(StageFailed, match="ended while it (worked|started)"):
        fill(store, wants, engines=2)
    killer.join()
    assert children() == []
    again = asked.store(Path("rows"), settings)
    left = sum(len(again.missing(model, suite, 100, 8)) for model in models)
    assert 0 < left < 3 * 100 * 8
    assert fill(again, wants)["race"]["rows"] == left


def test_a_full_disk_is_told_and_keeps_what_was_written(models: list[Contestant]) -> None:
    suite, settings = asked.suite("choose", 100), asked.evaluate()
    store = asked.store(Path("rows"), settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # some 250 rows
    try:
        with pytest.raises(StageFailed, match="rows cannot be written"):
            fill(store, [Want(models[0], suite, 100, 4)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, usual)
    again = asked.store(Path("rows"), settings)
    left = len(again.missing(models[0], suite, 100, 4))
    assert 0 < left < 400
    assert fill(again, [Want(models[0], suite, 100, 4)])["race"]["rows"] == left


SCRIPT = """
import sys
from pathlib import Path
from relex.stages.evaluate.generation import Generation, Want
from tests.builders import asked
models = [asked.contestant(Path(folder)) for folder in sys.argv[1:]]
suites = [asked.suite("choose", 60), asked.suite("gate", 60, "math-verify", first=60)]
settings = asked.evaluate(engines=2)
with Generation(settings, asked.store(Path("rows"), settings), models) as generation:
    for samples in (1, 8):
        generation.fill([Want(model, suite, 60, samples) for model in models for suite in suites], "race")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_a_generation_killed_again_and_again_generates_only_what_it_lacks_and_gives_the_same_rows(
    models: list[Contestant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", SCRIPT, *(str(model.folder) for model in models)]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    suites = [asked.suite("choose", 60), asked.suite("gate", 60, "math-verify", first=60)]

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in Path("rows").rglob("*.rows"))

    def rows() -> list[list[dict[str, Any]]]:
        store = asked.store(Path("rows"), asked.evaluate())
        return [said(store, model, suite, 60, 8) for model in models for suite in suites]

    Path("undisturbed").mkdir()
    monkeypatch.chdir("undisturbed")
    subprocess.run(command, check=True, capture_output=True)
    expected, total = rows(), lines()
    assert total == 3 * 120 * 8
    Path("../killed").mkdir()
    monkeypatch.chdir("../killed")
    kept = [0]
    for more in (0, 1, 200, 400, 300):
        process = Command(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + (3.0 if more == 0 else 120.0)
        while process.poll() is None and time.monotonic() < deadline and lines() < kept[-1] + max(1, more):
            time.sleep(0.02)
        assert process.poll() is None, "it got through before it was killed"
        process.kill_all()  # the engines and the scorers go with it
        kept.append(lines())
    assert kept == sorted(kept)
    assert 0 < kept[-1] < total
    for path in Path("rows").rglob("*.rows"):
        path.write_bytes(path.read_bytes()[:-7])  # torn, as a power failure may leave it
    subprocess.run(command, check=True, capture_output=True)
    assert (rows(), lines()) == (expected, total)
