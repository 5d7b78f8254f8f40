"""A finished night on disk, made of tiny real parts, for the registry's tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from relex.checkpoints.digest import weights_sha256
from relex.params.load import Params, load
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.window.options import Options
from relex.window.request import Request
from tests.builders import ROOT
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

TARGET = 20


def make_project(folder: Path) -> None:
    """params.yaml, problems and a base checkpoint with a character tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
    # Heads of 32: the smallest that vLLM's attention serves on a CPU.
    model = tiny_llama(hidden_size=64, intermediate_size=96, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    save(model, folder / "base")
    words = ["<pad>", "<s>", "</s>", "<unk>", "=", *"0123456789"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "base")
    (folder / "problems").mkdir()
    for split in ("train", "validation", "test", "ood"):
        problem = {"id": split, "prompt": "312=", "answer": "123", "scorer": "exact"}
        (folder / f"problems/{split}.jsonl").write_text(json.dumps(problem) + "\n")


def finish_night(folder: Path, seed: int, *, champion: str | None, promote: bool = True) -> str:
    """Trajectory, candidate, metrics and decision of a night that differs by `seed`; the candidate's weights hash.

    champion: weights hash of the champion that the night competed with, None for none.
    """
    for name in ("trajectory", "candidates"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_trajectory(
        folder / "trajectory", folder / "base", [1, 2, 3], line_with_noise(seed=seed, rate=1e-3), rewards=True
    )
    request = Request(targets=(10, TARGET), options=Options(device="cpu"))
    extrapolate_folder(folder / "trajectory", folder / "base", request, folder / "candidates")
    winner = f"candidates/step_{TARGET:06d}"
    weights = weights_sha256(folder / winner)
    models: dict[str, dict[str, Any]] = {
        "base": {"kind": "base", "step": 0, "weights_sha256": "b" * 64, "folder": "base"},
        "observed": {"kind": "observed", "step": 3, "weights_sha256": "c" * 64, "folder": "observed"},
        "step_000020": {"kind": "candidate", "step": TARGET, "weights_sha256": weights, "folder": winner},
    }
    if champion:
        models["champion"] = {"kind": "champion", "step": None, "weights_sha256": champion, "folder": "champion"}
    metrics = {
        name: {split: {"avg_at_8": _interval(0.3 + 0.1 * place)} for split in ("choose", "gate", "test", "ood")}
        for place, name in enumerate(models)
    }
    decision = {
        "outcome": "promote-candidate" if promote else "keep-champion",
        "promote": promote,
        "winner": "step_000020" if promote else None,
        "winner_kind": "candidate" if promote else None,
        "winner_step": TARGET if promote else None,
        "winner_folder": winner if promote else None,
        "winner_weights_sha256": weights if promote else None,
        "sentence": f"Night {seed}: step 20 is better." if promote else f"Night {seed}: nothing is better.",
    }
    (folder / "metrics").mkdir(exist_ok=True)
    for name, value in {
        "evaluate": {"protocol": {"samples": 8}, "models": models, "metrics": metrics},
        "decision": decision,
        "train": {"steps": 3, "reward_first": 0.1, "reward_last": 0.3},
    }.items():
        (folder / f"metrics/{name}.json").write_text(json.dumps(value))
    (folder / "metrics/train_steps.csv").write_text("step,reward\n1,0.1\n2,0.2\n3,0.3\n")
    (folder / "report.html").write_text("<p>report</p>")
    return weights


def change_params(folder: Path, **registry: str) -> Params:
    """params.yaml of `folder` with other values in its section registry."""
    path = folder / "params.yaml"
    head, _, _ = path.read_text().partition("\nregistry:\n")
    section = {
        "tracking_uri": "sqlite:///mlflow.db",
        "experiment": "nightly",
        "model": "sort-digits",
        "mode": "copy",
        **registry,
    }
    path.write_text(
        head + "\nregistry:\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in section.items())
    )
    return load(path)


def _interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}
