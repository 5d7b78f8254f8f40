"""`relex serve`: vLLM's own OpenAI-compatible server on a checkpoint folder, as a child process.

What the server itself says goes into a file: what a person waits for, the address, would be lost in it.
"""

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
from dataclasses import dataclass, replace
from pathlib import Path

from relex.core.atomic import read_json
from relex.core.bound import bound
from relex.core.errors import InputError, StageFailed
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.params.redact import redact
from relex.params.registry import Registered
from relex.registry.store.models import LINEAGE
from relex.stages.evaluate.engine.place import engine_place
from relex.stages.evaluate.params import Evaluate

SERVER = "vllm.entrypoints.openai.api_server"
_START_SECONDS = 900.0  # a large model from a slow disk
_STOP_SECONDS = 20.0
_TAIL_LINES = 30  # of the server's log, where it does not start
_LONGEST = 8192  # tokens, where nothing says how long the evaluation's texts might be


@dataclass(frozen=True)
class Engine:
    """How the server computes. max_model_len: most tokens of prompt and answer; cpu_kv_cache_gib: on a CPU, in GiB."""

    dtype: str
    max_model_len: int
    cpu_kv_cache_gib: int

    @classmethod
    def of(cls, evaluate: Evaluate) -> Engine:
        """As the section `evaluate` has it."""
        return cls(evaluate.dtype, evaluate.max_model_len, evaluate.cpu_kv_cache_gib)


def engine_of(params: Registered, folder: Path) -> Engine:
    """As the model in `folder` was evaluated, as far as its lineage says; else as params.yaml evaluates, and without
    one as the checkpoint itself says."""
    if isinstance(params, Params):
        engine = Engine.of(params.evaluate)
    else:
        length = read_json(folder / "config.json").get("max_position_embeddings") or _LONGEST
        cache = Evaluate.model_fields["cpu_kv_cache_gib"].default
        engine = Engine(dtype="auto", max_model_len=min(length, _LONGEST), cpu_kv_cache_gib=cache)
    return replace(engine, **read_json(folder / LINEAGE).get("evaluation", {}).get("engine", {}))


def serve(engine: Engine, folder: Path, name: str, prompt: str, host: str, port: int) -> int:
    """Serve `folder` under `name` until the server ends or this process is told to; the server's exit code.

    Prints a curl line with `prompt` once the server answers. InputError when the port is taken, StageFailed with the
    end of the server's log when it ends before it answers.
    """
    _check_port(host, port)
    log = STATE / f"serve-{port}.log"
    with _server(engine, folder, name, host, port, log) as process:
        print(f"starting vLLM's server; what it says is in {log}", flush=True)
        _wait_until_ready(process, host, port, log)
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


def command(engine: Engine, folder: Path, name: str, host: str, port: int, interpreter: str) -> list[str]:
    """vLLM's own server, with the evaluation's precision and context length.

    Not `vllm serve`, which is the same server: in the CPU build that command asks for the version of a package `vllm`,
    which is not what the CPU build is called, and ends.
    """
    import torch

    return [
        *(interpreter, "-m", SERVER, "--model", str(folder)),
        *("--served-model-name", name, "--host", host, "--port", str(port)),
        *options(engine),
        *(() if torch.cuda.is_available() else ("--enforce-eager",)),  # compiling costs more than it gains there
    ]


def options(engine: Engine) -> list[str]:
    """The server's options that make it answer as in the evaluation."""
    length = engine.max_model_len
    return [
        *("--dtype", engine.dtype, "--max-model-len", str(length)),
        # As in evaluation: a prompt prefilled in chunks crashes seeded sampling on the CPU build.
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max(8192, length))),
    ]


@contextlib.contextmanager
def _server(
    engine: Engine, folder: Path, name: str, host: str, port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The server in a process group of its own, ended with everything it started when the body ends."""
    cache = str(engine.cpu_kv_cache_gib)
    variables = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": cache, **os.environ}
    with engine_place() as place:
        served = bound(command(engine, folder, name, host, port, place.interpreter))
        with open(log, "wb") as output:
            process = subprocess.Popen(
                served,
                env=variables | place.variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
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


def _wait_until_ready(process: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            code = process.returncode
            raise StageFailed(f"vLLM's server ended with exit code {code} before it answered{_end_of(log)}")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.5)
    raise StageFailed(f"vLLM's server did not answer within {_START_SECONDS:.0f} s{_end_of(log)}")


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return redact("\n  ".join([f"; the end of {log}:", *lines]))


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                "cannot listen there", where=f"{host}:{port}", found=error.strerror, todo="choose another --port"
            ) from None
