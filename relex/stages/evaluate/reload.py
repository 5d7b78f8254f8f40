"""Several checkpoints through one engine: only where a comparison with a fresh engine proves the reload.

vLLM reloads weights in place. On a CPU with tied embeddings it silently keeps the old output head, so there the engine
serves an untied twin of each checkpoint: the same tensors, with the head written out. Twin or not, the reload is
trusted only after a proof: an engine that started with model A and reloaded model B must give the tokens and the
log-probabilities that a fresh engine on B gives, bit for bit, and A must not give them.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from relex.checkpoints.header import read_header
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import implied_heads
from relex.core.asking import Asking
from relex.core.atomic import new_folder, read_json, write_json
from relex.core.digest import json_sha256
from relex.core.workspace import STATE
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.engine.process import EngineProcess

PROOFS = STATE / "reloads"
TWINS = STATE / "twins"
PROBE_PROMPTS = 64
_HEAD = "lm_head.weight"


def architecture(contestant: Contestant) -> str:
    """What two checkpoints must share for one engine to serve both: configuration, tokenizer, tensor layout."""
    with CheckpointReader(contestant.folder) as reader:
        layout = [(name, reader.specs[name].dtype, list(reader.specs[name].shape)) for name in reader.names]
    return json_sha256([contestant.speech_sha256, layout])


def servable(contestant: Contestant, on_cpu: bool) -> Path:
    """The folder an engine that reloads should load: on a CPU with tied embeddings the untied twin, else its own."""
    if not on_cpu:
        return contestant.folder
    with CheckpointReader(contestant.folder) as reader:
        heads = implied_heads(reader, [_HEAD])
        if not heads:
            return contestant.folder
        twin = TWINS / contestant.model_sha256[:16]
        if not twin.is_dir():
            with new_folder(twin) as folder:
                _write_twin(contestant.folder, reader, heads[_HEAD], folder)
        return twin


def _write_twin(source: Path, reader: CheckpointReader, embedding: str, folder: Path) -> None:
    """Links to everything in `source`, one more shard that holds the head, and a configuration that says untied."""
    shards = sorted(source.glob("*.safetensors"))
    count = len(shards) + 1
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{count:05d}.safetensors"
        (folder / name).symlink_to(shard.resolve())
        weight_map.update(dict.fromkeys(read_header(shard)[0], name))
    head = f"model-{count:05d}-of-{count:05d}.safetensors"
    save_file({_HEAD: reader.tensor(embedding).clone()}, folder / head, metadata={"format": "pt"})
    weight_map[_HEAD] = head
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    for path in source.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and not path.name.endswith(".index.json"):
            (folder / path.name).symlink_to(path.resolve())
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    if "text_config" in config:
        config["text_config"]["tie_word_embeddings"] = False
    (folder / "config.json").unlink()
    write_json(folder / "config.json", config)


def remove_twins() -> None:
    """Twins hold nothing that cannot be written again."""
    shutil.rmtree(TWINS, ignore_errors=True)


def proven(
    first: Contestant,
    last: Contestant,
    settings: dict[str, Any],
    engine: dict[str, Any],
    prompts: list[str],
    sampling: dict[str, Any],
    asking: Asking,
    environments: list[dict[str, str]],
    log: Path,
) -> bool:
    """Whether an engine may go from checkpoint to checkpoint; proven once per engine, machine and architecture.

    settings: of the engine process, without its model. engine: what identifies the engine in the rows' keys.
    environments: one or two, for engines that run side by side. Two checkpoints that answer alike prove nothing, and
    then the answer is no.
    """
    on_cpu = settings["on_cpu"]
    key = json_sha256(
        [engine, settings, architecture(first), platform.processor(), platform.machine(), platform.node()]
    )
    path = PROOFS / f"{key}.json"
    if path.is_file():
        return bool(read_json(path)["exact"])
    prompts = prompts[:PROBE_PROMPTS]
    seeds = list(range(len(prompts)))

    def probe(process: EngineProcess) -> list[Any]:
        found = process.generate(prompts, seeds, sampling | {"logprobs": True}, asking)
        return [(item["text"], item["logprobs"]) for item in found]

    def reloaded() -> tuple[list[Any], list[Any]]:
        with EngineProcess(settings | {"model": str(servable(first, on_cpu))}, log, environments[0]) as process:
            before = probe(process)
            process.reload(servable(last, on_cpu))
            return before, probe(process)

    def fresh() -> list[Any]:
        with EngineProcess(
            settings | {"model": str(last.folder)}, log.with_suffix(".fresh.log"), environments[-1]
        ) as process:
            return probe(process)

    with ThreadPoolExecutor(len(environments)) as pool:
        one, other = pool.submit(reloaded), pool.submit(fresh)
        (before, after), expected = one.result(), other.result()
    if not all(math.isfinite(value) for _, logprobs in expected for value in logprobs):
        return False  # a model whose logits are not numbers proves nothing
    differing = sum(a != b for a, b in zip(before, after, strict=True))
    exact = after == expected and differing > 0
    write_json(
        path,
        {
            "exact": exact,
            "compared": {"first": first.model_sha256, "last": last.model_sha256, "completions": len(prompts)},
            "differ_between_the_two": differing,
            "differ_from_the_fresh_engine": sum(a != b for a, b in zip(after, expected, strict=True)),
            "engine": engine,
        },
    )
    return exact
