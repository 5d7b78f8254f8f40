"""From one hop to the next: `relex hop --begin` and `relex hop --end`, each once, wherever they are killed.

Both are called under the night's lock. The ledger is written before hop.json: a kill between the two leaves a finished
hop, and whoever comes next goes on from there.
"""

from __future__ import annotations

import shutil

from relex.core import hop as hops
from relex.core import workspace
from relex.core.hop import Hop, Model
from relex.ledger import lines as ledger
from relex.nights import account, policy
from relex.nights.present import campaign_of, settings_of, told
from relex.params.load import Params
from relex.registry import champion as champions
from relex.registry.store.connection import RegistryUnreachable


def begin(params: Params) -> str:
    """Go on with the unfinished hop, or begin the next night; what came of it. Nothing is begun on a plateau, or where
    the campaign's budget is spent."""
    hop = hops.read()
    if hop.of != (of := campaign_of(params)):
        return _new_campaign(params, hop, of)
    found = ledger.read()
    if found.hop(hop) is None:
        _weights(params, hop)
        return f"unfinished: {told(hop)}"
    if found.night(hop) is None:  # killed between its hop's line and what comes after it
        return end(params)
    settings = settings_of(params)
    if ended := policy.further(hop, found, params.nights, settings):
        return f"no further night: {ended.why}"
    changed = "" if found.nights[-1].settings == settings else "; params.yaml changed since the last night"
    champion, said = _champion(params, hop)
    new = policy.following(hop, found, params.nights, champion, night=found.nights[-1].night + 1, number=1)
    return _begun(params, new) + changed + said


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
        return f"night {hop.night} ended: {ended.why}{said}"
    return _begun(params, policy.following(hop, found, params.nights, champion, night=hop.night, number=hop.hop + 1))


def fetch(params: Params) -> str:
    """Have the weights here that the present hop names, out of the registry."""
    hop = hops.read()
    _weights(params, hop)
    return told(hop)


def _new_campaign(params: Params, hop: Hop, of: str) -> str:
    """The first one of a checkout, or after a change of base, task or model."""
    found = ledger.read()
    campaign = 1 + max((row.campaign for row in found.rows), default=0)
    night = 1 + max((row.night for row in found.rows), default=0)
    champion = champions.present(params)
    same = champion is not None and champions.descends_from(params)
    begun = policy.start_of_campaign(Hop(campaign=campaign, night=night), of, champion, same_base=same)
    return f"a new campaign. {_begun(params, begun)}"


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
    """Who is champion; where the registry is away, the one that the hop met, whose weights are here."""
    try:
        return champions.present(params), ""
    except RegistryUnreachable as error:
        if hop.champion is not None and not champions.held(hop.champion, workspace.CHAMPION_WEIGHTS):
            raise
        return hop.champion, f"; the registry cannot be reached, the champion is taken as last known: {error}"
