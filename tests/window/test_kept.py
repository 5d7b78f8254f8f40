"""Memory for kept rows stays within its size, whatever is taken and given back; and the page cache is looked at."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.forecast.directed import Directed
from relex.trajectory.reader import Trajectory
from relex.window import opened as opened_rows
from relex.window.importing import import_checkpoints
from relex.window.kept import Kept
from relex.window.processor import Processor
from relex.window.rows import Window
from relex.window.stream import Stream
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=40))
def test_buffers_never_overlap_nor_exceed_the_size(asked):
    kept, lent = Kept(500), []
    for needed, give_one in asked:
        if give_one and lent:
            kept.give(lent.pop(0)[0])
        room = kept.has_room(needed)
        buffer = kept.take(needed)
        assert (buffer is not None) == (room and needed <= 500)
        if buffer is not None:
            assert len(buffer) == needed
            buffer[:] = len(lent) % 251
            lent.append((buffer, len(lent) % 251))
        assert sum(len(held) for held in [*kept._free, *kept._lent.values()]) <= 500
        for held, mark in lent:
            assert (held == mark).all()


def test_more_than_there_could_ever_be_is_not_waited_for():
    kept = Kept(100)
    assert kept.has_room(101)
    assert kept.take(101) is None


def test_the_page_cache_is_asked(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    if subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True).stdout.strip() == b"tmpfs":
        pytest.skip("this file system is the page cache")
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        held = opened_rows.in_page_cache(handle, 0, 1 << 20)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        assert not opened_rows.in_page_cache(handle, 0, 1 << 20)
        try:
            os.preadv(handle, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            assert held
        except OSError:
            pytest.skip("this file system does not read without waiting")
    finally:
        os.close(handle)


@pytest.mark.parametrize("cached", [False, True])
def test_rows_that_come_from_storage_are_read_once(tmp_path, monkeypatch, cached):
    monkeypatch.setattr(opened_rows, "in_page_cache", lambda *_: cached)
    model = tiny_llama(vocab_size=12_500)
    base = save(model, tmp_path / "base")
    source = write_checkpoints(tmp_path / "full", model, [1, 2, 3, 4], line_with_noise())
    import_checkpoints(source, base, tmp_path / "window")
    name = "model.embed_tokens.weight"
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, 1 << 28, Processor(), targets=1) as stream,
    ):
        with stream.opened(name) as opened:  # the kernels are read from their cache, too, once a process
            stream.gram(opened)
            stream.sums(opened, Directed.plain(np.ones((1, 4))), lambda *_: None)
        with stream.opened(name, keep=True) as opened:
            _check_reads(stream, opened, window.numel(name) * 4, cached)


def _check_reads(stream: Stream, opened: opened_rows.Opened, size: int, cached: bool) -> None:
    before = _bytes_read()
    stream.gram(opened)
    middle = _bytes_read()
    stream.sums(opened, Directed.plain(np.ones((1, 4))), lambda *_: None)
    after = _bytes_read()
    assert 5 * size <= middle - before < 6 * size
    again = size if not cached else 5 * size  # theta_0 alone, or the rows too
    assert again <= after - middle < again + size


def _bytes_read() -> int:
    with open("/proc/self/io", encoding="ascii") as file:
        return int(file.readline().split()[1])
