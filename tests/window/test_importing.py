"""`relex import`: foreign layouts by reference and as copies, from folders and a hub; what does not fit is named."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from relex.core.digest import file_sha256, folder_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory.reader import Trajectory, verify
from relex.window.importing import import_checkpoints
from relex.window.rows import Window
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints

STEPS = [3, 10, 11, 100]


@pytest.fixture(scope="module")
def model():
    return tiny_llama()


@pytest.fixture(scope="module")
def base(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("base") / "base")


@pytest.fixture
def source(model, base, tmp_path):
    return write_checkpoints(tmp_path / "full", model, STEPS, line_with_noise())


@pytest.mark.parametrize(
    "layout", ["checkpoint-{}", "global_step_{}", "global_step_{}/actor/huggingface", "step_{}", "step-{}"]
)
def test_every_layout_is_found_in_the_order_of_steps(model, base, tmp_path, layout):
    source = write_checkpoints(tmp_path / "full", model, STEPS, line_with_noise(), layout=layout, shard="4KB")
    (source / "runs").mkdir()
    (source / "checkpoint-x").mkdir()
    before = folder_sha256(source)
    summary = import_checkpoints(source, base, tmp_path / "window")
    assert "4 steps (3..100) by reference" in summary
    assert Trajectory(tmp_path / "window").steps == tuple(STEPS)
    assert folder_sha256(source) == before
    assert "sound" in verify(tmp_path / "window")


def test_by_reference_nothing_is_copied_and_every_file_is_named_with_its_hash(source, base, tmp_path):
    import_checkpoints(source, base, tmp_path / "window")
    assert sorted(path.name for path in (tmp_path / "window").rglob("*")) == ["cache", "manifest.json", "stamps.json"]
    text = json.loads((tmp_path / "window" / "manifest.json").read_text())
    for entry in text["steps"]:
        path = Path(entry["folder"]) / entry["files"][0]["file"]
        assert entry["files"][0]["sha256"] == file_sha256(path)


def test_files_are_hashed_once(source, base, tmp_path, monkeypatch):
    from relex.trajectory import stamps

    import_checkpoints(source, base, tmp_path / "window")
    monkeypatch.setattr(stamps, "file_sha256", lambda path: pytest.fail(f"hashed again: {path}"))
    with Window(Trajectory(tmp_path / "window"), base):
        pass


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_copies_are_deltas_that_need_the_source_no_more(source, base, tmp_path, codec):
    saved = {step: load_file(source / f"checkpoint-{step}" / "model.safetensors") for step in STEPS}
    assert "copied" in import_checkpoints(source, base, tmp_path / "window", copy=True, codec=codec)
    shutil.rmtree(source)
    assert "4 steps (3..100)" in verify(tmp_path / "window")
    if codec == "float32":
        start = load_file(base / "model.safetensors")
        stored = load_file(tmp_path / "window" / "steps" / "000011.safetensors")
        assert all(torch.equal(stored[name], saved[11][name] - start[name]) for name in start)


def test_step_zero_is_the_base_and_not_observed(model, source, base, tmp_path):
    save(model, source / "checkpoint-0")
    import_checkpoints(source, base, tmp_path / "window")
    assert Trajectory(tmp_path / "window").steps == tuple(STEPS)


@pytest.mark.parametrize("copy", [False, True])
def test_repeated_checkpoints_are_named_in_one_line_however_they_are_stored(
    model, source, base, tmp_path, capsys, copy
):
    write_checkpoints(source, model, [50, 120], lambda step, *rest: line_with_noise()(10, *rest), shard="4KB")
    shutil.copytree(source / "checkpoint-3", source / "checkpoint-110")
    path = source / "checkpoint-110" / "model.safetensors"
    save_file(load_file(path), path, metadata={"format": "pt", "saved": "again"})
    import_checkpoints(source, base, tmp_path / "window", copy=copy)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert f"{source}: identical checkpoints: steps 3 = 110; 10 = 50 = 120;" in said


def test_many_repeats_are_still_one_line(source, base, tmp_path, capsys):
    for step in range(200, 230):
        shutil.copytree(source / "checkpoint-10", source / f"checkpoint-{step}")
    import_checkpoints(source, base, tmp_path / "window")
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "steps 10 = 200 = 201 = ... = 229 (31 steps)" in said


@pytest.mark.parametrize("renamed", ["checkpoint-12", "step_110", "global_step_7/actor/huggingface"])
def test_an_imported_step_must_be_what_its_folder_says(source, base, tmp_path, renamed):
    import_checkpoints(source, base, tmp_path / "window")
    path = tmp_path / "window" / "manifest.json"
    value = json.loads(path.read_text())
    (source / renamed).parent.mkdir(parents=True, exist_ok=True)
    (source / "checkpoint-11").rename(source / renamed)
    value["steps"][2]["folder"] = str(source / renamed)
    path.write_text(json.dumps(value))
    with pytest.raises(CorruptArtifact, match="step 11 names another step's folder"):
        verify(tmp_path / "window")


def test_a_copied_window_knows_the_steps_that_it_was_made_of(source, base, tmp_path):
    import_checkpoints(source, base, tmp_path / "window", copy=True)
    path = tmp_path / "window" / "manifest.json"
    value = json.loads(path.read_text())
    del value["steps"][1]
    path.write_text(json.dumps(value))
    (tmp_path / "window" / "steps" / "000010.safetensors").unlink()
    with pytest.raises(CorruptArtifact, match="not the ones that were observed; expected step 10"):
        verify(tmp_path / "window")


def test_one_step_under_two_names_is_refused(source, base, tmp_path):
    shutil.copytree(source / "checkpoint-10", source / "step_10")
    with pytest.raises(InputError, match="there twice"):
        import_checkpoints(source, base, tmp_path / "window")


@pytest.mark.parametrize("kept", [0, 1])
def test_fewer_than_two_checkpoints_are_refused(source, base, tmp_path, kept):
    for step in STEPS[kept:]:
        shutil.rmtree(source / f"checkpoint-{step}")
    with pytest.raises(InputError, match="fewer than two"):
        import_checkpoints(source, base, tmp_path / "window")


def test_an_output_that_exists_is_refused(source, base, tmp_path):
    (tmp_path / "window").mkdir()
    with pytest.raises(InputError, match="already exists"):
        import_checkpoints(source, base, tmp_path / "window")


def changed(source: Path, change) -> None:
    path = source / "checkpoint-11" / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("model.norm.weight"), "a tensor of the base is missing"),
        (lambda w: w.update(extra=torch.ones(2)), "a tensor that the base lacks"),
        (lambda w: w.update({"model.norm.weight": torch.ones(3)}), "wrong shape or dtype"),
        (lambda w: w.update({"model.norm.weight": torch.ones(16).half()}), "wrong shape or dtype"),
        (lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"] + 1}), "ties this head"),
    ],
)
def test_a_checkpoint_with_other_tensors_is_named(source, base, tmp_path, change, said):
    changed(source, change)
    with pytest.raises(CorruptArtifact, match=said) as caught:
        import_checkpoints(source, base, tmp_path / "window")
    assert "checkpoint-11" in str(caught.value)
    assert not (tmp_path / "window").exists()


def test_float32_checkpoints_of_a_bfloat16_base_are_taken_and_the_reverse_refused(model, source, base, tmp_path):
    coarse = save(tiny_llama(), tmp_path / "coarse", dtype=torch.bfloat16)
    import_checkpoints(source, coarse, tmp_path / "window")
    rounded = write_checkpoints(tmp_path / "rounded", tiny_llama(), STEPS, line_with_noise(), dtype=torch.bfloat16)
    with pytest.raises(CorruptArtifact, match="give the base in the dtype"):
        import_checkpoints(rounded, base, tmp_path / "other")


@pytest.mark.parametrize("damage", ["cut", "header", "gone", "unreadable", "changed"])
def test_a_damaged_source_is_named(source, base, tmp_path, damage):
    path = source / "checkpoint-11" / "model.safetensors"
    content = path.read_bytes()
    if damage in {"cut", "header"}:
        path.write_bytes(content[:-7] if damage == "cut" else b"\xff" * 9 + content[9:])
        with pytest.raises(InputError, match="checkpoint-11"):
            import_checkpoints(source, base, tmp_path / "window")
        return
    import_checkpoints(source, base, tmp_path / "window")
    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        if os.geteuid() == 0:
            path.unlink()
            path.mkdir()  # root reads any file; a folder in its place cannot be read by anyone
        else:
            path.chmod(0)
    with pytest.raises(InputError, match="checkpoint-11"):
        verify(tmp_path / "window")
    with pytest.raises(InputError, match="checkpoint-11"), Window(Trajectory(tmp_path / "window"), base):
        pass


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of a model hub as huggingface_hub asks for: refs, a revision's files, and the files."""

    root: Path
    commits: dict[str, str]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and parts[4:] == ["refs"]:
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in self.commits.items()
            ]
            self._send({"branches": branches, "tags": [], "converts": []})
        elif parts[:2] == ["api", "models"] and parts[4] == "revision":
            folder = self._folder(parts[5])
            files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
            self._send({"id": "me/run", "sha": parts[5], "siblings": files, "tags": []})
        elif parts[:2] == ["api", "models"] and parts[4] == "tree":
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": f"{at:040x}"}
                for at, path in enumerate(sorted(self._folder(parts[5]).iterdir()))
            ]
            self._send(files)
        elif parts[:3] == ["me", "run", "resolve"]:
            content = (self._folder(parts[3]) / parts[4]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{abs(hash(content))}"')
            self.send_header("X-Repo-Commit", parts[3])
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
        else:
            self.send_error(404)

    def _folder(self, commit: str) -> Path:
        return self.root / next(name for name, found in self.commits.items() if found == commit)

    def _send(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    root = write_checkpoints(tmp_path / "hub", model, STEPS, line_with_noise(), layout="step_{}")
    save(model, root / "main")
    _Hub.root = root
    _Hub.commits = {path.name: f"{at:040x}" for at, path in enumerate(sorted(root.iterdir()), 1)}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    import huggingface_hub.constants as constants
    import huggingface_hub.hf_api as hf_api

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    yield root
    server.shutdown()
    server.server_close()


def test_revisions_of_a_hub_repository_are_a_trajectory(hub, base, tmp_path):
    import_checkpoints("hub:me/run", base, tmp_path / "window")
    trajectory = Trajectory(tmp_path / "window")
    assert trajectory.steps == tuple(STEPS)
    for step in trajectory.manifest.steps:
        assert step.files[0].sha256 == file_sha256(hub / f"step_{step.step}" / "model.safetensors")


def test_a_hub_repository_that_is_not_there_is_said(hub, base, tmp_path):
    with pytest.raises(InputError, match=r"hub:not/there: the hub repository cannot be read"):
        import_checkpoints("hub:not/there", base, tmp_path / "window")
