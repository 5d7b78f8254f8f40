"""Fork servers that tests share: what they start need not import torch, transformers and vLLM each time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from unittest import mock

from flows.forkserver import fork_server
from flows.stages import environment
from relex.core.forkserver.ask import VARIABLE
from relex.core.forkserver.surroundings import started_with
from relex.params.load import load
from tests.builders import ROOT


@contextlib.contextmanager
def for_nights(variables: Mapping[str, str]) -> Iterator[str]:
    """A server for the commands of nights that are started in an environment of those variables; where it listens."""
    with mock.patch.dict(os.environ, variables, clear=True):
        commands = environment()
    with _server(commands) as place:
        yield place


@contextlib.contextmanager
def for_engines() -> Iterator[str]:
    """A server for the engines that this process starts itself; where it listens."""
    with _server(started_with()) as place:
        yield place


@contextlib.contextmanager
def _server(variables: Mapping[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with contextlib.chdir(folder), mock.patch.dict(os.environ):
            stack.enter_context(fork_server(load(ROOT / "params.yaml"), variables))
            place = os.environ[VARIABLE]
        yield place
