"""A night's fork server: what it imports is there, where there is none, and that one in use is not replaced."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import forkserver
from flows.forkserver import fork_server, plan
from flows.process import environment, run_command
from relex.core.errors import StageFailed
from relex.core.forkserver.ask import VARIABLE
from relex.params.load import load
from tests.builders import ROOT

PARAMS = load(ROOT / "params.yaml")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def test_what_is_planned_can_be_imported() -> None:
    """Otherwise a night would be slow, and nothing would say so but a log."""
    for entry in plan(PARAMS):
        for name in entry.rpartition("=")[2].split(","):
            module, _, call = name.partition(":")
            assert importlib.util.find_spec(module), name
            if call:
                assert f"def {call}(" in Path(importlib.util.find_spec(module).origin).read_text()


def test_a_template_without_need_is_left_out() -> None:
    one = PARAMS.model_copy(update={"evaluate": PARAMS.evaluate.model_copy(update={"backend": "transformers"})})
    named = [
        [entry.partition("=")[0].rstrip("@") for entry in plan(params) if "=" in entry] for params in (PARAMS, one)
    ]
    assert named == [["dvc", "registry", "engine", "stage"], ["dvc", "registry", "stage"]]


def test_what_stages_are_forked_from_computes_nothing() -> None:
    """Torch's threads, once started, do not survive a fork: on two cores the first stage would wait for ever."""
    calls = [name for entry in plan(PARAMS) for name in entry.rpartition("=")[2].split(",") if ":" in name]
    assert calls == [
        "relex.registry.store.packaging:load",
        "relex.stages.evaluate.engine.vllm_backend:load",
        "relex.stages.train.trl_import:load",
    ]


@pytest.mark.parametrize("value", ["", "/a/server"])
def test_one_that_was_given_or_refused_stays(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with fork_server(PARAMS):
        assert os.environ[VARIABLE] == value
    assert os.environ[VARIABLE] == value
    assert not Path(".relex").exists()


def test_none_where_a_driver_of_a_gpu_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_DRIVERS", (tmp_path,))
    with fork_server(PARAMS):
        assert VARIABLE not in os.environ


@pytest.mark.real
def test_commands_are_forked_while_it_lasts_and_nothing_of_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "plan", lambda params: ["stage=csv"])
    command = [sys.executable, "-m", "relex.cli", "bench", "--help"]
    with fork_server(PARAMS, os.environ):
        place = Path(os.environ[VARIABLE])
        assert (place / "stage").is_socket()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "refused" in Path(".relex/forkserver.log").read_text()) == (2, False)
    assert "No such command 'bench'" in done.stderr
    assert VARIABLE not in os.environ
    assert not place.exists()


@pytest.mark.real
def test_dvc_is_forked_too_and_its_lines_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "plan", lambda params: ["dvc=dvc.cli.parser", "stage=csv"])
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, env=environment(), check=True)
    Path("dvc.yaml").write_text("stages: {hello: {cmd: echo hello from the stage, always_changed: true}}")
    fresh = run_command(["dvc", "repro"], print)
    with fork_server(PARAMS):
        forked = run_command(["dvc", "repro"], print)
        with pytest.raises(StageFailed, match="^dvc no-such-command ended with exit code 254$"):
            run_command(["dvc", "no-such-command"], print)
    first = ["Running stage 'hello':", "> echo hello from the stage", "hello from the stage"]
    assert fresh[:3] == forked[:3] == first
    assert Path(".relex/forkserver.log").read_text().splitlines() == ["forked dvc repro", "forked dvc no-such-command"]


@pytest.mark.real
def test_dvc_is_started_afresh_where_no_template_of_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "plan", lambda params: ["stage=csv"])
    with fork_server(PARAMS):
        assert run_command(["dvc", "--version"], print)
    assert not Path(".relex/forkserver.log").read_text()


def test_a_command_s_own_commands_run_in_the_same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the server refused what flows.save asks of DVC, and DVC was imported afresh."""
    monkeypatch.setenv("PATH", "/somewhere/bin")
    first = environment()
    assert first["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/somewhere/bin"
    monkeypatch.setattr(os, "environ", first)
    assert environment() == first
