"""Step sizes fitted to verified completions, and the portfolio of rays, on real small models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from relex.forecast.kinds import group_of
from relex.policy.completions import read_completions
from relex.policy.likelihood import backward, log_likelihoods
from relex.stages.diagnose.fitting import FEWEST, fitted_sizes, halves, right_of
from relex.stages.diagnose.moving_model import MovingModel
from relex.stages.diagnose.stage import DEFAULTS, diagnosis
from relex.trajectory.reader import Trajectory
from relex.window.gram import grams
from relex.window.options import Options
from relex.window.request import Request
from relex.window.rows import Window
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory
from tests.stages.diagnose.test_diagnose import sorting  # noqa: F401  a fixture

STEPS = (1, 2, 3, 5, 8, 9)
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
COMPLETIONS = [[3, 4], [20, 21, 22, 23], [1]]
SHARES = np.array([0.5, 0.2, 0.3])
RAYS = {"late": {"anchor": "last", "rank": "full", "first": 5}, "fitted": {"rank": "full", "kinds": "fitted"}}


@pytest.mark.parametrize("tied", [True, False])
def test_the_derivatives_are_those_of_the_likelihood_whatever_is_held(tmp_path, tied):
    base = save(tiny_llama(tied=tied, initializer_range=0.3), tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, line_with_noise(rate=1e-3, noise=1e-4))
    ray = Request((40,), options=Options(rank="full", device="cpu"))
    with Window(Trajectory(trajectory), base) as window:
        found = grams(window, device="cpu", budget=1 << 30)

        def points(name):
            return np.concatenate([np.eye(len(STEPS))[[-1]], ray.weights(name, found[name], window.steps)])

        def value(sizes):
            return float(SHARES @ log_likelihoods(moving.between(sizes), PROMPTS, COMPLETIONS))

        taken = {}
        for room in (1 << 30, 0):
            moving = MovingModel(window, points, device="cpu", budget=1 << 30, room=room)
            sizes = {name: 0.5 + 0.1 * at for at, name in enumerate(window.names)}
            model = moving.between(sizes)
            with moving.derivatives() as slopes:
                backward(model, PROMPTS, COMPLETIONS, SHARES)
            assert all(parameter.grad is None for parameter in model.parameters())
            taken[room] = dict(slopes)
        for name in window.names:
            step = 0.05
            ahead, behind = (value(sizes | {name: sizes[name] + sign * step}) for sign in (1, -1))
            wanted = (ahead - behind) / (2 * step)
            assert taken[0][name] == pytest.approx(taken[1 << 30][name], rel=1e-4, abs=1e-6), name
            assert taken[0][name] == pytest.approx(wanted, rel=0.02, abs=1e-3), name


def test_at_zero_and_one_a_model_between_two_points_stands_at_them(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, line_with_noise(rate=1e-2))
    with Window(Trajectory(trajectory), base) as window:
        ends = np.stack([np.eye(len(STEPS))[0], np.eye(len(STEPS))[-1]])
        moving = MovingModel(window, lambda name: ends, device="cpu", budget=1 << 30)
        for point, size in ((0, 0.0), (1, 1.0)):
            wanted = {name: value.clone() for name, value in moving.at(point).state_dict().items()}
            for name, value in moving.between(dict.fromkeys(window.names, size)).state_dict().items():
                assert torch.allclose(value, wanted[name], atol=1e-7), name


def test_what_is_fitted_on_and_what_judges_are_different_problems(sorting):  # noqa: F811
    table, _ = read_completions(sorting[2])
    problems = table.column("problem_id").to_pylist()
    fit, judge = halves(problems)
    assert set(fit) | set(judge) == set(problems)
    assert not set(fit) & set(judge)
    assert abs(len(fit) - len(judge)) <= 1
    right = right_of(table, fit)
    rows = [row for row in table.to_pylist() if row["reward"] > 0.5 and row["problem_id"] in fit]
    assert right.problems == len({row["problem_id"] for row in rows})
    assert len(right.completions) == len({(row["problem_id"], tuple(row["completion_tokens"])) for row in rows})
    assert right.shares.sum() == pytest.approx(1.0)


def test_fitted_sizes_make_right_answers_likelier_that_they_were_not_fitted_on(sorting):  # noqa: F811
    trajectory, base, completions = sorting
    table, temperature = read_completions(completions)
    fit, judge = (right_of(table, half) for half in halves(table.column("problem_id").to_pylist()))
    ray = Request((200,), options=Options(rank="full", device="cpu"))
    with Window(Trajectory(trajectory), base) as window:
        found = grams(window, device="cpu", budget=1 << 30)
        seen = np.eye(len(window.steps))[[-1]]
        moving = MovingModel(
            window,
            lambda name: np.concatenate([seen, ray.weights(name, found[name], window.steps)]),
            device="cpu",
            budget=1 << 30,
        )
        sizes = fitted_sizes(moving, window.names, fit, temperature)
        assert set(sizes) == {group_of(name) for name in window.names}
        assert all(size > 0 for size in sizes.values())
        assert sizes == fitted_sizes(moving, window.names, fit, temperature)

        def judged(of):
            model = moving.between({name: of[group_of(name)] for name in window.names})
            return float(judge.shares @ log_likelihoods(model, judge.prompts, judge.completions))

        assert judged(sizes) > judged(dict.fromkeys(sizes, 1.0)) + 0.02


def test_the_scan_follows_every_ray_and_the_same_input_gives_the_same_file(sorting):  # noqa: F811
    trajectory, base, completions = sorting
    section = DEFAULTS.model_copy(update={"scan_horizons": 6, "scan_reach": 400.0})
    found = diagnosis(trajectory, base, completions, section, Request(targets=()), None, RAYS)
    assert list(found["rays"]) == list(RAYS)
    for one in [found["scan"], *found["rays"].values()]:
        assert one["suggested"] in one["horizons"]
        assert one["judged"] < 0
    assert "kinds" not in found["rays"]["late"]
    fitted = found["rays"]["fitted"]
    assert fitted["kinds"]
    assert fitted["judged"] > found["scan"]["judged"]
    again = diagnosis(trajectory, base, completions, section, Request(targets=()), None, RAYS)
    assert json.dumps(again, sort_keys=True) == json.dumps(found, sort_keys=True)
    assert "rays" not in diagnosis(trajectory, base, completions, section, Request(targets=()))


def test_too_few_problems_with_right_answers_fit_no_sizes(sorting, tmp_path):  # noqa: F811
    from relex.policy.completions import write_completions

    trajectory, base, completions = sorting
    table, _ = read_completions(completions)
    kept = sorted({row["problem_id"] for row in table.to_pylist() if row["reward"] > 0.5})[:FEWEST]
    few = table.filter([name in kept for name in table.column("problem_id").to_pylist()])
    write_completions(tmp_path / "few.parquet", few)
    section = DEFAULTS.model_copy(update={"scan_horizons": 4, "scan_reach": 100.0})
    found = diagnosis(trajectory, base, tmp_path / "few.parquet", section, Request(targets=()), None, RAYS)
    assert list(found["rays"]) == ["late"]
