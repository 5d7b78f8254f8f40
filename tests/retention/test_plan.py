"""What may go is decided on plain values: nobody's need is let go of, and limits are held where they can be."""

from __future__ import annotations

import dataclasses

import pytest

from relex.params.retention import Retention
from relex.retention import plan
from relex.retention.facts import Facts, Folder, Night, Object, Run, Version
from relex.retention.preview import text

_HOUR = 3600.0


def night(number: int) -> Night:
    """Night `number`, saved at that hour: one window and the base that all share."""
    objects = frozenset({f"window{number}", "base"})
    return Night(f"night-{number}", f"refs/{number}", number * _HOUR, objects, frozenset({f"{number}" * 64}))


def version(number: int, *, promoted: int | None, aliased: bool = False, reference: bool = False) -> Version:
    """The version that night `number` made."""
    weights = frozenset({f"candidates{number}"}) if reference else frozenset()
    return Version(
        "m", str(number), frozenset({f"window{number}", "base"}), weights, f"{number}" * 64, promoted, aliased, False
    )


def facts(count: int, **others: object) -> Facts:
    """`count` nights, the last of them standing; a window is 100 bytes, the base 10."""
    nights = tuple(night(number) for number in range(count, 0, -1))
    cache = {f"window{n}": Object(100, n * _HOUR - 60) for n in range(1, count + 1)}
    cache |= {f"candidates{n}": Object(50, n * _HOUR - 60) for n in range(1, count + 1)}
    given = {"cache": cache | {"base": Object(10, 0.0)}, "standing": nights[0].objects if nights else frozenset()}
    return Facts(**{"nights": nights, **given, **others})


def limits(**changes: object) -> Retention:
    return Retention.model_validate({"nights": 2, "promoted": "all", "disk": None, **changes})


def test_what_only_nights_beyond_the_limit_name_goes_and_what_a_kept_one_shares_stays():
    made = plan.make(facts(4), limits(), studies=False)
    assert [night.name for night in made.nights] == ["night-2", "night-1"]
    assert {"window1", "window2"} <= made.objects
    assert not {"base", "window3", "window4"} & made.objects


def test_an_object_that_nothing_names_goes_once_it_is_older_than_the_oldest_kept_night():
    made = plan.make(facts(3), limits(), studies=False)
    assert {"candidates1", "candidates2"} <= made.objects  # written before night 2 was saved
    assert "candidates3" not in made.objects


@pytest.mark.parametrize(
    "need",
    [
        {"standing": frozenset({"window1", "candidates1"})},
        {"named": frozenset({"window1", "candidates1"})},
        {"versions": (version(1, promoted=3, reference=True),)},
    ],
)
def test_what_the_work_tree_a_branch_or_a_version_needs_never_goes(need):
    made = plan.make(facts(5, **need), limits(nights=1, disk="1B"), studies=True)
    assert not {"window1", "candidates1"} & made.objects
    assert made.lost == ()
    assert made.over > 0


def test_beyond_the_newest_promoted_a_version_loses_its_rebuild_but_not_its_weights():
    old = version(1, promoted=3, reference=True)
    held = (version(2, promoted=2), version(3, promoted=1, aliased=True))
    made = plan.make(facts(5, versions=(old, *held)), limits(promoted=2), studies=False)
    assert made.lost == (old,)
    assert "window1" in made.objects
    assert not {"candidates1", "window2", "window3"} & made.objects


@pytest.mark.parametrize("spared", [{"aliased": True}, {}])
def test_a_version_with_an_alias_and_one_whose_night_is_kept_lose_nothing(spared):
    one = version(4 if not spared else 1, promoted=None, **spared)
    made = plan.make(facts(4, versions=(one,)), limits(promoted=1), studies=False)
    assert made.lost == ()
    assert not one.rebuild & made.objects


def test_the_remote_loses_only_what_nights_and_versions_gave_up_never_what_others_may_have_put_there():
    made = plan.make(facts(3, remote=True), limits(nights=1), studies=False)
    assert made.remote == {"window1", "window2"}  # the candidates are nobody's: here they go, there they stay
    assert plan.make(facts(3), limits(nights=1), studies=False).remote == frozenset()


