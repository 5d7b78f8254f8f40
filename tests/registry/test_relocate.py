"""A registry in a SQLite file follows its folder: moved, copied, or made when its places were still absolute."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from relex.cli.app import app
from relex.core.errors import InputError
from relex.params.load import Params
from relex.registry.fetch import fetch, fetch_to_serve
from relex.registry.history import history
from relex.registry.lineage import lineage
from relex.registry.promotion import promote, rollback
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import places
from tests.builders.nights import change_params, finish_night

PROCESSES = multiprocessing.get_context("fork")
DATABASE = Path("mlflow.db")
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def recorded() -> list[str]:
    """Every place of files that the database names."""
    with sqlite3.connect(DATABASE) as database:
        found = [uri for table, column in COLUMNS for (uri,) in database.execute(f"SELECT {column} FROM {table}")]
    database.close()
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def two_nights(folder: Path) -> Params:
    """Two promoted nights in `folder`, which is the present one; version 2 is the champion after 1."""
    params = change_params(folder)
    first = finish_night(folder, 1, champion=None)
    register(params)
    promote(params)
    finish_night(folder, 2, champion=first)
    register(params)
    promote(params)
    return params


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two promoted nights, in a folder whose name needs quoting in a URI."""
    folder = tmp_path_factory.mktemp("made") / "a folder, 100 % ä #1" / "project"
    shutil.copytree(template, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        two_nights(folder)
    return folder


@pytest.fixture(scope="module")
def old(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as earlier versions made it: every place absolute, as MLflow makes it."""
    folder = tmp_path_factory.mktemp("old") / "a folder" / "project"
    shutil.copytree(template, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with sqlite3.connect(DATABASE) as database:
            database.execute("UPDATE experiments SET artifact_location = ?", (f"{folder}/mlruns/0",))
        database.close()
        patch.setattr(places, "make_relative", lambda *_: None)
        two_nights(folder)
        assert all(uri.startswith(("/", "file:///")) for uri in recorded())
    return folder


def moved(source: Path, target: Path, patch: pytest.MonkeyPatch) -> Params:
    """A copy of `source` at `target`, entered, while nothing is at its own place until the test ends."""
    shutil.copytree(source, target)
    source.rename(source.with_name("away"))
    patch.chdir(target)
    return change_params(target)


@pytest.fixture
def come_back(made: Path, old: Path) -> object:
    yield
    for folder in (made, old):
        if folder.with_name("away").exists():
            folder.with_name("away").rename(folder)


@pytest.mark.real
@pytest.mark.usefixtures("come_back")
def test_a_moved_folder_promotes_rolls_back_fetches_verifies_and_serves_as_before(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = moved(made, tmp_path / "elsewhere, 50 %" / "project", monkeypatch)
    assert "verified: " in lineage(params, "sort-digits@champion")
    assert "version 2, model" in fetch(params, "sort-digits@champion", Path("got"))
    folder, _ = fetch_to_serve(params, "sort-digits/1")
    assert (folder / "model.safetensors").is_file()
    assert mlflow.transformers.load_model("models:/sort-digits@champion") is not None
    assert rollback(params, reason="moved").startswith("rolled back: sort-digits version 1")
    assert promote(params, "2", force=True, reason="back").startswith("promoted: sort-digits version 2")
    assert len(history(params).splitlines()) == 4
    finish_night(Path.cwd(), 3, champion=None)
    assert "version 3" in register(params)
    assert "verified: " in lineage(params, "sort-digits/3")
    assert not [uri for uri in recorded() if uri.startswith(("/", "file:"))]


@pytest.mark.real
def test_a_copy_and_its_original_used_by_turns_never_touch_each_other(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copy = made, tmp_path / "the copy"
    shutil.copytree(original, copy)
    params = change_params(original)

    def use(folder: Path, other: Path, seed: int, version: int) -> None:
        before = files(other / "mlartifacts")
        monkeypatch.chdir(folder)
        finish_night(folder, seed, champion=None)
        assert f"version {version}." in register(params)
        assert "verified: " in lineage(params, f"sort-digits/{version}")
        assert files(other / "mlartifacts") == before

    use(copy, original, 3, 3)
    use(original, copy, 4, 3)
    use(copy, original, 5, 4)
    for path in (original / "mlartifacts").rglob("model.safetensors"):
        path.write_bytes(b"other bytes")
    monkeypatch.chdir(copy)
    for version in range(1, 5):
        assert "verified: " in lineage(params, f"sort-digits/{version}")


@pytest.mark.real
@pytest.mark.usefixtures("come_back")
def test_an_old_registry_in_a_moved_folder_is_refused_and_mended_by_one_command_that_first_says_what_it_would_do(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = moved(old, tmp_path / "moved here", monkeypatch)
    before = DATABASE.read_bytes()
    with pytest.raises(InputError, match="relex relocate") as caught:
        promote(params)
    assert str(old) in str(caught.value)
    said = CliRunner().invoke(app, ["relocate"])
    assert said.exit_code == 0, said.output
    assert f"{old} (gone): 3 experiments, 12 runs, 2 models, 2 versions" in said.output
    assert "relex relocate --yes" in said.output
    assert DATABASE.read_bytes() == before
    said = CliRunner().invoke(app, ["relocate", "--yes"])
    assert said.exit_code == 0, said.output
    assert said.output.endswith("done\n")
    assert {uri.split("/")[0] for uri in recorded()} == {"mlartifacts", "mlruns"}
    assert "nothing to do" in CliRunner().invoke(app, ["relocate", "--yes"]).output
    for version in (1, 2):
        assert "verified: " in lineage(params, f"sort-digits/{version}")
    assert mlflow.transformers.load_model("models:/sort-digits@champion") is not None
    assert rollback(params, reason="moved").startswith("rolled back: sort-digits version 1")


@pytest.mark.real
def test_a_copy_of_an_old_registry_does_nothing_with_the_originals_files_before_and_after_it_is_mended(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relex.registry.relocate import relocate

    shutil.copytree(old, tmp_path / "copy")
    before = files(old)
    monkeypatch.chdir(tmp_path / "copy")
    params = change_params(Path.cwd())
    finish_night(Path.cwd(), 3, champion=None)
    for action in (register, promote, history):
        with pytest.raises(InputError, match="moved or copied here"):
            action(params)
    assert f"{old} (another folder)" in relocate(params)
    relocate(params, yes=True)
    assert "version 3" in register(params)
    shutil.rmtree(Path("mlartifacts/models"))
    with pytest.raises(InputError, match="files are gone"):
        lineage(params, "sort-digits/1")
    assert files(old) == before


@pytest.mark.real
def test_an_old_registry_at_its_own_place_goes_on_and_may_be_made_relative_before_it_moves(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relex.registry.relocate import relocate

    shutil.copytree(old, tmp_path / "kept")
    monkeypatch.chdir(old)
    try:
        params = change_params(old)
        assert "verified: " in lineage(params, "sort-digits@champion")
        finish_night(old, 3, champion=None)
        assert "version 3" in register(params)
        assert f"{old} (this folder)" in relocate(params, yes=True)
        assert "verified: " in lineage(params, "sort-digits/3")
        assert not [uri for uri in recorded() if uri.startswith(("/", "file:"))]
    finally:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(old)
        shutil.copytree(tmp_path / "kept", old)


def killed_halfway(folder: Path) -> None:
    os.chdir(folder)
    whole = places._update

    def half(connection: sqlite3.Connection, found: list[places.Place]) -> None:
        whole(connection, found[: len(found) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    places._update = half
    places.move_here(DATABASE)


@pytest.mark.real
def test_killed_in_the_middle_of_mending_the_registry_is_as_before_and_the_next_call_mends_it(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relex.registry.relocate import relocate

    shutil.copytree(old, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    before = recorded()
    process = PROCESSES.Process(target=killed_halfway, args=(Path.cwd(),))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert recorded() == before
    params = change_params(Path.cwd())
    relocate(params, yes=True)
    assert "verified: " in lineage(params, "sort-digits@champion")


@pytest.mark.real
def test_a_registry_whose_files_were_not_copied_along_is_not_cut_off_from_them(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relex.registry.relocate import relocate

    monkeypatch.chdir(tmp_path)
    for name in ("mlflow.db", "params.yaml"):
        shutil.copy(old / name, name)
    params = change_params(tmp_path)
    before = recorded()
    assert f"cp -a {old}/mlartifacts ." in relocate(params)
    with pytest.raises(InputError, match="copy them first"):
        relocate(params, yes=True)
    assert recorded() == before
    shutil.copytree(old / "mlartifacts", "mlartifacts")
    relocate(params, yes=True)
    assert "verified: " in lineage(params, "sort-digits@champion")


@pytest.mark.real
def test_a_database_outside_the_project_is_shared_and_keeps_one_absolute_place(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relex.registry.relocate import relocate

    params = change_params(project, tracking_uri=f"sqlite:///{tmp_path}/shared.db")
    finish_night(project, 1, champion=None)
    register(params)
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "second")
    assert "verified: " in lineage(params, "sort-digits/1")
    with pytest.raises(InputError, match="nothing to relocate"):
        relocate(params)


@pytest.mark.real
def test_an_experiment_that_someone_put_elsewhere_on_purpose_stays_there(
    project: Path, params: Params, tmp_path: Path
) -> None:
    store = (tmp_path / "large disk" / "models").as_uri()
    registry_client.connect(params).client.create_experiment("nightly", artifact_location=store)
    finish_night(project, 1, champion=None)
    register(params)
    assert "verified: " in lineage(params, "sort-digits/1")
    assert [uri for uri in recorded() if uri.startswith(store)]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///a%20b/mlartifacts", ("/a b", "mlartifacts")),
        ("file:///a/mlartifacts/b/mlartifacts/1/artifacts", ("/a/mlartifacts/b", "mlartifacts/1/artifacts")),
        ("/a/mlruns/0", ("/a", "mlruns/0")),
        ("/a/mlruns/0/1/artifacts", ("/a", "mlruns/0/1/artifacts")),
        ("mlartifacts/1", None),
        ("s3://bucket/mlartifacts/1", None),
        ("mlflow-artifacts:/0", None),
        ("models:/m-1", None),
        ("file:///data/models", None),
    ],
)
def test_a_place_is_taken_apart_where_the_project_ends(uri: str, expected: tuple[str, str] | None) -> None:
    assert places.parse(uri) == (expected and (Path(expected[0]), expected[1]))
