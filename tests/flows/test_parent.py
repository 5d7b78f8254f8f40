"""A night that a served schedule has started ends with the server, however that ends."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.real


def test_a_process_that_is_to_end_with_its_parent_does_when_that_is_killed_and_not_with_the_thread_that_started_it():
    night = "import os, time; from flows.parent import end_with; end_with(os.getppid()); print('on', flush=True)\n"
    night += "time.sleep(600)\n"
    server = (
        "import subprocess, sys, threading, time\n"
        "def start():\n"
        "    child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE)\n"
        "    child.stdout.readline(); print(child.pid, flush=True)\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join(); print('joined', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", server, night], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    assert process.stdout.readline() == "joined\n"
    assert psutil.wait_procs([child], timeout=0.3)[1] == [child]
    process.kill()
    process.communicate()
    assert psutil.wait_procs([child], timeout=5)[1] == []
