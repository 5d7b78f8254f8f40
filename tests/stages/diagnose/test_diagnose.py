"""`diagnose` on windows whose answer is known: a line in noise, a turn, a random walk, and with real completions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from relex.core.errors import InputError
from relex.forecast.backtest import fitted_counts, held_out
from relex.forecast.weights import Forecast
from relex.policy.completions import sample_completions, write_completions
from relex.rewards.problem import make_problem
from relex.stages.base.embedded import make_tokenizer
from relex.stages.diagnose.rounding import spacing
from relex.stages.diagnose.stage import DEFAULTS, diagnose_folder, diagnosis
from relex.stages.diagnose.straightness import drift, random_walk, straightness
from relex.window.importing import import_checkpoints
from relex.window.request import Request
from tests.builders.windows import bent, line_with_noise, save, tiny_llama, write_checkpoints, write_trajectory

STEPS = list(range(1, 21))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save(tiny_llama(), tmp_path_factory.mktemp("base") / "base")


def of(path, base, tmp_path, **changes):
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, path, rewards=True)
    return diagnosis(trajectory, base, None, DEFAULTS.model_copy(update=changes), Request(targets=(40, 100)))


def test_a_line_in_noise_is_forecast_and_said_to_be(base, tmp_path):
    found = of(line_with_noise(rate=1e-4, noise=2e-4), base, tmp_path)
    for held in found["backtest"]:
        assert held["skill"][-1] > 0.8
        assert held["null_skill"][-1] < 0
    assert "THE WINDOW TURNS" not in found["says"]
    assert found["overall"]["drift"] > 0.8
    lines = found["coefficients"][0]
    assert lines["name"] == "all tensors"
    assert [step for step, _ in lines["forecast"]] == [40, 100]
    assert lines["forecast"][1][1] == pytest.approx(100 / 40 * lines["forecast"][0][1], rel=0.05)


def test_the_backtest_of_a_line_in_noise_is_right_to_its_expected_value(base, tmp_path):
    # Full rank, one tensor type: error of the fitted line and of staying follow from the noise alone.
    rate, noise, fitted = 1e-4, 2e-4, 10
    trajectory = of(line_with_noise(rate=rate, noise=noise), base, tmp_path)
    skills = next(held for held in trajectory["backtest"] if held["fitted_steps"] == fitted)["skill"]
    for at, step in enumerate(STEPS[fitted:]):
        time = np.array(STEPS[:fitted], float)
        spread = 1 / fitted + (step - time.mean()) ** 2 / np.sum((time - time.mean()) ** 2)
        # Rank 1 keeps the noise along the direction only: hardly any. What is left is the noise of the true step, and
        # the direction's own error, which is that of the line at full rank at most.
        stay = (rate * (step - fitted)) ** 2 + 2 * noise**2
        best, worst = noise**2, noise**2 * (1 + spread)
        assert 1 - worst / stay - 0.05 <= skills[at] <= 1 - best / stay + 0.05


def test_weights_that_do_not_move_are_said_to_and_do_not_turn(base, tmp_path):
    found = of(line_with_noise(rate=0.0, noise=0.0), base, tmp_path)
    assert "the weights did not move: each of the 20 checkpoints is the base itself" in found["says"]
    assert "TURNS" not in found["says"]


def test_a_turn_is_said(base, tmp_path):
    found = of(bent(turn=10), base, tmp_path)
    assert "THE WINDOW TURNS" in found["says"]
    assert min(held["skill"][-1] for held in found["backtest"]) < 0
    assert abs(found["overall"]["drift"]) < 0.2
    assert found["overall"]["explained_share"][0] > 0.9  # and yet it looks straight
    assert all(held < 0.1 for entry in found["tensors"].values() for held in entry["backtest_skill"])


def test_the_persistence_of_a_turn_and_of_a_line(base, tmp_path):
    for path, straight, cosines in (
        # Two orthogonal legs of ten steps: sqrt(2) / 2 of the way; of 19 pairs one turns, of 17 three, of 10 all.
        (bent(turn=10), 2**-0.5, [18 / 19, 14 / 17, 0.0, None]),
        (line_with_noise(noise=0.0), 1.0, [1.0, 1.0, 1.0, None]),
    ):
        found = of(path, base, tmp_path / str(straight))["persistence"]
        assert found["straight"] == pytest.approx(straight, abs=0.02)
        assert found["cosine"][:3] == pytest.approx(cosines[:3], abs=0.03)
        assert found["cosine"][3] is None
        assert found["null_straight"] == pytest.approx(20**-0.5, abs=0.01)


def test_the_null_is_what_a_random_walk_gives():
    steps = list(range(1, 46))
    expected = straightness({"walk": random_walk(steps)}, steps)
    walk = np.cumsum(np.random.default_rng(0).normal(size=(45, 5000)), axis=0)
    found = straightness({"walk": walk @ walk.T}, steps)
    assert found["explained_share"][0] == pytest.approx(expected["explained_share"][0], abs=0.01)
    assert found["r_squared"] == pytest.approx(expected["r_squared"], abs=0.01)
    assert expected["explained_share"][0] == pytest.approx(0.815, abs=0.01)  # both figures as once measured
    assert expected["r_squared"] == pytest.approx(0.951, abs=0.01)
    assert abs(found["drift"]) < 0.1


def test_held_out_errors_are_those_of_the_vectors_themselves():
    generator = np.random.default_rng(3)
    deltas = np.cumsum(generator.normal(size=(8, 30)), axis=0)
    steps = [1, 2, 4, 7, 8, 9, 15, 16]
    held = held_out({"a": deltas @ deltas.T}, steps, 5, Forecast(rank="full"))
    for at, step in enumerate(steps[5:]):
        line = np.array([np.polynomial.Polynomial.fit(steps[:5], column, 1)(step) for column in deltas[:5].T])
        assert held.error[0, at] == pytest.approx(np.sum((line - deltas[5 + at]) ** 2))
        assert held.stay[0, at] == pytest.approx(np.sum((deltas[4] - deltas[5 + at]) ** 2))


def test_counts_and_drift_at_the_edges():
    assert fitted_counts(45, (0.33, 0.5, 0.67)) == [15, 22, 30]
    assert fitted_counts(3, (0.1, 0.9)) == [2]
    assert fitted_counts(2, (0.5,)) == []
    assert drift(np.outer([1.0, 2.0], [1.0, 2.0]), np.array([1.0, 2.0])) == pytest.approx(1.0)


def test_the_same_input_gives_the_same_file(base, tmp_path):
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, line_with_noise())
    diagnose_folder(trajectory, base, None, tmp_path / "a")
    diagnose_folder(trajectory, base, None, tmp_path / "b")
    assert (tmp_path / "a" / "diagnose.json").read_bytes() == (tmp_path / "b" / "diagnose.json").read_bytes()


def test_an_unmoved_window_is_no_accident(base, tmp_path):
    found = of(lambda step, name, theta: torch.zeros(theta.shape), base, tmp_path)
    json.dumps(found, allow_nan=False)


@pytest.fixture(scope="module")
def sorting(tmp_path_factory):
    """A base that sorts digits by chance, the direction in which it improves, and completions of a later point."""
    folder = tmp_path_factory.mktemp("sorting")
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = tiny_llama(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, initializer_range=0.1)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    problems = [
        make_problem(f"{a}{b}=", "".join(sorted(f"{a}{b}")), "exact") for a in range(10) for b in range(10) if a != b
    ]
    prompts = torch.tensor([tokenizer(p.prompt)["input_ids"] for p in problems])
    answers = torch.tensor([[*tokenizer(p.answer)["input_ids"], tokenizer.eos_token_id] for p in problems])
    ids = torch.cat([prompts, answers], dim=1)
    labels = torch.cat([torch.full_like(prompts, -100), answers], dim=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(ids, labels=labels).loss.backward()
        optimizer.step()
    base = save(model, folder / "base")
    tokenizer.save_pretrained(base)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    small = torch.optim.SGD(model.parameters(), lr=1e-2)
    deltas = {}
    for step in range(1, 11):
        small.zero_grad()
        model(ids, labels=labels).loss.backward()
        small.step()
        deltas[step] = {name: value.detach() - start[name] for name, value in model.named_parameters()}
    trajectory = write_trajectory(folder / "window", base, list(deltas), lambda step, name, _: deltas[step][name])
    table = sample_completions(model, tokenizer, problems[:40], samples=6, temperature=1.0, max_new_tokens=4, seed=0)
    write_completions(folder / "completions.parquet", table)
    return trajectory, base, folder / "completions.parquet"


def test_the_scan_and_the_function_space_backtest(sorting, tmp_path):
    trajectory, base, completions = sorting
    section = DEFAULTS.model_copy(
        update={"scan_horizons": 8, "scan_reach": 400.0, "variants": ("backtested", "norm-cap")}
    )
    found = diagnosis(trajectory, base, completions, section, Request(targets=(20,)))
    scanned = found["scan"]
    # At the observed checkpoint nothing has changed since the completions were sampled.
    assert scanned["observed"]["effective_samples"] == pytest.approx(6.0, abs=1e-2)
    table_mean = scanned["observed"]["expected_reward"]
    assert 0.02 < table_mean < 0.98
    # Along the gradient the right ones first become more likely, and far out everything breaks.
    assert max(scanned["right"]) > scanned["observed"]["right"]
    assert scanned["right"][-1] < max(scanned["right"])
    assert scanned["horizons"][0] < scanned["suggested"] < scanned["horizons"][-1]
    assert set(found["scan_variants"]) == {"backtested", "norm-cap"}
    # A norm cap of five windows stops the far end from breaking.
    assert found["scan_variants"]["norm-cap"]["right"][-1] > scanned["right"][-1]
    assert "verified completions are most likely at step" in found["says"]
    for entry in found["function_backtest"]:
        assert entry["skill"] > 0.5
        assert entry["kl_stay"] > entry["kl_forecast"] >= 0
        told = entry["right_log_likelihood"]
        assert abs(told["forecast"] - told["true"]) < abs(told["stay"] - told["true"])
    again = diagnosis(trajectory, base, completions, section, Request(targets=(20,)))
    assert json.dumps(again, sort_keys=True) == json.dumps(found, sort_keys=True)


def test_an_adapter_is_diagnosed_without_completions_only(sorting, tmp_path):
    completions = sorting[2]
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    from safetensors.torch import save_file

    save_file({"a.lora_A.weight": torch.ones(2, 3)}, adapter / "adapter_model.safetensors")
    window = write_trajectory(tmp_path / "window", adapter, [1, 2, 3], line_with_noise())
    diagnose_folder(window, adapter, None, tmp_path / "fine")
    with pytest.raises(InputError, match="whole model"):
        diagnose_folder(window, adapter, completions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_spacing_is_the_distance_to_the_next_value(dtype):
    values = torch.cat([torch.rand(1000), torch.tensor([0.0, 1.0, 2.0, 0.5, 0.4999, 1e-7])]).to(dtype)
    nearest = values.view(torch.int16)
    step = torch.tensor(1, dtype=torch.int16)
    ahead = (nearest + step).view(dtype).double() - values.double()
    assert torch.equal(spacing(values.float(), dtype).double(), ahead)


@pytest.mark.parametrize(("rate", "low", "high"), [(1e-6, 0.0, 0.4), (1e-3, 0.95, 1.0)])
def test_movement_within_the_rounding_of_bfloat16_is_said(tmp_path, rate, low, high):
    # Weights near zero lie close to each other, so some movement is certain at any rate.
    model = tiny_llama()
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)
    model = tiny_llama().to(torch.bfloat16).float()  # the trainer's own weights are finer than what it saves
    run = write_checkpoints(
        tmp_path / "run", model, [10, 20, 30], line_with_noise(rate=rate, noise=0.0), dtype=torch.bfloat16
    )
    import_checkpoints(run, base, tmp_path / "window")
    found = diagnosis(tmp_path / "window", base, None, DEFAULTS, Request(targets=()))
    assert found["rounding"]["dtypes"] == ["BF16"]
    assert low <= found["rounding"]["above"] <= high
    assert f"{found['rounding']['above']:.0%} of the movement lies above the rounding of BF16" in found["says"]


def test_nothing_is_said_of_rounding_where_weights_are_float32(base, tmp_path):
    run = write_checkpoints(tmp_path / "run", tiny_llama(), [10, 20], line_with_noise())
    import_checkpoints(run, base, tmp_path / "whole")
    assert "rounding" not in diagnosis(tmp_path / "whole", base, None, DEFAULTS, Request(targets=()))
    assert "rounding" not in of(line_with_noise(), base, tmp_path)
