"""What a night says at its end, read from the metrics files under version control."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from relex.core.atomic import read_json
from relex.core.workspace import CANDIDATES, DECISION, EVALUATION_METRICS, PARAMS, REPORT, STATE, TRAIN_METRICS
from relex.ledger import lines as ledger
from relex.nights.table import as_table
from relex.params.load import load
from relex.params.redact import redact
from relex.registry.store.nights_view import NOTE as NIGHTS_PAGE

# What a suite's role means to a reader; the suites that choose and gate are not reported here.
_REPORTED = {"test": "in-domain", "ood": "out-of-domain"}


def _decided(decision: dict[str, Any]) -> str:
    """Outcome and sentence; of the last hop's line where that says the same and what became of it."""
    row = ledger.read().hops[-1]
    told = row.outcome, row.sentence
    if not row.sentence.startswith(decision["sentence"]):
        told = decision["outcome"], decision["sentence"]
    return ": ".join(told)


def summary(finished: int) -> str:
    """The printed page: the night's hops, then of the last one what was trained and extrapolated, the accuracy table,
    the decision, and where to look. finished: how many hops this run of the flow finished."""
    if not ledger.read().rows:
        return "\nTHE NIGHT\n\nnothing was begun, and there was no night before"
    train, decision = read_json(TRAIN_METRICS), read_json(DECISION)
    evaluation = read_json(EVALUATION_METRICS)
    fit = read_json(CANDIDATES / "fit.json")
    request = fit["request"]
    lines = ["", "THE NIGHT", "", *_ledger(), ""]
    if not finished:
        lines += ["nothing was begun: above stands what the nights came to", ""]
    lines += [
        f"trained       {_trained(train)}",
        f"extrapolated  rank {request['rank']}, {request['fit']} fit, window {fit['steps'][0]}-{fit['steps'][-1]}, "
        f"to steps {', '.join(str(target) for target in request['targets'])}",
        "",
        *accuracy_table(evaluation),
        "",
        *textwrap.wrap(f"decision      {_decided(decision)}", width=110, subsequent_indent=" " * 14),
        f"proof         {proof_line(evaluation, train['completions'])}",
        *_registry_lines(),
        "",
        f"report        {REPORT}",
        f"MLflow        {_mlflow_view()}",
        *_nights_page(),
        "Prefect       PREFECT_HOME=.prefect .venv/bin/prefect server start",
        "DVC           make nights; .venv/bin/dvc dag; .venv/bin/dvc metrics show; .venv/bin/dvc plots show",
    ]
    return "\n".join(lines)


def _trained(train: Mapping[str, Any]) -> str:
    if "reward_first" not in train:
        return f"{train['steps']} steps by another trainer, {train['imported']} of its checkpoints observed"
    return f"{train['steps']} steps of RLVR, reward {train['reward_first']:.3f} -> {train['reward_last']:.3f}"


def _ledger() -> list[str]:
    """The hops of the last night that is in the ledger, as a table."""
    rows = ledger.read().rows
    last = [row for row in rows if row.place[:2] == rows[-1].place[:2]]
    return as_table(ledger.Ledger(last)).splitlines()


def accuracy_table(evaluation: Mapping[str, Any]) -> list[str]:
    """One line a model: share of right samples with its interval on every suite that is reported; a dash where it was
    not asked."""
    suites = {
        name: meaning
        for role, meaning in _REPORTED.items()
        for name, suite in evaluation["protocol"]["suites"].items()
        if suite["role"] == role
    }
    width = max(len(name) for name in evaluation["models"])
    titles = [f"{name} ({meaning}), right" for name, meaning in suites.items()]
    columns = [max(len(title), 20) for title in titles]
    lines = [" ".join([" " * width, *(title.ljust(column) for title, column in zip(titles, columns, strict=True))])]
    for model, measured in evaluation["metrics"].items():
        cells = [right(measured.get(name, {})) for name in suites]
        texts = [
            f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" if cell else "\N{EN DASH}" for cell in cells
        ]
        padded = [text.ljust(column) for text, column in zip(texts, columns, strict=True)]
        lines.append(" ".join([model.ljust(width), *padded]).rstrip())
    return [line.rstrip() for line in lines]


def right(measured: Mapping[str, Any]) -> Mapping[str, float] | None:
    """The share of right samples with its interval among a suite's metrics, however many samples a problem had."""
    return next((cell for name, cell in measured.items() if name.startswith("avg_at_")), None)


def proof_line(evaluation: Mapping[str, Any], rollouts: int) -> str:
    """What each part asked for, and all of it in multiples of the training's rollouts, where they are known."""
    rows = {part: spent["rows"] for part, spent in evaluation["proof"]["spent"].items()}
    parts = ", ".join(f"{part} {count:,}" for part, count in rows.items())
    share = f", {sum(rows.values()) / rollouts:.2f} times the rollouts" if rollouts else ""
    return f"{sum(rows.values()):,} rows ({parts}){share}"


def _registry_lines() -> list[str]:
    """The registered version and alias, as the registry's commands left them."""
    path = STATE / "registered.json"
    if not path.exists():
        return ["registry      nothing registered"]
    entry = read_json(path)
    return [
        f"registry      {entry['name']} version {entry['version']}, aliases: {', '.join(entry['aliases']) or 'none'}"
    ]


def _nights_page() -> list[str]:
    """The address of MLflow's table of nights, as the registry's commands left it."""
    return [" " * 14 + read_json(NIGHTS_PAGE)["page"]] if NIGHTS_PAGE.is_file() else []


def _mlflow_view() -> str:
    """How to look at the registry; a server's address may hold credentials and is not printed."""
    uri = load(PARAMS).registry.tracking_uri
    if uri.startswith("sqlite:"):
        return f".venv/bin/mlflow ui --backend-store-uri {redact(uri)}"
    return "the server that registry.tracking_uri in params.yaml names"
