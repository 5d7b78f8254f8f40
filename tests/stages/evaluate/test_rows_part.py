"""Finished rows on disk: what was written is read again, and a torn end costs only what it tore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.rows_part import RowsPart

ROWS: dict[int, dict[str, Any]] = {
    3: {"text": "0123\n\u2028 \ud800", "tokens": 4, "seconds": 0.25},
    0: {"text": "", "tokens": 0, "seconds": 1e-9},
    7: {"text": "\x85", "tokens": 1, "seconds": 0.0},
}


def test_rows_come_back_by_their_place_however_they_were_appended(tmp_path: Path) -> None:
    together, apart = RowsPart(tmp_path / "a" / "x.part"), RowsPart(tmp_path / "y.part")
    assert together.read() == {}
    together.append(ROWS)
    for place, row in ROWS.items():
        apart.append({place: row})
    assert together.read() == apart.read() == ROWS
    together.remove()
    assert together.read() == {}
    together.remove()


@given(st.data())
def test_a_file_torn_or_changed_anywhere_gives_the_rows_before_it_and_can_be_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    part = RowsPart(tmp_path_factory.mktemp("torn") / "x.part")
    part.append(ROWS)
    whole = part.path.read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(whole) if byte == ord("\n"))]
    at = data.draw(st.integers(0, len(whole) - 1))
    torn = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    part.path.write_bytes(torn)
    sound = sum(1 for end in ends[1:] if end <= at)
    assert part.read() == dict(list(ROWS.items())[:sound])
    assert part.path.read_bytes() == whole[: ends[sound]]
    part.append(dict(list(ROWS.items())[sound:]))
    assert part.read() == ROWS


def test_what_a_power_failure_left_as_zeros_is_no_row(tmp_path: Path) -> None:
    part = RowsPart(tmp_path / "x.part")
    part.append(ROWS)
    with open(part.path, "ab") as handle:
        handle.write(bytes(4096))
    assert part.read() == ROWS
