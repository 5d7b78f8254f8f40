"""A night in MLflow's runs: one run, with a child for the training and one for every model evaluated."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import file_sha256, json_sha256
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.params.redact import redact
from relex.proving.folder import ProofFolder
from relex.registry.store import nights_view
from relex.registry.store.connection import Connection, run_tags
from relex.registry.store.night import Decision
from relex.registry.store.night_figures import night_metrics
from relex.registry.store.views import accuracy_against_step, accuracy_table, model_metrics, note, numbers
from relex.stages.train import step_stream

if TYPE_CHECKING:
    from mlflow.entities import Run

NIGHT_TAG, KIND_TAG, MODEL_TAG, COMPLETE_TAG = "relex.night", "relex.kind", "relex.model", "relex.complete"
HOP_TAG = "relex.hop"  # core.hop.Hop.name, such as night-0003-hop-2
PENDING = STATE / "live.json"  # {"id" of the stream, "night" and "train" runs}: what `relex register` completes
_BATCH = 900  # MLflow takes 1,000 metrics at a time
_SPLIT_CONTEXTS = {"train": "training", "validation": "validation", "test": "test", "ood": "out of domain"}


def night_key(decision: Decision) -> str:
    """The content of a night: what was trained, measured and decided. Equal for a night that changed nothing."""
    parts = [workspace.TRAIN_METRICS, workspace.DIAGNOSIS, workspace.EVALUATION_METRICS]
    return json_sha256(
        [decision.sha256, hops.read().name, *(read_json(path) if path.is_file() else None for path in parts)]
    )


def log_night(connection: Connection, params: Params, decision: Decision, lineage: dict[str, Any]) -> str:
    """The id of the night's run, logged in full unless that was done before; goes on where a killed call stopped."""
    key = night_key(decision)
    experiment = connection.experiment_id(connection.experiment)
    nights_view.keep(connection, experiment)
    query = f"tags.`{NIGHT_TAG}` = '{key}' AND tags.`{KIND_TAG}` = 'night'"
    night = _find(connection, experiment, query) or _adopt(connection, key)
    if night is None:
        night = connection.client.create_run(experiment, tags={NIGHT_TAG: key, KIND_TAG: "night", **run_tags()})
    elif night.data.tags.get(COMPLETE_TAG):
        return night.info.run_id
    for tag, value in _night_tags(decision, lineage, night).items():
        connection.client.set_tag(night.info.run_id, tag, value)
    evaluation = read_json(workspace.EVALUATION_METRICS)
    _log(connection, night, params=flatten(params.model_dump(mode="json")))
    headline = read_json(workspace.HEADLINE) if workspace.HEADLINE.is_file() else {}
    figures = headline | night_metrics(evaluation, read_json(workspace.DECISION))
    _log(connection, night, metrics=[(name, value, 0) for name, value in figures.items()])
    _log(connection, night, metrics=[(name, value, 0) for name, value in numbers("seconds", lineage["spend"])])
    _log_inputs(connection, night, _SPLIT_CONTEXTS)
    _log_text_files(connection, night)
    connection.client.log_dict(night.info.run_id, lineage, "lineage.json")
    connection.client.log_table(night.info.run_id, accuracy_table(evaluation), "accuracy.json")
    connection.client.log_figure(night.info.run_id, accuracy_against_step(evaluation), "plots/accuracy.png")
    _log_training(connection, experiment, night, key)
    _log_evaluations(connection, experiment, night, key, evaluation)
    connection.client.set_terminated(night.info.run_id)
    connection.client.set_tag(night.info.run_id, COMPLETE_TAG, "true")
    PENDING.unlink(missing_ok=True)
    return night.info.run_id


