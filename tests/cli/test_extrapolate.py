"""`relex extrapolate` says what it wrote."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from relex.cli.app import app
from relex.core.atomic import read_json
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory


def test_every_folder_that_was_written_is_said_with_its_size(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    window = write_trajectory(tmp_path / "window", base, [1, 2, 3], line_with_noise())
    out = tmp_path / "out"
    arguments = ["extrapolate", "--trajectory", window, "--base", base, "--target", 9, "--target", 20, "--out", out]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    lines = done.output.replace("\n", " ")
    for target in ("step_000009", "step_000020"):
        assert f"{out / target}: " in lines
    assert "KiB" in lines
    assert f"{out / 'fit.json'}: how each tensor fits" in lines


def _extrapolate(tmp_path, *flags):
    base = save(tiny_llama(), tmp_path / "base")
    window = write_trajectory(tmp_path / "window", base, [1, 2, 3], line_with_noise())
    arguments = ["extrapolate", "--trajectory", window, "--base", base, "--out", tmp_path / "out", *flags]
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_rays_are_flags(tmp_path):
    ray = ["--anchor", "last", "--anchor-mean", 2, "--kinds", "mlp=0.5", "--kinds", "norms=0"]
    done = _extrapolate(tmp_path, "--soup", 9, "--soup", 20, *ray)
    assert done.exit_code == 0, done.output
    request = read_json(tmp_path / "out/fit.json")["request"]
    asked = {name: request[name] for name in ("targets", "soup", "anchor_mean", "kinds")}
    assert asked == {"targets": [14], "soup": [9, 20], "anchor_mean": 2, "kinds": {"mlp": 0.5, "norms": 0.0}}


@pytest.mark.parametrize("said", ["heads=1", "mlp", "mlp=far"])
def test_a_size_that_is_none_is_refused(tmp_path, said):
    done = _extrapolate(tmp_path, "--target", 9, "--kinds", said)
    assert done.exit_code == 2
    assert "KIND=SIZE" in done.output
