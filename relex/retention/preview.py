"""A plan as people read it: what goes, how much of it, why; what stays, and for whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from relex.core.sizes import show_bytes
from relex.params.retention import Retention
from relex.retention.facts import Facts
from relex.retention.plan import Plan

_WHY = {
    "rows": "no kept night, version with an alias or unfinished night evaluated it",
    "served": "fetched to be served; no alias points to it",
    "study": "a study's night, older than the oldest kept night",
}


def text(plan: Plan, facts: Facts, limits: Retention, *, remote: str, shared: str) -> str:
    """The page. remote: what is said of DVC's remote, empty without one; shared: where a shared cache lies."""
    if plan.empty:
        lines = ["nothing to prune"]
    else:
        rows = [("what", "size", "why"), *_going(plan)]
        lines = [*_table(rows), "", f"goes: {show_bytes(plan.freed)}"]
    if plan.remote and remote:
        lines.append(f"DVC remote: {remote}")
    if shared:
        lines.append(
            f"DVC's cache {shared} lies outside the project and may serve others: left alone (`dvc gc --projects`)"
        )
    lines += ["", f"stays: {show_bytes(plan.stays)}", *_table(_staying(plan))]
    if plan.lost:
        lines += [
            "",
            "A rebuild becomes impossible of (the version itself stays, and so do the hashes in its lineage):",
        ]
        lines += [f"  {version} (retention.promoted: {limits.promoted})" for version in plan.lost]
    lines += over(plan, limits)
    return "\n".join(line.rstrip() for line in lines)


def over(plan: Plan, limits: Retention) -> list[str]:
    """That what must stay exceeds the limit, by how much, and what it is."""
    if not plan.over:
        return []
    largest = sorted(plan.kept.items(), key=lambda item: -item[1])[:4]
    parts = ", ".join(f"{what} {show_bytes(size)}" for what, size in largest)
    return [
        "",
        f"retention.disk: {limits.disk} is less than what must stay: {show_bytes(plan.stays)} ({plan.stays} bytes), "
        f"{show_bytes(plan.over)} more than allowed; the most for {parts}",
    ]


def _going(plan: Plan) -> Iterable[tuple[str, str, str]]:
    for night in plan.nights:
        saved = datetime.fromtimestamp(night.saved, UTC).strftime("%Y-%m-%d %H:%M")
        yield (night.name, "", f"saved {saved} UTC, beyond retention.{plan.cause}")
    if plan.objects:
        yield (
            f"DVC cache: {len(plan.objects)} objects",
            show_bytes(plan.object_bytes),
            "only nights beyond the limit, or nothing, name them",
        )
    for run in plan.runs:
        yield f"MLflow run {run.name}", show_bytes(run.size), f"no version; beyond retention.{plan.cause}"
    for folder in plan.folders:
        yield folder.path, show_bytes(folder.size), _WHY[folder.place]


def _staying(plan: Plan) -> Iterable[tuple[str, ...]]:
    return [(f"  {what}", show_bytes(size)) for what, size in sorted(plan.kept.items(), key=lambda item: -item[1])]


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
