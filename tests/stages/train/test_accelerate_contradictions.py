"""What an accelerate file says, held against the section `train`, the machine and the run's identity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from relex.core.asking import Asking
from relex.core.errors import InputErrors
from relex.core.topology import Gpu, Topology
from relex.params import preflight
from relex.params.load import load
from relex.stages.train import launch as launching
from relex.stages.train import state
from relex.stages.train.accelerate_file import faults
from relex.stages.train.params import Train
from tests.builders import ROOT
from tests.builders.project import Project
from tests.builders.windows import save, tiny_llama

FSDP = ROOT / "infra/profiles/accelerate/fsdp.yaml"
EIGHT = Topology(tuple(Gpu("H100", 80 << 30, str(number)) for number in range(8)), "cuda")


def section(**changes: object) -> Train:
    wanted = {"bf16": True, "per_device_train_batch_size": 8, "accelerate": str(FSDP), **changes}
    return load(ROOT / "params.yaml").train.model_copy(update=wanted)


def said(train: Train, machine: Topology = EIGHT) -> str:
    return "\n".join(str(error) for error in faults(train, Path(str(train.accelerate)), machine))


def test_a_file_that_fits_has_no_faults() -> None:
    assert said(section()) == ""


def test_another_precision_than_the_section_says_is_refused() -> None:
    assert "mixed_precision: contradicts train.bf16: false; expected no; found bf16" in said(section(bf16=False))


def test_completions_that_do_not_divide_and_gpus_that_are_not_there_are_found_before_the_night() -> None:
    assert "expected a divisor of 256 / 8 processes; found 64" in said(section(per_device_train_batch_size=64))
    assert "more processes than GPUs; expected at most 1" in said(section(), Topology(EIGHT.gpus[:1], "cuda"))


def test_preflight_looks_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    Project(tmp_path).change({"train.accelerate": "mine.yaml", "train.per_device_train_batch_size": 8})
    assert "the accelerate configuration is missing" in str(preflight.faults(tmp_path / "params.yaml")[1][0])
    (tmp_path / "mine.yaml").write_text(FSDP.read_text())
    monkeypatch.setattr(preflight, "topology", lambda: EIGHT)
    assert "contradicts train.bf16: false" in str(preflight.faults(tmp_path / "params.yaml")[1][0])


def test_the_file_s_arithmetic_is_part_of_the_run_s_identity_and_its_ports_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "model_sha256", lambda folder: "base")
    monkeypatch.setattr(state, "file_sha256", lambda path: "problems")
    text = FSDP.read_text()

    def identity(text: str) -> str:
        (tmp_path / "mine.yaml").write_text(text)
        return state.identity(section(accelerate=str(tmp_path / "mine.yaml")), Asking())["train_sha256"]

    assert identity(text) == identity(text.replace("main_process_port: 0", "main_process_port: 5"))
    assert identity(text) != identity(text.replace("mixed_precision: bf16 ", 'mixed_precision: "no"'))


@pytest.mark.parametrize(
    ("dtype", "file", "refused"),
    [
        (torch.float32, "zero3", True),
        (torch.float16, "zero3", True),
        (torch.bfloat16, "zero3", False),
        (torch.float32, "fsdp", False),
    ],
)
def test_a_base_that_deepspeed_would_round_is_refused_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, file: str, refused: bool
) -> None:
    """By reading: it casts the module to bfloat16 and makes its float32 masters of that. FSDP keeps float32."""
    monkeypatch.chdir(tmp_path)
    save(tiny_llama(), tmp_path / "base", dtype=dtype)
    wanted = section(accelerate=str(ROOT / f"infra/profiles/accelerate/{file}.yaml"))

    def started(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launching.subprocess, "run", started)
    with pytest.raises(InputErrors if refused else KeyboardInterrupt) as raised:
        launching.launch(wanted, EIGHT)
    assert ("would round the base's weights to bfloat16" in str(raised.value)) is refused
