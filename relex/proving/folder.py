"""The folder of one proof: what was asked, every row so far, and what came of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from relex.core.atomic import read_json, remove_leftovers, write_json
from relex.core.errors import Busy, InputError
from relex.stages.decide.sentences import OF_PROOF
from relex.stages.decide.stage import Places


@dataclass(frozen=True)
class ProofFolder:
    """prove.json: what was asked. rows/<model>.parquet, evaluate.json, decision.json, report.html: as a night's.

    .relex holds the rows by their content, engines' logs, and nothing else that another run needs.
    """

    root: Path

    @property
    def request(self) -> Path:
        """prove.json."""
        return self.root / "prove.json"

    @property
    def rows(self) -> Path:
        """Of the models, as far as they were asked."""
        return self.root / "rows"

    @property
    def evaluation(self) -> Path:
        """evaluate.json."""
        return self.root / "evaluate.json"

    @property
    def decision(self) -> Path:
        """decision.json."""
        return self.root / "decision.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def timings(self) -> Path:
        """evaluate.json with what all calls took together."""
        return self.root / "timings"

    @property
    def account(self) -> Path:
        """That file."""
        return self.timings / "evaluate.json"

    @property
    def state(self) -> Path:
        """What a run leaves for the next one."""
        return self.root / ".relex"

    @property
    def cache(self) -> Path:
        """Rows by their content."""
        return self.state / "rows"

    @property
    def decided(self) -> Places:
        """What the stage decide reads; there is no diagnosis."""
        return Places(self.evaluation, self.rows, self.root / "diagnose.json", OF_PROOF)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One run at a time; Busy at once when another holds it. The system gives it back when the process dies.

        InputError, and nothing written, for a folder that holds something else. Where the body refuses its input before
        a row is there, a folder that was new is gone again.
        """
        self.check()
        made = [path for path in (self.root, *self.root.parents) if not path.exists()]
        new = not self.state.is_dir()
        self.state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.state / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy("another proof is running in this folder", where=self.root, todo="wait for it") from None
        try:
            for folder in (self.root, self.state, self.timings):
                remove_leftovers(folder)
            yield
        except InputError:
            if new and not self.cache.is_dir():
                self._remove(made)
            raise
        finally:
            lock.release()

    def check(self) -> None:
        """InputError for a folder that holds something else than a proof."""
        if self.root.exists() and not self.root.is_dir():
            raise InputError("not a folder", where=self.root, todo="name another --out")
        if self.root.is_dir() and any(self.root.iterdir()) and not self.state.is_dir():
            raise InputError("the folder holds something else", where=self.root, todo="name another --out")

    def _remove(self, made: Sequence[Path]) -> None:
        """What a run wrote that came to no row. made: the folders that were not there before it."""
        self.request.unlink(missing_ok=True)
        for folder in (self.state, self.timings):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # somebody else put something there meanwhile
                folder.rmdir()

    def claim(self, request: Mapping[str, Any]) -> None:
        """Keep what is asked, so that a run that was killed is taken up, and no other is mixed with it.

        InputError when rows of another request are here: a proof that is asked again with other rules, more samples or
        other models, having seen how it stands, errs more often than its levels say.
        """
        if self.cache.is_dir() and self.request.is_file():
            known = read_json(self.request)
            known = known if isinstance(known, dict) else {}
            differing = sorted(key for key in {*known, *request} if known.get(key) != request.get(key))
            if differing:
                raise InputError(
                    "the folder holds another proof",
                    where=self.root,
                    found=f"another value of {', '.join(differing)} in {self.request.name}",
                    todo="name another --out, or ask the same again",
                )
        else:
            write_json(self.request, request)
