"""Promotion and rollback: what may move `champion`, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relex.core import workspace
from relex.core.atomic import scratch_folder
from relex.core.errors import InputError
from relex.params.load import Params
from relex.params.registry import Registered
from relex.registry import fetch, history
from relex.registry.store import evidence, log, models, moves, night, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.versions import CHALLENGER, CHAMPION, MODEL_TAG, PREVIOUS, Version, model_of

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection


@dataclass(frozen=True)
class Ground:
    """What a promotion rests on: a decision for exactly this model, or a person's reason."""

    why: str
    forced: bool = False
    decision_sha256: str | None = None
    competed_with: str | None = None


def promote(params: Registered, version: str | None = None, *, force: bool = False, reason: str = "") -> str:
    """Move `champion` to the decision's winner, or to `version` if a decision passes for exactly its model.

    version: a number of params.registry.model, or as versions.parse reads it. Without a project (params is not all of
    params.yaml) there is no night whose winner could be meant: it has to be named.
    Without a version, a night that ends without promotion (nothing better, already champion, overtaken by another
    night, taken back since) says so and changes nothing. Naming a version that may not be promoted is an InputError,
    unless `force` with a `reason`, which are recorded.
    """
    if force and not reason.strip():
        raise InputError("a forced promotion needs its reason", where="--force", todo='add --reason "..."')
    if force and version is None:
        raise InputError("a forced promotion needs a version", where="--force", todo="name the version to promote")
    if version is None:
        if not isinstance(params, Params):
            raise InputError(
                "nothing says which version", where="relex promote", todo="name it, or run in the project's root"
            )
        return _promote_winner(params)
    with registry_errors(params):
        connection = connect(params, make=False)
        reference = versions.parse(version, connection.model)
        settled = _settled(connection)
        chosen = versions.find(connection, reference)
        ground = Ground(reason, forced=True) if force else _ground(params, connection, chosen, settled.state)
        if isinstance(ground, str):
            raise InputError(
                "not promoted", where=chosen, found=ground, todo='to do it all the same, add --force --reason "..."'
            )
        return _move_champion(connection, chosen, ground, settled)


def _promote_winner(params: Params) -> str:
    decision = evidence.proven(params)
    if decision.winner is None:
        return f"not promoted: {decision.outcome}. {decision.sentence}"
    with registry_errors(params):
        connection = connect(params)
        settled = _settled(connection)
        found = versions.by_model(connection, decision.winner.model_sha256)
        if not found:
            raise InputError(
                "the decision's winner is not registered",
                where=f"{connection.model}: model {decision.winner.model_sha256[:12]}",
                todo="run `relex register` first",
            )
        ground = _ground(params, connection, found[0], settled.state)
        return (
            f"not promoted: {ground}"
            if isinstance(ground, str)
            else _move_champion(connection, found[0], ground, settled)
        )


def _move_champion(connection: Connection, chosen: Version, ground: Ground, settled: moves.Settled) -> str:
    state = settled.state
    if state[CHAMPION] == chosen.number:
        return f"nothing to do: {connection.model} version {chosen.number} is the champion already"
    fetch.check_stored(connection, chosen)
    after = {
        CHAMPION: chosen.number,
        PREVIOUS: state[CHAMPION],
        CHALLENGER: None if state[CHALLENGER] == chosen.number else state[CHALLENGER],
    }
    facts = {**versions.hashes(chosen), "run": chosen.run_id, **asdict(ground)}
    try:
        moves.move(connection, settled, log.new_move(connection.model, "promote", state, after, **facts))
    except moves.Overtaken as error:
        return f"not promoted: {error}; the next night competes with the new champion"
    _noted(connection, chosen.number)
    since = f", after version {state[CHAMPION]}" if state[CHAMPION] else ""
    return f"promoted: {connection.model} version {chosen.number} is the champion{since}"


