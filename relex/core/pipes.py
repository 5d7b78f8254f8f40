"""Messages between a process and its helper: JSON with a length in front, over a pipe.

Unbuffered on purpose: a helper that is killed in the middle of one message must not have taken the next one along.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
from typing import Any

_HEADER = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1


def send(handle: int, message: Any) -> None:
    """Write one message; BrokenPipeError when nobody reads."""
    data = json.dumps(message).encode()
    view = memoryview(_HEADER.pack(len(data)) + data)
    while view:
        view = view[os.write(handle, view) :]


def receive(handle: int) -> Any:
    """The next message, or None at the end of the pipe."""
    header = _exactly(handle, _HEADER.size)
    if header is None:
        return None
    data = _exactly(handle, _HEADER.unpack(header)[0])
    return None if data is None else json.loads(data)


def _exactly(handle: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(handle, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, however it ends (Linux).

    parent: the process id that the starter saw as its own; when it is gone already, this process ends now.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)
