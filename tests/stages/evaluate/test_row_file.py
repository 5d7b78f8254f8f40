"""Finished rows on disk: what was written is read again, and a torn end costs only what it tore."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.row_file import RowFile

ROWS: dict[str, dict[str, Any]] = {
    "b-1": {"completion": "0123\n\u2028 \ud800", "tokens": 4, "seconds": 0.25},
    "a-0": {"completion": "", "tokens": 0, "seconds": 1e-9},
    "b-0": {"completion": "\x85", "tokens": 1, "seconds": 0.0},
}


def content(path: Path) -> dict[str, dict[str, Any]]:
    """What a process that opens the file finds."""
    file = RowFile(path)
    return dict(zip(file.keys(), file.read(file.keys()), strict=True))


def test_rows_come_back_by_their_key_however_they_were_appended(tmp_path: Path) -> None:
    together, apart = RowFile(tmp_path / "a" / "x.rows"), RowFile(tmp_path / "y.rows")
    assert (together.keys(), together.read([])) == ([], [])
    together.append(ROWS)
    for key, row in ROWS.items():
        apart.append({key: row})
    for file in (together, apart):
        assert file.read(["a-0", "b-1"]) == [ROWS["a-0"], ROWS["b-1"]]
        assert content(file.path) == ROWS
        assert "b-0" in file
        assert "b-2" not in file
    with pytest.raises(KeyError):
        together.read(["b-2"])


def test_of_two_rows_with_one_key_the_first_counts(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "x.rows")
    file.append(ROWS)
    file.append({"a-0": {"completion": "another", "tokens": 9, "seconds": 0.0}})
    assert file.read(["a-0"]) == [ROWS["a-0"]]
    assert content(file.path) == ROWS


@given(st.data())
def test_a_file_torn_or_changed_anywhere_gives_the_rows_before_it_and_can_be_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "x.rows"
    RowFile(path).append(ROWS)
    whole = path.read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(whole) if byte == ord("\n"))]
    at = data.draw(st.integers(0, len(whole) - 1))
    torn = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    path.write_bytes(torn)
    sound = sum(1 for end in ends[1:] if end <= at)
    assert content(path) == dict(list(ROWS.items())[:sound])
    assert path.read_bytes() == whole[: ends[sound]]
    file = RowFile(path)
    file.append(dict(list(ROWS.items())[sound:]))
    assert file.read(ROWS) == list(ROWS.values())
    assert content(path) == ROWS


def test_what_a_power_failure_left_as_zeros_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "x.rows"
    RowFile(path).append(ROWS)
    with open(path, "ab") as handle:
        handle.write(bytes(4096))
    assert content(path) == ROWS


def test_rows_that_a_full_disk_refused_leave_nothing_behind_and_later_ones_are_kept(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "x.rows")
    file.append(ROWS)
    before = file.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))  # room for half a row
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append({"c-0": {"completion": "x" * 100}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, usual)
    assert file.path.read_bytes() == before
    assert "c-0" not in file
    file.append({"c-0": {"completion": "y"}})
    assert content(file.path) == ROWS | {"c-0": {"completion": "y"}}
