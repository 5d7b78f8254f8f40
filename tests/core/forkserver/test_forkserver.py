"""A forked process is as good as a fresh one, and none outlives who asked for it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.supervise import supervised
from relex.core.forkserver.ask import VARIABLE
from tests.builders import ROOT
from tests.builders.project import alive

# Does what the command `relex` does: in a forked process, or here.
ASKER = """import sys
from relex.core.forkserver.ask import in_place
words = sys.argv[1:]
code = in_place("t", "tests.core.forkserver.probe", words, title="probe " + " ".join(words))
if code is None:
    from tests.core.forkserver import probe
    probe.main()
sys.exit(code)"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server with one template, which has imported something; in a folder whose path no socket could have."""
    folder = tmp_path_factory.mktemp("x" * 120)
    command = [sys.executable, "-m", "relex.core.forkserver.server", str(folder), "t=csv,not_a_module"]
    with open(folder / "log", "wb") as log, supervised(command, environment=environment(), output=log):
        until(lambda: (folder / "t").exists())
        yield folder


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def until(holds, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def asked(server: Path, *words: str, more: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    variables = environment(**{VARIABLE: str(server)}, **(more or {}))
    command = [sys.executable, "-c", ASKER, *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, **options)


def test_a_forked_process_is_what_a_fresh_one_would_be(server, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own = {"TMPDIR": str(temporary), "RELEX_OWN": "its value"}
    forked, fresh = (
        asked(where, "tell", "--a", "b c", more=own, cwd=tmp_path, input="given") for where in (server, tmp_path)
    )
    assert (forked.returncode, forked.stderr) == (fresh.returncode, fresh.stderr) == (7, "told\n")
    one, other = json.loads(forked.stdout), json.loads(fresh.stdout)
    assert (one.pop("forked"), other.pop("forked")) == (True, False)
    for facts in (one, other):
        del facts["variables"][VARIABLE]
    assert one == other
    assert one["arguments"] == ["--a", "b c"]
    assert (one["temporary"], one["input"]) == (str(temporary), "given")


def test_a_late_template_imports_once_the_last_one_has_and_answers_until_then(tmp_path):
    (tmp_path / "slow.py").write_text("import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\n")
    command = [sys.executable, "-m", "relex.core.forkserver.server", str(tmp_path), "t@=csv", "last=slow"]
    variables = environment(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")

    def has_imported() -> bool:
        done = asked(tmp_path, "tell", more={"PYTHONPATH": variables["PYTHONPATH"]}, input="")
        return json.loads(done.stdout)["forked"]

    with (
        open(tmp_path / "log", "wb") as log,
        supervised(command, environment=variables, output=log, folder=tmp_path),
    ):
        until(lambda: (tmp_path / "last").exists())
        assert not has_imported()
        assert "forked tests.core.forkserver.probe tell" in (tmp_path / "log").read_text()
        (tmp_path / "go").touch()
        until(has_imported)


def test_late_templates_import_one_after_another(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "import pathlib, time\n"
            f"pathlib.Path('{name} begun').touch()\n"
            f"while not pathlib.Path('{name} may end').exists(): time.sleep(0.02)\n"
        )
    names = ["t1@=one", "t2@=two", "last=csv"]
    command = [sys.executable, "-m", "relex.core.forkserver.server", str(tmp_path), *names]
    variables = environment(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    with (
        open(tmp_path / "log", "wb") as log,
        supervised(command, environment=variables, output=log, folder=tmp_path),
    ):
        until(lambda: (tmp_path / "one begun").exists())
        assert (tmp_path / "last.loaded").exists()
        assert not (tmp_path / "two begun").exists()
        (tmp_path / "one may end").touch()
        until(lambda: (tmp_path / "two begun").exists())
        assert (tmp_path / "t1.loaded").exists()
        assert not (tmp_path / "t2.loaded").exists()
        (tmp_path / "two may end").touch()
        until(lambda: (tmp_path / "t2.loaded").exists())


def test_lines_come_at_once_where_the_asker_says_so(server, tmp_path):
    """Otherwise what a command prints would stand behind what it then starts prints."""
    more = {"PYTHONUNBUFFERED": "1"}
    lines = [asked(where, "start", more=more).stdout.splitlines() for where in (server, tmp_path)]
    assert lines == [["before", "of another", "after"]] * 2


def test_exceptions_and_sentences_end_it_as_they_end_a_fresh_one(server, tmp_path):
    forked, fresh = asked(server, "raise"), asked(tmp_path, "raise")
    assert forked.returncode == fresh.returncode == 1
    assert forked.stderr.splitlines()[-1] == fresh.stderr.splitlines()[-1] == "ValueError: of a forked process"
    assert (asked(server, "say").stderr, asked(server, "say").returncode) == ("a sentence\n", 1)


def test_code_is_read_when_it_is_asked_for_not_when_the_server_began(server, tmp_path):
    (tmp_path / "tests/core/forkserver").mkdir(parents=True)
    for package in ("tests", "tests/core", "tests/core/forkserver"):
        (tmp_path / package / "__init__.py").touch()
    for text in ("first", "second"):
        (tmp_path / "tests/core/forkserver/probe.py").write_text(f"print({text!r})\n")
        done = asked(server, "tell", more={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
        assert done.stdout == f"{text}\n"


@pytest.mark.parametrize("unlike", ["variable", "limit", "priority", "umask"])
def test_it_is_refused_where_the_asker_s_process_is_unlike_the_server_s(server, unlike):
    started = {
        "variable": {"more": {"HF_HOME": "/elsewhere"}},
        "limit": {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))},
        "priority": {"preexec_fn": lambda: os.nice(3)},
        "umask": {"preexec_fn": lambda: os.umask(0o077)},
    }[unlike]
    done = asked(server, "tell", input="", **started)
    assert (done.returncode, json.loads(done.stdout)["forked"]) == (7, False)
    assert json.loads(asked(server, "tell", input="").stdout)["forked"]
    told = {"variable": "variables HF_HOME", "limit": "limits", "priority": "nice", "umask": "status"}[unlike]
    assert f"unlike {told}" in (server / "log").read_text()


@pytest.fixture
def waiting(server) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """An asker, and the ids of the forked process, its keeper and its helper, which has left its session."""
    variables = environment(**{VARIABLE: str(server)})
    command = [sys.executable, "-c", ASKER, "wait"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        yield asker, json.loads(asker.stdout.readline())
        asker.kill()


@pytest.mark.parametrize("killed", ["asker", "forked", "keeper"])
def test_whoever_is_killed_nothing_is_left(waiting, killed):
    asker, ids = waiting
    processes = [psutil.Process(pid) for pid in ids]
    assert processes[0].cmdline()[0] == "probe wait"
    os.kill({"asker": asker.pid, "forked": ids[0], "keeper": ids[1]}[killed], signal.SIGKILL)
    assert asker.wait(60) == -signal.SIGKILL
    until(lambda: not any(alive(process) for process in processes))


def test_the_asker_passes_a_signal_on(waiting):
    asker, ids = waiting
    processes = [psutil.Process(pid) for pid in ids]
    asker.terminate()
    assert asker.wait(60) == 9
    assert asker.stdout.read() == "asked to end\n"
    until(lambda: not any(alive(process) for process in processes))


def test_a_server_that_ends_takes_all_along(tmp_path):
    command = [sys.executable, "-m", "relex.core.forkserver.server", str(tmp_path), "t=csv"]
    with supervised(command, environment=environment()):
        until(lambda: (tmp_path / "t").exists())
        variables = environment(**{VARIABLE: str(tmp_path)})
        asker = subprocess.Popen(
            [sys.executable, "-c", ASKER, "wait"], env=variables, stdout=subprocess.PIPE, text=True
        )
        processes = [psutil.Process(pid) for pid in json.loads(asker.stdout.readline())]
    assert asker.wait(60) == -signal.SIGKILL
    asker.stdout.close()
    until(lambda: not any(alive(process) for process in processes))


def test_a_server_that_is_gone_is_no_server(tmp_path):
    assert json.loads(asked(tmp_path / "gone", "tell", input="").stdout)["forked"] is False


def test_nobody_else_is_forked_for_whatever_they_say_of_themselves():
    """By the kernel's word on who is at the other end; a socket's own mode depends on the umask."""
    code = (
        "import os, socket; from relex.core.forkserver import keeper; asker, other = socket.socketpair(); "
        "user = os.getuid(); os.getuid = lambda: user + 1; keeper.keep(other, os.getppid(), {}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=120, check=False)
    assert done.returncode == 1
