"""`relex serve`: vLLM's own server on a registered model, asked over HTTP, and gone when it is told to stop."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from relex.core.atomic import write_json
from relex.core.errors import InputError, StageFailed
from relex.params.load import Params
from relex.params.registry import Alone
from relex.registry import serve as serving
from relex.registry.promotion import promote
from relex.registry.register import register
from tests.builders import ROOT
from tests.builders.environments import environment_at
from tests.builders.nights import finish_night

pytestmark = pytest.mark.real
ENGINE = serving.Engine(dtype="float32", max_model_len=64, cpu_kv_cache_gib=1)


@pytest.mark.slow
def test_a_registered_champion_is_served_by_vllm_and_answers_the_printed_curl_line(
    tmp_path: Path, project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    checkout = tmp_path / "my models" / "x y"  # as vLLM by itself would not find its own files
    shutil.copytree(project, checkout)
    (checkout / "params.yaml").unlink()  # a folder with a registry serves without a project
    interpreter, port = str(environment_at(checkout / ".venv")), _free_port()
    command = [interpreter, "-m", "relex.cli", "serve", "sort-digits@champion", "--port", str(port)]
    log = tmp_path / "serve.log"
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=checkout, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        line = _printed_curl(process, log)
        answer = json.loads(subprocess.run(shlex.split(line), capture_output=True, check=True).stdout)
        assert answer["model"] == "sort-digits@champion"
        assert answer["choices"][0]["text"]
        assert answer["usage"]["prompt_tokens"] >= 4
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        assert "ld.so" not in log.read_text()
        assert "ld.so" not in (checkout / f".relex/serve-{port}.log").read_text()
        said = log.read_text().strip().splitlines()
        assert len(said) == 4, said  # where vLLM's own words are, the address, and the line
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot listen there"):
            serving.serve(ENGINE, tmp_path, "m", "1", "127.0.0.1", taken.getsockname()[1])


@pytest.mark.slow
def test_a_server_that_cannot_load_the_model_is_reported_with_the_end_of_its_log_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    port = _free_port()
    with pytest.raises(StageFailed, match=rf"(?s)before it answered; the end of \.relex/serve-{port}\.log:\n.*config"):
        serving.serve(ENGINE, empty, "m", "1", "127.0.0.1", port)
    assert capfd.readouterr().out == f"starting vLLM's server; what it says is in .relex/serve-{port}.log\n"
    mine = psutil.Process(os.getpid()).children(recursive=True)
    assert not any(str(empty) in " ".join(child.cmdline()) for child in mine)


def test_a_server_answers_as_the_models_lineage_says_else_as_params_or_the_checkpoint(
    tmp_path: Path, params: Params
) -> None:
    write_json(tmp_path / "config.json", {"max_position_embeddings": 300})
    write_json(tmp_path / "lineage.json", {"evaluation": {"engine": {"dtype": "bfloat16", "max_model_len": 77}}})
    alone = Alone(params.registry)
    assert serving.engine_of(params, tmp_path) == serving.Engine("bfloat16", 77, params.evaluate.cpu_kv_cache_gib)
    assert serving.engine_of(alone, tmp_path) == serving.Engine("bfloat16", 77, 1)
    write_json(tmp_path / "lineage.json", {"evaluation": {}})  # of an earlier release
    assert serving.engine_of(params, tmp_path) == serving.Engine.of(params.evaluate)
    assert serving.engine_of(alone, tmp_path) == serving.Engine("auto", 300, 1)


def test_the_curl_line_of_a_chat_model_goes_through_its_template(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    words = shlex.split(serving.curl(tmp_path, "m", "what's 1+1?", "127.0.0.1", 1))
    assert "http://127.0.0.1:1/v1/chat/completions" in words
    assert json.loads(words[-1])["messages"] == [{"role": "user", "content": "what's 1+1?"}]


def _printed_curl(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        found = re.search(r"^\s*(curl .*)$", log.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1]
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
