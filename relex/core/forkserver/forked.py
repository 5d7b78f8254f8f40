"""A forked process, made what one would be that was started afresh."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import runpy
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

_OWN = ("relex", "flows")  # may have changed since the server imported them


def become(request: Mapping[str, Any], streams: list[int], imported: Mapping[str, str]) -> NoReturn:
    """Run the module that was asked for as `__main__`, to the end of this process.

    request: module, arguments, title, folder, path (sys.path), variables, threads. streams: the three standard ones.
    imported: variables that the server's imports have set; an asker's own values win.
    """
    code = 1
    try:
        _take_over(request, streams, imported)
        code = _run(request["module"])
    except BaseException:
        traceback.print_exc()
    _end(code)


def _take_over(request: Mapping[str, Any], streams: list[int], imported: Mapping[str, str]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.environ.clear()
    os.environ.update({**imported, **request["variables"]})
    os.chdir(request["folder"])
    tempfile.tempdir = None  # asked for anew: each command has its own
    sys.argv[:] = [request["module"], *request["arguments"]]
    sys.path[:] = request["path"]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
        del sys.modules[name]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As the interpreter that reads PYTHONUNBUFFERED: what a command prints stays before what it then starts prints.
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty() or bool(os.environ.get("PYTHONUNBUFFERED")))
    with contextlib.suppress(ImportError):  # only what `ps` shows
        from setproctitle import setproctitle

        setproctitle(request["title"])
    if request["threads"] and (torch := sys.modules.get("torch")):
        torch.set_num_threads(request["threads"])  # OpenMP has read OMP_NUM_THREADS in the server


def _run(module: str) -> int:
    """Its exit code, as the interpreter would end with it."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """What an interpreter does at its end, but for taking every object apart, which takes seconds with torch."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code & 0xFF)
