"""The model card of a real (tiny) night: what a hub reads, what a person reads, and commands that are as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from relex.core.atomic import read_json
from relex.registry import card as model_card
from relex.registry import serve as serving
from relex.registry.store import night as registry_decision
from relex.registry.store.facts import gather
from tests.builders.nights import change_params, finish_night, make_project

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("card") / "project"
    make_project(folder)
    params = change_params(folder, model="sort digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finish_night(folder, 1, champion=None)
        facts = gather(params, registry_decision.read())
        return model_card.write(params, facts, read_json(Path("metrics/evaluate.json")))


def test_its_header_is_what_the_hub_reads(card: str) -> None:
    _, header, _ = card.split("---\n", 2)
    read = YAML(typ="safe", pure=True).load(header)
    assert read["library_name"] == "transformers"
    assert read["license"].startswith("other: trained from nothing")


def test_it_names_method_window_horizon_and_results_with_intervals(card: str) -> None:
    assert "Weights predicted at optimiser step 20, 6.7 times the window" in card
    assert "3 observed steps of RLVR, optimiser steps 1 to 3" in card
    (table,) = re.findall(r"\| model \|.*?\n\n", card, re.DOTALL)
    titles, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    assert titles[1:3] == ["test, avg@4", "out of domain, avg@4"]
    by_model = {row[0]: dict(zip(titles, row, strict=True)) for row in rows}
    winner, base = by_model["**step_000020 (this one)**"], by_model["base"]
    for cell in (winner["test, avg@4"], base["test, avg@4"]):
        assert re.fullmatch(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", cell)
    assert re.fullmatch(r".* to .*\), \d+ problems x \d+", winner["validation, gate"])
    assert base["validation, chosen on"] == "\N{EN DASH}"


def test_its_server_line_is_the_servers_own_with_the_evaluations_options(card: str) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", card, re.DOTALL)
    (line,) = [line for line in "".join(blocks).replace("\\\n", " ").splitlines() if "python -m" in line]
    variable, *words = shlex.split(line)
    assert variable == "VLLM_CPU_KVCACHE_SPACE=1"
    assert words[:5] == ["python", "-m", serving.SERVER, "--model", "model"]
    assert words[5:7] == ["--served-model-name", "sort digits"]
    assert words[words.index("--dtype") + 1] == "float32"
    assert words[words.index("--max-model-len") + 1] == "64"
    assert "--no-enable-chunked-prefill" in words