def rollback(params: Registered, *, reason: str) -> str:
    """Give `champion` back to the version that held it before; InputError when there is none."""
    if not reason.strip():
        raise InputError("a rollback needs its reason", where="--reason")
    with registry_errors(params):
        connection = connect(params, make=False)
        settled = _settled(connection)
        state = settled.state
        back = state[PREVIOUS]
        if back is None or state[CHAMPION] is None:
            raise InputError(
                "nothing to roll back to",
                where=params.registry.model,
                expected="an alias `previous`",
                found=f"champion {state[CHAMPION] or 'none'}, previous none",
            )
        version = versions.find(connection, versions.Reference(connection.model, None, back))
        fetch.check_stored(connection, version)
        after = {**state, CHAMPION: back, PREVIOUS: _before(connection, back)}
        new = log.new_move(
            connection.model,
            "rollback",
            state,
            after,
            **versions.hashes(version),
            why=reason,
            run=version.run_id,
        )
        try:
            moves.move(connection, settled, new)
        except moves.Overtaken as error:
            raise InputError(
                "not rolled back", where=params.registry.model, found=error, todo="look and try again"
            ) from None
        _noted(connection, back)
        return f"rolled back: {params.registry.model} version {back} is the champion, after version {state[CHAMPION]}"


def _noted(connection: Connection, number: str) -> None:
    history.mirror(connection)
    versions.write_note(connection, number)


def _settled(connection: Connection) -> moves.Settled:
    settled = moves.settle(connection)
    history.mirror(connection)
    return settled


def _ground(params: Registered, connection: Connection, chosen: Version, state: moves.State) -> Ground | str:
    """The decision that moves `champion` to a version now, or the reason why none does."""
    ground = _decision_for(params, connection, chosen)
    if ground is None:
        return "no passing decision for exactly this model"
    if state[CHAMPION] == chosen.number:
        return ground
    champion = versions.by_alias(connection, CHAMPION)
    if ground.competed_with != model_of(champion):
        now = f"version {state[CHAMPION]}" if champion else "none"
        again = (
            "prove it against that one: relex prove --champion"
            if "proof" in chosen.lineage
            else "the next night competes with it"
        )
        return f"the champion is {now}, another one than the decision competed with; {again}"
    for slot in reversed(log.read(connection)):
        if slot.outcome == "done" and slot.move.decision_sha256 == ground.decision_sha256:
            return f"this decision promoted it on {slot.move.when}, and it was taken back since"
    return ground


def _decision_for(params: Registered, connection: Connection, chosen: Version) -> Ground | None:
    """The decision that passes for a version: the one that stands in metrics/, else the one it was registered with.

    Either is made again from its rows; InputError when they do not give it.
    """
    if isinstance(params, Params) and workspace.DECISION.is_file():
        standing = night.read()
        if standing.passes(model_of(chosen)):
            standing = evidence.proven(params)
            return Ground(standing.sentence, False, standing.sha256, standing.competed_with)
    if MODEL_TAG not in chosen.tags or "decision_sha256" not in chosen.lineage:
        return None
    facts = models.read_lineage(connection, chosen)
    versions.check_tags(chosen, facts)
    _replay(connection, chosen, facts)
    decision = facts["decision"]
    return Ground(decision["sentence"], False, decision["sha256"], decision["competed_with"])


def _replay(connection: Connection, chosen: Version, facts: dict[str, Any]) -> None:
    """Decide again, on the night's rows in DVC, or on those of a proof beside the version's weights."""
    if "proof" not in facts:
        evidence.replay(facts)
        return
    with scratch_folder(workspace.STATE, "replay") as temporary:
        models.download_beside(connection, chosen, evidence.ROWS, temporary)
        evidence.replay_rows(facts, temporary / evidence.ROWS)


def _before(connection: Connection, version: str) -> str | None:
    """The champion before `version` last became it by promotion: where a second rollback leads."""
    for slot in reversed(log.read(connection)):
        if slot.outcome == "done" and slot.move.what != "rollback" and slot.move.after[CHAMPION] == version:
            return slot.move.before[CHAMPION]
    return None
