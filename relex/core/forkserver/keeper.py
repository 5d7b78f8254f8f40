"""Between a template and one process forked from it: ends all that descends from it when it, or its asker, ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from relex.core.descendants import adopt, end_all
from relex.core.forkserver.forked import become
from relex.core.forkserver.surroundings import difference
from relex.core.pipes import die_with, receive, send

STREAMS = 3


def keep(connection: socket.socket, server: int, ours: Mapping[str, Any], imported: Mapping[str, str]) -> NoReturn:
    """Fork what is asked for through the connection, and watch over it until it has ended.

    server: the template's process id. ours: its surroundings. imported: the variables that its imports have set.
    """
    die_with(server)
    pid, user = _peer(connection)
    if user != os.getuid():
        os._exit(1)  # what it says of itself does not matter: it would have this user's rights
    adopt()
    os.setsid()
    handle = connection.fileno()
    _, streams, _, _ = socket.recv_fds(connection, 1, STREAMS)
    request = receive(handle)
    if request is None or len(streams) != STREAMS:
        os._exit(1)
    asked = " ".join([request["module"], *request["arguments"][:1]])
    why_not = difference(request["surroundings"], ours)
    if why_not is not None:
        print(f"refused {asked}: unlike {why_not}", file=sys.stderr, flush=True)
        send(handle, {"refused": why_not})
        os._exit(0)
    print(f"forked {asked}", file=sys.stderr, flush=True)
    asker = _handle_of(pid)
    mine = os.getpid()
    child = os.fork()
    if child == 0:
        die_with(mine)
        connection.close()
        if asker is not None:
            os.close(asker)
        become(request, streams, imported)
    for stream in streams:
        os.close(stream)
    send(handle, {"pid": child, "parent": mine})
    _watch(handle, asker, child)
    os._exit(0)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The asker's process id and user, as the kernel knows them."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", told)
    return pid, user


def _handle_of(pid: int) -> int | None:
    """A handle that can be read once that process has ended; None when it has."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _watch(handle: int, asker: int | None, child: int) -> None:
    ended = os.pidfd_open(child)
    watched = select.poll()
    for one in (handle, asker, ended):
        if one is not None:
            watched.register(one, select.POLLIN)
    while True:
        ready = {one for one, _ in watched.poll()}
        if ended in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            end_all(0.0)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                send(handle, {"code": code})
            return
        order = receive(handle) if handle in ready else {}
        if asker in ready or order is None:
            end_all(0.0)
            return
        if "signal" in order:
            signal.pidfd_send_signal(ended, order["signal"])
