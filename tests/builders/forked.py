"""A fork server that tests share: what they start need not import torch, transformers and vLLM each time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from flows.forkserver import fork_server
from relex.core.forkserver.ask import VARIABLE
from relex.core.forkserver.surroundings import started_with
from relex.core.workspace import STATE
from relex.params.load import load
from tests.builders import ROOT


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
        yield place
        if place:
            log = (Path(folder) / STATE / "forkserver.log").read_text()
            assert "refused" not in log, log  # what was to be forked was started afresh, which takes ten times as long
