"""A fork server that tests share: what they start need not import torch, transformers and vLLM each time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from flows.forkserver import fork_server
from relex.core.forkserver.ask import VARIABLE, has_loaded
from relex.core.forkserver.surroundings import started_with
from relex.core.workspace import STATE
from relex.params.load import load
from tests.builders import ROOT
from tests.builders.project import family, wait_for


@contextlib.contextmanager
def for_engines() -> Iterator[str]:
    """A server for the engines that this process starts itself; where it listens."""
    with _server(started_with()) as place:
        yield place


@contextlib.contextmanager
def for_commands() -> Iterator[str]:
    """A server for the commands that this process starts, and for their engines; where it listens."""
    with _server(dict(os.environ)) as place:
        yield place


@contextlib.contextmanager
def _server(variables: Mapping[str, str]) -> Iterator[str]:
    """variables: the environment that those who ask were started with."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with contextlib.chdir(folder), mock.patch.dict(os.environ):
            stack.enter_context(fork_server(load(ROOT / "params.yaml"), variables))
            place = os.environ.get(VARIABLE, "")  # none where a GPU is: then all is started afresh
            assert not place or wait_for(lambda: has_loaded("stage"))  # the last template, once all of them are there
        yield place
        if place:
            log = (Path(folder) / STATE / "forkserver.log").read_text()
            assert "refused" not in log, log  # what was to be forked was started afresh, which takes ten times as long


@contextlib.contextmanager
def asking(place: str) -> Iterator[None]:
    """Have what is started in the body ask the server that listens there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, place)
        yield


class Command(subprocess.Popen[str]):
    """A command that this process starts; one at a time, where it is to be killed."""

    def __init__(self, command: Sequence[str], **options: Any):
        self._others = {process.pid for process in family(os.getpid())}
        super().__init__(command, text=True, **options)

    def kill_all(self) -> None:
        """kill -9, and wait until all that it has started, and what was forked for it, has ended of itself."""
        started = [one for one in family(os.getpid()) if one.pid not in self._others]
        self.kill()
        self.communicate()
        left = psutil.wait_procs(started, timeout=20)[1]
        assert left == []
