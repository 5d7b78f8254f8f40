"""Following the training while it runs: what the follower was still writing when the training ended is not left."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from flows.nightly import followed, ready
from relex.core.atomic import PREFIX
from relex.core.forkserver.ask import VARIABLE
from relex.stages.train.step_stream import StepStream
from tests.builders.nights import change_params, make_project
from tests.builders.project import family, runs, wait_for

pytestmark = pytest.mark.real


def _train(ended: threading.Event) -> None:
    """The stream of a training of many short steps."""
    stream, step = StepStream(), 0
    while not ended.wait(0.2):
        step += 1
        stream.append({"step": step, "train/reward": 0.5})


@pytest.mark.parametrize("forked", [False, True], ids=["started", "forked"])
def test_a_follower_that_is_killed_while_it_makes_the_registry_leaves_nothing(
    forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine MLflow takes longer to make its tables than so short a training and the follower's grace.

    forked: by a fork server (none where a GPU is), whose keeper is too slow to end it before the night goes on.
    """
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    change_params(tmp_path)
    if not forked:
        monkeypatch.setenv(VARIABLE, "")
    before = {path.name for path in tmp_path.iterdir()}
    with ready(print):
        served = bool(os.environ.get(VARIABLE))
        with followed():
            training = threading.Thread(target=_train, args=(ended := threading.Event(),))
            training.start()
            try:
                assert wait_for(lambda: any(tmp_path.glob(f"{PREFIX}mlflow.db-*")), 120)
                following = [one for one in family(os.getpid()) if runs([one], "relex live")]
                following = [one for one in following if not runs([one], "supervise.py")]
                assert len(following) == (2 if served else 1)  # who asked, and what was forked for it
                for one in following:
                    if served and not runs([one], "bin/relex"):
                        one.parent().send_signal(signal.SIGSTOP)
                    one.send_signal(signal.SIGSTOP)
            finally:
                ended.set()
                training.join()
        assert any(tmp_path.glob(f"{PREFIX}mlflow.db-*"))
    assert not (tmp_path / "mlflow.db").exists()
    assert {path.name for path in tmp_path.iterdir()} == before | {".relex"}
