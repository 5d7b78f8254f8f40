"""`relex serve`: vLLM's own OpenAI-compatible server on a checkpoint folder, as a child process."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from relex.core.bound import bound
from relex.core.errors import InputError, StageFailed
from relex.params.load import Params
from relex.stages.evaluate.engine.place import engine_place

SERVER = "vllm.entrypoints.openai.api_server"
_START_SECONDS = 900.0  # a large model from a slow disk
_STOP_SECONDS = 20.0


def serve(params: Params, folder: Path, name: str, prompt: str, host: str, port: int) -> int:
    """Serve `folder` under `name` until the server ends or this process is told to; the server's exit code.

    Prints a curl line with `prompt` once the server answers. InputError when the port is taken, StageFailed when the
    server ends before it answers.
    """
    _check_port(host, port)
    with _server(params, folder, name, host, port) as process:
        _wait_until_ready(process, host, port)
        line = curl(folder, name, prompt, host, port)
        print(f"serving {name} at http://{host}:{port}; ask it:\n\n  {line}\n", flush=True)
        return process.wait()


def curl(folder: Path, name: str, prompt: str, host: str, port: int) -> str:
    """A shell line that asks the running server: for a chat model through its template, else a plain completion."""
    chat = (folder / "chat_template.jinja").is_file()
    content = {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    body = json.dumps({"model": name, **content, "max_tokens": 32, "temperature": 0})
    url = f"http://{host}:{port}/v1/{'chat/completions' if chat else 'completions'}"
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def command(params: Params, folder: Path, name: str, host: str, port: int, interpreter: str) -> list[str]:
    """vLLM's own server, with the evaluation's precision and context length.

    Not `vllm serve`, which is the same server: in the CPU build that command asks for the version of a package `vllm`,
    which is not what the CPU build is called, and ends.
    """
    import torch

    return [
        *(interpreter, "-m", SERVER, "--model", str(folder)),
        *("--served-model-name", name, "--host", host, "--port", str(port)),
        *options(params),
        *(() if torch.cuda.is_available() else ("--enforce-eager",)),  # compiling costs more than it gains there
    ]


def options(params: Params) -> list[str]:
    """The server's options that make it answer as in the evaluation."""
    length = params.evaluate.max_model_len
    return [
        *("--dtype", params.evaluate.dtype, "--max-model-len", str(length)),
        # As in evaluation: a prompt prefilled in chunks crashes seeded sampling on the CPU build.
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max(8192, length))),
    ]


@contextlib.contextmanager
def _server(params: Params, folder: Path, name: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The server in a process group of its own, ended with everything it started when the body ends."""
    cache = str(params.evaluate.cpu_kv_cache_gib)
    variables = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": cache, **os.environ}
    with engine_place() as place:
        served = bound(command(params, folder, name, host, port, place.interpreter))
        process = subprocess.Popen(served, env=variables | place.variables, start_new_session=True)
        before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield process
        except KeyboardInterrupt:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _end(process)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their parent


def _wait_until_ready(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StageFailed(f"vLLM's server ended with exit code {process.returncode} before it answered")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.5)
    raise StageFailed(f"vLLM's server did not answer within {_START_SECONDS:.0f} s")


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                "cannot listen there", where=f"{host}:{port}", found=error.strerror, todo="choose another --port"
            ) from None
