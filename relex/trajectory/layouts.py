"""Full checkpoints as TRL, verl, OpenRLHF, slime and NeMo-RL lay them out. Told by names; nothing is loaded.

Only safetensors are weights here. Where a checkpoint has nothing but pickled shards or torch's distributed format, its
trainer's own command that converts it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relex.checkpoints.tensors import ADAPTER, INDEX, SINGLE
from relex.core.errors import InputError
from relex.trajectory.numbering import INNER, LAYOUT

# What stands there instead of safetensors, and what its trainer offers. STEP: the step's folder.
_OTHER_FORMATS = (
    (
        "actor/model_world_size_*_rank_*.pt",
        "python -m verl.model_merger merge --backend fsdp --local_dir STEP/actor --target_dir STEP/actor/huggingface; "
        "or let verl write it: actor_rollout_ref.actor.checkpoint.save_contents with hf_model",
    ),
    (
        "actor/dist_ckpt",
        "python -m verl.model_merger merge --backend megatron --local_dir STEP/actor --target_dir "
        "STEP/actor/huggingface; or let verl write it: actor_rollout_ref.actor.checkpoint.save_contents with hf_model",
    ),
    (
        "policy/weights/**/.metadata",
        "uv run examples/converters/convert_dcp_to_hf.py --config=STEP/config.yaml "
        "--dcp-ckpt-path=STEP/policy/weights --hf-ckpt-path=STEP-hf, of NeMo-RL",
    ),
    (
        "*.distcp",
        "python tools/convert_torch_dist_to_hf.py --input-dir STEP --output-dir STEP_hf --origin-hf-dir BASE, of "
        "slime; or let it write them: --save-hf",
    ),
    (
        "*_model_states.pt",
        "python STEP/../zero_to_fp32.py STEP/.. STEP_hf --tag NAME --safe_serialization, of DeepSpeed, and config.json "
        "beside it; or let OpenRLHF write them: --save_hf_ckpt",
    ),
    ("**/*.bin", "load it where you trust it, and save_pretrained it again: transformers writes safetensors"),
    ("**/*.pt", "save it as safetensors"),
)


def find_checkpoints(source: Path) -> list[tuple[int, Path]]:
    """(step, folder) in the order of steps, of every step's folder in a run; step 0 is the base and left out.

    folder: where the weights are, or will be once they are written. InputError for no folder, and for a step that is
    there twice with weights.
    """
    if not source.is_dir():
        raise InputError("not a folder", where=source, expected="a folder of checkpoints, or hub:OWNER/NAME")
    found: dict[int, Path] = {}
    for entry in sorted(source.iterdir()):
        match = LAYOUT.fullmatch(entry.name)
        if not match or not entry.is_dir():
            continue
        step, folder = int(match[1]), weights_folder(entry)
        if step in found:
            pair = (found[step], folder)
            holding = [one for one in pair if holds_weights(one)]
            if len(holding) == 2:
                raise InputError("a step is there twice", where=source, found=f"{pair[0].name} and {pair[1].name}")
            # One is the trainer's own state, as OpenRLHF has it: global_stepN beside global_stepN_hf.
            folder = holding[0] if holding else folder
        found[step] = folder
    found.pop(0, None)  # step 0 is the base itself, which some trainers save too
    return sorted(found.items())


def holds_weights(folder: Path) -> bool:
    """Whether weights in safetensors begin here: a single file, an index of shards, or an adapter."""
    return any((folder / name).is_file() for name in (SINGLE, INDEX, ADAPTER))


def check_readable(found: Sequence[tuple[int, Path]]) -> None:
    """InputError, with the trainer's own command, for the first checkpoint whose weights are in another format only."""
    for _, folder in found:
        if not holds_weights(folder) and (error := other_format(folder)) is not None:
            raise error


def other_format(folder: Path) -> InputError | None:
    """What to say of a checkpoint without safetensors that has weights in another format; None where it has none."""
    step = next((one for one in (folder, *folder.parents) if LAYOUT.fullmatch(one.name)), folder)
    for pattern, command in _OTHER_FORMATS:
        there = next(iter(sorted(step.glob(pattern))), None)
        if there is not None:
            return InputError(
                "weights that are not safetensors: pickled ones and torch's distributed format are never loaded here",
                where=step,
                found=there.relative_to(step),
                todo="convert them: " + command.replace("NAME", step.name).replace("STEP", str(step)),
            )
    return None


def weights_folder(entry: Path) -> Path:
    """Where a step's weights are, or will be: its folder itself, or the one below it that its trainer writes."""
    places = (entry, *(entry / inner for inner in INNER))
    holding = next((place for place in places if holds_weights(place)), None)
    # Before the weights are there, the configuration may be: verl writes it in any case.
    return holding or next((place for place in places[1:] if (place / "config.json").is_file()), entry)
