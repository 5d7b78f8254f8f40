"""What may go, and why: from facts and limits to a plan. Pure.

Never goes what the standing night, a registered version or its rebuild, a kept night, a branch, a tag or another
experiment needs; nor what is younger than the oldest kept night and named by nothing, as somebody may be at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relex.params.retention import Retention
from relex.retention.facts import Facts, Folder, Night, Run, Version


@dataclass(frozen=True)
class Plan:
    """What goes. lost: versions whose rebuild becomes impossible. kept: bytes that stay, by what needs them.

    objects leave DVC's cache; of `remote`, what is there leaves the remote. cause: which limit the nights exceed.
    over: bytes that stay beyond the limit `disk`.
    """

    nights: tuple[Night, ...]
    objects: frozenset[str]
    remote: frozenset[str]
    lost: tuple[Version, ...]
    runs: tuple[Run, ...]
    folders: tuple[Folder, ...]
    object_bytes: int
    kept: Mapping[str, int]
    cause: str
    over: int

    @property
    def freed(self) -> int:
        """Bytes that go."""
        return self.object_bytes + sum(run.size for run in self.runs) + sum(folder.size for folder in self.folders)

    @property
    def stays(self) -> int:
        """Bytes that stay."""
        return sum(self.kept.values())

    @property
    def empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.nights or self.objects or self.runs or self.folders or self.lost)


def make(facts: Facts, limits: Retention, *, studies: bool) -> Plan:
    """The plan that keeps `limits`; with a disk limit that one night alone exceeds, the one that keeps one night.

    studies: whether study folders may go, which only somebody who has seen them named decides.
    """
    there = len(_nights(facts))
    most = there if limits.nights is None else min(limits.nights, there)
    plan = _keeping(facts, limits, most, studies)
    disk = limits.disk_bytes
    if disk is None:
        return plan
    fewer = most
    while plan.stays > disk and fewer > 1:
        fewer -= 1
        plan = _keeping(facts, limits, fewer, studies, for_disk=True)
    return plan


def _keeping(facts: Facts, limits: Retention, count: int, studies: bool, *, for_disk: bool = False) -> Plan:
    """The plan that keeps the newest `count` nights."""
    newest = _nights(facts)[:count]
    kept = tuple(hop for hop in facts.nights if hop.night in newest)
    gone = tuple(hop for hop in facts.nights if hop.night not in newest)
    held = [version for version in facts.versions if _rebuilds(version, limits)]
    let_go = [version for version in facts.versions if not _rebuilds(version, limits)]
    needs = {
        "the standing night": facts.standing,
        f"{len(newest)} kept nights": _all(night.objects | night.remembered for night in kept),
        "versions by reference": _all(version.weights for version in facts.versions),
        f"rebuilds of {len(held)} versions": _all(version.rebuild for version in held),
        "branches, tags and other experiments": facts.named,
    }
    used = _all(needs.values())
    cache = facts.cache or {}
    since = kept[-1].saved if kept else 0.0
    asked = _all(night.objects for night in gone) | _all(version.rebuild for version in let_go)
    objects = frozenset(
        name for name, found in cache.items() if name not in used and (name in asked or found.written < since)
    )
    remote = asked - used if facts.remote else frozenset()
    runs = tuple(_runs(facts, count if for_disk else limits.nights))
    folders = tuple(folder for folder in facts.folders if _goes(folder, facts, kept, since, studies))
    stays = _shares(needs, {name: found.size for name, found in cache.items() if name not in objects})
    for what, size in (facts.fixed or {}).items():
        stays[what] = stays.get(what, 0) + size
    for what, size in (
        ("artifacts of MLflow's runs", sum(run.size for run in facts.runs) - sum(run.size for run in runs)),
        ("folders in .relex and study", sum(f.size for f in facts.folders) - sum(f.size for f in folders)),
    ):
        stays[what] = size
    disk = limits.disk_bytes
    return Plan(
        nights=gone,
        objects=objects,
        remote=remote,
        lost=tuple(version for version in let_go if not version.given_up and not version.rebuild <= used),
        runs=runs,
        folders=folders,
        object_bytes=sum(cache[name].size for name in objects),
        kept={what: size for what, size in stays.items() if size},
        cause=f"disk: {limits.disk}" if for_disk else f"nights: {limits.nights}",
        over=max(0, sum(stays.values()) - disk) if disk is not None else 0,
    )


def _nights(facts: Facts) -> list[str]:
    """The newest first; the hops of a night are kept together."""
    return list(dict.fromkeys(hop.night for hop in facts.nights))


def _rebuilds(version: Version, limits: Retention) -> bool:
    """Whether what a rebuild of the version reads is held for its own sake."""
    if limits.promoted == "all" or version.aliased:
        return True
    return version.promoted is not None and version.promoted <= limits.promoted


def _runs(facts: Facts, count: int | None) -> Iterable[Run]:
    """The runs beyond those of the newest `count` nights with complete ones that hold something and that nothing
    stands on."""
    if count is None:
        return
    complete: set[str] = set()
    for run in sorted(facts.runs, key=lambda run: -run.started):
        night = run.night or run.id
        if len(complete) >= count and night not in complete and not run.needed and (run.size or run.models):
            yield run
        if run.complete:
            complete.add(night)


def _goes(folder: Folder, facts: Facts, kept: tuple[Night, ...], since: float, studies: bool) -> bool:
    if not kept:
        return False
    aliased = {version.model_sha256 for version in facts.versions if version.aliased and version.model_sha256}
    if folder.place == "served":
        return folder.used < since and not _is_about(folder, aliased)
    if folder.place == "study":
        return studies and folder.used < since
    # Rows: what was generated since the last save belongs to a night that is not finished.
    models = _all(night.models for night in kept) | facts.standing_models | aliased
    return folder.used < kept[0].saved and not _is_about(folder, models)


def _is_about(folder: Folder, models: Iterable[str]) -> bool:
    return any(model.startswith(folder.model) for model in models)


def _shares(needs: Mapping[str, frozenset[str]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes by the first need that names an object."""
    shares = dict.fromkeys(needs, 0)
    shares["recent, named by nothing"] = 0
    for name, size in sizes.items():
        what = next((what for what, names in needs.items() if name in names), "recent, named by nothing")
        shares[what] += size
    return shares


def _all(sets: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
