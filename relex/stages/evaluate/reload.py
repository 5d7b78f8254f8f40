"""Several checkpoints through one engine: only where a comparison with a fresh engine proves the reload.

vLLM reloads weights in place. On a CPU with tied embeddings it silently keeps the old output head, so there the engine
serves an untied twin of each checkpoint: the same tensors, with the head written out. Twin or not, the reload is
trusted only after a proof (reload_proof.py).
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

from safetensors.torch import save_file

from relex.checkpoints.header import read_header
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import implied_heads
from relex.core.atomic import new_folder, write_json
from relex.core.digest import json_sha256
from relex.stages.evaluate.contestants import Contestant

_TWINS = "twins"  # a folder of the state
_HEAD = "lm_head.weight"
_WRITING = threading.Lock()


def architecture(contestant: Contestant) -> str:
    """What two checkpoints must share for one engine to serve both: configuration, tokenizer, tensor layout."""
    with CheckpointReader(contestant.folder) as reader:
        layout = [(name, reader.specs[name].dtype, list(reader.specs[name].shape)) for name in reader.names]
    return json_sha256([contestant.speech_sha256, layout])


def servable(contestant: Contestant, state: Path) -> Path:
    """The folder that an engine on a CPU can be reloaded from: with tied embeddings the untied twin, else its own.

    state: where twins are written. Threads may ask for the same one at once.
    """
    with CheckpointReader(contestant.folder) as reader:
        heads = implied_heads(reader, [_HEAD])
        if not heads:
            return contestant.folder
        twin = state / _TWINS / contestant.model_sha256[:16]
        with _WRITING:
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


def remove_twins(state: Path) -> None:
    """Twins hold nothing that cannot be written again."""
    shutil.rmtree(state / _TWINS, ignore_errors=True)
