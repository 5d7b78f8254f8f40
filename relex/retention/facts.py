"""What a project holds, as plain values: all that a plan is made from.

Objects are named by DVC's hashes; times are seconds since 1970; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Place = Literal["rows", "served", "study"]


@dataclass(frozen=True)
class Night:
    """A night's hop as the flow saved it. ref: what names it in Git. models: model_sha256 of what it evaluated.

    remembered: objects beside its own by which DVC knows what its stages gave, where the cache has them.
    """

    name: str
    ref: str
    saved: float
    objects: frozenset[str]
    models: frozenset[str]
    remembered: frozenset[str] = frozenset()

    @property
    def night(self) -> str:
        """What the hops of one night share."""
        return self.name.partition("-hop-")[0]


@dataclass(frozen=True)
class Version:
    """A registered version. rebuild: objects its rebuild reads; weights: objects it consists of (by reference).

    promoted: 1 for the version that became champion last, 2 for the one before ..., None for one that never was.
    given_up: it was noted before that its rebuild was let go.
    """

    name: str
    number: str
    rebuild: frozenset[str]
    weights: frozenset[str]
    model_sha256: str | None
    promoted: int | None
    aliased: bool
    given_up: bool

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True)
class Object:
    """An object in DVC's cache."""

    size: int
    written: float


@dataclass(frozen=True)
class Run:
    """A hop's run in MLflow. needed: by a version or an unfinished night. models: logged, but never a version. night:
    what the runs of one night share, "" for a run that is one by itself.
    """

    id: str
    name: str
    started: float
    complete: bool
    needed: bool
    size: int
    models: tuple[str, ...] = ()
    night: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of this project's own. model: the first characters of the model_sha256 that it is about."""

    place: Place
    path: str
    size: int
    used: float
    model: str = ""


@dataclass(frozen=True)
class Facts:
    """All of it. nights: the newest first. fixed: bytes that no plan touches, by what holds them.

    standing: objects that dvc.lock in the work tree names; named: those of branches, tags and other experiments.
    standing_models: model_sha256 of what the standing night evaluated. remote: whether DVC has one.
    """

    nights: tuple[Night, ...] = ()
    versions: tuple[Version, ...] = ()
    cache: Mapping[str, Object] | None = None
    standing: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    standing_models: frozenset[str] = frozenset()
    runs: tuple[Run, ...] = ()
    folders: tuple[Folder, ...] = ()
    fixed: Mapping[str, int] | None = None
    remote: bool = False
