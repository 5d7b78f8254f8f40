"""The reader's side of the step stream: complete lines, whatever the writer is doing in this moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relex.stages.train import step_stream
from tests.builders.project import ROOT

STEPS = 300


def test_no_stream_and_one_that_is_only_begun_have_no_steps(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    assert step_stream.read(path) == (None, [])
    for torn in (b"", b'{"id": "ab', b'{"id": "abc"}'):
        path.write_bytes(torn)
        assert step_stream.read(path) == (None, [])
    path.write_bytes(b'{"id": "abc"}\n')
    assert step_stream.read(path) == ("abc", [])


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_line_that_is_being_written_is_not_read(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "steps.jsonl"
    whole = b'{"id": "abc"}\n{"step": 1, "reward": 0.5}\n'
    line = b'{"step": 2, "reward": 0.25}\n'
    path.write_bytes(whole + line[:cut])
    assert step_stream.read(path) == ("abc", [{"step": 1, "reward": 0.5}])
    path.write_bytes(whole + line)
    assert step_stream.read(path)[1][-1] == {"step": 2, "reward": 0.25}


def write(path: Path) -> None:
    stream = step_stream.StepStream(path=path)
    for step in range(1, STEPS + 1):
        stream.append({"step": step, "reward": step / STEPS, **{f"metric_{i}": step * i for i in range(20)}})


def test_a_reader_beside_the_writer_sees_every_step_once_in_order_and_never_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    program = f"import sys; from pathlib import Path; from {__name__} import write; write(Path(sys.argv[1]))"
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT)
    seen = [0]
    while seen[-1] < STEPS:
        identity, rows = step_stream.read(path)
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(row["metric_19"] == row["step"] * 19 for row in rows)
        assert identity is not None or not rows
        seen.append(len(rows))
        assert writer.poll() is None or len(rows) == STEPS or step_stream.read(path)[1][-1]["step"] == STEPS
    assert writer.wait(60) == 0
    assert seen == sorted(seen)


def test_another_training_has_another_id_and_a_resumed_one_the_same(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    step_stream.StepStream(path=path).append({"step": 1, "reward": 0.0})
    first, _ = step_stream.read(path)
    step_stream.StepStream(path=path, after=1).append({"step": 2, "reward": 0.1})
    assert step_stream.read(path) == (first, [{"step": 1, "reward": 0.0}, {"step": 2, "reward": 0.1}])
    step_stream.StepStream(path=path)
    again, rows = step_stream.read(path)
    assert again not in (None, first)
    assert rows == []
