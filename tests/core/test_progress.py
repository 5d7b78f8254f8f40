"""Signs of life: what begins is said at once, and again while it goes on, also where no terminal is."""

from __future__ import annotations

import io
import threading

from tqdm import tqdm

from relex.core import progress


class Heard(io.StringIO):
    """A stream that tells when something was written often enough."""

    def __init__(self, wanted: str, times: int):
        super().__init__()
        self._wanted, self._times, self.enough = wanted, times, threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue().count(self._wanted) >= self._times:
            self.enough.set()
        return written


def test_what_begins_is_said_before_it_runs_and_again_while_it_does(monkeypatch) -> None:
    heard = Heard("s so far", 2)
    monkeypatch.setattr("sys.stdout", heard)
    with progress.at("base: importing its libraries", every=0.01):
        assert heard.getvalue().startswith("base: importing its libraries ...\n")
        assert heard.enough.wait(60)
    said = heard.getvalue()
    with progress.at("another", every=0.01):
        pass
    assert said.count("base: importing its libraries: 0 s so far") >= 1
    assert "progress" not in [thread.name for thread in threading.enumerate()]


def test_a_bar_is_shown_again_while_its_item_takes_long() -> None:
    heard = Heard("race, look 2: 240 rows:   0%", 3)
    with tqdm(total=240, desc="race, look 2: 240 rows", file=heard) as bar, progress.kept_alive(bar, every=0.01):
        assert heard.enough.wait(60)


def test_quick_items_come_without_a_bar_and_a_failure_ends_what_keeps_it_alive(capsys) -> None:
    assert list(progress.bar([1, 2, 3], desc="quick", unit="item")) == [1, 2, 3]
    assert list(progress.bar(iter("ab"), desc="quick", unit="item", total=2)) == ["a", "b"]
    items = progress.bar([1, 2, 3], desc="quick", unit="item")
    next(items)
    items.close()
    assert "progress" not in [thread.name for thread in threading.enumerate()]
    assert capsys.readouterr().err == ""
