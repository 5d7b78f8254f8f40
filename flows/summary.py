"""What a night says at its end, read from the metrics files under version control."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from relex.core.atomic import read_json
from relex.core.workspace import CANDIDATES, DECISION, EVALUATION_METRICS, PARAMS, REPORT, STATE, TRAIN_METRICS
from relex.params.load import load
from relex.params.redact import redact

# What a suite's role means to a reader; the suites that choose and gate are not reported here.
_REPORTED = {"test": "in-domain", "ood": "out-of-domain"}


def summary(ran: Mapping[str, bool]) -> str:
    """The printed page: what was trained and extrapolated, the accuracy table, the decision, where to look."""
    train, decision = read_json(TRAIN_METRICS), read_json(DECISION)
    fit = read_json(CANDIDATES / "fit.json")
    request = fit["request"]
    lines = ["", "THE NIGHT", ""]
    if not any(ran.values()):
        lines += ["every stage up to date", ""]
    lines += [
        f"trained       {train['steps']} steps of RLVR, "
        f"reward {train['reward_first']:.3f} -> {train['reward_last']:.3f}",
        f"extrapolated  rank {request['rank']}, {request['fit']} fit, window {fit['steps'][0]}-{fit['steps'][-1]}, "
        f"to steps {', '.join(str(target) for target in request['targets'])}",
        "",
        *accuracy_table(read_json(EVALUATION_METRICS)),
        "",
        *textwrap.wrap(
            f"decision      {decision['outcome']}: {decision['sentence']}", width=110, subsequent_indent=" " * 14
        ),
        *_registry_lines(),
        "",
        f"report        {REPORT}",
        f"MLflow        {_mlflow_view()}",
        "Prefect       PREFECT_HOME=.prefect .venv/bin/prefect server start",
        "DVC           .venv/bin/dvc dag; .venv/bin/dvc metrics show; .venv/bin/dvc exp list --all-commits",
    ]
    return "\n".join(lines)


def accuracy_table(evaluation: Mapping[str, Any]) -> list[str]:
    """One line a model: avg@k with its interval on every suite that is only reported."""
    suites = {
        name: f"avg_at_{suite['samples']}"
        for role in _REPORTED
        for name, suite in evaluation["protocol"]["suites"].items()
        if suite["role"] == role
    }
    roles = {name: _REPORTED[evaluation["protocol"]["suites"][name]["role"]] for name in suites}
    width = max(len(name) for name in evaluation["models"])
    titles = [f"{name} ({roles[name]}), {key.replace('_at_', '@')}" for name, key in suites.items()]
    columns = [max(len(title), 20) for title in titles]
    lines = [" ".join([" " * width, *(title.ljust(column) for title, column in zip(titles, columns, strict=True))])]
    for model, measured in evaluation["metrics"].items():
        cells = [measured[name][key] for name, key in suites.items()]
        texts = [f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in cells]
        padded = [text.ljust(column) for text, column in zip(texts, columns, strict=True)]
        lines.append(" ".join([model.ljust(width), *padded]).rstrip())
    return [line.rstrip() for line in lines]


def _registry_lines() -> list[str]:
    """The registered version and alias, as the registry's commands left them."""
    path = STATE / "registered.json"
    if not path.exists():
        return ["registry      nothing registered"]
    entry = read_json(path)
    return [
        f"registry      {entry['name']} version {entry['version']}, aliases: {', '.join(entry['aliases']) or 'none'}"
    ]


def _mlflow_view() -> str:
    """How to look at the registry; a server's address may hold credentials and is not printed."""
    uri = load(PARAMS).registry.tracking_uri
    if uri.startswith("sqlite:"):
        return f".venv/bin/mlflow ui --backend-store-uri {redact(uri)}"
    return "the server that registry.tracking_uri in params.yaml names"
