"""Whether a reloaded engine is as good as a fresh one: compared once per engine, machine and architecture, then kept.

An engine that started with model A and reloaded model B must give the tokens and the log-probabilities that a fresh
engine on B's own folder gives, bit for bit, and A must not give them. The engines that are compared are those that the
evaluation starts anyway; a few short completions are all that it costs.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from relex.core.atomic import read_json, write_json
from relex.core.digest import json_sha256
from relex.stages.evaluate.answering import probe
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.reload import architecture
from relex.stages.evaluate.slot import Slot
from relex.stages.evaluate.suites.suite import Suite

_PROOFS = "reloads"  # a folder of the state


def proof_file(
    settings: Mapping[str, Any],
    engine: Mapping[str, Any],
    contestant: Contestant,
    state: Path,
    *,
    formed: bool = False,
) -> Path:
    """Where the proof for a model's architecture is kept.

    settings: of the engine process, without its model. engine: what identifies the engine in the rows' keys.
    state: where proofs are kept. formed: whether it is about models that are formed in place, too.
    """
    machine = [platform.processor(), platform.machine(), platform.node()]
    about = [engine, settings, architecture(contestant), machine, *(["formed"] if formed else [])]
    return state / _PROOFS / f"{json_sha256(about)}.json"


def known(path: Path) -> bool | None:
    """What an earlier proof found, or None."""
    return bool(read_json(path)["exact"]) if path.is_file() else None


def prove(
    slots: Sequence[Slot], first: Contestant, last: Contestant, suite: Suite, path: Path, threads: Executor
) -> bool:
    """Compare an engine that goes from `first` to `last` with a fresh one on `last`; whether reloading is exact.

    slots: empty. Two are used side by side and keep their engines; in a single one the fresh engine comes first, and
    the reloaded one stays. Where `last` is formed in place, it is also reloaded from its file, and both must be exact.
    threads: run whatever starts an engine, and outlive it. A model whose logits are not numbers, and two that answer
    alike, prove nothing: then the answer is no, and is not kept.
    """
    if len(slots) == 1:
        expected = threads.submit(_fresh, slots[0], last, suite).result()
        before, after = threads.submit(_reloaded, slots[0], first, last, suite).result()
    else:
        one, other = (
            threads.submit(_reloaded, slots[0], first, last, suite),
            threads.submit(_fresh, slots[1], last, suite),
        )
        (before, after), expected = one.result(), other.result()
    numbers = all(math.isfinite(value) for _, logprobs in expected for value in logprobs)
    differing = sum(a != b for a, b in zip(before, expected, strict=True))
    exact = numbers and differing > 0 and all(found == expected for found in after)
    if numbers and differing > 0:
        write_json(
            path,
            {
                "exact": exact,
                "compared": {"first": first.model_sha256, "last": last.model_sha256, "completions": len(expected)},
                "differ_between_the_two": differing,
                "differ_from_the_fresh_engine": max(
                    sum(a != b for a, b in zip(found, expected, strict=True)) for found in after
                ),
            },
        )
    if not exact:
        slots[0].close()  # what it says is not to be relied on
    return exact


def _reloaded(slot: Slot, first: Contestant, last: Contestant, suite: Suite) -> tuple[list[Any], list[list[Any]]]:
    """What it says of the first, and of the last in each way that it can come to hold it."""
    slot.start(first, reloadable=True)
    before = probe(slot.engine, suite)
    slot.reload(last)
    after = [probe(slot.engine, suite)]
    if last.origin is not None:
        slot.reload(first)
        slot.reload_file(last)
        after.append(probe(slot.engine, suite))
    return before, after


def _fresh(slot: Slot, last: Contestant, suite: Suite) -> list[Any]:
    slot.start(last, reloadable=False)
    return probe(slot.engine, suite)
