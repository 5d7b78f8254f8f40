"""The engine process on a real model: what it generates, how it fails, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relex.core.asking import BARE, Asking
from relex.core.errors import InputError, StageFailed
from relex.params.load import load
from relex.stages.base.embedded import make_model, make_tokenizer
from relex.stages.base.params import EmbeddedBase
from relex.stages.evaluate.answering import PROBE_PROMPTS, answers, gives_numbers
from relex.stages.evaluate.engine.process import EngineProcess
from tests.builders import ROOT, asked

pytestmark = pytest.mark.real

SETTINGS = {"dtype": "float32", "max_model_len": 64, "tensor_parallel": 1, "cpu_kv_cache_gib": 1}
PROMPTS = ["48201=", "31=", "975=", "0123456789=", "5="] * 4
SEEDS = list(range(20))
GREEDY = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 12, "logprobs": False}
SAMPLED = GREEDY | {"temperature": 1.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained embedded model: its answers are noise, and the same noise everywhere."""
    import torch

    folder = tmp_path_factory.mktemp("engine") / "model"
    source = load(ROOT / "params.yaml").base.source
    assert isinstance(source, EmbeddedBase)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = make_model(source, tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)  # far from ties
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def start(backend: str, checkpoint: Path, log: Path, **changes: Any) -> EngineProcess:
    return EngineProcess(SETTINGS | {"backend": backend, "model": str(checkpoint)} | changes, log)


@pytest.fixture(scope="module")
def engines(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EngineProcess]]:
    logs = tmp_path_factory.mktemp("logs")
    with (
        start("vllm", checkpoint, logs / "vllm.log") as vllm,
        start("transformers", checkpoint, logs / "transformers.log") as transformers,
    ):
        vllm.wait_until_ready()
        transformers.wait_until_ready()
        yield {"vllm": vllm, "transformers": transformers}


def texts(engine: EngineProcess, order: list[int], sampling: dict[str, Any]) -> dict[int, Any]:
    found = engine.generate([PROMPTS[i] for i in order], [SEEDS[i] for i in order], sampling, BARE)
    return {i: (item["text"], item["finish"], item["tokens"]) for i, item in zip(order, found, strict=True)}


def test_greedy_completions_agree_between_the_backends(engines: dict[str, EngineProcess]) -> None:
    order = list(range(20))
    vllm, transformers = (texts(engine, order, GREEDY) for engine in engines.values())
    assert vllm == transformers
    assert len({text for text, _, _ in vllm.values()}) > 1


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_sampled_completions_depend_on_neither_order_nor_company(
    engines: dict[str, EngineProcess], backend: str
) -> None:
    together = texts(engines[backend], list(range(20)), SAMPLED)
    backwards = texts(engines[backend], list(reversed(range(20))), SAMPLED)
    alone = texts(engines[backend], [7], SAMPLED)
    assert backwards == together
    assert alone[7] == together[7]
    assert len({together[i] for i in (0, 5, 10, 15)}) > 1  # one prompt, four seeds


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_the_nucleus_leaves_unlikely_tokens_out(engines: dict[str, EngineProcess], backend: str) -> None:
    assert texts(engines[backend], list(range(20)), SAMPLED | {"top_p": 1e-6}) == texts(
        engines[backend], list(range(20)), GREEDY
    )


def test_log_probabilities_agree_between_the_backends(engines: dict[str, EngineProcess]) -> None:
    found = [e.generate(PROMPTS[:5], SEEDS[:5], GREEDY | {"logprobs": True}, BARE) for e in engines.values()]
    for ours, theirs in zip(*found, strict=True):
        assert ours["logprobs"] == pytest.approx(theirs["logprobs"], abs=1e-4)
        assert len(ours["logprobs"]) == ours["tokens"]


