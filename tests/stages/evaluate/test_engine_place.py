"""Where an engine runs: in an environment at any path, leaving nothing in the system's temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from relex.core.atomic import scratch_folder
from relex.stages.evaluate.engine import place
from tests.builders import ROOT
from tests.builders.environments import environment_at

ASK = """
import json, sys
from pathlib import Path
import torch
from relex.core.asking import BARE
from relex.params.load import load
from relex.stages.base.embedded import make_model, make_tokenizer
from relex.stages.evaluate.engine.process import EngineProcess

if __name__ == "__main__":
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    make_model(load(Path(sys.argv[2]) / "params.yaml").base.source, tokenizer).save_pretrained("model")
    tokenizer.save_pretrained("model")
    settings = {"dtype": "float32", "max_model_len": 64, "tensor_parallel": 1, "cpu_kv_cache_gib": 1}
    settings |= {"backend": sys.argv[1], "model": str(Path("model").resolve())}
    one_core = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 6, "logprobs": True}
    with EngineProcess(settings, Path("engine.log"), one_core) as engine:
        (answer,) = engine.generate(["31="], [1], sampling, BARE)
    print(json.dumps(answer))
"""


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_an_engine_runs_in_a_checkout_whose_path_has_spaces_and_leaves_nothing_behind(tmp_path, backend):
    checkout = tmp_path / "my models" / "x y"
    checkout.mkdir(parents=True)
    interpreter = environment_at(checkout / ".venv")
    (tmp_path / "temporary").mkdir()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}
    for name in ("TORCHINDUCTOR_CACHE_DIR", place.SHARED):
        variables.pop(name, None)
    (checkout / "ask.py").write_text(ASK)
    done = subprocess.run(
        [interpreter, "ask.py", backend, str(ROOT)],
        cwd=checkout,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(json.loads(done.stdout.splitlines()[-1])["logprobs"]) == 6
    assert "ld.so" not in (checkout / "engine.log").read_text()
    assert [path.name for path in (checkout / ".relex").iterdir()] == ["compiled"]
    # The process that asked imports torch, which makes an empty folder for what it may compile itself.
    left = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    assert left == []


def test_a_plain_path_needs_no_link(tmp_path):
    assert place.shown(tmp_path) == str(tmp_path)


def test_a_link_to_a_folder_with_spaces_is_the_same_every_time(tmp_path):
    folder = tmp_path / "a\tb c"
    folder.mkdir()
    shown = place.shown(folder)
    assert not place.has_space(shown)
    assert Path(shown).samefile(folder)
    assert place.shown(folder) == shown
    os.unlink(shown)


def test_a_long_path_gets_a_short_temporary_folder_that_goes_with_its_link(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv(place.SHARED)
    with place.engine_place() as found:
        temporary = Path(found.variables["TMPDIR"])
        assert len(str(temporary)) < 60
        (temporary / "socket").touch()
        assert len(list(folder.glob(".relex/.tmp-engine-*/socket"))) == 1
    assert not temporary.is_symlink()
    assert [path.name for path in (folder / ".relex").iterdir()] == ["compiled"]


def test_projects_may_share_what_was_compiled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(place.SHARED, str(tmp_path / "elsewhere"))
    with place.engine_place() as found:
        assert found.variables["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "elsewhere")
    assert list((tmp_path / ".relex").iterdir()) == []


def test_a_link_that_a_killed_process_left_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "_SYSTEM", (str(tmp_path),))
    gone = tmp_path / f"relex-{os.getuid()}"
    gone.mkdir(mode=0o700)
    (gone / "left").symlink_to(tmp_path / "nowhere")
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with place.engine_place():
        assert len(list(gone.iterdir())) == 1
    assert list(gone.iterdir()) == []


def test_a_folder_of_links_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for parent in (first, second):
        parent.mkdir()
    (first / f"relex-{os.getuid()}").mkdir()
    (first / f"relex-{os.getuid()}").chmod(0o777)
    monkeypatch.setattr(place, "_SYSTEM", (str(first), str(second)))
    with scratch_folder(tmp_path, "a b") as folder:
        assert place.shown(folder).startswith(str(second))
