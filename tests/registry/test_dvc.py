"""What the registry takes out of DVC: versions by reference, and the same weights again from base and window."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relex.checkpoints.digest import model_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.params.load import Params
from relex.registry.fetch import fetch, fetch_to_serve
from relex.registry.lineage import lineage
from relex.registry.promotion import promote
from relex.registry.rebuild import rebuild
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import versions as registry_versions
from relex.registry.store.dvc_hashes import file_md5, object_path
from relex.stages.extrapolate.params import Variant
from tests.builders.damage import flip
from tests.builders.nights import change_params, finish_night, meet_champion, record
from tests.builders.project import enter_copy

pytestmark = pytest.mark.real

OUTS = ("base", "trajectory", "candidates", "evaluation", "report.html")
METRICS = ("decision.json", "evaluate.json", "train.json", "train_steps.csv")


def dvc(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def kept(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished night whose artifacts DVC holds, as outputs of one stage in dvc.lock."""
    folder = tmp_path_factory.mktemp("kept") / "project"
    shutil.copytree(template, folder)
    change_params(folder)
    outs = "".join(f"    - {name}\n" for name in OUTS)
    outs += "".join(f"    - metrics/{name}: {{cache: false}}\n" for name in METRICS)
    (folder / "dvc.yaml").write_text(f"stages:\n  night:\n    cmd: 'true'\n    outs:\n{outs}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finish_night(folder, 1, champion=None)
        Path("dvc.lock").unlink()
        dvc("commit", "--quiet", "--force")
    return folder


@pytest.fixture
def project(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(kept, tmp_path, monkeypatch)


def weights_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.safetensors")) if folder.exists() else []


def test_a_version_by_reference_copies_no_weights_and_is_resolved_from_dvc(project: Path) -> None:
    params = change_params(project, mode="reference")
    assert "version 1" in register(params)
    assert promote(params).startswith("promoted")
    assert weights_files(Path("mlartifacts")) == []
    version = registry_versions.by_alias(registry_client.connect(params), "champion")
    assert version is not None
    assert version.tags["dvc_path"] == "candidates/step_000020"
    assert version.tags["dvc_md5"].endswith(".dir")
    expected = model_sha256(Path("candidates/step_000020"))

    shutil.rmtree("candidates")  # the work tree may have moved on
    fetch(params, "models:/sort-digits@champion", project / "got")
    assert model_sha256(Path("got")) == expected
    assert "verified" in lineage(params, "sort-digits@champion")
    meet_champion(params)
    assert model_sha256(Path("champion")) == expected


def test_a_reference_comes_from_the_dvc_remote_when_the_cache_is_gone(project: Path, tmp_path: Path) -> None:
    params = change_params(project, mode="reference")
    dvc("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    dvc("push", "--quiet")
    register(params)
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("candidates")
    fetch(params, "sort-digits/1", project / "got")
    assert len(weights_files(Path("got"))) == 1
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(InputError, match="neither in its cache nor in its remote"):
        fetch(params, "sort-digits/1", project / "again")
    with pytest.raises(InputError, match="neither in its cache nor in its remote"):
        promote(params)
    assert not Path("again").exists()


def test_registering_by_reference_refuses_weights_that_dvc_does_not_hold(project: Path) -> None:
    params = change_params(project, mode="reference")
    finish_night(project, 2, champion=None)  # and no dvc commit
    with pytest.raises(InputError, match="not the bytes that dvc.lock records"):
        register(params)
    Path("dvc.lock").unlink()
    record(project)
    with pytest.raises(InputError, match="needs the model in DVC"):
        register(params)


def test_a_reference_that_points_outside_the_project_is_refused(project: Path) -> None:
    params = change_params(project, mode="reference")
    register(params)
    client = registry_client.connect(params).client
    for path in ("../../etc", "/etc", "candidates/../../.."):
        client.set_model_version_tag("sort-digits", "1", "dvc_path", path)
        with pytest.raises(InputError, match="leaves the project"):
            fetch(params, "sort-digits/1", project / "got")
    client.set_model_version_tag("sort-digits", "1", "dvc_md5", "../../../etc/passwd")
    with pytest.raises(InputError, match="does not say where"):
        fetch(params, "sort-digits/1", project / "got")


def test_an_earlier_version_is_promoted_on_the_rows_it_was_registered_with_as_long_as_dvc_has_them(
    project: Path,
) -> None:
    params = change_params(project)
    register(params)
    finish_night(project, 2, champion=None)  # another decision stands now
    first = json.loads(next(Path("mlartifacts/models").glob("*/artifacts/lineage.json")).read_text())
    rows = object_path(first["dvc"]["evaluation"], Path(".dvc/cache/files/md5"))
    hidden = rows.rename(project / "hidden")
    with pytest.raises(InputError, match="neither in its cache nor in its remote"):
        promote(params, "1")
    hidden.rename(rows)
    assert promote(params, "1") == "promoted: sort-digits version 1 is the champion"


def test_a_version_is_rebuilt_bit_for_bit_from_what_dvc_holds(project: Path) -> None:
    params = change_params(project)
    register(params)
    expected = model_sha256(Path("candidates/step_000020"))
    for name in ("base", "trajectory", "candidates"):
        shutil.rmtree(name)
    said = rebuild(params, "sort-digits/1", project / "again")
    assert "identical" in said
    assert "NOT" not in said
    assert model_sha256(Path("again")) == expected


def test_a_version_that_a_variant_made_is_rebuilt_by_that_variant(project: Path) -> None:
    params = change_params(project)
    variant = Variant(name="late-line", rank="full", anchor="last", first=2)
    expected = finish_night(project, 1, champion=None, variant=variant)
    dvc("commit", "--quiet", "--force")
    register(params)
    (path,) = Path("mlartifacts/models").glob("*/artifacts/lineage.json")
    asked = json.loads(path.read_text())["extrapolate"]
    assert (asked["rank"], asked["anchor"], asked["first"], asked["targets"]) == ("full", "last", 2, [20])
    said = rebuild(params, "sort-digits/1", project / "again")
    assert "NOT" not in said
    assert model_sha256(Path("again")) == expected != model_sha256(Path("candidates/step_000020"))


@pytest.mark.parametrize("mode", ["copy", "reference"])
def test_a_winner_that_had_no_file_before_it_was_proven_is_a_version_like_any_other(project: Path, mode: str) -> None:
    expected = finish_night(project, 1, champion=None, formed=True)
    params = change_params(project, mode=mode)
    dvc("commit", "--quiet", "--force")
    assert not list(Path("candidates").glob("step_*/*.safetensors"))
    register(params)
    assert promote(params).startswith("promoted")
    for name in ("base", "trajectory", "candidates", "evaluation"):
        shutil.rmtree(name)
    fetch(params, "sort-digits/1", project / "got")
    assert model_sha256(Path("got")) == expected
    said = rebuild(params, "sort-digits/1", project / "again")
    assert "identical" in said
    assert "NOT" not in said
    assert model_sha256(Path("again")) == expected


def test_a_rebuild_that_comes_out_otherwise_says_so(project: Path) -> None:
    params = change_params(project)
    register(params)
    (path,) = Path("mlartifacts/models").glob("*/artifacts/lineage.json")
    facts = json.loads(path.read_text())
    facts["extrapolate"]["targets"] = [21]
    path.write_text(json.dumps({**facts, "step": 21}))
    assert "NOT identical" in rebuild(params, "sort-digits/1")
    facts["trajectory"]["sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    with pytest.raises(CorruptArtifact, match="another than the recorded one"):
        rebuild(params, "sort-digits/1")


def test_a_rebuild_without_dvc_artifacts_says_what_is_missing(project: Path) -> None:
    params: Params = change_params(project)
    Path("dvc.lock").unlink()
    record(project)
    register(params)
    with pytest.raises(InputError, match="not in DVC"):
        rebuild(params, "sort-digits/1")


def cached(path: str) -> Path:
    """The object of DVC's cache that holds the same bytes as a file of the work tree."""
    md5 = file_md5(Path(path))
    return object_path(md5, Path(".dvc/cache/files/md5"))


@pytest.mark.parametrize(
    "damaged",
    ["base/model.safetensors", "base/config.json", "trajectory/manifest.json", "candidates/step_000020/config.json"],
)
def test_nothing_is_registered_that_rests_on_a_file_in_which_a_bit_turned(project: Path, damaged: str) -> None:
    params = change_params(project)
    flip(Path(damaged))
    with pytest.raises(
        InputError, match=f"{damaged}: not the bytes that dvc.lock records|changed after it was evaluated"
    ):
        register(params)
    assert not Path("mlartifacts").exists()


def test_a_file_that_was_put_beside_the_winner_is_not_registered(project: Path) -> None:
    params = change_params(project)
    Path("candidates/step_000020/chat_template.jinja").write_text("{{ 1 }}")
    with pytest.raises(InputError, match="changed after it was evaluated"):
        register(params)


def test_a_flip_in_the_dvc_cache_is_found_when_it_is_checked_out(project: Path) -> None:
    params = change_params(project, mode="reference")
    register(params)
    weights = "candidates/step_000020/model.safetensors"
    for path in (cached("candidates/step_000020/config.json"), cached(weights)):
        flip(path)
        with pytest.raises(CorruptArtifact, match=f"{path.parent.name}/{path.name}: DVC's object is not what"):
            fetch(params, "sort-digits/1", project / "got")
        with pytest.raises(CorruptArtifact, match="DVC's object is not what"):
            promote(params)
        flip(path)
    base = cached("base/model.safetensors")
    flip(base)
    with pytest.raises(CorruptArtifact, match=f"{base.name}: DVC's object is not what"):
        rebuild(params, "sort-digits/1")
    assert not Path("got").exists()
    assert not [path for path in Path(".relex").iterdir() if path.is_dir()]


@pytest.mark.parametrize("damaged", ["candidates/step_000020/model.safetensors", "base/config.json"])
def test_a_flip_in_the_dvc_cache_that_dvc_checks_out_reaches_no_version(project: Path, damaged: str) -> None:
    params = change_params(project)
    flip(cached(damaged))
    shutil.rmtree(damaged.partition("/")[0])
    dvc("checkout", "--quiet", "--force")  # DVC takes what is read-only in its cache as sound
    with pytest.raises(InputError, match="the model changed|not the bytes that dvc.lock records"):
        register(params)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_flip_in_the_artifact_store_is_found_before_a_version_is_champion(project: Path, name: str) -> None:
    params = change_params(project)
    register(params)
    (stored,) = [path for path in Path("mlartifacts").rglob(name) if path.parent.name == "model"]
    flip(stored)
    with pytest.raises(CorruptArtifact, match="a file changed|not the one that was evaluated"):
        promote(params)
    with pytest.raises(CorruptArtifact, match="a file changed|not the one that was evaluated"):
        fetch(params, "sort-digits/1", project / "got")
    assert not Path("got").exists()
    flip(stored)
    assert promote(params).startswith("promoted")
    folder, _ = fetch_to_serve(params, "sort-digits/1")
    flip(folder / name)
    fetch_to_serve(params, "sort-digits/1")
    assert (folder / name).read_bytes() == stored.read_bytes()
