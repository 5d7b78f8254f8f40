"""TRL imported without vLLM and MLflow where a training asks neither: it loads both wherever they are installed, which
takes longer than the steps of a short window."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

import transformers.integrations

_TRL: ModuleType = importlib.import_module("trl.import_utils")  # no attribute of its package, whose names load lazily


@contextlib.contextmanager
def importing_trl(*, vllm: bool) -> Iterator[None]:
    """What is imported of TRL in here finds MLflow not installed, and vLLM only if `vllm`; it keeps what it found when
    it is imported again later."""
    hidden: list[tuple[ModuleType, str]] = [(transformers.integrations, "is_mlflow_available")]
    if not vllm:
        hidden.append((_TRL, "is_vllm_available"))
    with contextlib.ExitStack() as stack:
        for module, name in hidden:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, _not_available)
        yield


def load() -> None:
    """Import all of TRL that a training without vLLM needs, for a template of the fork server."""
    with importing_trl(vllm=False):
        importlib.import_module("relex.stages.train.config")
        importlib.import_module("relex.stages.train.trainer")


def _not_available(*args: object, **kwargs: object) -> bool:
    return False
