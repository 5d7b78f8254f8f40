"""The model card: README.md of a registered checkpoint folder, as the Hugging Face hub lays it out."""

from __future__ import annotations

import shlex
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from relex.params.load import Params
from relex.registry.serve import SERVER, Engine, options
from relex.registry.store.night import accuracy, suites
from relex.stages.train.params import AnyTrain, Imported

_NAMES = {"choose": "validation, chosen on", "gate": "validation, gate", "test": "test", "ood": "out of domain"}


def write(params: Params, lineage: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """The card's Markdown. `lineage` is facts.gather's value, `evaluation` metrics/evaluate.json."""
    source = lineage["base"]["source"]
    licence = lineage["base"]["licence"]
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rlvr", "weight-extrapolation", "relex"],
        "license": licence,
    }
    if source["kind"] == "hub":
        header["base_model"] = source["repo"]
    text = StringIO()
    YAML(pure=True).dump(header, text)
    name = params.registry.model
    return f"""---
{text.getvalue()}---

# {name}

{_method(params, lineage)}

Decision: **{lineage["decision"]["outcome"]}**. {lineage["decision"]["sentence"]}

## Results

{_table(lineage, evaluation)}

{_protocol(params)}

## How it was made

| | |
|---|---|
{_facts(params, lineage, licence)}

The whole descent is in `lineage.json`; `relex lineage {name}@champion` checks that the bytes still hash to it.

## Use

```python
import mlflow

mlflow.set_tracking_uri("<the registry>")
generate = mlflow.transformers.load_model("models:/{name}@champion")
print(generate("{_example(params)}", max_new_tokens={params.evaluate.max_tokens}))
```

```bash
relex serve {name}@champion                        # vLLM's own server, and a curl line for it
```

Without this project's code (`vllm serve model` starts the same server on a GPU; in vLLM's CPU build that command ends
for want of a package named `vllm`, while this one works on both; the variable, in GiB, only counts on a CPU):

```bash
relex fetch models:/{name}@champion --out model   # or MLflow's own: mlflow artifacts download
VLLM_CPU_KVCACHE_SPACE={params.evaluate.cpu_kv_cache_gib} python -m {SERVER} --model model \\
  --served-model-name {shlex.quote(name)} {shlex.join(options(Engine.of(params.evaluate)))}
```
"""


def of_proof(name: str, lineage: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """The same for a version without a night (`relex register --from`). name: of the registered model."""
    header = StringIO()
    tags = {"library_name": "transformers", "pipeline_tag": "text-generation", "license": lineage["base"]["licence"]}
    YAML(pure=True).dump(tags, header)
    folders = "\n".join(
        f"| {model} | {facts['folder']} | {facts['model_sha256']} |"
        for model, facts in lineage["proof"]["models"].items()
    )
    return f"""---
{header.getvalue()}---

# {name}

Optimiser step {lineage["step"]}. Proven by {lineage["proof"]["origin"]}.

Decision: **{lineage["decision"]["outcome"]}**. {lineage["decision"]["sentence"]}

## Results

{_table(lineage, evaluation)}

## What was compared

| model | folder | SHA-256 of weights, configuration and tokenizer |
|---|---|---|
{folders}

The answers that decided lie beside the weights; `relex promote` decides on them again.
"""


def _method(params: Params, lineage: dict[str, Any]) -> str:
    steps = lineage["trajectory"]["steps"]
    observed = f"{len(steps)} observed steps of RLVR, optimiser steps {steps[0]} to {steps[-1]}" if steps else "RLVR"
    if lineage["kind"] != "candidate":
        return f"The last observed checkpoint of a short RLVR run ({observed}); no extrapolation won."
    horizon = f", {lineage['step'] / steps[-1]:.1f} times the window" if steps and lineage["step"] else ""
    rank = lineage["extrapolate"]["rank"]
    return (
        f"Weights predicted at optimiser step {lineage['step']}{horizon}, from {observed}. Per tensor, the deltas from "
        f"the base are projected on their {'full span' if rank == 'full' else f'rank-{rank} subspace'}, the "
        f"coefficients are fitted ({lineage['extrapolate']['fit']}) against the true steps, and the fit is continued "
        f"to step {lineage['step']}. No training was done beyond step {steps[-1] if steps else 'unknown'}."
    )


def _table(lineage: dict[str, Any], evaluation: dict[str, Any]) -> str:
    asked, confidence = suites(evaluation), evaluation["protocol"]["confidence"]
    names = {
        suite: cell.name
        for suite in asked
        for model in evaluation["models"]
        if (cell := accuracy(evaluation, model, suite))
    }
    by_need = {suite for suite in asked if evaluation["protocol"]["suites"][suite]["role"] in ("choose", "gate")}
    titles = [
        _NAMES.get(suite, suite) + ("" if suite in by_need else f", {names.get(suite, '').replace('_at_', '@')}")
        for suite in asked
    ]
    lines = [
        f"Share of right answers, with a {confidence:.0%} interval over problems; on validation each "
        "model was asked as many problems and samples as its proof took:",
        "",
        "| model | " + " | ".join(titles) + " |",
        "|---" * (len(asked) + 1) + "|",
    ]
    for model in evaluation["models"]:
        cells = [_cell(evaluation, model, suite, suite in by_need) for suite in asked]
        shown = f"**{model} (this one)**" if model == lineage["winner"] else model
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(evaluation: dict[str, Any], model: str, suite: str, by_need: bool) -> str:
    cell = accuracy(evaluation, model, suite)
    if cell is None:
        return "\N{EN DASH}"
    counts = evaluation["metrics"][model][suite]
    asked = f", {counts['problems']} problems x {counts['samples']}" if by_need else ""
    return f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f}){asked}"


def _protocol(params: Params) -> str:
    e = params.evaluate
    return (
        f"Sampling: {e.samples} per problem where it is reported, on validation from 1 to {e.proof.samples} as the "
        f"proof went on; temperature {e.temperature:g}, top-p {e.top_p:g}, at most {e.max_tokens} tokens, {e.backend}, "
        f"{e.dtype}. Chosen on one part of validation, gated on another, held against loss out of domain; test "
        "problems are only reported."
    )


def _facts(params: Params, lineage: dict[str, Any], licence: str) -> str:
    source, spend = lineage["base"]["source"], lineage["spend"].get("train")
    base = {
        "hub": f"{source.get('repo')} at {source.get('revision')}",
        "folder": Path(str(source.get("path", ""))).name,
        "package": f"{source.get('package')} {source.get('version')}",
        "embedded": f"a tiny Qwen3 decoder pretrained by this project, seed {source.get('seed')}",
    }[source["kind"]]
    rows = {
        "base model": base,
        "licence of the base": licence,
        "problems": params.problems.source.kind,
        "training": _training(params.train) + (f", {spend:.0f} s" if spend else ""),
        "weights, SHA-256": lineage["weights_sha256"],
        "trajectory, SHA-256": lineage["trajectory"]["sha256"],
        "Git commit": lineage["git"]["commit"] or "none",
        "software": ", ".join(f"{key} {value}" for key, value in lineage["software"].items()),
    }
    return "\n".join(f"| {key} | {value} |" for key, value in rows.items())


def _training(train: AnyTrain) -> str:
    if isinstance(train, Imported):
        return f"another trainer's; its checkpoints as it wrote them into {Path(train.run).name}"
    return (
        f"GRPO, learning rate {train.learning_rate:g}, {train.prompts_per_step} prompts x {train.num_generations} "
        "samples a step"
    )


def _example(params: Params) -> str:
    return "48201=" if params.problems.source.kind == "sort-digits" else "..."
