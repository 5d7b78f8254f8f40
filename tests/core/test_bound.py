"""A command that was bound to its asker dies with it."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from relex.core.bound import bound


def test_a_bound_command_dies_with_its_asker_that_is_killed():
    code = (
        "import subprocess, sys, time; from relex.core.bound import bound\n"
        "print(subprocess.Popen(bound([sys.executable, '-c', 'import time; time.sleep(600)'])).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    command = psutil.Process(int(asker.stdout.readline()))
    asker.kill()
    asker.communicate()
    assert psutil.wait_procs([command], timeout=5)[1] == []


def test_a_bound_command_keeps_its_process_id_and_its_exit_code():
    process = subprocess.Popen(
        bound([sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(3)"]), stdout=subprocess.PIPE
    )
    assert int(process.communicate()[0]) == process.pid != os.getpid()
    assert process.returncode == 3