def log_proof(
    connection: Connection,
    decision: Decision,
    lineage: dict[str, Any],
    evaluation: dict[str, Any],
    decided: dict[str, Any],
    folder: ProofFolder,
) -> str:
    """The id of the run of a proof without a night, logged in full unless that was done before.

    evaluation, decided: evaluate.json and decision.json of `folder`.
    """
    key = json_sha256([decision.sha256, lineage["evaluation"]])
    experiment = connection.experiment_id(connection.experiment)
    query = f"tags.`{NIGHT_TAG}` = '{key}' AND tags.`{KIND_TAG}` = 'proof'"
    made = connection.client.create_run
    run = _find(connection, experiment, query) or made(
        experiment, tags={NIGHT_TAG: key, KIND_TAG: "proof", **run_tags()}
    )
    if run.data.tags.get(COMPLETE_TAG):
        return run.info.run_id
    for tag, value in _tags("proof", decision, lineage, run).items():
        connection.client.set_tag(run.info.run_id, tag, value)
    _log(connection, run, metrics=[(name, value, 0) for name, value in night_metrics(evaluation, decided).items()])
    for path in (folder.report, folder.request, folder.evaluation, folder.decision):
        if path.is_file():
            connection.client.log_text(run.info.run_id, redact(path.read_text(encoding="utf-8")), path.name)
    connection.client.log_dict(run.info.run_id, lineage, "lineage.json")
    connection.client.log_table(run.info.run_id, accuracy_table(evaluation), "accuracy.json")
    connection.client.log_figure(run.info.run_id, accuracy_against_step(evaluation), "plots/accuracy.png")
    connection.client.set_terminated(run.info.run_id)
    connection.client.set_tag(run.info.run_id, COMPLETE_TAG, "true")
    return run.info.run_id


def attach_metrics(connection: Connection, run: str, model_id: str, evaluation: dict[str, Any], winner: str) -> None:
    """Show the winner's metrics on the logged model too, each with the problems that it was measured on.

    What a killed call has logged is not sent again: of more than 100 metrics MLflow's database refuses the repetition.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    held = {metric.key for metric in connection.client.get_logged_model(model_id).metrics or []}
    known = connection.client.get_run(run)
    digests = {item.dataset.name: item.dataset.digest for item in known.inputs.dataset_inputs}
    metrics = []
    for name, value in model_metrics(evaluation, winner).items():
        if name in held:
            continue
        suite = name.split("/")[1]
        dataset = f"problems/{'validation' if suite in ('choose', 'gate') else suite}"
        source = (dataset, digests[dataset]) if dataset in digests else (None, None)
        metrics.append(Metric(name, value, known.info.start_time, 0, model_id, *source, run))
    for start in range(0, len(metrics), _BATCH):
        connection.client.log_batch(run, metrics=metrics[start : start + _BATCH])
    if not any(output.model_id == model_id for output in known.outputs.model_outputs):
        connection.client.log_outputs(run, [LoggedModelOutput(model_id, 0)])


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `section.key`, values as JSON, without credentials."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = redact(item if isinstance(item, str) else json.dumps(item))
    return flat


def _adopt(connection: Connection, key: str) -> Run | None:
    """The run that was begun while this night's training ran, made this night's; None when nothing followed it."""
    pending = read_json(PENDING) if PENDING.is_file() else None
    if pending is None or pending["id"] != step_stream.read()[0]:
        return None
    for kind in ("train", "night"):
        connection.client.set_tag(pending[kind], NIGHT_TAG, key)
    return connection.client.get_run(pending["night"])


def _night_tags(decision: Decision, lineage: dict[str, Any], night: Run) -> dict[str, str]:
    hop = hops.read()
    return _tags(f"{hop.night}.{hop.hop}", decision, lineage, night) | {HOP_TAG: redact(hop.name)}


def _tags(which: str, decision: Decision, lineage: dict[str, Any], run: Run) -> dict[str, str]:
    """Names begin with what tells runs apart: MLflow's lists show their first fifteen characters or so."""
    winner = decision.winner.name if decision.winner else "none"
    date = datetime.fromtimestamp(run.info.start_time / 1000, UTC).date().isoformat()
    tags = {
        "mlflow.runName": f"{which} {winner if decision.winner else decision.outcome} {date}",
        "decision": decision.outcome,
        "winner": winner,
        "git_commit": lineage["git"]["commit"] or "none",
        "mlflow.source.git.commit": lineage["git"]["commit"] or "",
        "trajectory_sha256": lineage["trajectory"]["sha256"],
        "mlflow.note.content": decision.sentence,
    }
    return {key: redact(value) for key, value in tags.items() if value}