def test_the_oldest_nights_go_before_their_time_where_the_disk_is_short_and_the_standing_one_never():
    made = plan.make(facts(5), limits(nights=5, disk="350B"), studies=False)
    assert [night.name for night in made.nights] == ["night-3", "night-2", "night-1"]
    assert (made.stays, made.over) == (260, 0)
    made = plan.make(facts(5), limits(nights=5, disk="100B"), studies=False)
    assert len(made.nights) == 4
    assert (made.stays, made.over) == (110, 10)


def test_a_disk_limit_below_what_must_stay_is_said_with_the_number_and_what_needs_it():
    known = facts(5, fixed={"registered versions in mlartifacts": 4000})
    strict = limits(nights=5, disk="100B")
    said = text(plan.make(known, strict, studies=False), known, strict, remote="", shared="")
    assert "retention.disk: 100B is less than what must stay: 4.0 KiB (4110 bytes), 3.9 KiB more" in said
    assert "registered versions in mlartifacts 3.9 KiB" in said


def run(number: int, **changes: object) -> Run:
    return Run(
        **{"id": f"r{number}", "name": "n", "started": number, "complete": True, "needed": False, "size": 7} | changes
    )


def test_runs_go_beyond_the_limit_but_for_those_that_a_version_or_an_unfinished_night_needs():
    runs = (run(6, complete=False), run(5), run(4), run(3, needed=True), run(2), run(1, complete=False), run(0, size=0))
    made = plan.make(facts(3, runs=runs), limits(), studies=False)
    assert [run.id for run in made.runs] == ["r2", "r1"]


def test_rows_stay_of_models_of_kept_nights_of_aliased_versions_and_of_a_night_that_is_not_finished():
    def rows(number: int, used: float = 0.0) -> Folder:
        return Folder("rows", f"rows/{number}", 5, used, f"{number}" * 16)

    champion = version(1, promoted=1, aliased=True)
    unfinished = rows(9, used=5 * _HOUR + 1)
    given = (rows(1), rows(2), rows(3), rows(4), rows(5), unfinished)
    made = plan.make(facts(5, folders=given, versions=(champion,)), limits(), studies=False)
    assert [folder.path for folder in made.folders] == ["rows/2", "rows/3"]


def test_studies_go_only_where_somebody_saw_them_named_():
    study = Folder("study", "study/seed-0", 5, 0.0)
    known = facts(5, folders=(study,))
    assert plan.make(known, limits(), studies=False).folders == ()
    made = plan.make(known, limits(), studies=True)
    assert made.folders == (study,)
    assert "study/seed-0" in text(made, known, limits(), remote="", shared="")


def test_without_a_saved_night_nothing_goes():
    known = Facts(cache={"x": Object(1, 0.0)}, folders=(Folder("rows", "rows/1", 5, 0.0, "1" * 16),))
    assert plan.make(known, limits(), studies=True).empty


def test_the_preview_names_what_goes_how_much_and_why_and_which_rebuilds_become_impossible():
    known = facts(4, versions=(version(1, promoted=2), version(2, promoted=1)), runs=(run(1), run(2), run(3)))
    strict = limits(promoted=1)
    said = text(plan.make(known, strict, studies=False), known, strict, remote="", shared="")
    for words in (
        "night-1 ",
        "beyond retention.nights: 2",
        "DVC cache: 4 objects  250 B",  # window 1, candidates 1 to 3
        "MLflow run n",
        "A rebuild becomes impossible of",
        "m version 1 (retention.promoted: 1)",
        "rebuilds of 1 versions",
    ):
        assert words in said, said
    assert "m version 2" not in said


def test_what_dvc_remembers_the_runs_of_a_kept_night_by_stays():
    known = facts(5)
    nights = (dataclasses.replace(known.nights[0], remembered=frozenset({"metrics"})), *known.nights[1:])
    cache = {**known.cache, "metrics": Object(1, 0.0)}
    made = plan.make(dataclasses.replace(known, nights=nights, cache=cache), limits(), studies=False)
    assert made.objects
    assert "metrics" not in made.objects
    assert "metrics" in plan.make(dataclasses.replace(known, cache=cache), limits(), studies=False).objects
