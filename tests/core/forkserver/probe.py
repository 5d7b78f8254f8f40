"""What the tests have forked: it tells what it is, or waits to be ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile


def main() -> None:
    what = sys.argv[1]
    if what == "tell":
        module = sys.modules.get("csv")
        facts = {
            "arguments": sys.argv[2:],
            "folder": os.getcwd(),
            "variables": dict(os.environ),
            "temporary": tempfile.gettempdir(),
            "forked": module is not None,  # only a template has imported it
            "path": sys.path,
            "input": sys.stdin.read(),
        }
        print(json.dumps(facts))
        print("told", file=sys.stderr)
        sys.exit(7)
    if what == "start":
        print("before")
        subprocess.run(["echo", "of another"], check=True)
        print("after")
    if what == "raise":
        raise ValueError("of a forked process")
    if what == "say":
        sys.exit("a sentence")
    if what == "wait":
        with subprocess.Popen(["sleep", "300"], start_new_session=True) as helper:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it may come before anything waits for it
            print(json.dumps([os.getpid(), os.getppid(), helper.pid]), flush=True)
            signal.sigwait({signal.SIGTERM})
            print("asked to end", flush=True)
            os._exit(9)


if __name__ == "__main__":
    main()
