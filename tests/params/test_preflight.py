"""Everything that would stop a night is found in one look, before any work."""

from __future__ import annotations

import collections
import re
import shutil

import pytest
import torch
from ruamel.yaml import YAML

from relex.core.errors import InputErrors
from relex.params import doctor, preflight
from relex.params.load import load
from tests.params.test_load import COMMITTED

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def params_file(tmp_path):
    return shutil.copy(COMMITTED, tmp_path / "params.yaml")


def test_the_committed_night_has_no_faults_here(params_file):
    params, errors = preflight.faults(params_file)
    assert errors == []
    assert params == load(COMMITTED)


def test_too_little_disk_says_how_much_is_needed_and_how_much_there_is(params_file, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 5 << 20))
    _, errors = preflight.faults(params_file)
    assert len(errors) == 1
    assert "too little disk" in str(errors[0])
    assert "found 5.0 MiB" in str(errors[0])


def test_a_budget_that_could_not_prove_anything_is_refused_before_the_training(params_file):
    params_file.write_text(params_file.read_text().replace("budget: {rows: null,", "budget: {rows: 900,"))
    _, errors = preflight.faults(params_file)
    (error,) = errors
    assert re.search("evaluate.budget: .*at least [0-9,]+ rows; found 900 rows", str(error))
    page, errors = doctor.examine(params_file, timed=False)
    assert [str(one) for one in errors] == [str(error)]
    assert "is sound" not in page
    least = int(re.search("at least ([0-9,]+) rows", str(error))[1].replace(",", ""))
    params_file.write_text(params_file.read_text().replace("{rows: 900,", f"{{rows: {least},"))
    assert preflight.faults(params_file)[1] == []
    assert f"at most {least:,} rows" in doctor.examine(params_file, timed=False)[0]


def test_an_unwritable_folder_and_bad_parameters_are_named_together(params_file, monkeypatch):
    # Tests may run as root, whom no mode stops: what the system answers is what is checked.
    monkeypatch.setattr(preflight.os, "access", lambda path, mode: False)
    params_file.write_text(params_file.read_text().replace("steps: 12, minutes", "steps: 11, minutes"))
    _, errors = preflight.faults(params_file)
    text = str(InputErrors(errors))
    assert "not writable" in text
    assert "window.last (12) must not be beyond budget.steps (11)" in text


def test_the_doctor_says_what_a_night_needs_and_refuses_what_cannot_run(params_file, monkeypatch):
    page, errors = doctor.examine(params_file, timed=False)
    assert errors == []
    for said in ("python", "CUDA", "vllm", "trajectory", "12 steps", "training state", "is sound"):
        assert said in page
    assert "VLLM_BATCH_INVARIANT" not in page
    change(params_file, train__reproducible=True)
    page, _ = doctor.examine(params_file, timed=False)
    assert "VLLM_BATCH_INVARIANT is not set" in page or "not on another kind" in page
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 5 << 20))
    page, errors = doctor.examine(params_file, timed=False)
    assert "trajectory" in page
    assert "is sound" not in page
    assert "too little disk" in str(errors[0])
    params_file.write_text(params_file.read_text() + "\nnonsense: 1\n")
    with pytest.raises(InputErrors, match="nonsense"):
        doctor.examine(params_file, timed=False)


def change(params_file, **sections):
    """Put other values at dotted keys, `__` for the dot."""
    yaml = YAML()
    document = yaml.load(params_file.read_text())
    for key, value in sections.items():
        *parents, last = key.split("__")
        section = document
        for parent in parents:
            section = section[parent]
        section[last] = value
    with open(params_file, "w") as handle:
        yaml.dump(document, handle)


def test_a_package_base_that_is_not_installed_is_found_before_the_night(params_file):
    change(params_file, base__source={"kind": "package", "package": "no-such-model", "version": "1"})
    params, errors = preflight.faults(params_file)
    assert params is not None
    assert "no-such-model): the package is not installed" in str(errors[0])
    page, _ = doctor.examine(params_file, timed=False)
    assert "disk need unknown: the base is not there" in page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_settings_that_need_a_gpu_are_found_before_the_night(params_file):
    change(params_file, train__bf16=True, train__generation={"backend": "vllm"})
    _, errors = preflight.faults(params_file)
    assert [str(error).split(":")[0] for error in errors] == ["train.bf16", "train.generation.backend"]


def test_a_problem_file_must_be_there(params_file, tmp_path):
    source = {"kind": "file", "path": "mine.jsonl", "paths": {"ood": "far.jsonl"}}
    change(params_file, problems__source=source, base__source={"kind": "folder", "path": "."})

    def said() -> str:
        return "\n".join(str(error) for error in preflight.faults(params_file)[1] if "problem file" in str(error))

    assert said().count("the problem file is missing") == 2
    for name in ("mine.jsonl", "far.jsonl"):
        (tmp_path / name).write_text("{}")
    assert said() == ""


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_wrong_column_is_found_before_any_work_and_can_be_named(params_file, tmp_path, kind):
    import pandas

    rows = pandas.DataFrame([{"question": "1 + 1", "answer": "2"}] * 2)
    mine = tmp_path / f"mine.{kind}"
    if kind == "jsonl":
        mine.write_text(rows.to_json(orient="records", lines=True))
    else:
        (rows.to_csv if kind == "csv" else rows.to_parquet)(mine)
    source = {"kind": "file", "path": mine.name}
    change(params_file, problems__source=source, problems__sizes={"train": 2, "validation": 2, "test": 0, "ood": 0})

    def said() -> str:
        return "\n".join(
            str(error) for error in preflight.faults(params_file)[1] if "a column is missing" in str(error)
        )

    assert "a column is missing; expected 'problem'; found" in said()
    assert said().endswith("name the column with problems.source.problem")
    change(params_file, problems__source={**source, "problem": "question"})
    assert said() == ""


@pytest.mark.parametrize("text", ["", "\n\n", "not json\n", "[1]\n"])
def test_a_problem_file_without_a_readable_first_row_is_no_surprise(params_file, tmp_path, text):
    (tmp_path / "mine.jsonl").write_text(text)
    sizes = {"train": 2, "validation": 2, "test": 0, "ood": 0}
    change(params_file, problems__source={"kind": "file", "path": "mine.jsonl"}, problems__sizes=sizes)
    said = "\n".join(str(error) for error in preflight.faults(params_file)[1])
    assert ("the file cannot be read" in said) == bool(text.strip())
