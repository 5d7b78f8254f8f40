"""A window on disk: what is appended is there, what is faulty is named, and nothing half-written counts."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from relex.core.errors import CorruptArtifact, InputError, RelexError
from relex.trajectory import manifest, stamps
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from relex.trajectory.writer import TrajectoryWriter
from relex.window.rows import Window
from tests.builders.damage import flip
from tests.builders.leftovers import leave_behind
from tests.builders.windows import base_tensors, deltas_at, line_with_noise, save, tiny_llama, write_trajectory


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save(tiny_llama(), tmp_path_factory.mktemp("base") / "base")


@pytest.fixture
def window(tmp_path, base):
    return write_trajectory(tmp_path / "window", base, [2, 5, 9], line_with_noise(), rewards=True)


def writer_for(folder, base, **changes):
    return TrajectoryWriter(folder, **{"base": base, "codec": "float32", "identity": {"seed": 1}, **changes})


def test_steps_rewards_and_deltas_come_back(window, base):
    trajectory = Trajectory(window)
    assert trajectory.steps == (2, 5, 9)
    assert trajectory.rewards == (0.02, 0.05, 0.09)
    assert trajectory.identity == {"made_by": "tests"}
    stored = load_file(window / "steps" / "000005.safetensors")
    for name, delta in deltas_at(5, base_tensors(base), line_with_noise()).items():
        assert torch.equal(stored[name], delta)
    assert "sound; 3 steps (2..9)" in verify(window)


def test_a_new_writer_has_no_steps_and_the_same_identity_continues(tmp_path, base):
    writer = writer_for(tmp_path / "w", base)
    assert Trajectory(tmp_path / "w").steps == ()
    deltas = deltas_at(1, base_tensors(base), line_with_noise())
    writer.append(1, deltas)
    leave_behind(tmp_path / "w" / "steps", "000002.safetensors")
    again = writer_for(tmp_path / "w", base)
    assert again.steps == (1,)
    assert [path.name for path in (tmp_path / "w" / "steps").iterdir()] == ["000001.safetensors"]
    again.append(2, deltas)
    again.append(4, deltas)
    again.truncate(2)
    assert Trajectory(tmp_path / "w").steps == (1, 2)
    assert not (tmp_path / "w" / "steps" / "000004.safetensors").exists()
    assert writer_for(tmp_path / "w", base, identity={"seed": 2}).steps == ()


def test_the_content_hash_depends_on_content_and_not_on_place(tmp_path, window, base):
    moved = tmp_path / "elsewhere"
    shutil.copytree(window, moved)
    assert Trajectory(moved).sha256 == Trajectory(window).sha256
    other = write_trajectory(tmp_path / "other", base, [2, 5, 9], line_with_noise(seed=7), rewards=True)
    assert Trajectory(other).sha256 != Trajectory(window).sha256


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_inf_are_refused_and_change_nothing(tmp_path, base, value):
    writer = writer_for(tmp_path / "w", base)
    deltas = deltas_at(1, base_tensors(base), line_with_noise())
    deltas["model.norm.weight"][2:4] = value
    with pytest.raises(InputError, match=r"model\.norm\.weight: NaN or infinite.*found 2 of 16"):
        writer.append(1, deltas)
    assert Trajectory(tmp_path / "w").steps == ()
    assert not list((tmp_path / "w" / "steps").iterdir())


def test_wrong_tensors_are_refused(tmp_path, base):
    writer = writer_for(tmp_path / "w", base)
    good = deltas_at(3, base_tensors(base), line_with_noise())
    name = "model.norm.weight"
    for wrong, said in (
        ({**good, "x": good[name]}, "x: a tensor that the base lacks"),
        ({key: value for key, value in good.items() if key != name}, "a tensor of the base is missing"),
        ({**good, name: good[name][:5]}, "wrong shape"),
        ({**good, name: good[name].half()}, "wrong dtype"),
    ):
        with pytest.raises(InputError, match=said):
            writer.append(3, wrong)
    writer.append(3, good)
    for step in (3, 2, 0):
        with pytest.raises(InputError):
            writer.append(step, good)


def test_a_tied_head_is_dropped_when_it_moved_with_its_embedding(tmp_path, base):
    good = deltas_at(1, base_tensors(base), line_with_noise())
    embedding = good["model.embed_tokens.weight"]
    writer_for(tmp_path / "w", base).append(1, {**good, "lm_head.weight": embedding.clone()})
    assert "lm_head.weight" not in load_file(tmp_path / "w" / "steps" / "000001.safetensors")
    with pytest.raises(InputError, match=r"lm_head\.weight: a tensor that the base lacks"):
        writer_for(tmp_path / "v", base).append(1, {**good, "lm_head.weight": embedding + 1})


def test_a_full_disk_leaves_the_window_as_it_was(tmp_path, base, monkeypatch):
    writer = writer_for(tmp_path / "w", base)
    deltas = deltas_at(1, base_tensors(base), line_with_noise())
    writer.append(1, deltas)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("relex.trajectory.writer.write_header", full)
    with pytest.raises(RelexError, match="No space left"):
        writer.append(2, deltas)
    assert verify(tmp_path / "w")
    assert [path.name for path in (tmp_path / "w" / "steps").iterdir()] == ["000001.safetensors"]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other"])
def test_a_damaged_step_is_named_by_verify_and_by_reading(window, base, damage):
    path = window / "steps" / "000005.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "gone":
        path.unlink()
    elif damage == "other":
        shutil.copy(window / "steps" / "000002.safetensors", path)
    else:
        path.write_bytes(content if damage == "flip" else content[:-4])
    with pytest.raises(InputError, match="000005"):
        verify(window)
    with pytest.raises(InputError, match="000005"), Window(Trajectory(window), base):
        pass


def test_a_bit_that_turned_is_found_though_size_time_and_inode_are_the_same(window, base, tmp_path):
    with Window(Trajectory(window), base):
        pass
    flip(window / "steps" / "000005.safetensors")
    with pytest.raises(CorruptArtifact, match=r"000005.*wrong hash"), Window(Trajectory(window), base):
        pass
    with pytest.raises(CorruptArtifact, match=r"000005.*wrong hash"):
        materialize(window, base, 5, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    flip(window / "steps" / "000005.safetensors")
    copy = shutil.copytree(base, tmp_path / "base")
    with Window(Trajectory(window), copy):
        pass
    flip(copy / "model.safetensors")
    with pytest.raises(InputError, match="another base"), Window(Trajectory(window), copy):
        pass


def test_what_may_be_promoted_is_hashed_whatever_its_stamp_says(window, base, monkeypatch, tmp_path):
    monkeypatch.setattr(stamps, "_stamp", lambda path: [])  # a bit that turns in the medium changes no stamp at all
    with Window(Trajectory(window), base):
        pass
    flip(window / "steps" / "000005.safetensors")
    with Window(Trajectory(window), base):
        pass
    with pytest.raises(CorruptArtifact, match=r"000005.*wrong hash"), Window(Trajectory(window), base, thorough=True):
        pass
    with pytest.raises(CorruptArtifact, match=r"000005.*wrong hash"):
        materialize(window, base, 5, tmp_path / "out", thorough=True)


def test_a_change_after_the_first_look_is_noticed(window, base):
    with Window(Trajectory(window), base):
        pass
    assert (window / "cache" / "stamps.json").exists()
    path = window / "steps" / "000005.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptArtifact, match=r"000005.*wrong hash"), Window(Trajectory(window), base):
        pass


def test_nan_written_behind_our_back_is_found_by_verify(window):
    path = window / "steps" / "000009.safetensors"
    stored = load_file(path)
    stored["model.norm.weight"][0] = float("nan")
    save_file(stored, path)
    text = json.loads((window / "manifest.json").read_text())
    from relex.core.digest import file_sha256

    text["steps"][2]["files"][0] |= {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    (window / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match=r"000009.*model\.norm\.weight.*found 1 of 16"):
        verify(window)


def test_a_repeated_step_is_warned_of_wherever_the_window_is_used(tmp_path, base, capsys):
    path = line_with_noise()
    folder = write_trajectory(tmp_path / "w", base, [1, 2, 3], lambda step, *rest: path(min(step, 2), *rest))
    verify(folder)
    assert "identical checkpoints: steps 2 = 3" in capsys.readouterr().err
    with Window(Trajectory(folder), base):
        assert "identical checkpoints: steps 2 = 3" in capsys.readouterr().err


def test_another_base_is_refused(window, tmp_path):
    other = save(tiny_llama(seed=1), tmp_path / "other")
    with pytest.raises(InputError, match="another base"), Window(Trajectory(window), other):
        pass


def test_one_step_is_no_window(tmp_path, base):
    short = write_trajectory(tmp_path / "w", base, [4], line_with_noise())
    with pytest.raises(InputError, match="at least two"), Window(Trajectory(short), base):
        pass


def edited(window, change):
    text = json.loads((window / "manifest.json").read_text())
    change(text)
    (window / "manifest.json").write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["steps"].reverse(), "not in order"),
        (lambda m: m["steps"].append(m["steps"][-1]), "there twice"),
        (lambda m: m["steps"][0].update(step=0), "above zero"),
        (lambda m: m["steps"][0].update(step="2"), "not int"),
        (lambda m: m["steps"][0]["files"][0].update(file="../../secret"), "leaves the folder"),
        (lambda m: m["steps"][0]["files"][0].update(file="/etc/passwd"), "leaves the folder"),
        (lambda m: m["steps"][0].update(files=[]), "without files"),
        (lambda m: m["steps"][0].update(reward="high"), "manifest"),
        (lambda m: m.update(format=99), "unknown format version"),
        (lambda m: m.update(kind="x"), "unknown kind"),
        (lambda m: m.update(codec="x"), "unknown codec"),
        (lambda m: m["base"]["tensors"].update(x=["F32", [-1]]), "not a tensor"),
        (lambda m: m.pop("base"), "manifest"),
    ],
)
def test_a_faulty_manifest_is_refused(window, change, said):
    edited(window, change)
    with pytest.raises(InputError, match=said) as caught:
        Trajectory(window)
    assert "manifest.json" in str(caught.value)


def test_a_folder_without_manifest_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="relex import"):
        Trajectory(tmp_path)


def read_or_refused(window, kept: bytes) -> None:
    """The manifest as it stands gives a manifest, or an error that names it; then it is as it was."""
    message = manifest.NAME
    try:
        assert Trajectory(window).manifest.to_json()
    except InputError as error:
        message = str(error)
    finally:
        (window / manifest.NAME).write_bytes(kept)
    assert manifest.NAME in message


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_a_manifest_gives_a_message_or_a_manifest(window, data):
    content = bytearray((window / manifest.NAME).read_bytes())
    kept = bytes(content)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (window / manifest.NAME).write_bytes(content)
    read_or_refused(window, kept)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["kind", "base", "codec", "identity", "steps", "format"]), _VALUES)
def test_any_value_in_a_manifest_gives_a_message_or_a_manifest(window, key, value):
    kept = (window / manifest.NAME).read_bytes()
    edited(window, lambda text: text.update({key: value}))
    read_or_refused(window, kept)


def swap(steps, key):
    steps[1][key], steps[2][key] = steps[2][key], steps[1][key]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda steps: steps.pop(2), "the manifest leaves out; expected one of 1, 2, 4, 5, 6"),
        (lambda steps: swap(steps, "step"), "not in order"),
        (lambda steps: swap(steps, "files"), "step 2 names another step's file"),
        (lambda steps: (swap(steps, "step"), steps.sort(key=lambda step: step["step"])), "step 2 names another"),
        (lambda steps: steps.insert(2, dict(steps[1])), "there twice"),
        (lambda steps: steps[5].update(step=8), "step 8 names another step's file"),
        (lambda steps: steps[4]["files"][0].update(sha256=steps[1]["files"][0]["sha256"]), "steps 2, 5"),
        (lambda steps: steps[3].update(folder="/elsewhere"), "step 4 names another"),
    ],
)
def test_a_manifest_with_missing_or_renumbered_steps_is_refused(tmp_path, base, change, said):
    folder = write_trajectory(tmp_path / "w", base, [1, 2, 3, 4, 5, 6], line_with_noise())
    edited(folder, lambda manifest: change(manifest["steps"]))
    with pytest.raises(CorruptArtifact, match=said):
        verify(folder)
    with pytest.raises(CorruptArtifact, match=said), Window(Trajectory(folder), base):
        pass


@pytest.mark.parametrize(
    ("kept", "said"),
    [((1, 2, 4), "expected step 3"), ((2, 3), "expected step 1"), ((1, 2, 3, 4, 5), "no step after 4"), ((1, 2), "")],
)
def test_the_steps_are_those_of_the_window_that_was_promised(tmp_path, base, kept, said):
    promise = {"train": {"window": {"first": 1, "last": 4, "every": 1}}}
    writer = writer_for(tmp_path / "w", base, identity=promise)
    for step in kept:
        writer.append(step, deltas_at(step, base_tensors(base), line_with_noise()))
    if said:
        with pytest.raises(CorruptArtifact, match=f"not the ones that were observed;.*{said}"):
            verify(tmp_path / "w")
    else:
        assert "sound; 2 steps" in verify(tmp_path / "w")  # a budget may end a window early


def test_a_window_that_stands_still_is_no_fault(tmp_path, base):
    path = line_with_noise()
    verify(write_trajectory(tmp_path / "w", base, [1, 2, 3, 4], lambda step, *rest: path(max(step, 3), *rest)))
