"""From one hop to the next: `relex hop --begin` and `relex hop --end`, each once, wherever they are killed.

Both are called under the night's lock. The ledger is written before hop.json: a kill between the two leaves a finished
hop, and whoever comes next goes on from there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.hop import Hop, Model
from relex.core.inputs import follow_files
from relex.ledger import lines as ledger
from relex.nights import account, policy
from relex.nights import arrived as arrivals
from relex.nights.present import campaign_of, settings_of, told
from relex.params.load import Params
from relex.registry import champion as champions
from relex.registry import history, last_known
from relex.registry.store.connection import RegistryUnreachable
from relex.stages.evaluate.suites.params import files_of as suite_files
from relex.stages.problems.params import files_of as problem_files
from relex.stages.train.params import Imported


def begin(params: Params) -> str:
    """Go on with the unfinished hop, or begin the next night; what came of it. Nothing is begun on a plateau, or where
    the campaign's budget is spent."""
    said = _begin(params)
    _follow_inputs(params)
    return said


def _begin(params: Params) -> str:
    hop = hops.read()
    if hop.of != (of := campaign_of(params)):
        return _new_campaign(params, hop, of)
    found = ledger.read()
    if found.hop(hop) is None:
        return _unfinished(params, hop)
    if found.night(hop) is None:  # killed between its hop's line and what comes after it
        return end(params)
    settings = settings_of(params)
    if ended := policy.further(hop, found, params.nights, settings):
        return f"no further night: {ended.why}"
    arrived = _arrived(params, hop)
    if arrived and (ended := policy.new_checkpoints(hop.training.checkpoints, arrived.checkpoints, arrived.run)):
        return f"no further night: {ended.why}{arrived.said}"
    changed = "" if found.nights[-1].settings == settings else "; params.yaml changed since the last night"
    champion, said = _champion(params, hop)
    night = found.nights[-1].night + 1
    checkpoints = arrived.checkpoints if arrived else ()
    asked = (
        None if said else champions.asked(params, champion)
    )  # said: the registry is away, and the count goes on here
    new = policy.following(
        hop, found, params.nights, champion, night=night, number=1, checkpoints=checkpoints, asked=asked
    )
    return _begun(params, new) + changed + said + (arrived.said if arrived else "")


def end(params: Params) -> str:
    """Note what the finished hop spent and won, then begin tonight's next one, or note the night."""
    hop, settings = hops.read(), settings_of(params)
    champion, said = _champion(params, hop)
    if ledger.read().hop(hop) is None:
        ledger.append(account.hop_row(hop, ledger.read(), champion, settings))
    found = ledger.read()
    row = found.hop(hop)
    assert row is not None
    if row.accepted:
        shutil.rmtree(workspace.TRAIN_STATE, ignore_errors=True)  # nothing goes on from it
    if ended := policy.tonight(hop, found, params.nights):
        ledger.append(account.night_row(hop, found, ended.why, settings))
        return f"night {hop.night} ended: {ended.why}{said}{_offer(params, hop, row)}"
    night, number = hop.night, hop.hop + 1
    asked = None if said else champions.asked(params, champion)
    new = policy.following(hop, found, params.nights, champion, night=night, number=number, asked=asked)
    return _begun(params, new) + said


def fetch(params: Params) -> str:
    """Have the weights here that the present hop names, out of the registry."""
    hop = hops.read()
    _weights(params, hop)
    return told(hop)


def _follow_inputs(params: Params) -> None:
    """The links as the stages leave them: DVC stops at one that leads nowhere since params.yaml names another file."""
    follow_files(problem_files(params.problems.source), workspace.INPUT_PROBLEMS)
    follow_files(suite_files(params.evaluate.suites), workspace.INPUT_SUITES)


