"""Nothing a supervised command starts outlives whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.supervise import supervised

pytestmark = pytest.mark.real

# A child that detaches a grandchild in a session of its own, writes both process ids, and sleeps.
FAMILY = """
import os, subprocess, sys, time
grand = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {grand.pid}")
time.sleep(600)
"""


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def family(path: Path) -> list[int]:
    assert wait_for(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(pid) for pid in path.read_text().split()]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(0)", 0), ("raise SystemExit(7)", 7)])
def test_the_exit_code_is_passed_on(code, expected):
    with supervised([sys.executable, "-c", code]) as process:
        assert process.wait() == expected


def test_leaving_the_block_ends_the_command_and_its_detached_children(tmp_path):
    with supervised([sys.executable, "-c", FAMILY, str(tmp_path / "pids")]):
        pids = family(tmp_path / "pids")
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_asker_ends_the_whole_family(tmp_path, number):
    asker = (
        "import sys, time; from flows.supervise import supervised\n"
        "with supervised([sys.executable, '-c', sys.argv[1], sys.argv[2]]):\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", asker, FAMILY, str(tmp_path / "pids")])
    pids = family(tmp_path / "pids")
    os.kill(process.pid, number)
    process.wait()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def test_terminating_the_supervisor_ends_the_family(tmp_path):
    with supervised([sys.executable, "-c", FAMILY, str(tmp_path / "pids")]) as process:
        pids = family(tmp_path / "pids")
        process.terminate()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("victim", ["outer", "inner"])
def test_killing_either_supervisor_ends_the_whole_family_before_the_block_is_left(tmp_path, victim):
    with supervised([sys.executable, "-c", FAMILY, str(tmp_path / "pids")]) as process:
        pids = family(tmp_path / "pids")
        outer = psutil.Process(process.pid)
        (inner,) = outer.children()
        os.kill({"outer": outer, "inner": inner}[victim].pid, signal.SIGKILL)
        process.wait(timeout=20)
    assert not any(alive(pid) for pid in pids)
    assert wait_for(lambda: not alive(inner.pid))
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_killing_the_command_ends_what_it_had_started(tmp_path):
    with supervised([sys.executable, "-c", FAMILY, str(tmp_path / "pids")]) as process:
        pids = family(tmp_path / "pids")
        os.kill(pids[0], signal.SIGKILL)
        assert process.wait(timeout=20) == 128 + signal.SIGKILL
        assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("victim", ["nobody", "outer", "inner", "command"])
def test_what_a_command_leaves_in_its_temporary_folder_goes_whoever_is_killed(tmp_path, victim):
    code = (
        "import os, sys, tempfile, time; tempfile.mkdtemp(); tempfile.mkstemp()\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {os.getppid()}'); time.sleep(600)"
    )
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with supervised([sys.executable, "-c", code, str(tmp_path / "pids")], environment=environment) as process:
        command, inner = family(tmp_path / "pids")
        (own,) = (tmp_path / "temporary").iterdir()
        assert len(list(own.iterdir())) == 2
        if victim != "nobody":
            os.kill({"outer": process.pid, "inner": inner, "command": command}[victim], signal.SIGKILL)
            process.wait(timeout=20)
    assert list((tmp_path / "temporary").iterdir()) == []
