"""One task per DVC stage, and one per registry action: each runs its command, with its lines in Prefect's log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.states import State

from flows import ahead
from flows.dvc_command import DVC
from flows.process import OURS, run_command
from flows.refusals import said_once
from relex.core.errors import InputError

STAGES = ("problems", "base", "train", "diagnose", "extrapolate", "evaluate", "decide", "report")

# Where a second try can help: an engine that found too little memory just then, a registry or remote that was away.
_RETRIES = {"evaluate": 1, "begin": 2, "register": 2, "promote": 2, "save": 2, "end": 2, "prune": 2}
_RETRY_SECONDS = 10


def _worth_a_retry(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Bad input stays bad."""
    try:
        state.result()
    except InputError:
        return False
    except Exception:  # whatever else ended the stage may pass: memory, a full disk, a lost connection
        return True
    return True


@task(cache_policy=NO_CACHE, retry_delay_seconds=_RETRY_SECONDS, retry_condition_fn=_worth_a_retry)
def command_task(command: Sequence[str], folder: Path | None = None) -> list[str]:
    """Run one command in this task run, or take over the one that has begun; its lines."""
    logger = get_run_logger()

    def log(line: str) -> None:
        (logger.error if line.startswith(OURS) else logger.info)(line)

    if folder is None and (begun := ahead.taken(command)):
        return begun.follow(log)
    return run_command(command, log, folder)


def stage_command(name: str) -> list[str]:
    """What brings one DVC stage up to date."""
    return [DVC, "--wait-for-lock", "repro", "--single-item", name]


def run_stage(name: str) -> bool:
    """Bring one DVC stage up to date; whether its command had to run."""
    lines = run_action(name, stage_command(name))
    return any(line.startswith(("Running stage", "> ")) for line in lines)


def run_action(name: str, command: Sequence[str], folder: Path | None = None) -> list[str]:
    """Run a command (in `folder`) as the task `name`; its lines."""
    said_once()
    named = command_task.with_options(name=name, task_run_name=name, retries=_RETRIES.get(name, 0))
    return named(command, folder)
