"""Candidates without files: formed from a base and directions that they share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from relex.checkpoints import formed as formed_module
from relex.checkpoints.digest import speech_sha256, weights_sha256
from relex.checkpoints.directions import DirectionsWriter, check_directions, directions_file
from relex.checkpoints.formed import Formed
from relex.checkpoints.recipe import Recipe, has_recipe, read_recipe
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
NAMES = {"a.weight": (3, 5), "model.embed_tokens.weight": (4, 2), "norm.weight": (7,)}
COUNT = {"a.weight": 2, "model.embed_tokens.weight": 1}


def write(
    folder: Path, dtype: torch.dtype, *, seed: int = 0, tied: bool = False, amounts: tuple[float, ...] = (40.0, -3.0)
) -> tuple[Path, Path]:
    """A base, and a candidate of it; norm.weight stays. tied: the base writes its head out."""
    base, candidate = folder / "base", folder / "candidates" / "step_000040"
    base.mkdir(parents=True)
    candidate.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in NAMES.items()}
    if tied:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
    (candidate / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
    shapes = {name: (count, int(np.prod(NAMES[name]))) for name, count in COUNT.items()}
    with DirectionsWriter(folder / "candidates", "step", shapes) as writer:
        for name, (count, numel) in shapes.items():
            for row in range(count):
                values = 1e-3 * torch.randn(numel, generator=generator).numpy()
                values[0] = 0.0  # there theta_0 stays
                writer.write(name, row, 2, values[2:])
                writer.write(name, row, 0, values[:2])
    taken = {name: amounts[:count] for name, count in COUNT.items()}
    twins = {"lm_head.weight": "model.embed_tokens.weight"} if tied else {}
    digest = file_sha256(directions_file(folder / "candidates", "step"))
    Recipe("step", weights_sha256(base), digest, taken, twins).write(candidate)
    return base, candidate


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 10**6), amounts=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_bit_is_the_sum_in_float64_rounded_to_float32_and_then_as_torch_does(
    tmp_path_factory, dtype, seed, amounts
):
    folder = tmp_path_factory.mktemp("formed")
    base, candidate = write(folder, dtype, seed=seed, amounts=amounts)
    start = load_file(base / "model.safetensors")
    directions = load_file(directions_file(folder / "candidates", "step"))
    with Formed(candidate, base) as formed:
        found = dict(formed.tensors())
    assert set(found) == set(NAMES)
    assert torch.equal(found["norm.weight"], start["norm.weight"])
    for name, count in COUNT.items():
        total = torch.zeros(start[name].numel(), dtype=torch.float64)
        for amount, row in zip(amounts[:count], directions[name], strict=True):
            total += amount * row.double()
        wanted = (start[name].double().reshape(-1) + total).float().to(dtype).reshape(NAMES[name])
        assert found[name].dtype == dtype
        assert torch.equal(found[name], wanted)
        assert found[name].reshape(-1)[0] == start[name].reshape(-1)[0]


def test_a_large_tensor_is_formed_in_pieces_by_several_threads_to_the_same_bits(tmp_path, monkeypatch):
    base, candidate = write(tmp_path, torch.bfloat16)
    with Formed(candidate, base) as formed:
        whole = dict(formed.tensors())
    monkeypatch.setattr(formed_module, "_PIECE", 4)
    monkeypatch.setattr(formed_module, "_AT_ONCE", 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with Formed(candidate, base) as formed:
        assert all(torch.equal(tensor, whole[name]) for name, tensor in formed.tensors())


@pytest.mark.parametrize("dtype", DTYPES)
def test_as_a_file_it_is_the_same_tensors_with_its_own_side_files(tmp_path, dtype):
    base, candidate = write(tmp_path, dtype, tied=True)
    (candidate / "config.json").write_text(json.dumps({"tie_word_embeddings": True, "own": 1}))
    out = tmp_path / "out"
    out.mkdir()
    with Formed(candidate, base) as formed:
        formed.write(out)
        tensors = dict(formed.tensors())
    written = load_file(out / "model.safetensors")
    assert set(written) == set(tensors) == {*NAMES, "lm_head.weight"}
    assert all(torch.equal(written[name], tensors[name]) for name in written)
    assert torch.equal(written["lm_head.weight"], written["model.embed_tokens.weight"])
    assert speech_sha256(out) == speech_sha256(candidate) != speech_sha256(base)
    assert not has_recipe(out)


def test_a_head_that_the_base_leaves_out_is_given_where_it_is_asked_for(tmp_path):
    base, candidate = write(tmp_path, torch.float32)
    with Formed(candidate, base) as formed:
        found = dict(formed.tensors(head="lm_head.weight"))
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])


def test_what_it_is_depends_on_base_directions_and_amounts(tmp_path):
    recipes = [
        read_recipe(write(tmp_path / str(at), torch.float32, **changes)[1])
        for at, changes in enumerate([{}, {"amounts": (40.0, -3.1)}, {"seed": 1}, {"tied": True}, {}])
    ]
    assert len({recipe.sha256 for recipe in recipes}) == 4
    assert recipes[0] == recipes[-1]


def spoil(folder: Path, change) -> Path:
    """The candidate, with another recipe."""
    path = folder / "recipe.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return folder


NOT_RECIPES = {
    "a list": lambda found: [found],
    "no amounts": lambda found: {**found, "amounts": None},
    "not a number": lambda found: {**found, "amounts": {"a.weight": [float("nan"), 1.0]}},
    "infinite": lambda found: {**found, "amounts": {"a.weight": [float("inf"), 1.0]}},
    "a path": lambda found: {**found, "ray": "../../elsewhere"},
    "no hash": lambda found: {**found, "base_sha256": 3},
}


@pytest.mark.parametrize("case", NOT_RECIPES)
def test_what_is_not_a_recipe_is_refused(tmp_path, case):
    base, candidate = write(tmp_path, torch.float32)
    with pytest.raises(CorruptArtifact, match=r"recipe\.json: not a recipe"):
        Formed(spoil(candidate, NOT_RECIPES[case]), base)


def test_a_later_format_is_refused(tmp_path):
    base, candidate = write(tmp_path, torch.float32)
    with pytest.raises(InputError, match="unknown format version; expected 1; found 2"):
        Formed(spoil(candidate, lambda found: {**found, "format": 2}), base)


@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        ({"b.weight": [1.0]}, "the recipe moves a tensor that the base lacks"),
        ({"a.weight": [1.0]}, "not the directions of the recipe"),
        ({"norm.weight": [1.0]}, "not the directions of the recipe"),
    ],
)
def test_a_recipe_that_does_not_fit_its_base_and_directions_is_refused(tmp_path, amounts, said):
    base, candidate = write(tmp_path, torch.float32)
    with pytest.raises((CorruptArtifact, InputError), match=said):
        Formed(spoil(candidate, lambda found: {**found, "amounts": amounts}), base)


def test_directions_are_looked_at(tmp_path):
    _, candidate = write(tmp_path, torch.float32)
    recipe = read_recipe(candidate)
    check_directions(candidate, recipe)
    path = directions_file(tmp_path / "candidates", "step")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"step\.safetensors: wrong hash"):
        check_directions(candidate, recipe)
    path.unlink()
    with pytest.raises(InputError, match=r"step\.safetensors: the file is missing"):
        check_directions(candidate, recipe)
