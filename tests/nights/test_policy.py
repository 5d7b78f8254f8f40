"""What comes after a hop and after a night, in simulated campaigns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.core.hop import Checkpoint, Hop, Model, Training
from relex.ledger.lines import Ledger, Row
from relex.nights.policy import Ended, following, further, new_checkpoints, start_of_campaign, tonight
from relex.params.nights import Nights
from tests.nights.rows import SPENT, hop_row, model, night_row


def section(**changes: Any) -> Nights:
    return Nights.model_validate({"mode": "auto", "budget": {"hops": 3}, "patience": 2} | changes)


def campaign(outcomes: list[bool], nights: Nights) -> tuple[list[Hop], Ledger, str]:
    """Hops with these outcomes, as many as the policy lets happen; the lines, and why it ended."""
    hop, champion, rows, hops = Hop(), None, list[Row](), list[Hop]()
    for number, accepted in enumerate(outcomes, 1):
        hops.append(hop)
        champion = model(number) if accepted else champion
        rows.append(hop_row(hop, accepted=accepted, champion=champion))
        night, count = hop.night, hop.hop + 1
        if tonight(hop, Ledger(rows), nights):
            mine = [row for row in rows if row.place[:2] == (hop.campaign, hop.night)]
            rows.append(night_row(hop.night, promoted=any(getattr(row, "accepted", False) for row in mine)))
            if ended := further(hop, Ledger(rows), nights, "s"):
                return hops, Ledger(rows), ended.why
            night, count = hop.night + 1, 1
        hop = following(hop, Ledger(rows), nights, champion, night=night, number=count)
    return hops, Ledger(rows), ""


def test_a_promoted_hop_is_where_the_next_begins_and_a_refused_one_goes_on_with_its_training() -> None:
    hops, _, _ = campaign([True, False, False, True, True], section(budget={"hops": 9}))
    assert [hop.mode for hop in hops] == ["fresh", "reground", "continue", "continue", "reground"]
    assert [hop.start for hop in hops] == [None, model(1), model(1), model(1), model(4)]
    assert [hop.training for hop in hops] == [
        Training(),
        Training(before=12),
        Training(before=12, grown=1),
        Training(before=12, grown=2),
        Training(before=48),
    ]
    assert [hop.slice for hop in hops] == [0, 1, 2, 3, 4]  # nobody is asked what chose or judged an earlier one


def test_hops_fill_a_night_and_nights_go_on_from_it() -> None:
    hops, ledger, _ = campaign([True] * 7, section())
    assert [hop.place[1:] for hop in hops] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    assert [night.night for night in ledger.nights] == [1, 2]


def test_nights_that_promote_nothing_come_to_a_plateau_until_something_changes() -> None:
    nights = section(budget={"hops": 1})
    hops, ledger, why = campaign([True, False, False, False], nights)
    assert len(hops) == 3
    assert "plateau" in why
    assert "2 nights in a row" in why
    assert further(hops[-1], ledger, nights, "changed") is None


@pytest.mark.parametrize(
    ("budget", "hops", "said"),
    [
        ({"hops": 5, "steps": 30}, 2, "steps"),
        ({"hops": 5, "minutes": 3.5}, 3, "minutes"),
        ({"hops": 5, "gpu_hours": 0.25}, 2, "gpu_hours"),
        ({"hops": 2, "minutes": 600.0}, 2, "hops"),
    ],
)
def test_a_night_ends_before_the_hop_that_would_exceed_its_budget(budget: dict[str, Any], hops: int, said: str) -> None:
    done, ledger, _ = campaign([True] * hops, section(budget=budget))
    ended = tonight(done[-1], ledger, section(budget=budget))
    assert isinstance(ended, Ended)
    assert f"nights.budget.{said}" in ended.why
    assert len(ledger.nights) == 1


def test_a_campaigns_own_limits_end_it() -> None:
    _, _, why = campaign([True] * 9, section(budget={"hops": 1}, campaign={"nights": 4}))
    assert "4 nights" in why
    hops, _, why = campaign([True] * 9, section(budget={"hops": 1}, campaign={"steps": 40}))
    assert "40 steps" in why
    assert len(hops) == 3


@pytest.mark.parametrize(
    ("mode", "starts"),
    [("fresh", [None, None, None]), ("reground", [None, model(1), model(1)]), ("continue", [None, None, None])],
)
def test_fixed_modes_begin_where_they_say(mode: str, starts: list[Model | None]) -> None:
    hops, _, _ = campaign([True, False, True], section(mode=mode, budget={"hops": 9}))
    assert [hop.start for hop in hops] == starts
    assert [hop.training.grown for hop in hops] == ([0, 1, 2] if mode == "continue" else [0, 0, 0])


def test_a_campaign_begins_at_a_champion_only_where_it_descends_from_the_same_base() -> None:
    mine = start_of_campaign(Hop(campaign=2, night=5), "of", model(3), same_base=True)
    assert (mine.mode, mine.start, mine.champion) == ("reground", model(3), model(3))
    other = start_of_campaign(Hop(campaign=2, night=5), "of", model(3), same_base=False)
    assert (other.mode, other.start, other.champion) == ("fresh", None, model(3))
    assert (other.place, other.slice, other.training) == ((2, 5, 1), 0, Training())
    again = start_of_campaign(Hop(campaign=2, night=5), "of", model(3), same_base=True, asked=6)
    assert again.slice == 7  # a campaign that begins at a champion does not ask what it won by


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=14))
def test_of_two_checkouts_on_one_registry_none_asks_what_the_champion_was_proven_on(
    turns: list[tuple[bool, bool]],
) -> None:
    """Checkouts take turns as they come; the one whose hop is accepted promotes it for both."""
    hops, lines = [Hop(), Hop()], [list[Row](), list[Row]()]
    nights, champion = section(budget={"hops": 99}), None
    proven: dict[str, set[int]] = {}  # by version, the slices that it and its ancestors were chosen and proven on
    for number, (second, accepted) in enumerate(turns, 1):
        hop, rows = hops[second], lines[second]
        met = proven[hop.champion.version] if hop.champion else set()
        assert hop.slice not in met
        if accepted and hop.champion == champion:  # else another came first, and it is not promoted
            champion = model(number)
            proven[champion.version] = met | {hop.slice}
        rows.append(hop_row(hop, accepted=accepted, champion=champion))
        asked = max(proven[champion.version]) if champion else None
        following_ = following(hop, Ledger(rows), nights, champion, night=1, number=hop.hop + 1, asked=asked)
        hops[second] = following_


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 3))
def test_whatever_happens_no_hop_starts_from_what_was_refused(outcomes: list[bool], hops: int, patience: int) -> None:
    done, ledger, _ = campaign(outcomes, section(budget={"hops": hops}, patience=patience))
    promoted = {None, *(model(number) for number, accepted in enumerate(outcomes, 1) if accepted)}
    assert all(hop.start in promoted for hop in done)
    assert len({hop.place for hop in done}) == len({hop.slice for hop in done}) == len(done)
    # Steps before a training are all that were taken until it began, and what it takes itself counts once.
    for hop, row in zip(done, ledger.hops, strict=True):
        earlier = [other for other in ledger.hops if other.place < row.place]
        assert hop.training.before + hop.training.grown * SPENT.steps == len(earlier) * SPENT.steps


def checkpoints(*steps: int) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(step=step, path=f"step_{step}", sha256=f"{step:064d}") for step in steps)


def test_nights_on_another_trainers_run_are_one_hop_each_from_one_base_and_know_no_plateau() -> None:
    nights, rows = section(patience=1), list[Row]()
    hop = start_of_campaign(Hop(), "of", model(7), same_base=True, checkpoints=checkpoints(10, 20))
    assert (hop.mode, hop.start, hop.champion) == ("fresh", None, model(7))
    for night, (last, accepted) in enumerate([(30, False), (40, True), (50, False)], 1):
        rows += [hop_row(hop, accepted=accepted, champion=model(7)), night_row(night, promoted=False)]
        assert tonight(hop, Ledger(rows), nights) is not None
        assert further(hop, Ledger(rows), nights, "s") is None
        found = checkpoints(*range(10, last + 10, 10))
        assert new_checkpoints(hop.training.checkpoints, found, "run") is None
        hop = following(hop, Ledger(rows), nights, model(8), night=night + 1, number=1, checkpoints=found)
        assert (hop.mode, hop.start, hop.champion) == ("continue", None, model(8))
        assert hop.training == Training(grown=night, checkpoints=found)


@pytest.mark.parametrize(
    ("known", "found", "why"),
    [
        ((), (10,), "run holds 1 complete checkpoints, and a window needs two"),
        ((10, 20), (10, 20), "nothing new in run since step 20"),
        ((10, 20, 30), (20, 30), "nothing new in run since step 30"),  # the trainer removed an old one
    ],
)
def test_checkpoints_that_are_no_reason_for_a_night(known: tuple[int, ...], found: tuple[int, ...], why: str) -> None:
    assert new_checkpoints(checkpoints(*known), checkpoints(*found), "run") == Ended(why)
