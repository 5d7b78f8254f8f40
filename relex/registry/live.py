"""Following the training in MLflow while it runs: step metrics and system metrics, live.

It runs beside the training, in a process of its own: a registry that is slow or away costs the training nothing, and
what could not be sent is logged by `relex register` at the night's end.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil

from relex.core.atomic import read_json, write_json
from relex.core.errors import RelexError
from relex.params.load import Params
from relex.registry.store.connection import Connection, connect, registry_errors, run_tags
from relex.registry.store.runs import PENDING
from relex.stages.train import step_stream

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_POLL_SECONDS = 2.0
_RETRY_SECONDS = 30.0
_BATCH = 900


def follow(params: Params, stop: threading.Event | None = None) -> str:
    """Send the steps of the training that runs now to MLflow until told to stop (SIGTERM, SIGINT, or `stop`).

    It is the one that has written a step since this process was started: how long that took to get here does not count.
    Never fails because of the registry: it says once that it is away, and tries again. Returns what it did.
    """
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    begun = psutil.Process().create_time()
    follower: _Follower | None = None
    warned = False
    last_round = False
    sent = 0
    while not last_round:
        last_round = stop.wait(_POLL_SECONDS)
        identity, rows = step_stream.read()
        if identity is None or step_stream.STREAM.stat().st_mtime < begun - 1:
            continue  # the stream of an earlier training
        try:
            with registry_errors(params):
                if follower is None or follower.identity != identity:
                    if follower is not None:
                        follower.close()
                    follower = _Follower(connect(params), identity)
                sent += follower.send(rows)
        except RelexError as error:
            if not warned:
                print(f"relex live: {error}", file=sys.stderr)
                warned = True
            last_round = last_round or stop.wait(_RETRY_SECONDS)
    if follower is not None:
        follower.close()
    return f"live: {sent} steps sent"


class _Follower:
    """One training and its runs. `last`: the last step that MLflow has."""

    def __init__(self, connection: Connection, identity: str):
        self.identity = identity
        self._client = connection.client
        runs = self._resume() or self._begin(connection)
        self._run = runs["train"]
        history = self._client.get_metric_history(self._run, "train/reward")
        self.last = max((metric.step for metric in history), default=0)
        self._monitor = _system_metrics(self._run)

    def _resume(self) -> dict[str, Any] | None:
        pending = read_json(PENDING) if PENDING.is_file() else None
        if pending is None or pending["id"] == self.identity:
            return pending
        for kind in ("train", "night"):  # of a training that was given up
            self._client.set_terminated(pending[kind], "KILLED")
        return None

    def _begin(self, connection: Connection) -> dict[str, Any]:
        experiment = connection.experiment_id(connection.experiment)
        tags = {"relex.kind": "night", "relex.night": f"pending {self.identity}", **run_tags()}
        date = datetime.now(UTC).date().isoformat()
        night = self._client.create_run(experiment, tags=tags, run_name=f"training {date}")
        tags = {**tags, "relex.kind": "train", "mlflow.parentRunId": night.info.run_id}
        train = self._client.create_run(experiment, tags=tags, run_name="train")
        runs = {"id": self.identity, "night": night.info.run_id, "train": train.info.run_id}
        write_json(PENDING, runs)
        return runs

    def send(self, rows: list[dict[str, Any]]) -> int:
        """Log the rows that MLflow has not; how many."""
        from mlflow.entities import Metric

        new = [row for row in rows if row["step"] > self.last]
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"train/{name}", float(value), now, int(row["step"]))
            for row in new
            for name, value in row.items()
            if name != "step" and math.isfinite(value)
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run, metrics=metrics[start : start + _BATCH])
        if new:
            self.last = int(new[-1]["step"])
        return len(new)

    def close(self) -> None:
        """Stop measuring the machine. The run stays open: `relex register` completes it."""
        if self._monitor is not None:
            self._monitor.finish()


def _system_metrics(run: str) -> SystemMetricsMonitor | None:
    """CPU, memory, disk, network and GPU of this machine, sampled by MLflow into the run."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, sampling_interval=_POLL_SECONDS, samples_before_logging=2, resume_logging=True)
    monitor.start()
    return monitor
