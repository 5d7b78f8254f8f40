"""One place for an engine, and the engine in it: kept, reloaded or replaced when another model is to be served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.engine.process import EngineProcess
from relex.stages.evaluate.reload import HEAD, a_file_of, architecture, servable, ties

_LOGS = "engines"  # a folder of the state


class Slot:
    """At most one engine at a time. One thread uses it; `kill` is for another one.

    settings: of the engine process, without its model. twins: whether an engine that shall be reloaded must be given
    untied twins (reload.py). state: where logs, twins and what an engine leaves go.
    """

    def __init__(self, number: int, settings: dict[str, Any], environment: dict[str, str], *, twins: bool, state: Path):
        self._number, self._settings, self._environment, self.twins = number, settings, environment, twins
        self._state = state
        self._engine: EngineProcess | None = None
        self._architecture = ""  # within which this engine may be reloaded
        self._killed = False
        self.model: str | None = None  # the hash of the one it holds
        self.next: str | None = None  # of the one that it holds or is about to
        self.starts = 0
        self.reloads = 0

    @property
    def engine(self) -> EngineProcess:
        """The running engine."""
        if self._engine is None:
            raise RuntimeError("no engine was started in this slot")
        return self._engine

    @property
    def reloadable(self) -> bool:
        """Whether it can take up another model, of the same architecture, without a start."""
        return self._engine is not None and bool(self._architecture)

    def serve(self, contestant: Contestant, *, exact: bool) -> None:
        """Have an engine hold this model. exact: whether a reload is known to be (reload_proof.py)."""
        if self.model == contestant.model_sha256:
            return
        if exact and self.reloadable and self._architecture == architecture(contestant):
            self.reload(contestant)
        else:
            self.start(contestant, reloadable=exact)

    def start(self, contestant: Contestant, *, reloadable: bool) -> None:
        """A fresh engine, in place of any that runs. reloadable: on what an engine must be started to be reloaded; a
        model that is formed then is, from its base, and else becomes a file for as long as the engine starts."""
        self.close()
        self.next = contestant.model_sha256
        if reloadable and contestant.origin is not None and self._forms:
            self._start(contestant.origin, contestant, self._reloadable(contestant.origin))
            self.reload(contestant)
            self._architecture = architecture(contestant)
            return
        with a_file_of(contestant, self._state) as folder:
            own = contestant if contestant.origin is None else replace(contestant, folder=folder, origin=None)
            self._start(own, contestant, self._reloadable(own) if reloadable else folder)
        if reloadable or not self._untied(contestant):
            self._architecture = architecture(contestant)

    def _start(self, held: Contestant, named: Contestant, folder: Path) -> None:
        """An engine that serves `folder`. held: whose weights these are. named: after whom the log is called."""
        log = self._state / _LOGS / f"{named.name}-{self._number}.log"
        settings = self._settings | {"model": str(folder)}
        self._engine = EngineProcess(settings, log, self._environment, self._state)
        if self._killed:
            self._engine.kill()
        self._engine.wait_until_ready()
        self.model = held.model_sha256
        self.starts += 1

    def reload(self, contestant: Contestant) -> None:
        """Put another model into the running engine."""
        self.model = None
        origin = contestant.origin
        if origin is not None and self._forms:
            head = HEAD if self._untied(contestant) else None
            self.engine.form(contestant.folder, origin.folder, head)
            self.model = self.next = contestant.model_sha256
            self.reloads += 1
        else:
            self.reload_file(contestant)

    def reload_file(self, contestant: Contestant) -> None:
        """The same, always from a file: one that lasts as long as that takes, where the model has none."""
        self.model = None
        with a_file_of(contestant, self._state) as folder:
            self.engine.reload(self._reloadable(replace(contestant, folder=folder, origin=None)))
        self.model = self.next = contestant.model_sha256
        self.reloads += 1

    @property
    def _forms(self) -> bool:
        """Whether its engines form models in place; the others read files."""
        return self._settings["backend"] == "vllm"

    def _reloadable(self, contestant: Contestant) -> Path:
        return servable(contestant, self._state) if self.twins else contestant.folder

    def _untied(self, contestant: Contestant) -> bool:
        """Whether an engine that shall be reloaded is given an untied twin of such a model."""
        return self.twins and ties(contestant.layout)

    def kill(self) -> None:
        """End the engine, and any that is started later, at once, from another thread."""
        self._killed = True
        if self._engine is not None:
            self._engine.kill()

    def close(self) -> None:
        """End the engine, if one runs."""
        engine, self._engine, self._architecture = self._engine, None, ""
        self.model = self.next = None
        if engine is not None:
            engine.close()
