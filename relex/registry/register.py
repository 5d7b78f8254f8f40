"""Registering the decision's winner: the night's run, the logged model, the version, each only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relex.core import workspace
from relex.core.atomic import read_json
from relex.params.load import Params
from relex.params.redact import redact, redacted
from relex.registry import card
from relex.registry.store import dvc_held, evidence, log, models, moves, packaging, runs, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.facts import artifact_hashes, flat, gather, tags
from relex.registry.store.versions import CHALLENGER, CHAMPION, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection


def register(params: Params) -> str:
    """Log the night, and register the decision's winner as a model version; each only once, whatever was killed.

    The decision is made again from the rows first, and every file that is used held against dvc.lock.
    """
    decision = evidence.proven(params)
    winner = decision.winner
    if winner:
        models.check_unchanged(winner.folder, winner.model_sha256)
        dvc_held.check(winner.folder, artifact_hashes())
    # All of it is uploaded, in files, tags and descriptions.
    facts = redacted({**gather(params, decision), "example": packaging.example_prompt()})
    with registry_errors(params):
        connection = connect(params)
        moves.settle(connection)
        run = runs.log_night(connection, params, decision, facts)
        if winner is None:
            versions.write_note(connection, None)
            return f"nothing to register: {decision.outcome}. {decision.sentence} Night: run {run}"
        found = versions.by_model(connection, winner.model_sha256)
        if found:
            models.link(connection, winner.model_sha256, params.registry.mode, found[0].number)
            challenge(connection, found[0].number)
            versions.write_note(connection, found[0].number)
            return f"already registered: {params.registry.model} version {found[0].number}. Night: run {run}"
        evaluation = read_json(workspace.EVALUATION_METRICS)
        text = redact(card.write(params, facts, evaluation))
        tokens = params.evaluate.max_tokens
        model_id = models.upload(connection, params, run, winner.folder, facts, text, max_tokens=tokens)
        runs.attach_metrics(connection, run, model_id, evaluation, winner.name)
        version = create_version(connection, model_id, run, facts, params.registry.mode)
        return f"registered: {params.registry.model} version {version.number}. Night: run {run}"


def create_version(connection: Connection, model_id: str, run: str, facts: dict[str, Any], mode: str) -> Version:
    """Make the version with all its tags in one call; of two nights that do so together the first stays."""
    from mlflow.exceptions import MlflowException

    try:
        connection.client.create_registered_model(connection.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = facts["model_sha256"]
    made = connection.client.create_model_version(
        connection.model,
        f"models:/{model_id}",
        run,
        tags={**tags(facts), **models.mode_tags(mode, facts)},
        description=_description(facts),
        model_id=model_id,
    )
    first = versions.by_model(connection, model)[0]
    if first.number != str(made.version):
        connection.client.delete_model_version(connection.model, str(made.version))
    models.link(connection, model, mode, first.number)
    challenge(connection, first.number)
    versions.write_note(connection, first.number)
    return first


def _description(facts: dict[str, Any]) -> str:
    """For the version's page: the decision's sentence, and the lineage as a table; at most 5,000 characters."""
    rows = [f"| {key} | {value[:200]} |" for key, value in flat(facts).items() if key != "sentence"]
    text = "\n".join([facts["decision"]["sentence"][:1000], "", "| lineage | |", "|---|---|"])
    for row in rows:
        if len(text) + len(row) < 4990:
            text += "\n" + row
    return text


def challenge(connection: Connection, version: str) -> None:
    """Let `challenger` point to a version that was never champion."""
    if any(slot.move.after[CHAMPION] == version for slot in log.read(connection) if slot.outcome == "done"):
        return
    before = versions.aliases(connection)[CHALLENGER]
    connection.client.set_registered_model_alias(connection.model, CHALLENGER, version)
    connection.client.set_model_version_tag(connection.model, version, moves.STATUS_TAG, CHALLENGER)
    if before not in (None, version):
        connection.client.set_model_version_tag(connection.model, before, moves.STATUS_TAG, moves.NO_ALIAS)