@pytest.mark.parametrize(
    ("prompt", "chat", "message"),
    [("1" * 60, False, "do not fit max_model_len"), ("", False, "has no tokens"), ("1=", True, "has no chat template")],
)
def test_a_prompt_that_cannot_be_asked_is_bad_input_and_the_engine_goes_on(
    engines: dict[str, EngineProcess], prompt: str, chat: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        engines["vllm"].generate([prompt], [0], GREEDY, Asking(chat=chat))
    assert texts(engines["vllm"], [0], GREEDY)


def test_an_engine_without_the_memory_for_its_cache_says_how_much_it_wanted(checkpoint: Path, tmp_path: Path) -> None:
    long = shutil.copytree(checkpoint, tmp_path / "long")
    config = json.loads((long / "config.json").read_text()) | {"max_position_embeddings": 1 << 20}
    (long / "config.json").write_text(json.dumps(config))
    with (
        start("vllm", long, tmp_path / "log", cpu_kv_cache_gib=5000, max_model_len=1 << 20) as engine,
        pytest.raises(StageFailed, match=r"(?s)failed to start.*256\.0 GiB\).*the end of .*log"),
    ):
        engine.wait_until_ready()


def test_an_engine_starts_without_a_process_that_imports_vllm_again(checkpoint: Path, tmp_path: Path) -> None:
    """vLLM keeps what such a process found below its cache folder: on a new machine it took longer than the engine."""
    cache = {"VLLM_CACHE_ROOT": str(tmp_path / "cache"), "VLLM_CPU_KVCACHE_SPACE": "4000"}  # which counts for nothing
    settings = SETTINGS | {"backend": "vllm", "model": str(checkpoint)}
    with EngineProcess(settings, tmp_path / "log", cache) as engine:
        assert texts(engine, [0], GREEDY)
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_model_that_is_not_there_fails_with_the_reason(tmp_path: Path) -> None:
    with (
        start("transformers", tmp_path / "nowhere", tmp_path / "log") as engine,
        pytest.raises(StageFailed, match=r"failed to start.*exit 1"),
    ):
        engine.wait_until_ready()


def test_an_engine_that_is_killed_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    with start("transformers", checkpoint, tmp_path / "log") as engine:
        engine.wait_until_ready()
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(StageFailed, match="want of memory"):
            engine.generate(["1="], [0], GREEDY, BARE)


@pytest.mark.parametrize("moment", ["starting", "generating"])
def test_the_engine_dies_with_its_parent_however_that_dies(checkpoint: Path, tmp_path: Path, moment: str) -> None:
    settings = SETTINGS | {"backend": "transformers", "model": str(checkpoint)}
    script = (
        "import pathlib\nfrom relex.core.asking import BARE\n"
        "from relex.stages.evaluate.engine.process import EngineProcess\n"
        f"e = EngineProcess({settings!r}, pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(e.pid, flush=True)\n"
        f"while e.generate(['1='] * 500, list(range(500)), {SAMPLED!r}, BARE): print('batch', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    engine = psutil.Process(int(parent.stdout.readline()))
    if moment == "generating":
        assert parent.stdout.readline() == "batch\n"
    else:
        time.sleep(0.5)
    parent.kill()
    parent.wait()
    engine.wait(timeout=10)
    assert not engine.is_running()


def test_a_probe_costs_the_same_few_tokens_whatever_the_limit_of_the_suite_is(
    engines: dict[str, EngineProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's context holds 64 tokens: it would refuse a limit of 16,384."""
    sent: list[dict[str, Any]] = []
    send = EngineProcess._send
    monkeypatch.setattr(EngineProcess, "_send", lambda self, request: sent.append(request) or send(self, request))
    for longest, tokens in ((4, 4), (16, 16), (16_384, 16)):
        assert gives_numbers(engines["transformers"], asked.suite("choose", 20, max_tokens=longest))
        assert len(sent[-1]["prompts"]) == PROBE_PROMPTS == 8
        assert sent[-1]["sampling"]["max_tokens"] == tokens


def test_all_rows_of_a_share_go_to_the_engine_in_one_request(
    engines: dict[str, EngineProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refills its batch as rows end; what is asked in parts waits for the slowest of each."""
    sent: list[dict[str, Any]] = []
    send = EngineProcess._send
    monkeypatch.setattr(EngineProcess, "_send", lambda self, request: sent.append(request) or send(self, request))
    suite = asked.suite("choose", 60)
    wanted = [(problem, sample) for problem in suite.problems for sample in range(4)]
    rows = [row for part in answers(engines["transformers"], suite, wanted) for row, _ in part]
    assert [len(request["prompts"]) for request in sent] == [240]
    assert sorted((problem.id, sample) for problem, sample in rows) == sorted((p.id, s) for p, s in wanted)
