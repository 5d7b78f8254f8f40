"""The GPUs of a vLLM server are part of what a training costs; the server is played, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from relex.core.errors import InputError
from relex.params.load import load
from relex.stages.train.budget import BudgetStop, Clock
from relex.stages.train.process import gpus_of
from relex.stages.train.server_gpus import server_gpus
from tests.builders import ROOT

TRAIN = load(ROOT / "params.yaml").train


@pytest.fixture
def url() -> Iterator[str]:
    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/get_world_size" else 404)
            self.end_headers()
            self.wfile.write(b'{"world_size": 4}')

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def with_server(url: str, mode: str = "server"):
    wanted = {"backend": "vllm", "mode": mode, "server_url": url}
    return TRAIN.model_copy(update={"generation": TRAIN.generation.model_copy(update=wanted)})


def test_gpu_hours_count_those_of_the_server_beside_those_that_train(url: str) -> None:
    assert server_gpus(url + "/") == 4
    assert gpus_of(with_server(url), 2) == 6
    assert gpus_of(with_server(url, "colocate"), 2) == 2
    assert gpus_of(TRAIN, 2) == 2


def test_a_budget_of_gpu_hours_ends_sooner_with_a_server() -> None:
    budget = TRAIN.budget.model_copy(update={"gpu_hours": 1.0, "minutes": None})
    limits = [BudgetStop(budget, Clock(), None, None, gpus=gpus)._limit for gpus in (2, 6)]
    assert limits == [1800.0, 600.0]


def test_a_server_that_does_not_answer_is_named(url: str) -> None:
    with pytest.raises(InputError, match="nowhere/get_world_size: the vLLM server does not say how many GPUs"):
        server_gpus(url + "/nowhere")
