"""Fill the store: every row that is wanted and missing, through engines that are started once and kept."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from relex.core import progress
from relex.core.reproducible import promise
from relex.core.topology import topology
from relex.core.workspace import STATE
from relex.stages.evaluate.answering import answers, forfeited, gives_numbers
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.dealing import Share, choose, deal
from relex.stages.evaluate.engine.settings import check_memory, engine_environments, engine_facts, engine_settings
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.reload import architecture, remove_twins
from relex.stages.evaluate.reload_proof import known, proof_file, prove
from relex.stages.evaluate.row_store import Asked, RowStore, row_keys
from relex.stages.evaluate.schema import NON_FINITE
from relex.stages.evaluate.scoring import Scoring
from relex.stages.evaluate.slot import Slot
from relex.stages.evaluate.suites.suite import Suite


@dataclass(frozen=True)
class Want:
    """The rows of one model: the first `samples` samples of the first `problems` problems of a suite."""

    contestant: Contestant
    suite: Suite
    problems: int
    samples: int


class Generation:
    """Engines for as long as rows are asked for. A context manager: leaving it ends them.

    At most `settings.engines` of them run at a time, none before a row is missing. A model gets a fresh engine, or,
    where reload_proof.py finds that exact, one that held another model before. contestants: all that will be asked.
    state: where engines may leave files.
    spent: start_seconds, engine_starts and reloads, and by purpose rows, tokens, generate_seconds (of every engine)
    and score_seconds (beside the former). told: called whenever rows were added to it, with the lock of this held.
    """

    def __init__(
        self,
        settings: Evaluate,
        store: RowStore,
        contestants: Sequence[Contestant],
        state: Path = STATE,
        told: Callable[[], None] = lambda: None,
    ):
        self._settings, self._store, self._contestants = settings, store, list(contestants)
        self._state, self._told = state, told
        self._slots: list[Slot] = []
        self._threads: ThreadPoolExecutor | None = None  # an engine must not outlive the thread that started it
        self._scoring = Scoring(store)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._exact: str | None = None  # the architecture within which reloading is exact; None: not looked at yet
        self._numbers: dict[str, bool] = {}  # whether a model gives numbers, by model and protocol
        self.spent: dict[str, Any] = {"start_seconds": 0.0, "engine_starts": 0, "reloads": 0}

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for slot in self._slots:
            slot.kill()
        if self._threads is not None:
            self._threads.shutdown()
        for slot in self._slots:
            slot.close()
        self._scoring.close()
        remove_twins(self._state)

    def fill(self, wants: Sequence[Want], purpose: str, what: str = "") -> None:
        """Generate, score and save what the store lacks of `wants`. purpose: what it is counted under in `spent`; what:
        what its bar is called, where that says more.

        The first failure ends every engine, and is raised; what was scored until then is saved.
        """
        spent = self.spent.setdefault(purpose, {"rows": 0, "tokens": 0, "generate_seconds": 0.0, "score_seconds": 0.0})
        todo = self._missing(wants)
        if not todo:
            return
        scored = self._scoring.seconds
        try:
            threads = self._threads or self._set_up(todo)
            shares = deal(todo, len(self._slots), exchangeable=bool(self._exact))
            rows, desc = _rows(todo), what or purpose
            with (
                tqdm(total=rows, desc=f"{desc}: {rows:,} rows", unit="row", mininterval=2.0) as bar,
                progress.kept_alive(bar),
            ):
                serving = [threads.submit(self._serve, slot, shares, spent, bar) for slot in self._slots]
                _first_failure(serving)
            self._scoring.finish()
        except BaseException as error:
            self._stop.set()
            for slot in self._slots:
                slot.kill()
            if isinstance(error, Exception):  # nobody is waiting to have it ended
                with contextlib.suppress(Exception):  # the first failure is the one to tell
                    self._scoring.finish()
            raise
        spent["score_seconds"] += self._scoring.seconds - scored
        self._count_engines()

    def _missing(self, wants: Sequence[Want]) -> list[Share]:
        """By model and protocol, in the order of `wants`; a row that two of them name, under whatever name, is one."""
        shares: dict[str, tuple[Contestant, Suite, dict[str, Asked]]] = {}
        for want in wants:
            missing = self._store.missing(want.contestant, want.suite, want.problems, want.samples)
            if missing:
                protocol = self._store.protocol(want.contestant, want.suite)
                _, _, rows = shares.setdefault(protocol, (want.contestant, want.suite, {}))
                for key, asked in zip(row_keys(missing), missing, strict=True):
                    rows.setdefault(key, asked)
        return [Share(contestant, suite, tuple(rows.values())) for contestant, suite, rows in shares.values()]

    def _set_up(self, todo: Sequence[Share]) -> ThreadPoolExecutor:
        """Slots, and whether their engines may be reloaded: once, when the first rows are missing."""
        settings = self._settings
        environments = engine_environments(
            settings.tensor_parallel, settings.engines, backend=settings.backend, reproducible=settings.reproducible
        )  # fewer where GPUs are few
        if settings.reproducible:
            print(f"evaluate: reproducible: {promise(topology())}")
        on_cpu = "CUDA_VISIBLE_DEVICES" not in environments[0]
        if on_cpu:
            check_memory([contestant.layout for contestant in self._contestants], settings, len(environments))
        twins = on_cpu and settings.backend == "vllm"
        self._threads = ThreadPoolExecutor(len(environments))
        self._slots = [
            Slot(number, engine_settings(settings), environment, twins=twins, state=self._state)
            for number, environment in enumerate(environments)
        ]
        begin = time.perf_counter()
        with progress.at("evaluate: making engines ready"):
            self._exact = self._look_at_reloading(todo, self._threads)
        self.spent["start_seconds"] += time.perf_counter() - begin
        return self._threads

    def _look_at_reloading(self, todo: Sequence[Share], threads: ThreadPoolExecutor) -> str:
        """The architecture within which engines may be reloaded: asked for, of use, and proven; else nothing."""
        first, settings = todo[0].contestant, self._settings
        wanted = architecture(first)
        models = {c.model_sha256: c for c in self._contestants}
        if not settings.reload or len(models) <= len(self._slots):
            return ""
        if settings.backend == "transformers":
            return wanted  # its reload is a fresh load
        # One that is formed, where any is: then both ways are proven. Of those, one that is to be served now, so that
        # both engines go on with what they hold; of those, one that went least far: a model whose logits are no
        # numbers would prove nothing, night after night.
        alike = [c for c in models.values() if c.model_sha256 != first.model_sha256 and architecture(c) == wanted]
        alike.sort(key=lambda c: (c.origin is None, not any(share.model == c.model_sha256 for share in todo)))
        exact = bool(alike) and self._exact_for(alike[0], first, todo[0].suite, threads)
        if not exact:
            print(
                "evaluate: reloading weights into one engine was not proven exact here; each model gets a fresh engine"
            )
        return wanted if exact else ""

    def _exact_for(self, last: Contestant, first: Contestant, suite: Suite, threads: ThreadPoolExecutor) -> bool:
        """Whether engines go from `first` to `last` without a trace: as was found before, or is now."""
        facts = engine_settings(self._settings) | {"twins": self._slots[0].twins}
        path = proof_file(facts, engine_facts(self._settings), first, self._state, formed=last.origin is not None)
        found = known(path)
        return prove(self._slots[:2], first, last, suite, path, threads) if found is None else found

    def _serve(self, slot: Slot, shares: list[Share], spent: dict[str, Any], bar: Any) -> None:
        while (share := self._next(slot, shares)) is not None:
            begin = time.perf_counter()
            bar.set_postfix_str(f"{share.contestant.name}, its engine gets ready", refresh=False)
            slot.serve(share.contestant, exact=self._exact == architecture(share.contestant))
            with self._lock:
                self.spent["start_seconds"] += time.perf_counter() - begin
            bar.set_postfix_str(share.contestant.name, refresh=False)
            self._generate(slot, share, spent, bar)

    def _next(self, slot: Slot, shares: list[Share]) -> Share | None:
        """The next share for this slot, taken from `shares`; from then on the slot counts as holding its model."""
        with self._lock:
            if self._stop.is_set():
                return None
            others = {other.next for other in self._slots if other is not slot and other.next is not None}
            share = choose(shares, slot.model, others, exchangeable=bool(self._exact) and slot.reloadable)
            if share is not None:
                shares.remove(share)
                slot.next = share.model
            return share

    def _generate(self, slot: Slot, share: Share, spent: dict[str, Any], bar: Any) -> None:
        """Every row of a share, counted as it ends: a run that is cut off has spent them too."""
        begin = time.perf_counter()
        if not self._gives_numbers(slot, share):
            self._store.save(share.contestant, share.suite, forfeited(share.asked))
            self._count(spent, len(share.asked), 0, begin)
            bar.update(len(share.asked))
            return
        for finished in answers(slot.engine, share.suite, share.asked):
            self._scoring.add(share.contestant, share.suite, finished)
            begin = self._count(spent, len(finished), sum(answer["tokens"] for _, answer in finished), begin)
            bar.update(len(finished))

    def _count(self, spent: dict[str, Any], rows: int, tokens: int, begin: float) -> float:
        """Add rows that took since `begin`; the time now."""
        now = time.perf_counter()
        with self._lock:
            spent["rows"] += rows
            spent["tokens"] += tokens
            spent["generate_seconds"] += now - begin
            self._count_engines()
            self._told()
        return now

    def _count_engines(self) -> None:
        self.spent["engine_starts"] = sum(slot.starts for slot in self._slots)
        self.spent["reloads"] = sum(slot.reloads for slot in self._slots)

    def _gives_numbers(self, slot: Slot, share: Share) -> bool:
        """Looked at once a model and protocol. Rows that are there tell, so that a killed evaluation goes on alike."""
        protocol = self._store.protocol(share.contestant, share.suite)
        with self._lock:
            found = self._numbers.get(protocol)
        if found is None:
            row = self._store.some(share.contestant, share.suite)
            found = gives_numbers(slot.engine, share.suite) if row is None else row["finish_reason"] != NON_FINITE
            with self._lock:
                self._numbers[protocol] = found
        return found


def _first_failure(futures: list[Future[None]]) -> None:
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()


def _rows(shares: Sequence[Share]) -> int:
    return sum(len(share.asked) for share in shares)
