"""Print what the registry of the present folder holds, as one line of JSON: versions, tags, aliases, runs, models."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.artifacts import list_artifacts


def main() -> None:
    """Ids and moments are the reader's to leave out."""
    client = MlflowClient("sqlite:///mlflow.db", "sqlite:///mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments)
    models = client.search_logged_models(experiments)
    facts = {
        "versions": sorted(
            [v.version, sorted(v.aliases), dict(sorted(v.tags.items())), v.status]
            for v in client.search_model_versions("")
        ),
        "aliases": [dict(sorted(model.aliases.items())) for model in client.search_registered_models()],
        "runs": sorted([r.info.status, r.data.tags.get("relex.kind", ""), _measured(r.data.metrics)] for r in runs),
        "models": sorted([str(m.status), sorted(_names(m.artifact_location))] for m in models),
    }
    print(json.dumps(facts, sort_keys=True))


def _measured(names: Iterable[str]) -> list[str]:
    """Without what is known only while a training is followed, and its follower may be killed: the machine's load, and
    the seconds of a step."""
    return sorted(name for name in names if not name.startswith(("system/", "train/seconds/")))


def _names(place: str) -> list[str]:
    names = []
    for entry in list_artifacts(artifact_uri=place):
        name = entry.path.rsplit("/", 1)[-1]
        names += [f"{name}/{below}" for below in _names(f"{place}/{name}")] if entry.is_dir else [name]
    return names


if __name__ == "__main__":
    main()
