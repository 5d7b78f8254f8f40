"""The extrapolation benchmark runs as it is called, on a small window, and prints every row of its table."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_the_extrapolation_benchmark_prints_its_tables(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks.extrapolation", "--shape", "tiny", "--steps", "6"]
    done = subprocess.run(
        [*command, "--repeats", "1", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for row in (
        "by reference, one target",
        "each further target",
        "plain NumPy",
        "own float16 deltas",
        "| 12 | 1GiB |",
    ):
        assert row in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_accelerator_benchmark_runs_beside_plain_torch_without_a_gpu(capsys, monkeypatch):
    from tests.benchmarks import cuda

    monkeypatch.setattr(sys, "argv", ["cuda", "--device", "cpu", "--shape", "tiny", "--steps", "6"])
    cuda.main()
    printed = capsys.readouterr().out
    rows = {
        row.split("|")[1].strip(): float(row.split("|")[3])
        for row in printed.splitlines()
        if row[:4] in ("| Gr", "| su")
    }
    assert rows.keys() == {"Gram", "sums"}
    assert "plain PyTorch takes" in printed


def test_the_codec_measurement_runs_on_a_trajectory(tmp_path, capsys, monkeypatch):
    from tests.benchmarks import codecs
    from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

    base = save(tiny_llama(), tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, [1, 2, 4, 5], line_with_noise())
    monkeypatch.setattr(sys, "argv", ["codecs", str(trajectory)])
    codecs.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| real")]
    errors = {row.split("|")[2].strip(): float(row.split("|")[4].split()[0]) for row in rows}
    assert errors["float32"] == 0.0
    assert 0 < errors["float16"] < 1e-3
    assert errors["float16"] < errors["bfloat16"] < errors["int8"] < 3e-2


def test_a_patch_is_as_small_as_what_differs(tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    from tests.benchmarks import patches
    from tests.builders.windows import save, tiny_llama

    base = save(tiny_llama(), tmp_path / "base")
    for name, change in (("same", 0.0), ("one", 1.0)):
        tensors = load_file(base / "model.safetensors")
        tensors["model.norm.weight"][0] += change
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        (tmp_path / name / "config.json").write_bytes((base / "config.json").read_bytes())
    patches.main([str(base), str(tmp_path / "same"), str(tmp_path / "one")])
    same, one = ([float(cell) for cell in row.split("|")[2:6]] for row in capsys.readouterr().out.splitlines()[2:])
    assert (same[0], same[2]) == (1.0, 1.0)
    values = sum(tensor.numel() for tensor in tensors.values())
    (unchanged, size), _ = (patches.patched(patches.read(base, tmp_path / "one"), kind) for kind in patches._BITS)
    assert unchanged == 1 - 1 / values
    assert max(one[1], one[3], size) < 0.1
    shares = [patches.patched(patches.synthetic(move), torch.bfloat16) for move in (1e-6, 1e-3)]
    assert shares[0][0] > 0.9 > 0.1 > shares[1][0]
    assert shares[0][1] < shares[1][1]


def test_the_memory_benchmark_counts_what_it_measures_and_sees_what_is_held() -> None:
    from relex.params.load import load
    from tests.benchmarks.memory import ROOT, Peaks, counted

    found = counted(load(ROOT / "infra/profiles/smollm2-135m.yaml"), ROOT, 40)
    assert {"load", "rollout", "update", "capture", "scan and backtest", "Gram and sums"} <= set(found)
    assert found["load"] == 4 * 134_515_008
    assert found["update"] > found["rollout"] > found["load"]
    peaks = Peaks()
    with peaks.during("held"):
        held = bytearray(b"x") * (64 << 20)
        while peaks.most.get("held", 0) < 60 << 20:  # the thread that watches has its turn
            time.sleep(0.001)
    del held
    assert peaks.most["held"] < 80 << 20


@pytest.mark.slow
def test_the_forming_benchmark_tells_both_ways_apart_and_their_rows_are_alike(tmp_path, capfd, monkeypatch):
    from relex.core import hop, workspace
    from relex.core.forkserver.ask import VARIABLE
    from relex.stages.problems import stage as problems
    from tests.benchmarks import forming
    from tests.builders import asked
    from tests.builders.contests import SMALL, write_params
    from tests.builders.forked import for_commands
    from tests.builders.windows import line_with_noise, write_trajectory

    monkeypatch.chdir(tmp_path)
    changes = {
        "train.budget.steps": 4,
        "train.warmup_steps": 1,
        "train.window": {"first": 1, "last": 4, "every": 1},
        "extrapolate.targets": [8, 12, 16],
        "extrapolate.rays": "named",
        "extrapolate.variants": [],
        "evaluate.backend": "transformers",
        "evaluate.engines": 1,
    }
    params = write_params(tmp_path, {**SMALL, **changes})
    hop.write(hop.Hop())
    problems.run(params.problems)
    asked.untrained(workspace.BASE, 0)
    write_trajectory(workspace.TRAJECTORY, workspace.BASE, [1, 2, 3, 4], line_with_noise(rate=1e-3), rewards=True)
    monkeypatch.setattr(sys, "argv", ["forming", "--night", str(tmp_path)])
    with for_commands() as place:
        monkeypatch.setenv(VARIABLE, place)
        forming.main()
    printed = capfd.readouterr().out
    assert "3 candidates, 3 of them formed" in printed
    rows = [line.split("|")[1:5] for line in printed.splitlines() if line.startswith("| step_")]
    assert len(rows) >= 3
    alike, asked_both = (sum(int(row[3].split()[place]) for row in rows) for place in (0, 2))
    assert 0.9 * asked_both < alike <= asked_both  # where the last digit of a weight differs, a token may
    written = next(line for line in printed.splitlines() if line.startswith("| bytes of weights written"))
    assert float(written.split("|")[4]) < 0.7
