"""dvc.lock: what DVC recorded of every output, and whether the files here are still that."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from relex.core.errors import CorruptArtifact, InputError, InputErrors
from relex.core.workspace import DVC_LOCK
from relex.registry.store.dvc_hashes import md5_of


def recorded() -> dict[str, str]:
    """The hash that dvc.lock holds of every output of every stage, by its path; empty without a lock."""
    return dict(_outputs(DVC_LOCK.read_bytes())) if DVC_LOCK.is_file() else {}


@functools.lru_cache(maxsize=2)  # a lock takes a third of a second, and one registration asks for it five times
def _outputs(written: bytes) -> dict[str, str]:
    try:
        lock: Any = YAML(typ="safe", pure=True).load(written.decode("utf-8")) or {}
        stages: dict[str, Any] = lock.get("stages") or {}
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out}
    except (YAMLError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise InputError(
            "not a lock that DVC writes", where=DVC_LOCK, found=error, todo="git checkout dvc.lock"
        ) from None


def check(paths: Iterable[Path]) -> None:
    """InputErrors naming every path that is not what dvc.lock recorded, or of which it recorded nothing.

    Every byte is read again: DVC's own memory of hashes goes by size, time and inode, which a damaged file keeps.
    """
    known = recorded()
    if not known:
        raise InputError(
            "nothing says which files the night made",
            where=DVC_LOCK,
            expected="DVC's lock",
            todo="run the night: dvc repro",
        )
    faults: list[InputError] = []
    for path in paths:
        expected = known.get(path.as_posix())
        found = md5_of(path) if path.exists() else "no such file"
        if expected is None:
            faults.append(InputError("DVC recorded nothing of it", where=path, expected="an output in dvc.lock"))
        elif found != expected:
            faults.append(
                CorruptArtifact(
                    "it is not what the night made",
                    where=path,
                    expected=f"md5 {expected} (dvc.lock)",
                    found=found,
                    todo="`dvc checkout` brings the night's files back, `dvc repro` makes them again",
                )
            )
    if faults:
        raise InputErrors(faults)
