"""hop.json: read as it was written, and nothing that a hand has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.core import hop
from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError

MODEL = hop.Model(version="7", model_sha256="a" * 64)


def test_a_hop_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "hop.json"
    written = hop.Hop(night=3, hop=2, mode="reground", start=MODEL, champion=MODEL, training=hop.Training(before=24))
    hop.write(written, path)
    assert hop.read(path) == written
    assert written.name == "night-0003-hop-2"
    # What DVC holds stages against: a key a part of the inputs.
    assert {"slice", "start", "training", "champion"} <= read_json(path).keys()


@pytest.mark.parametrize("change", [{"slice": 4}, {"start": None}, {"surplus": 1}, {"sha256": "0" * 64}])
def test_a_key_that_was_changed_by_hand_is_found(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "hop.json"
    hop.write(hop.Hop(start=MODEL), path)
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError, match=r"hop\.json: not a hop as it was written.*git checkout"):
        hop.read(path)


def test_a_file_of_something_else_and_none_at_all_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        hop.read(tmp_path / "hop.json")
    (tmp_path / "hop.json").write_text("[]")
    with pytest.raises(InputError, match="not a hop"):
        hop.read(tmp_path / "hop.json")


def test_checkpoints_of_another_trainer_are_kept_and_a_training_without_them_says_nothing_of_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "hop.json"
    hop.write(hop.Hop(), path)
    assert read_json(path)["training"] == {"before": 0, "grown": 0}
    taken = hop.Checkpoint(step=10, path="global_step_10/actor/huggingface", sha256="a" * 64)
    written = hop.Hop(training=hop.Training(checkpoints=(taken,)))
    hop.write(written, path)
    assert hop.read(path) == written
