"""The likelihood scan: its statistics against plain loops, and its model against written checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.stages.diagnose import scan
from relex.stages.diagnose.moving_model import MovingModel, span
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.trajectory.reader import Trajectory
from relex.window.gram import grams
from relex.window.options import Options
from relex.window.request import Request
from relex.window.rows import Window
from tests.builders.windows import base_tensors, line_with_noise, save, tiny_llama, write_trajectory

STEPS = [2, 3, 7, 8, 15, 16, 21]


def test_horizons_are_even_in_logarithm_and_distinct():
    assert scan.horizons(10, 8.0, 4) == [10, 20, 40, 80]
    assert scan.horizons(2, 1.5, 9) == [2, 3]
    assert scan.horizons(45, 30.0, 20)[-1] == 1350


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 5))
def test_statistics_equal_plain_loops(seed, prompts, samples):
    generator = np.random.default_rng(seed)
    problems = [f"p{at // samples}" for at in range(prompts * samples)]
    sampled = generator.normal(-5, 2, len(problems))
    likelihoods = sampled + generator.normal(0, 3, (4, len(problems)))
    rewards = generator.integers(0, 2, len(problems)).astype(float)
    found = scan.statistics(likelihoods, sampled, rewards, problems, [10, 20, 30, 40])
    for point in range(4):
        right, wrong, margin, reward, effective = [], [], [], [], []
        for prompt in sorted(set(problems)):
            rows = [at for at, name in enumerate(problems) if name == prompt]
            ones = [likelihoods[point, at] for at in rows if rewards[at] > 0.5]
            zeros = [likelihoods[point, at] for at in rows if rewards[at] <= 0.5]
            right += [np.mean(ones)] if ones else []
            wrong += [np.mean(zeros)] if zeros else []
            margin += [np.mean(ones) - np.mean(zeros)] if ones and zeros else []
            weights = np.exp([likelihoods[point, at] - sampled[at] for at in rows])
            reward.append(np.sum(weights * rewards[rows]) / np.sum(weights))
            effective.append(np.sum(weights) ** 2 / np.sum(weights**2))
        for name, values in (("right", right), ("wrong", wrong), ("margin", margin)):
            assert found[name][point] == (pytest.approx(np.mean(values)) if values else None)
        assert found["expected_reward"][point] == pytest.approx(np.mean(reward))
        assert found["effective_samples"][point] == pytest.approx(np.mean(effective))


def test_the_peak_has_an_interval_that_holds_it_and_narrows_with_prompts():
    generator = np.random.default_rng(0)
    steps = [10, 20, 40, 80, 160]
    widths = []
    for prompts in (20, 2000):
        curve = -0.5 * (np.log2(np.array(steps) / 40)) ** 2
        likelihoods = curve[:, None] + generator.normal(0, 1.5, (5, prompts))
        names = [str(at) for at in range(prompts)]
        found = scan.statistics(likelihoods, np.zeros(prompts), np.ones(prompts), names, steps)
        peak = found["peaks"]["right"]
        assert peak["low"] <= peak["horizon"] <= peak["high"]
        widths.append(peak["high"] - peak["low"])
        assert found["peaks"]["margin"] is None
    assert peak["horizon"] == 40
    assert scan.suggested(found) == 40
    assert widths[1] < widths[0]


def test_right_completions_alone_give_the_same_curve_and_peak_and_judge_by_problem():
    generator = np.random.default_rng(3)
    names, rewards = [f"p{at // 3}" for at in range(30)], np.resize([1.0, 0.0, 1.0, 1.0], 30)
    likelihoods, steps = generator.normal(-3, 1, (4, 30)), [10, 20, 40, 80]
    whole = scan.statistics(likelihoods, np.zeros(30), rewards, names, steps)
    right = rewards > 0.5
    named = [name for name, one in zip(names, right, strict=True) if one]
    alone = scan.right_statistics(likelihoods[:, right], named, steps)
    assert alone["right"] == whole["right"]
    assert alone["peaks"] == {"right": whole["peaks"]["right"]}
    judged = scan.mean_right(likelihoods[:, right], named, ["p1", "p4", "p9", "absent"])
    within = [[value for value, name in zip(likelihoods[2, right], named, strict=True) if name == one] for one in names]
    wanted = np.mean([np.mean(within[names.index(one)]) for one in ("p1", "p4", "p9")])
    assert judged[2] == pytest.approx(wanted)


def test_without_right_completions_nothing_is_suggested():
    found = scan.statistics(np.zeros((2, 3)), np.zeros(3), np.zeros(3), ["a", "b", "b"], [1, 2])
    assert scan.suggested(found) is None
    assert found["right"] == [None, None]


def test_span_needs_few_directions():
    generator = np.random.default_rng(0)
    line = np.outer(np.arange(6), generator.normal(size=9)) + generator.normal(size=9)
    amounts, directions = span(line)
    assert directions.shape == (2, 9)
    np.testing.assert_allclose(amounts @ directions, line, atol=1e-12)
    assert span(np.zeros((3, 9)))[1].shape == (0, 9)


@pytest.mark.parametrize(
    "request_", [Request((25, 80, 200)), Request((25, 80), options=Options(rank=3, anchor="last", only="mlp"))]
)
@pytest.mark.parametrize("tied", [True, False])
def test_the_moving_model_stands_where_the_written_checkpoints_are(tmp_path, request_, tied):
    base = save(tiny_llama(tied=tied), tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, line_with_noise(rate=1e-2))
    extrapolate_folder(trajectory, base, request_, tmp_path / "out")
    with Window(Trajectory(trajectory), base) as window:
        found = grams(window, device="cpu", budget=1 << 30)
        moving = MovingModel(
            window, lambda name: request_.weights(name, found[name], window.steps), device="cpu", budget=1 << 30
        )
        for point in (1, 0, *range(len(request_.targets))):
            model = moving.at(point)
            wanted = base_tensors(tmp_path / "out" / f"step_{request_.targets[point]:06d}")
            state = model.state_dict()
            for name, value in wanted.items():
                assert torch.allclose(state[name], value, atol=2e-7, rtol=1e-6), name
            if tied:
                assert torch.equal(state["lm_head.weight"], state["model.embed_tokens.weight"])


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_moves_to_the_same_bits_whatever_part_of_the_directions_is_held(tmp_path, tied):
    base = save(tiny_llama(tied=tied), tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, line_with_noise(rate=1e-3, noise=1e-3))
    ray = Request((30, 100), options=Options(device="cpu"))
    with Window(Trajectory(trajectory), base) as window:
        found = grams(window, device="cpu", budget=1 << 30)

        def points(name):
            seen = np.eye(len(STEPS))
            return np.concatenate([seen[[2, 4]], ray.weights(name, found[name], window.steps)])

        def moving(room):
            return MovingModel(window, points, device="cpu", budget=1 << 30, room=room)

        whole = moving(1 << 30)
        for room in (0, whole.held_bytes // 2):
            part = moving(room)
            assert part.held_bytes <= room
            assert room == 0 or part.held_bytes > 0
            for point in (3, 0, 1, 2):
                wanted = {name: value.clone() for name, value in whole.at(point).state_dict().items()}
                for name, value in part.at(point).state_dict().items():
                    assert torch.equal(value, wanted[name]), (room, point, name)
