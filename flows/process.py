"""One command of a night, run to its end: its lines as they come, and a user's error told from any other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.dvc_command import DVC, forked_where_possible
from flows.killed_dvc import keep_lock
from flows.refusals import Refused
from flows.supervise import supervised
from relex.core.errors import StageFailed
from relex.params.redact import redact

OURS = "relex: "  # what a message of ours begins with
_PROGRESS_SECONDS = 5.0

# DVC's hints to somebody at a terminal: the flow does not stage for the user, and pushes by itself.
_HINTS = (
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
)

# Nothing in a night asks the network unless the user's own settings say so.
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
}


def environment() -> dict[str, str]:
    """What commands run in: this interpreter's console scripts first, and no telemetry. Of a command that runs in one
    already, the same: a fork server refuses whoever's is unlike its own."""
    scripts, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    found = path if path.split(os.pathsep)[0] == scripts else f"{scripts}{os.pathsep}{path}"
    return {**_QUIET, **os.environ, "PATH": found, "PYTHONUNBUFFERED": "1"}


def run_command(
    command: Sequence[str],
    log: Callable[[str], Any],
    folder: Path | None = None,
    begun: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None,
) -> list[str]:
    """Run to the end, passing on every line; its lines, without secrets: they go to Prefect's server.

    begun: told the process, which may be terminated. Refused (an InputError) for exit code 2, StageFailed for any
    other.
    """
    if command[0] == DVC and folder is None:
        keep_lock()  # before DVC writes to it
    forked = forked_where_possible(command)
    with supervised(forked, environment=environment(), output=subprocess.PIPE, folder=folder) as process:
        begun(process)
        lines = []
        for line in map(redact, _lines(process)):
            lines.append(line)
            if not line.strip().startswith(_HINTS):
                log(line)
        code = process.wait()
    named = redact(" ".join(command))
    # DVC ends with its own code: what the stage's command ended with stands in its message.
    inner = [match[1] for line in lines if (match := re.search(r"failed to run: .*, exited with (-?\d+)", line))]
    if code == 2 or "2" in inner:
        said = [line.removeprefix(OURS) for line in lines if line.startswith(OURS)]
        raise Refused("\n".join(said) or f"{command[0]} refused", named)
    if code:
        raise StageFailed(f"{named} ended with exit code {inner[-1] if inner else code}")
    return lines


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come; of a progress bar (carriage returns) one state every few seconds."""
    assert process.stdout is not None
    buffer, shown = b"", 0.0
    while chunk := os.read(process.stdout.fileno(), 1 << 16):
        buffer += chunk
        while match := re.search(rb"[\r\n]", buffer):
            line, end, buffer = buffer[: match.start()], match[0], buffer[match.end() :]
            text = line.decode(errors="replace").rstrip()
            if end == b"\r" and buffer[:1] != b"\n" and time.monotonic() - shown < _PROGRESS_SECONDS:
                continue
            if end == b"\r":
                shown = time.monotonic()
            if text:
                yield text
    if buffer.strip():
        yield buffer.decode(errors="replace").rstrip()
