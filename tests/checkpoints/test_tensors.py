"""Reading and writing safetensors: what is faulty is named, and what is written is what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.header import read_header
from relex.checkpoints.side_files import copy_side_files
from relex.checkpoints.tensors import INDEX, CheckpointReader, TensorFile
from relex.checkpoints.writer import CheckpointWriter
from relex.core.errors import CorruptArtifact, InputError, RelexError
from tests.builders.windows import save, tiny_llama


def a_file(folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}, path)
    return path


def with_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_tensors_come_back_without_a_copy_and_writing_to_them_leaves_the_file_alone(tmp_path):
    path = a_file(tmp_path)
    before = path.read_bytes()
    file = TensorFile(path)
    assert torch.equal(file.tensor("a"), torch.arange(6.0).reshape(2, 3))
    assert bytes(file.raw("b")) == b"\x80?" * 3
    file.tensor("a").zero_()
    assert path.read_bytes() == before
    with pytest.raises(TypeError):
        file.raw("a")[0] = 1


@pytest.mark.parametrize("cut", [0, 5, 8, 40, -1])
def test_a_truncated_file_is_named(tmp_path, cut):
    path = a_file(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptArtifact, match="truncated"):
        read_header(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{not json", "not JSON"),
        (b"[1]", "not a JSON object"),
        ({"a": 1}, "lacks dtype"),
        ({"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}, "unknown dtype"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "shape"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, "shape"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, "take 4 bytes"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "hole"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "truncated"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": "04"}}, "whole numbers"),
        ({"__metadata__": {"x": 1}}, "metadata"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_faulty_header_is_refused(tmp_path, header, said):
    path = with_header(tmp_path / "model.safetensors", header, b"\0" * 4)
    with pytest.raises(CorruptArtifact, match=said) as caught:
        CheckpointReader(tmp_path)
    assert str(path) in str(caught.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_give_a_message_or_tensors_and_never_a_crash(tmp_path, data):
    path = a_file(tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else content)
    message = str(tmp_path)
    try:
        with CheckpointReader(tmp_path) as reader:
            for name in reader.names:
                assert reader.tensor(name).numel() == reader.specs[name].numel
                assert len(reader.raw(name)) == reader.specs[name].nbytes
    except InputError as error:
        message = str(error)
    assert str(tmp_path) in message


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda part: st.lists(part) | st.dictionaries(st.text(max_size=8), part),
    )
)
def test_any_index_gives_a_message(tmp_path, value):
    (tmp_path / INDEX).write_text(json.dumps(value))
    with pytest.raises(InputError):
        CheckpointReader(tmp_path)


@pytest.mark.parametrize("file", ["../other/model.safetensors", "/etc/passwd", "..", "a/b", "a\\b", "x\0"])
def test_an_index_cannot_name_files_outside_its_folder(tmp_path, file):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(InputError, match="leaves the folder"):
        CheckpointReader(tmp_path)


def test_index_and_shards_must_agree(tmp_path):
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "x.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "x.safetensors"}}))
    with pytest.raises(CorruptArtifact, match="not in the index"):
        CheckpointReader(tmp_path)
    names = dict.fromkeys("abc", "x.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": names}))
    with pytest.raises(CorruptArtifact, match="shard lacks"):
        CheckpointReader(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(InputError, match="missing"):
        CheckpointReader(tmp_path)


def test_a_folder_without_safetensors_says_what_to_do(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="save the checkpoint as safetensors"):
        CheckpointReader(tmp_path)
    with pytest.raises(InputError, match="not a checkpoint folder"):
        CheckpointReader(tmp_path / "gone")


def test_the_hash_of_weights_does_not_depend_on_sharding(tmp_path):
    one = save(tiny_llama(), tmp_path / "one")
    many = save(tiny_llama(), tmp_path / "many", shard="4KB")
    assert (many / INDEX).exists()
    assert weights_sha256(one) == weights_sha256(many)


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_written_checkpoint_has_the_layout_of_the_other(tmp_path, shard, dtype):
    source = save(tiny_llama(), tmp_path / "source", shard=shard, dtype=dtype)
    target = tmp_path / "target"
    target.mkdir()
    copy_side_files(source, target)
    with CheckpointReader(source) as reader, CheckpointWriter(target, reader) as writer:
        for name in reversed(reader.names):  # any order, any pieces
            flat = reader.tensor(name).reshape(-1)
            half = len(flat) // 2
            writer.write(name, flat[half:], half)
            writer.write(name, flat[:half], 0)
    assert sorted(path.name for path in source.iterdir()) == sorted(path.name for path in target.iterdir())
    for path in source.glob("*.safetensors"):
        wanted, found = load_file(path), load_file(target / path.name)
        assert wanted.keys() == found.keys()
        assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert weights_sha256(source) == weights_sha256(target)


def test_an_incomplete_checkpoint_is_not_finished(tmp_path):
    source = save(tiny_llama(), tmp_path / "source")
    (tmp_path / "target").mkdir()
    with (
        CheckpointReader(source) as reader,
        pytest.raises(RelexError, match="incomplete"),
        CheckpointWriter(tmp_path / "target", reader) as writer,
    ):
        writer.write_raw(reader.names[0], reader.raw(reader.names[0]))


def test_only_what_makes_a_model_is_copied(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("config.json", "tokenizer.json", "merges.txt", "LICENSE", "modeling_x.py", "chat_template.jinja"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("x")
    wanted = {path.name for path in source.iterdir()}
    for name in (
        "optimizer.pt",
        "trainer_state.json",
        INDEX,
        ".hidden.json",
        "pytorch_model.bin.index.json",
        "rng.pth",
    ):
        (source / name).write_text("x")
    target.mkdir()
    copy_side_files(source, target)
    assert {path.name for path in target.iterdir()} == wanted
