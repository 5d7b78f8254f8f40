"""Which checkpoints of another trainer count: whole ones that it is done with, each content once."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from relex.checkpoints.digest import weights_sha256
from relex.core.errors import InputError
from relex.nights import arrived as arrivals
from relex.stages.train.params import Imported
from tests.builders.windows import line_with_noise, tiny_llama, write_checkpoints

VERL = "global_step_{}/actor/huggingface"
DAY = 86400.0


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_llama()


def section(run: Path, **changes: Any) -> Imported:
    facts = {"kind": "import", "run": str(run), "seed": 0, "temperature": 1.0, "max_completion_length": 4}
    return Imported.model_validate({**facts, "completions": {"prompts": 1, "samples": 1}, **changes})


def write(run: Path, model: PreTrainedModel, steps: list[int], *, layout: str = VERL, shard: str = "1GB") -> Path:
    return write_checkpoints(run, model, steps, line_with_noise(), layout=layout, shard=shard)


def verl_says(run: Path, step: int) -> None:
    """As verl does after each save."""
    (run / "latest_checkpointed_iteration.txt").write_text(str(step))


def steps_of(found: arrivals.Arrived) -> list[int]:
    return [one.step for one in found.checkpoints]


@pytest.mark.parametrize(
    "layout",
    [
        "checkpoint-{}",
        VERL,
        "global_step_{}/huggingface",
        "global_step_{}/merged_hf_model",
        "global_step{}_hf",
        "rollout_{}",
        "iter_{}",
        "step_{}-hf",
        "step_{}/policy/weights/model/consolidated",
    ],
)
def test_the_layouts_of_five_trainers_are_read(tmp_path: Path, model: PreTrainedModel, layout: str) -> None:
    run = write(tmp_path / "run", model, [10, 20], layout=layout)
    found = arrivals.arrived(section(run, settled=1e-9))
    assert steps_of(found) == [10, 20]
    assert [one.path for one in found.checkpoints] == [layout.format(10), layout.format(20)]
    assert found.checkpoints[1].sha256 == weights_sha256(run / layout.format(20))
    assert found.left == ()


def test_the_state_of_a_trainer_beside_its_copy_is_not_another_checkpoint(
    tmp_path: Path, model: PreTrainedModel
) -> None:
    run = write(tmp_path / "run", model, [10, 20], layout="global_step{}_hf")
    for step in (10, 20):
        (run / f"global_step{step}").mkdir()
        (run / f"global_step{step}" / "mp_rank_00_model_states.pt").write_bytes(b"pickled")
    assert steps_of(arrivals.arrived(section(run, settled=1e-9))) == [10, 20]


def test_what_verl_says_is_complete_counts_at_once_and_what_it_does_not_never(
    tmp_path: Path, model: PreTrainedModel
) -> None:
    run = write(tmp_path / "run", model, [10, 20, 30])
    verl_says(run, 20)
    found = arrivals.arrived(section(run))
    assert steps_of(found) == [10, 20]
    assert found.left == (
        "step 30 is left alone: the last complete step is 20, says latest_checkpointed_iteration.txt",
    )
    assert steps_of(arrivals.arrived(section(run, settled=1e-9))) == [10, 20]


def test_what_was_put_there_after_its_word_has_to_settle(tmp_path: Path, model: PreTrainedModel) -> None:
    run = write(tmp_path / "run", model, [10, 20])
    verl_says(run, 20)
    later = time.time() + 60
    os.utime(run / VERL.format(20) / "model.safetensors", (later, later))
    assert steps_of(arrivals.arrived(section(run))) == [10]


def test_a_checkpoint_without_a_word_counts_once_nothing_changes(tmp_path: Path, model: PreTrainedModel) -> None:
    run = write(tmp_path / "run", model, [10, 20], layout="step_{}")
    found = arrivals.arrived(section(run, settled=DAY))
    assert (steps_of(found), len(found.left)) == ([], 2)
    assert "train.settled is 86400" in found.left[0]
    (run / "step_10" / "trainer_state.json").write_text("{}")  # after the weights, as TRL does
    assert steps_of(arrivals.arrived(section(run, settled=DAY))) == [10]


@pytest.mark.parametrize("missing", ["bytes", "a shard", "the index", "config.json", "all"])
def test_a_half_written_checkpoint_is_left_alone(tmp_path: Path, model: PreTrainedModel, missing: str) -> None:
    run = write(tmp_path / "run", model, [10, 20, 30], shard="4KB")
    folder = run / VERL.format(30)
    shards = sorted(folder.glob("model-*.safetensors"))
    if missing == "bytes":
        shards[-1].write_bytes(shards[-1].read_bytes()[:-1])
    elif missing == "a shard":
        shards[-1].unlink()
    elif missing == "all":
        shutil.rmtree(folder)
        folder.mkdir()
    else:
        (folder / {"the index": "model.safetensors.index.json"}.get(missing, missing)).unlink()
    verl_says(run, 30)
    found = arrivals.arrived(section(run))
    assert steps_of(found) == [10, 20]
    (said,) = found.left
    assert said.startswith("step 30 is left alone: ")


def test_only_the_last_of_a_window_are_taken(tmp_path: Path, model: PreTrainedModel) -> None:
    run = write(tmp_path / "run", model, [10, 20, 30, 40])
    assert steps_of(arrivals.arrived(section(run, settled=1e-9, window=2))) == [30, 40]


def test_known_hashes_are_not_computed_again(
    tmp_path: Path, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(tmp_path / "run", model, [10, 20])
    first = arrivals.arrived(section(run, settled=1e-9))
    write(run, model, [30])
    hashed = []
    monkeypatch.setattr(arrivals, "weights_sha256", lambda folder: hashed.append(folder) or weights_sha256(folder))
    again = arrivals.arrived(section(run, settled=1e-9), first.checkpoints)
    assert again.checkpoints[:2] == first.checkpoints
    assert hashed == [run / VERL.format(30)]


def test_repeats_are_left_out_and_more_than_half_refused(tmp_path: Path, model: PreTrainedModel) -> None:
    run = write(tmp_path / "run", model, [10, 20, 30], layout="step_{}")
    shutil.copytree(run / "step_30", run / "step_40")
    shutil.copytree(run / "step_30", run / "step_50")
    found = arrivals.arrived(section(run, settled=1e-9))
    assert steps_of(found) == [10, 20, 30]
    assert "step 40 is left out: it repeats the weights of step 30" in found.said
    for step in range(60, 100, 10):
        shutil.copytree(run / "step_30", run / f"step_{step}")
    with pytest.raises(InputError, match=r"more than half of the checkpoints repeat.*found 6 of 9"):
        arrivals.arrived(section(run, settled=1e-9))


@pytest.mark.parametrize(
    ("step", "file", "command"),
    [
        ("global_step_30", "actor/model_world_size_8_rank_0.pt", "verl.model_merger merge --backend fsdp --local_dir"),
        ("global_step_30", "actor/dist_ckpt/__0_0.distcp", "verl.model_merger merge --backend megatron --local_dir"),
        ("global_step30", "mp_rank_00_model_states.pt", r"zero_to_fp32.py .* --tag global_step30 --safe_serialization"),
        ("iter_0000030", "__0_0.distcp", "tools/convert_torch_dist_to_hf.py --input-dir .*iter_0000030"),
        ("step_30", "policy/weights/model/.metadata", "examples/converters/convert_dcp_to_hf.py --config=.*step_30"),
        ("checkpoint-30", "pytorch_model.bin", "save_pretrained"),
    ],
)
def test_other_formats_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, model: PreTrainedModel, step: str, file: str, command: str
) -> None:
    run = write(tmp_path / "run", model, [10, 20], layout="step_{}")
    (run / step / file).parent.mkdir(parents=True)
    (run / step / file).write_bytes(b"pickled")
    with pytest.raises(InputError, match=f"never loaded here.*{command}"):
        arrivals.arrived(section(run, settled=1e-9))
    # Just written: the copy in safetensors may come yet.
    assert "its weights are not there yet" in arrivals.arrived(section(run, settled=DAY)).said


def test_adapters_are_refused_with_what_takes_them(tmp_path: Path, model: PreTrainedModel) -> None:
    run = write(tmp_path / "run", model, [10, 20], layout="step_{}")
    (run / "step_20" / "model.safetensors").rename(run / "step_20" / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"step_20: an adapter.*relex import"):
        arrivals.arrived(section(run, settled=1e-9))
