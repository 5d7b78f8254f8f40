"""A fork server that tests share: what they start need not import torch, transformers and vLLM each time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from unittest import mock

from flows.forkserver import fork_server
from relex.core.forkserver.ask import VARIABLE
from relex.core.forkserver.surroundings import started_with
from relex.params.load import load
from tests.builders import ROOT


@contextlib.contextmanager
def for_engines() -> Iterator[str]:
    """A server for the engines that this process starts itself; where it listens."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with contextlib.chdir(folder), mock.patch.dict(os.environ):
            stack.enter_context(fork_server(load(ROOT / "params.yaml"), started_with()))
            place = os.environ[VARIABLE]
        yield place