def _log_training(connection: Connection, experiment: str, night: Run, key: str) -> None:
    if not workspace.TRAIN_STEPS.is_file():
        return
    child = _child(connection, experiment, night, key, "train")
    known = {metric.step for metric in connection.client.get_metric_history(child.info.run_id, "train/reward")}
    with open(workspace.TRAIN_STEPS, encoding="utf-8", newline="") as handle:
        metrics = [
            (f"train/{column}", number, int(float(row["step"])))
            for row in csv.DictReader(handle)
            if int(float(row["step"])) not in known  # sent while the training ran
            for column, text in row.items()
            if column and column != "step" and (number := _number(text)) is not None
        ]
    _log(connection, child, metrics=metrics)
    if workspace.TRAIN_METRICS.is_file():
        facts = read_json(workspace.TRAIN_METRICS)
        _log(connection, night, metrics=[(name, value, 0) for name, value in numbers("train", facts)])
    _log_inputs(connection, child, ["train"])
    connection.client.set_terminated(child.info.run_id)


def _log_evaluations(connection: Connection, experiment: str, night: Run, key: str, evaluation: dict[str, Any]) -> None:
    for model, about in evaluation["models"].items():
        child = _child(connection, experiment, night, key, "evaluate", model)
        connection.client.set_tag(child.info.run_id, "mlflow.note.content", note(evaluation, model))
        facts = {name: redact(value) for name, value in about.items() if name != "folder"}
        _log(connection, child, params={"model": model, **facts})
        _log(connection, child, metrics=[(n, v, 0) for n, v in model_metrics(evaluation, model).items()])
        _log_inputs(connection, child, [split for split in _SPLIT_CONTEXTS if split != "train"])
        connection.client.set_terminated(child.info.run_id)


def _child(connection: Connection, experiment: str, night: Run, key: str, kind: str, model: str = "") -> Run:
    query = f"tags.`{NIGHT_TAG}` = '{key}' AND tags.`{KIND_TAG}` = '{kind}'"
    tags = {NIGHT_TAG: key, KIND_TAG: kind, "mlflow.parentRunId": night.info.run_id, **run_tags()}
    if model:
        query += f" AND tags.`{MODEL_TAG}` = '{model}'"
        tags[MODEL_TAG] = model
    made = connection.client.create_run
    return _find(connection, experiment, query) or made(experiment, tags=tags, run_name=model or kind)


def _find(connection: Connection, experiment: str, query: str) -> Run | None:
    runs = connection.client.search_runs([experiment], query, order_by=["attributes.start_time ASC"], max_results=1)
    return runs[0] if runs else None


def _log(
    connection: Connection,
    run: Run,
    params: dict[str, str] | None = None,
    metrics: Iterable[tuple[str, float, int]] = (),
) -> None:
    """Log parameters, and metrics as (name, value, step). The run's start is their time: a repetition adds nothing."""
    from mlflow.entities import Metric, Param

    entities = [Metric(name, value, run.info.start_time, step) for name, value, step in metrics]
    for start in range(0, len(entities), _BATCH):
        connection.client.log_batch(run.info.run_id, metrics=entities[start : start + _BATCH])
    pairs = [Param(key, value) for key, value in (params or {}).items()]
    for start in range(0, len(pairs), 100):
        connection.client.log_batch(run.info.run_id, params=pairs[start : start + 100])


def _log_inputs(connection: Connection, run: Run, splits: Iterable[str]) -> None:
    """Problem splits as MLflow datasets, with their content as the digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for split in splits:
        path = workspace.PROBLEMS / f"{split}.jsonl"
        if path.is_file():
            source = json.dumps({"path": path.as_posix()})
            profile = json.dumps({"problems": _lines(path)})
            dataset = Dataset(f"problems/{split}", file_sha256(path)[:32], "local", source, profile=profile)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", _SPLIT_CONTEXTS[split])]))
    if inputs:
        connection.client.log_inputs(run.info.run_id, inputs)


def _log_text_files(connection: Connection, run: Run) -> None:
    """The report, the metrics and params.yaml, which may name the registry with user and password."""
    files = {path: "" for path in (workspace.REPORT, workspace.PARAMS)}
    files |= {path: "metrics/" for path in sorted(workspace.METRICS.glob("*.json"))}
    for path, folder in files.items():
        if path.is_file():
            connection.client.log_text(
                run.info.run_id, redact(path.read_text(encoding="utf-8")), f"{folder}{path.name}"
            )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(1 for _ in handle)
