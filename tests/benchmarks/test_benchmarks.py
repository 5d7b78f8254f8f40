"""The extrapolation benchmark runs as it is called, on a small window, and prints every row of its table."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

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
