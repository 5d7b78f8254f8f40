"""Several checkpoints through one engine: only where a comparison with a fresh engine proves the reload.

vLLM reloads weights in place, from a folder or as they are formed (checkpoints/formed.py). On a CPU with tied
embeddings it silently keeps the old output head, so there the engine serves an untied twin of each checkpoint: the same
tensors, with the head written out. Twin or not, the reload is trusted only after a proof (reload_proof.py).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.formed import Formed
from relex.checkpoints.header import read_header
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import implied_heads
from relex.core.atomic import new_folder, scratch_folder, write_json
from relex.core.digest import json_sha256
from relex.stages.evaluate.contestants import Contestant

_TWINS = "twins"  # a folder of the state
HEAD = "lm_head.weight"
_WRITING = threading.Lock()


def architecture(contestant: Contestant) -> str:
    """What two checkpoints must share for one engine to serve both: configuration, tokenizer, tensor layout."""
    with CheckpointReader(contestant.layout) as reader:
        layout = [(name, reader.specs[name].dtype, list(reader.specs[name].shape)) for name in reader.names]
    return json_sha256([contestant.speech_sha256, layout])


def ties(folder: Path) -> bool:
    """Whether a checkpoint leaves out its output head, as it is the embedding again."""
    with CheckpointReader(folder) as reader:
        return bool(implied_heads(reader, [HEAD]))


def servable(contestant: Contestant, state: Path) -> Path:
    """The folder that an engine on a CPU can be reloaded from: with tied embeddings the untied twin, else its own.

    state: where twins are written. Threads may ask for the same one at once.
    """
    with CheckpointReader(contestant.folder) as reader:
        heads = implied_heads(reader, [HEAD])
        if not heads:
            return contestant.folder
        twin = state / _TWINS / contestant.model_sha256[:16]
        with _WRITING:
            if not twin.is_dir():
                with new_folder(twin) as folder:
                    _write_twin(contestant.folder, reader, heads[HEAD], folder)
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
    save_file({HEAD: reader.tensor(embedding).clone()}, folder / head, metadata={"format": "pt"})
    weight_map[HEAD] = head
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


def filed(contestant: Contestant, folder: Path) -> Contestant:
    """A candidate without weights of its own, with them, in `folder`, in place of any that is there."""
    assert contestant.origin is not None
    with new_folder(folder, replace=True) as temporary, Formed(contestant.folder, contestant.origin.folder) as formed:
        formed.write(temporary)
    return replace(
        contestant,
        folder=folder,
        weights_sha256=weights_sha256(folder),
        origin=None,
        raced_as=contestant.model_sha256,
    )


@contextlib.contextmanager
def a_file_of(contestant: Contestant, state: Path) -> Iterator[Path]:
    """A folder with the model's weights: its own, or one that is there until the body ends."""
    if contestant.origin is None:
        yield contestant.folder
        return
    with scratch_folder(state, "formed") as folder, Formed(contestant.folder, contestant.origin.folder) as formed:
        formed.write(folder)
        yield folder


def remove_twins(state: Path) -> None:
    """Twins hold nothing that cannot be written again."""
    shutil.rmtree(state / _TWINS, ignore_errors=True)
