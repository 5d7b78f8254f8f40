"""The page of all nights in MLflow: which columns its table begins with, kept where MLflow keeps a shared view.

MLflow's page takes a view by its key in the query of its URL, and reads the view from a tag of the experiment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relex.core.atomic import write_json
from relex.core.workspace import STATE
from relex.params.redact import redact

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection

NOTE = STATE / "nights.json"  # {"page": its address}
_KEY = "nights"
TAG = f"mlflow.sharedViewState.{_KEY}"
_FIGURES = ("promoted", "step", "gain", "test", "test_last", "ood", "ood_last", "reward", "skill", "rows")
_LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` serves


def view() -> str:
    """The view as MLflow's page reads it: the nights alone, the newest first, and the headline's figures as columns."""
    columns = ["attributes.`Created`", "attributes.`Duration`", *(f"metrics.`{name}`" for name in _FIGURES)]
    return json.dumps(
        {
            "searchFilter": "tags.`relex.kind` = 'night'",
            "orderByKey": "attributes.`Created`",
            "orderByAsc": False,
            "selectedColumns": columns,
            "compareRunsMode": None,
        },
        sort_keys=True,
    )


def keep(connection: Connection, experiment: str) -> None:
    """Set the view of an experiment (its id), where it is not set so already, and note its address for the night."""
    tags = connection.client.get_experiment(experiment).tags
    if tags.get(TAG) != view():
        connection.client.set_experiment_tag(experiment, TAG, view())
    write_json(NOTE, {"page": redact(address(connection.uri, experiment))})


def address(uri: str, experiment: str) -> str:
    """The page's URL without credentials; of a database the one under which `mlflow ui` serves it."""
    parts = urlsplit(uri)
    root = _LOCAL
    if parts.scheme in ("http", "https"):
        root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    return f"{root}/#/experiments/{experiment}/runs?viewStateShareKey={_KEY}"
