"""A checkpoint as a model of MLflow's transformers flavour: what its own clients need to load and to serve it."""

from __future__ import annotations

import json
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.core import workspace
from relex.core.atomic import write_text
from relex.params.registry import Registered

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

CHECKPOINT = "model"  # MLflow's own name for the checkpoint below a transformers model
CARD = "README.md"
_NEEDED = ("torch", "transformers", "safetensors")


def load() -> None:
    """Import what save() does, and let MLflow list what is installed, for a template of the fork server."""
    import mlflow.transformers
    import mlflow.utils.requirements_utils as listing
    import transformers

    _ = mlflow.transformers.save_model, transformers.pipeline  # imported when it is asked for
    listing.warn_dependency_requirement_mismatches(_requirements())


def save(
    staged: Path,
    params: Registered,
    model: LoggedModel,
    run: str,
    folder: Path,
    lineage: dict[str, Any],
    card: str,
    max_tokens: int,
) -> None:
    """Lay out an MLflow transformers model: MLmodel, signature, example, the checkpoint with card and lineage."""
    import mlflow
    from huggingface_hub import ModelCard

    description = mlflow.models.Model(
        artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run, model_id=model.model_id
    )
    chat = (folder / "chat_template.jinja").is_file()
    prompt = lineage["example"]
    mlflow.transformers.save_model(
        # An absolute path cannot be mistaken for a hub repository, which MLflow would look up.
        transformers_model=str(folder.absolute()),
        path=str(staged),
        mlflow_model=description,
        task="llm/v1/chat" if chat else "llm/v1/completions",
        input_example={
            **({"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}),
            "max_tokens": max_tokens,
        },
        model_card=ModelCard(card),
        pip_requirements=_requirements(),
    )
    # MLflow wrote the absolute folder there, which means nothing to anyone else.
    description.flavors["transformers"]["source_model_name"] = params.registry.model
    description.save(str(staged / "MLmodel"))
    write_text(staged / "LICENSE.txt", f"Licence of the base model, as it states it: {lineage['base']['licence']}\n")
    write_text(staged / CHECKPOINT / CARD, card)


def _requirements() -> list[str]:
    return [f"{name}=={installed(name)}" for name in _NEEDED]


def example_prompt() -> str:
    """The first test problem's prompt, an example that the model was made for."""
    path = workspace.PROBLEMS / "test.jsonl"
    if path.is_file():
        with open(path, encoding="utf-8") as handle:
            first = json.loads(handle.readline() or "{}")
        if isinstance(first.get("prompt"), str):
            return first["prompt"]
    return "Hello"
