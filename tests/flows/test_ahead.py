"""What begins before the Prefect server answers is taken over whole, once, in order; and nothing of it is left."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from flows.ahead import begun_ahead, taken
from flows.refusals import Refused
from relex.core.errors import InputError, StageFailed
from tests.builders.project import wait_for


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def followed(command: Sequence[str]) -> list[str]:
    """What is taken over says."""
    found = taken(command)
    assert found is not None
    said: list[str] = []
    assert found.follow(said.append) == said
    return said


def test_each_is_taken_over_with_all_its_lines_and_in_its_order(here: Path) -> None:
    first, second = python("open('a', 'w'); print(1); print(2)"), python("import os; print(os.path.exists('a'))")
    with begun_ahead([first, second]):
        assert wait_for(lambda: (here / "a").exists(), 60)  # nobody has asked for it yet
        assert followed(first) == ["1", "2"]
        assert followed(second) == ["True"]
        assert taken(second) is None  # once
    assert taken(first) is None


def test_lines_come_while_it_runs(here: Path) -> None:
    code = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(.02)\nprint('over')"
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        (here / "go").touch()

    with begun_ahead([python(code)]):
        found = taken(python(code))
        assert found is not None
        found.follow(log)
    assert said == ["begun", "over"]


@pytest.mark.parametrize(("code", "error"), [(2, Refused), (1, StageFailed)])
def test_one_that_fails_fails_where_it_is_taken_over_and_none_begins_after_it(
    here: Path, code: int, error: type[Exception]
) -> None:
    failing, next_one = python(f"print('relex: no', flush=True); raise SystemExit({code})"), python("open('b', 'w')")
    with begun_ahead([failing, next_one]):
        found = taken(failing)
        assert found is not None
        with pytest.raises(error):
            found.follow(lambda line: None)
        assert taken(next_one) is None
        assert taken(failing) is None  # a second try begins it anew
    assert not (here / "b").exists()


def test_another_command_is_not_what_has_begun() -> None:
    begun = python("print('begun')")
    with begun_ahead([begun]):
        assert taken(python("print('other')")) is None
        assert followed(begun) == ["begun"]


def test_what_is_to_begin_next_is_asked_for_once_the_one_before_has_ended(here: Path) -> None:
    def commands() -> Iterator[list[str]]:
        yield python("open('done', 'w')")
        assert (here / "done").exists()
        raise InputError("changed meanwhile", where="params.yaml")  # whoever reads it next says so

    with begun_ahead(commands()):
        assert followed(python("open('done', 'w')")) == []
        assert taken(python("pass")) is None


def test_what_nobody_took_over_ends_with_the_body(here: Path) -> None:
    code = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nopen('there', 'w')\ntime.sleep(600)"
    with pytest.raises(RuntimeError), begun_ahead([python(code), python("open('b', 'w')")]):
        assert wait_for(lambda: (here / "there").exists(), 60)
        raise RuntimeError
    assert not psutil.pid_exists(int((here / "pid").read_text()))
    assert not (here / "b").exists()
    assert "ahead" not in [thread.name for thread in threading.enumerate()]


def test_without_any_a_task_begins_its_own() -> None:
    assert taken(python("pass")) is None
