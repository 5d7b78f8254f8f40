"""The accelerate configurations, read by the pinned accelerate itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from tests.builders.project import ROOT

FOLDER = ROOT / "infra/profiles/accelerate"
KINDS = {"ddp-cpu": "MULTI_CPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}


def launch_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `accelerate launch --config_file` makes of the file."""
    command = ["--config_file", str(FOLDER / f"{name}.yaml"), "train.py"]
    arguments = launch_command_parser().parse_args(command)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return _validate_launch_command(arguments)[0]


def test_every_file_is_of_a_kind_that_is_tested_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_the_file_and_knows_every_key(name: str) -> None:
    found = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert found.distributed_type == DistributedType(KINDS[name])
    assert found.num_processes == (2 if name == "ddp-cpu" else 8)


def test_accelerate_refuses_an_unknown_key(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text((FOLDER / "fsdp.yaml").read_text() + "nonsense: 1\n")
    with pytest.raises(ValueError, match="nonsense"):
        load_config_from_file(str(path))


def test_fsdp_reaches_the_processes_with_the_settings_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launch_arguments("fsdp", monkeypatch)
    assert arguments.use_fsdp
    environment = prepare_multi_gpu_env(arguments)
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert environment["FSDP_VERSION"] == "2"
    assert environment["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_zero_3_is_launched_with_the_settings_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launch_arguments("zero3", monkeypatch)
    assert arguments.use_deepspeed
    assert (arguments.zero_stage, arguments.zero3_init_flag, arguments.mixed_precision) == (3, True, "bf16")


def test_two_processes_without_a_gpu_are_launched_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launch_arguments("ddp-cpu", monkeypatch)
    assert arguments.use_cpu
    assert arguments.num_processes == 2
