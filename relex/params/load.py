"""params.yaml as frozen, validated models: checked once, at load, with all errors reported together.

Every section is one stage, but `nights`, `registry` and `retention`. Rules between sections are in rules.py; what
depends on the machine (a missing base folder, disk, write access) is in preflight.py.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError

from relex.core.errors import InputError, InputErrors
from relex.core.section import Section
from relex.core.workspace import PARAMS
from relex.params import document
from relex.params.nights import Nights
from relex.params.partial import allowed_keys, sound_part
from relex.params.redact import names_a_secret, redact
from relex.params.registry import Registry
from relex.params.retention import Retention
from relex.params.rules import cross_checks
from relex.proof.rules import Rules
from relex.stages.base.params import Base
from relex.stages.diagnose.params import Diagnose
from relex.stages.evaluate.params import Evaluate
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.problems.params import Problems
from relex.stages.train.params import AnyTrain


class Params(Section):
    """All of params.yaml."""

    problems: Problems
    base: Base
    train: AnyTrain
    diagnose: Diagnose
    extrapolate: Extrapolate
    evaluate: Evaluate
    decide: Rules
    nights: Nights
    retention: Retention
    registry: Registry


def _kinds(annotation: Any) -> set[str]:
    """Values of the `kind` keys below a type: what tells the variants of a source apart."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        fields = annotation.model_fields
        own = set(get_args(fields["kind"].annotation)) if "kind" in fields else set()
        return own.union(*(_kinds(field.annotation) for field in fields.values()))
    return set[str]().union(*(_kinds(part) for part in get_args(annotation)))


_KINDS = frozenset(_kinds(Params))


def read_params() -> Params:
    """The project's own params.yaml; errors as load's."""
    return load(PARAMS)


def load(path: Path) -> Params:
    """Read and check a params.yaml; InputErrors names every fault at once."""
    sections, errors = check(path)
    if errors:
        raise InputErrors(errors)
    return Params(**sections)


def check(path: Path) -> tuple[dict[str, Any], list[InputError]]:
    """The sections that are sound, and every fault: unknown, missing and ill-typed keys, impossible values."""
    try:
        raw = document.read(Path(path))
    except InputError as error:
        return {}, [error]
    errors = [
        InputError("unknown section", where=f"{path}: {name}", **_instead(str(name), list(Params.model_fields)))
        for name in raw
        if name not in Params.model_fields
    ]
    sections: dict[str, Any] = {}
    known: dict[str, Any] = {}  # also what is sound in a section that is not
    for name, field in Params.model_fields.items():
        if name not in raw:
            errors.append(InputError("the section is missing", where=f"{path}: {name}"))
            continue
        section, faults = _read(Annotated[field.annotation, field], raw[name])
        errors.extend(_explain(path, name, faults, raw[name]))
        if section is not None:
            sections[name] = section
        known[name] = section or sound_part(field.annotation, raw[name])
    errors.extend(InputError(fault, where=f"{path}: {where}") for where, fault in cross_checks(known))
    return sections, errors


def _read(annotation: Any, raw: Any) -> tuple[Section | None, list[Any]]:
    """One section and its faults. Unknown keys alone do not hide the section from the cross-checks."""
    try:
        # JSON mode: strict about types, yet a YAML list is a tuple. YAML dates become strings and are refused.
        return TypeAdapter(annotation).validate_json(json.dumps(raw, default=str)), []
    except ValidationError as error:
        faults: list[Any] = error.errors(include_url=False)
    if any(fault["type"] != "extra_forbidden" for fault in faults):
        return None, faults
    known = json.loads(json.dumps(raw, default=str))
    for fault in faults:
        *parents, key = (part for part in fault["loc"] if part not in _KINDS)
        inner = known
        for parent in parents:
            inner = inner[parent]
        del inner[key]
    section, more = _read(annotation, known)
    return section, faults + more


def _explain(path: Path, section: str, faults: list[Any], raw: Any) -> list[InputError]:
    explained = []
    for fault in faults:
        # The discriminator's value stands in pydantic's path, not in the file's.
        place = [part for part in fault["loc"] if part not in _KINDS]
        where = ".".join([section, *map(str, place)])
        what = {"extra_forbidden": "unknown key", "missing": "the key is missing"}.get(
            fault["type"], fault["msg"].removeprefix("Value error, ")
        )
        shown = fault["type"] != "missing" and not isinstance(fault["input"], dict | list)
        hidden = any(names_a_secret(str(part)) for part in fault["loc"])
        found = "***" if hidden else redact(repr(fault["input"]))[:200]
        instead: dict[str, str] = {}
        if fault["type"] == "extra_forbidden":
            allowed = allowed_keys(Params.model_fields[section].annotation, raw, place[:-1])
            instead = _instead(str(place[-1]), allowed)
        explained.append(InputError(what, where=f"{path}: {where}", found=found if shown else "", **instead))
    return explained


def _instead(name: str, allowed: list[str]) -> dict[str, str]:
    """What InputError says of an unknown name: the ones that are known, and the nearest of them."""
    nearest = difflib.get_close_matches(name, allowed, n=1)
    todo = f"did you mean {nearest[0]}?" if nearest else "remove it"
    return {"expected": f"one of {', '.join(allowed)}", "todo": todo} if allowed else {"todo": todo}
