"""Following a training in MLflow, on a registry in a SQLite file: what is sent, and what is given up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from relex.core.atomic import read_json
from relex.params.load import Params
from relex.registry import live as registry_live
from relex.registry.store import connection as registry_client
from relex.stages.train.step_stream import STREAM, StepStream

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers that look and try again at once."""
    monkeypatch.setattr(registry_live, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(registry_live, "_RETRY_SECONDS", 0.1)


class Following:
    """`relex live` in a thread of this process."""

    def __init__(self, params: Params):
        self.said = ""
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._follow, args=(params,))
        self.thread.start()

    def _follow(self, params: Params) -> None:
        self.said = registry_live.follow(params, self.stop)

    def end(self) -> str:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.said


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sent(params: Params) -> list[tuple[int, float]]:
    """(step, reward) as MLflow has them."""
    if not registry_live.PENDING.is_file():
        return []
    client = registry_client.connect(params).client
    history = client.get_metric_history(read_json(registry_live.PENDING)["train"], "train/reward")
    return [(metric.step, metric.value) for metric in history]


def test_steps_are_sent_once_each_and_what_is_no_number_is_left_out(params: Params) -> None:
    following = Following(params)
    stream = StepStream()
    stream.append({"step": 1, "reward": 0.1, "entropy": float("nan")})
    wait(lambda: sent(params) == [(1, 0.1)])
    stream.append({"step": 2, "reward": 0.2, "entropy": 0.5})
    stream.append({"step": 3, "reward": 0.3, "entropy": float("inf")})
    wait(lambda: len(sent(params)) == 3)
    assert following.end() == "live: 3 steps sent"
    again = Following(params)  # restarted in the middle of the training
    StepStream(after=3).append({"step": 4, "reward": 0.4})
    wait(lambda: len(sent(params)) == 4)
    assert again.end() == "live: 1 steps sent"
    assert sent(params) == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    runs = read_json(registry_live.PENDING)
    client = registry_client.connect(params).client
    entropy = client.get_metric_history(runs["train"], "train/entropy")
    assert [(metric.step, metric.value) for metric in entropy] == [(2, 0.5)]
    assert client.get_run(runs["train"]).data.tags["mlflow.parentRunId"] == runs["night"]
    assert client.get_run(runs["night"]).info.run_name.startswith("training 2")


def test_the_stream_of_an_earlier_training_is_not_followed(params: Params) -> None:
    StepStream().append({"step": 1, "reward": 0.1})
    os.utime(STREAM, (1_000_000, 1_000_000))
    following = Following(params)
    time.sleep(0.5)
    assert following.end() == "live: 0 steps sent"
    assert not registry_live.PENDING.exists()


def test_a_training_that_began_anew_gets_runs_of_its_own_and_the_one_given_up_is_ended(params: Params) -> None:
    following = Following(params)
    StepStream().append({"step": 1, "reward": 0.1})
    wait(lambda: sent(params) == [(1, 0.1)])
    given_up = read_json(registry_live.PENDING)
    StepStream().append({"step": 1, "reward": 0.7})
    wait(lambda: sent(params) == [(1, 0.7)])
    following.end()
    client = registry_client.connect(params).client
    assert {client.get_run(given_up[kind]).info.status for kind in ("train", "night")} == {"KILLED"}
    assert client.get_run(read_json(registry_live.PENDING)["train"]).info.status == "RUNNING"


def test_a_registry_that_is_away_costs_one_line_and_gets_all_steps_when_it_is_back(
    params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    real, away = registry_client.connect, [True]

    def connect(asked: Params) -> registry_client.Connection:
        if away[0]:
            raise ConnectionError("the registry is away")
        return real(asked)

    with monkeypatch.context() as patch:
        patch.setattr(registry_live, "connect", connect)
        following = Following(params)
        stream = StepStream()
        stream.append({"step": 1, "reward": 0.1})
        time.sleep(1.0)
        stream.append({"step": 2, "reward": 0.2})
        time.sleep(0.5)
        away[0] = False
        wait(lambda: registry_live.PENDING.is_file())
        assert following.end() == "live: 2 steps sent"
    assert sent(params) == [(1, 0.1), (2, 0.2)]
    assert capsys.readouterr().err.count("relex live: ") == 1
