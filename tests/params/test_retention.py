"""The section `retention`: strict, and off where it limits nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from relex.params.load import load
from relex.params.retention import Retention
from tests.builders import ROOT

SECTION = {"nights": 14, "promoted": "all", "disk": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"nights": 0},
        {"nights": 2.0},
        {"nights": "all"},
        {"promoted": None},
        {"promoted": "none"},
        {"promoted": 0},
        {"disk": "50 apples"},
        {"disk": 50},
        {"night": 14},
    ],
)
def test_a_value_that_is_no_limit_is_refused(wrong):
    with pytest.raises(ValidationError):
        Retention(**SECTION | wrong)


def test_a_night_prunes_only_where_something_is_limited():
    assert not Retention(nights=None, promoted="all", disk=None).limits
    for limit in ({"nights": 1}, {"promoted": 3}, {"disk": "50GiB"}):
        assert Retention(**{"nights": None, "promoted": "all", "disk": None} | limit).limits
    assert Retention(**SECTION | {"disk": "50GiB"}).disk_bytes == 50 << 30


def test_the_default_keeps_a_fortnight_and_every_rebuild():
    assert load(ROOT / "params.yaml").retention == Retention(**SECTION)
