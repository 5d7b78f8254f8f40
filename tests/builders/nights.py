"""A finished night on disk, made of tiny real parts, for the registry's tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.checkpoints.formed import Formed
from relex.core import hop
from relex.core.atomic import read_json, write_json
from relex.core.workspace import CHAMPION_WEIGHTS, DVC_LOCK, EVALUATION, HEADLINE, HOP, METRICS
from relex.params.load import Params, load
from relex.registry import champion as champions
from relex.registry.store.dvc_hashes import md5_of
from relex.stages.extrapolate import stage as extrapolation
from relex.stages.extrapolate.params import Extrapolate, Variant
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.stages.report.data import Evaluation, TrainFacts
from relex.stages.report.decision import Decision
from relex.stages.report.headline import headline
from relex.window.options import Options
from relex.window.request import Request
from tests.builders import ROOT
from tests.builders.proofs import write_proof
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

TARGET = 20
SIZES = {"choose": 40, "gate": 40, "test": 40, "ood": 40}


def make_project(folder: Path) -> None:
    """A DVC project with params.yaml, problems and a base checkpoint with a character tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    Repo.init(str(folder), no_scm=True).close()
    shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
    hop.write(hop.Hop(), folder / HOP)
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


def meet_champion(params: Params) -> hop.Model | None:
    """Who is champion now, its weights in champion/: what the beginning of a hop does, without hop.json."""
    found = champions.present(params)
    champions.put(params, found, CHAMPION_WEIGHTS)
    return found


def finish_night(
    folder: Path,
    seed: int,
    *,
    champion: str | None,
    promote: bool = True,
    variant: Variant | None = None,
    formed: bool = False,
) -> str:
    """Trajectory, candidate, rows, metrics and decision of a night that differs by `seed`; its model_sha256.

    champion: model_sha256 of the champion that the night competed with, None for none. promote: whether the candidate's
    rows are better than everybody's, or like the last observed checkpoint's. variant: what the candidate is made by,
    None for the section's own options. formed: whether it had no file before it was proven. Run in `folder`.
    """
    for name in ("trajectory", "candidates", EVALUATION):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_trajectory(
        folder / "trajectory", folder / "base", [1, 2, 3], line_with_noise(seed=seed, rate=1e-3), rewards=True
    )
    if variant is None:
        request = Request(targets=(10, TARGET), options=Options(device="cpu"))
        parts = folder / "trajectory", folder / "base", request, folder / "candidates"
        extrapolate_folder(*parts, write="winner" if formed else "all")
    else:
        own = {"rank": 1, "fit": "linear", "anchor": "line", "device": "cpu", "memory": "1GiB"}
        extrapolation.run(Extrapolate(targets=(10, TARGET), variants=(variant,), **own))
    name = f"step_{TARGET:06d}" + (f"-{variant.name}" if variant else "")
    winner = f"candidates/{name}"
    if formed:
        winner = f"{EVALUATION}/models/{name}"
        (folder / winner).mkdir(parents=True)
        with Formed(folder / "candidates" / name, folder / "base") as candidate:
            candidate.write(folder / winner)
    model = model_sha256(folder / winner)
    weights = weights_sha256(folder / winner)
    models: dict[str, dict[str, Any]] = {
        "base": {"kind": "base", "step": 0, "model_sha256": "b" * 64, "weights_sha256": "b" * 64, "folder": "base"},
        "observed": {"kind": "observed", "step": 3, "model_sha256": "c" * 64, "weights_sha256": "c" * 64}
        | {"folder": "observed"},
        name: {"kind": "candidate", "step": TARGET, "model_sha256": model, "weights_sha256": weights}
        | {"folder": winner},
    }
    if champion:
        models["champion"] = {"kind": "champion", "step": None, "model_sha256": champion, "weights_sha256": "d" * 64}
        models["champion"] |= {"folder": "champion"}
    (folder / "metrics").mkdir(exist_ok=True)
    facts = {"steps": 3, "completions": 2560, "tokens": 20480, "reward_first": 0.1, "reward_last": 0.3, "seed": seed}
    write_json(folder / "metrics/train.json", facts)
    accuracy = {"base": 0.4, "observed": 0.4, "champion": 0.4, name: 0.75 if promote else 0.4}
    write_proof(folder, models, accuracy, load(folder / "params.yaml"), SIZES)
    (folder / "metrics/train_steps.csv").write_text("step,reward\n1,0.1\n2,0.2\n3,0.3\n")
    (folder / "report.html").write_text("<p>report</p>")
    _write_headline(folder)
    record(folder)
    return model


def _write_headline(folder: Path) -> None:
    """metrics/headline.json as the stage report writes it; there is no diagnosis for the rest of the stage."""
    train, evaluation, decision = (
        read_json(folder / METRICS / f"{name}.json") for name in ("train", "evaluate", "decision")
    )
    facts = TrainFacts.model_validate({"share_without_signal": 0.0, "share_truncated": 0.0, **train})
    found = headline(facts, Evaluation.model_validate(evaluation), Decision.model_validate(decision))
    write_json(folder / HEADLINE, found)


def record(folder: Path) -> None:
    """dvc.lock as `dvc repro` leaves it, with the hashes of metrics, rows and report as they stand in `folder` now."""
    present = [folder / "report.html", folder / EVALUATION, *sorted((folder / METRICS).iterdir())]
    outs = [
        {"path": path.relative_to(folder).as_posix(), "hash": "md5", "md5": md5_of(path)}
        for path in present
        if path.exists()
    ]
    path = folder / DVC_LOCK
    lock = YAML(typ="safe").load(path.read_text()) if path.exists() else {"schema": "2.0", "stages": {}}
    others = lock["stages"].get("night", {"outs": []})["outs"]
    made = {out["path"] for out in outs}
    outs += [out for out in others if out["path"] not in made]
    lock["stages"]["night"] = {"cmd": "true", "outs": outs}
    with open(path, "w") as handle:
        YAML().dump(lock, handle)


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