def _new_campaign(params: Params, hop: Hop, of: str) -> str:
    """The first one of a checkout, or after a change of base, task or model."""
    found = ledger.read()
    campaign = 1 + max((row.campaign for row in found.rows), default=0)
    night = 1 + max((row.night for row in found.rows), default=0)
    champion = champions.present(params)
    same = champion is not None and champions.descends_from(params)
    arrived, first = _arrived(params, None), Hop(campaign=campaign, night=night)
    if arrived and (ended := policy.new_checkpoints((), arrived.checkpoints, arrived.run)):
        return f"no night: {ended.why}{arrived.said}"
    checkpoints = arrived.checkpoints if arrived else ()
    asked = champions.asked(params, champion)
    begun = policy.start_of_campaign(first, of, champion, same_base=same, checkpoints=checkpoints, asked=asked)
    return f"a new campaign. {_begun(params, begun)}{arrived.said if arrived else ''}"


def _unfinished(params: Params, hop: Hop) -> str:
    """Go on with it; with what is there, where the other trainer has removed checkpoints that it names."""
    said = ""
    if isinstance(params.train, Imported):
        run = Path(params.train.run)
        gone = [one.step for one in hop.training.checkpoints if not (run / one.path).is_dir()]
        if gone:
            found = arrivals.arrived(params.train, hop.training.checkpoints)
            training = hop.training.model_copy(update={"checkpoints": found.checkpoints})
            hop = hop.model_copy(update={"training": training})
            hops.write(hop)
            said = f"; its window is another one, as steps {gone} were removed from {run}"
    _weights(params, hop)
    return f"unfinished: {told(hop)}{said}"


def _arrived(params: Params, hop: Hop | None) -> arrivals.Arrived | None:
    """What another trainer has written by now; None where this project trains. hop: the campaign's last."""
    if not isinstance(params.train, Imported):
        return None
    return arrivals.arrived(params.train, hop.training.checkpoints if hop else ())


def _offer(params: Params, hop: Hop, row: ledger.HopRow) -> str:
    """Where another trainer finds what was made of its run; it goes on as it likes."""
    if not hop.training.checkpoints or not row.accepted or row.model is None:
        return ""
    winner = read_json(workspace.DECISION)["winner"]
    folder = read_json(workspace.EVALUATION_METRICS)["models"][winner]["folder"]
    name = f"models:/{params.registry.model}/{row.model.version}"
    return f"\noffered to the trainer: {folder} here, and anywhere: relex fetch {name} --out FOLDER"


def _begun(params: Params, hop: Hop) -> str:
    _weights(params, hop)
    hops.write(hop)
    return f"begun: {told(hop)}"


def _weights(params: Params, hop: Hop) -> None:
    """The champion's weights, and those that the hop starts from where they are others and not yet the base."""
    champions.put(params, hop.champion, workspace.CHAMPION_WEIGHTS)
    apart = hop.start if hop.start != hop.champion else None
    if apart is not None and champions.held(apart, workspace.BASE):
        apart = None
    champions.put(params, apart, workspace.START_WEIGHTS)


def _champion(params: Params, hop: Hop) -> tuple[Model | None, str]:
    """Who is champion, and what is to be said of it; where the registry is away, the one that the history or the hop
    knows last and whose weights are here, else RegistryUnreachable. InputError where the registry that is named now
    knows none and the history of this model does: nights would start over."""
    try:
        found = champions.present(params)
        if found is None and (known := _last_known(params.registry.model)):
            raise InputError(
                f"the registry has no champion {params.registry.model}",
                where="registry.tracking_uri",
                expected=f"version {known}, as history.jsonl says",
                found="none",
                todo="name the registry that has it; or give registry.model another name: that begins a new campaign",
            )
        return found, ""
    except RegistryUnreachable as error:
        found, why = last_known.champion(hop.champion, params.registry.model)
        if found is not None and not (champions.held(found, workspace.CHAMPION_WEIGHTS) or last_known.is_cached(found)):
            raise
        away = f"the registry cannot be reached ({error.where}: {error.found})"
        return found, f"; {away}, the champion is taken as last known: {why}"


def _last_known(model: str) -> str | None:
    """The version that the history's last line of that model made champion."""
    moves = [line for line in history.read() if line["model"] == model]
    return moves[-1].get("to") if moves else None
