"""What can be known of a section that has faults: its sound parts, so that the rules between sections still look."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, get_args, get_origin

from pydantic import ValidationError, create_model

from relex.core.section import Section


def sound_part(annotation: Any, raw: Any) -> Section | None:
    """The section without the attributes that are missing or faulty; reading such a one is an AttributeError.

    annotation: a Section, or a union of sections told apart by their `kind`, which one of them may leave out.
    None where not even that can be told.
    """
    kind = section_of(annotation, raw)
    if kind is None:
        return None
    values = {}
    for name, field in kind.model_fields.items():
        if name not in raw:
            continue
        # A model of this one field: strict, and with all that the field itself asks for.
        only: Any = create_model(name, __base__=Section, **{name: (field.annotation, field)})  # type: ignore[call-overload]
        try:
            values[name] = getattr(only.model_validate_json(json.dumps({name: raw[name]}, default=str)), name)
        except ValidationError:
            if (part := sound_part(field.annotation, raw[name])) is not None:
                values[name] = part
    known = kind.model_construct(**values)
    for name in kind.model_fields.keys() - values.keys():
        if name in raw or kind.model_fields[name].is_required():
            known.__dict__.pop(name, None)
    return known


def section_of(annotation: Any, raw: Any) -> type[Section] | None:
    """Which section stands at a place of that type, given what the file has there; None for anything else."""
    if not isinstance(raw, dict):
        return None
    candidates = _sections(annotation)
    if len(candidates) == 1:
        return candidates[0]
    named = [part for part in candidates if raw.get("kind", _default_kind(part)) in _kinds_of(part)]
    return named[0] if len(named) == 1 else None


def allowed_keys(annotation: Any, raw: Any, place: Collection[str | int]) -> list[str]:
    """The keys that the section at `place` below a value may have; none where there is no section."""
    for part in place:
        kind = section_of(annotation, raw)
        if kind is not None and isinstance(part, str) and part in kind.model_fields and part in raw:
            annotation, raw = kind.model_fields[part].annotation, raw[part]
        elif isinstance(part, int) and isinstance(raw, list) and get_args(annotation):
            annotation, raw = get_args(annotation)[0], raw[part]
        else:
            return []
    kind = section_of(annotation, raw)
    return list(kind.model_fields) if kind else []


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections of a union, also where they are annotated; a section is its own."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    parts = [get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)]
    return [part for part in parts if isinstance(part, type) and issubclass(part, Section)]


def _kinds_of(kind: type[Section]) -> tuple[Any, ...]:
    return get_args(kind.model_fields["kind"].annotation) if "kind" in kind.model_fields else ()


def _default_kind(kind: type[Section]) -> Any:
    """What the kind is where a file leaves it out; None where it must not."""
    field = kind.model_fields.get("kind")
    return None if field is None or field.is_required() else field.default
