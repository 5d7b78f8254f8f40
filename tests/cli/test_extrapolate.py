"""`relex extrapolate` says what it wrote."""

from __future__ import annotations

from typer.testing import CliRunner

from relex.cli.app import app
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
