"""Start an engine process, talk to it, and end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from relex.core.asking import Asking
from relex.core.code import ROOT
from relex.core.errors import InputError, StageFailed
from relex.core.forkserver.ask import Forked, helper
from relex.core.pipes import receive, send
from relex.core.workspace import STATE
from relex.stages.evaluate.engine.place import engine_place

_TAIL_LINES = 25


class EngineProcess:
    """One model in an engine process of its own. A context manager: leaving it ends the process.

    settings: backend, model (checkpoint folder), dtype, max_model_len, tensor_parallel, cpu_kv_cache_gib.
    environment: added to this process's (CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS, ...). log: what the engine prints.
    state: where it may leave files.
    Start it from a thread that outlives it: the kernel kills the engine when that thread ends.
    """

    def __init__(
        self, settings: dict[str, Any], log: Path, environment: dict[str, str] | None = None, state: Path = STATE
    ):
        self.log = Path(log)
        self._ready = False
        self._model = str(settings["model"])
        self._version = ""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        root = str(ROOT)
        self._held = contextlib.ExitStack()  # let go of once the process has ended
        place = self._held.enter_context(engine_place(state))
        variables = {**os.environ, **place.variables, **(environment or {})}
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [root, variables.get("PYTHONPATH")]))
        self._process, parent = self._start(place.interpreter, variables)
        try:
            send(self._handle(self._process.stdin), dict(settings, parent=parent))
        except BrokenPipeError:
            self._fail("ended while it started")

    def _start(self, interpreter: str, variables: dict[str, str]) -> tuple[subprocess.Popen[bytes] | Forked, int]:
        """The process, forked from one that has imported vLLM where there is such a one; its parent's process id."""
        command = [interpreter, "-m", "relex.stages.evaluate.engine"]
        with open(self.log, "wb") as output:
            # Modules keep the paths that they were imported by.
            if interpreter == sys.executable and (forked := helper("engine", command[-1], output.fileno(), variables)):
                return forked, forked.parent
            started = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=variables,
            )
            return started, os.getpid()

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def wait_until_ready(self) -> str:
        """Wait for the start; the backend's name and version. StageFailed, with the log's end, when it fails."""
        if not self._ready:
            self._version = self._receive("failed to start")["version"]
            self._ready = True
        return self._version

    def stream(
        self, prompts: list[str], seeds: list[int], sampling: dict[str, Any], asking: Asking
    ) -> Iterator[dict[int, dict[str, Any]]]:
        """Completions as they finish, by the place of the prompt: {"prompt" as seen, "text", "tokens", "finish"}.

        sampling: temperature, top_p, max_tokens, logprobs (true adds each token's log-probability, "logprobs").
        seeds: one per prompt. InputError when a prompt cannot be asked. Read it to
        the end before asking anything else.
        """
        self.wait_until_ready()
        how = {"sampling": sampling, "asking": asking.model_dump()}
        request = {"command": "generate", "prompts": prompts, "seeds": seeds, **how}
        if prompts:
            self._send(request)
        left = len(prompts)
        while left:
            finished = {place: completion for place, completion in self._receive("failed")["finished"]}
            left -= len(finished)
            yield finished

    def generate(
        self, prompts: list[str], seeds: list[int], sampling: dict[str, Any], asking: Asking
    ) -> list[dict[str, Any]]:
        """What `stream` gives, all at once and in the order of the prompts."""
        found: dict[int, dict[str, Any]] = {}
        for finished in self.stream(prompts, seeds, sampling, asking):
            found.update(finished)
        return [found[place] for place in range(len(prompts))]

    def reload(self, folder: Path) -> None:
        """Ask for the weights of another checkpoint. Whether they took effect is for the caller to prove."""
        self.wait_until_ready()
        self._send({"command": "reload", "model": str(folder)})
        self._receive("failed")
        self._model = str(folder)

    def form(self, folder: Path, base: Path, head: str | None) -> None:
        """Ask for the candidate that a recipe in `folder` makes of `base`; head: a tied output head that the engine
        holds apart. The same is for the caller to prove."""
        self.wait_until_ready()
        self._send({"command": "form", "model": str(folder), "base": str(base), "head": head})
        self._receive("failed")
        self._model = str(folder)

    def kill(self) -> None:
        """End the process at once; whoever waits for its reply gets StageFailed. Safe from another thread."""
        self._process.kill()

    def close(self) -> None:
        """End the process and free its pipes; nothing it holds is worth saving."""
        self._process.poll()  # what it ended with before it was told to
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._held.close()

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, request: dict[str, Any]) -> None:
        try:
            send(self._handle(self._process.stdin), request)
        except BrokenPipeError:
            self._fail("ended")

    def _receive(self, what: str) -> dict[str, Any]:
        reply = receive(self._handle(self._process.stdout))
        if reply is None:
            self._process.wait()
            self._fail("ended while it worked" if self._ready else "ended while it started")
        if "input_error" in reply:
            raise InputError(reply["input_error"], where=self._model)
        if "error" in reply:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)  # it is ending, and still writes its traceback
            self._fail(f"{what}: {reply['error']}")
        return reply

    def _fail(self, what: str) -> None:
        self.close()
        status = self._process.returncode
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        memory = psutil.virtual_memory()
        raise StageFailed(
            f"the engine for {self._model} {what} (exit {status}"
            + (", killed: most often for want of memory" if status == -signal.SIGKILL else "")
            + f"; {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory available); "
            + f"the end of {self.log}:\n  "
            + "\n  ".join(tail)
        )

    @staticmethod
    def _handle(pipe: Any) -> int:
        return pipe.fileno()
