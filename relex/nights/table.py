"""`relex ledger`: the lines of the ledger as a table, sums included."""

from __future__ import annotations

import json

from relex.ledger.lines import HopRow, Ledger, NightRow, Right

_HEAD = (
    "night",
    "hop",
    "mode",
    "from",
    "steps",
    "all",
    "seconds",
    "all",
    "rows",
    "all",
    "model",
    "test",
    "ood",
    "came",
)


def as_json(ledger: Ledger) -> str:
    """One JSON value, a list of the lines."""
    return json.dumps([row.model_dump(mode="json") for row in ledger.rows], indent=1, sort_keys=True)


def as_table(ledger: Ledger) -> str:
    """A line a hop and a line a night; `all` is the sum of the campaign so far. What is said is how it ended."""
    if not ledger.rows:
        return "no hop is finished yet"
    lines = [_HEAD, *(_hop(row) if isinstance(row, HopRow) else _night(row) for row in ledger.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD) - 1)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line[:-1], widths, strict=True)), line[-1]]).rstrip()
        for line in lines
    )


def _hop(row: HopRow) -> tuple[str, ...]:
    came = f"{row.outcome}, step {row.step}" if row.accepted else row.outcome
    start = "source" if row.start is None else f"v{row.start.version}"
    return (str(row.night), str(row.hop), row.mode, start, *_spent(row), came)


def _night(row: NightRow) -> tuple[str, ...]:
    came = f"{'promoted' if row.promoted else 'promoted nothing'}: {row.why}"
    return (str(row.night), "all", "", "", *_spent(row), came)


def _spent(row: HopRow | NightRow) -> tuple[str, ...]:
    spent, total = row.spent, row.total
    return (
        str(spent.steps),
        str(total.steps),
        f"{spent.all_seconds:.0f}",
        f"{total.all_seconds:.0f}",
        f"{spent.all_rows:,}",
        f"{total.all_rows:,}",
        "-" if row.model is None else f"v{row.model.version}",
        *(_cell(row.right.get(suite)) for suite in ("test", "ood")),
    )


def _cell(right: Right | None) -> str:
    return "-" if right is None else f"{right.value:.3f} [{right.low:.3f}, {right.high:.3f}]"
