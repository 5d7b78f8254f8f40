"""What a lineage says in short."""

from __future__ import annotations

from typing import get_args

import pytest

from relex.params.load import load
from relex.registry.store.facts import base_name
from relex.stages.base.params import Base
from tests.builders import ROOT


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"kind": "hub", "repo": "a/b", "revision": "c0ffee"}, "a/b@c0ffee"),
        ({"kind": "package", "package": "smol", "version": "1.2"}, "smol 1.2"),
        ({"kind": "folder", "path": "models/base"}, "models/base"),
        ({"kind": "embedded", "seed": 3}, "embedded, seed 3"),
    ],
)
def test_every_kind_of_base_has_a_name(source: dict[str, object], said: str) -> None:
    assert base_name(source) == said


def test_no_kind_of_base_is_left_out() -> None:
    kinds = get_args(get_args(Base.model_fields["source"].annotation)[0]) or get_args(
        Base.model_fields["source"].annotation
    )
    assert len(kinds) == 4
    for path in [ROOT / "params.yaml", *sorted((ROOT / "infra/profiles").glob("*.yaml"))]:
        assert base_name(load(path).base.source.model_dump(mode="json"))
