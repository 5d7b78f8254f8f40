"""What a completion can do to the machine, to the reward and to the others of its batch: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from relex.core.errors import InputError
from relex.rewards import bounded, confined
from relex.rewards.answers import judge
from relex.rewards.bounded import BoundedWorker, ask_all
from relex.rewards.score import Answered, score, score_all
from relex.rewards.sizes import TooMuch
from relex.stages.problems.rows import gym
from tests import hostile
from tests.builders import ROOT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[hostile.Found], Path]:
    mark = tmp_path_factory.mktemp("audit") / "mark"
    return hostile.audit(str(mark)), mark


def test_no_hostile_answer_to_any_task_runs_or_is_right_unless_the_task_is_refused(audited) -> None:
    found, mark = audited
    assert len(found) > 100
    assert not mark.exists()
    assert [one.task for one in found if one.hostile > 0 and not one.verdict.startswith("refused")] == []


def test_every_task_judges_its_reference_inside_the_fences_as_outside(audited) -> None:
    found, _ = audited
    assert [one.task for one in found if one.evaluates and one.right != 1.0] == []
    assert [one.task for one in found if not one.evaluates and one.right != one.by_itself] == []
    assert sum(one.right == 1.0 for one in found) > 90


def test_the_table_in_docs_is_what_the_audit_finds(audited) -> None:
    assert (ROOT / "docs/scorers.md").read_text() == hostile.table(audited[0])


@pytest.mark.parametrize("task", ["composite", "game_of_life_halting"])
def test_a_task_whose_scorer_cannot_be_trusted_is_refused_by_name(task: str) -> None:
    with pytest.raises(InputError, match=rf"here \({task}\): this reasoning-gym task is refused"):
        list(gym(task, {}, seed=0, size=1, template="{question}", threshold=1.0, scorer=None, where="here"))


def entry(task: str) -> dict:
    return {"task": task, "threshold": 1.0, "item": hostile.items()[task]}


def test_a_completion_cannot_capture_the_scores_of_those_after_it() -> None:
    own = entry("countdown")
    capture = (
        "<answer>[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'CountdownDataset']"
        "[0].__setattr__('score_answer', lambda *_: 1.0)</answer>"
    )
    scores = score_all([Answered("reasoning-gym", text, "-", own) for text in (capture, "1 + 1", capture, "2 * 3")])
    assert [one.value for one in scores] == [0.0] * 4


def test_a_right_expression_still_is_right_and_a_wrong_one_wrong() -> None:
    own = entry("countdown")
    right = own["item"]["metadata"]["expression"]
    assert score("reasoning-gym", right, "-", own).value == 1.0
    assert score("reasoning-gym", f"({right}) + 1", "-", own).value == 0.0


_TRY = """
import ctypes, os, socket, subprocess, sys
sys.path.insert(0, {root!r})
from relex.rewards.confined import check_available, confine
check_available()
os.environ.clear()
reply = os.dup(1)
parent = os.getppid()
confine(reply)
def attempt(name, what):
    try:
        what()
        outcome = "done"
    except BaseException as error:
        outcome = type(error).__name__
    os.write(reply, f"{{name}} {{outcome}}\\n".encode())
attempt("compute", lambda: sum(range(10)))
attempt("read", lambda: open(os.__file__).read())
attempt("import", lambda: __import__("colorsys"))
attempt("write", lambda: open({mark!r}, "w"))
attempt("append", lambda: os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
attempt("remove", lambda: os.unlink({kept!r}))
attempt("rename", lambda: os.rename({kept!r}, {mark!r}))
attempt("folder", lambda: os.mkdir({mark!r}))
attempt("truncate", lambda: os.truncate({kept!r}, 0))
attempt("network", lambda: socket.socket())
attempt("signal", lambda: os.kill(parent, 9))
library = ctypes.CDLL(None)
def trace():
    if library.ptrace(16, parent, 0, 0):
        raise OSError
attempt("trace", trace)
attempt("environment", lambda: os.environ["PATH"])
"""


def test_a_confined_process_computes_and_reads_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    program = _TRY.format(root=str(ROOT), mark=str(tmp_path / "mark"), kept=str(kept))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    outcomes = dict(line.split() for line in done.stdout.splitlines())
    allowed = {name for name, outcome in outcomes.items() if outcome == "done"}
    assert allowed == {"compute", "read", "import"}, (outcomes, done.stderr)
    assert outcomes["environment"] == "KeyError"
    assert kept.read_text() == "kept"
    assert not (tmp_path / "mark").exists()
    assert psutil.pid_exists(os.getpid())


@pytest.mark.parametrize(
    "attempt",
    [
        "eval('1 + 1')",
        "exec('x = 1')",
        "exec(compile('1', '<answer>', 'exec'))",
        "os.system('true')",
        "subprocess.run(['true'])",
        "os.fork()",
    ],
)
def test_code_that_comes_from_no_file_ends_the_process_before_it_runs(attempt: str) -> None:
    program = (
        "import os, subprocess\nfrom relex.rewards.confined import check_available, confine\n"
        f"check_available()\nconfine(1)\n{attempt}\nos.write(1, b'ran')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == confined.EVALUATED
    assert done.stdout == b""


def test_the_scoring_process_starts_with_no_secret_of_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    worker = BoundedWorker("format")
    try:
        with worker.batch() as ask:
            assert ask({"completion": "a", "pattern": "a"}) == {"value": 1.0}
            helper = psutil.Process(worker._process.pid)
            assert len(helper.children()) == 1
            for process in (helper, *helper.children()):
                assert "hunter2" not in "".join(process.environ().values())
                assert set(process.environ()) <= {*bounded._PASSED, "OMP_NUM_THREADS"}
    finally:
        worker.close()


def test_a_batch_of_hostile_texts_is_counted_and_the_honest_ones_among_them_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded, "QUICK_SECONDS", 0.3)
    monkeypatch.setattr(bounded, "BATCH_SECONDS", 2.0)
    endless = {"completion": "\\boxed{9^{9^{9^{9}}}}", "answer": "5", "entry": None}
    honest = {"completion": "\\boxed{5}", "answer": "5", "entry": None}
    replies = ask_all("math-verify", [endless, honest] * 8)
    assert [reply is None for reply in replies] == [True, False] * 8
    assert all(reply["value"] == 1.0 for reply in replies if reply)


def test_the_order_of_a_batch_does_not_change_its_scores() -> None:
    texts = ["\\boxed{1/2}", "\\boxed{0.5}", "so x = 2/4", "\\boxed{2}", "nothing", "\\boxed{\\frac12}"]
    asked = [Answered("math-verify", text, "0.5") for text in texts]
    forward = score_all(asked)
    assert forward == score_all(list(reversed(asked)))[::-1]
    assert [one.value for one in forward] == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]


def test_a_system_without_libseccomp_is_told_so_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(InputError, match="libseccomp"):
        confined.check_available()
    with pytest.raises(InputError, match="libseccomp"):
        BoundedWorker("math-verify")


def test_a_large_batch_of_hostile_texts_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = []

    def late(scorer: str, requests: list, seconds: float) -> list:
        spent.append(len(requests) * seconds)
        return [None] * len(requests)

    monkeypatch.setattr(bounded, "_side_by_side", late)
    for size in (60, 64, 300):
        spent.clear()
        assert ask_all("math-verify", [{}] * size) == [None] * size
        assert sum(spent) <= 2 * bounded.BATCH_SECONDS + 1e-9


def test_with_a_bound_of_its_own_a_request_has_that_one_try_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(bounded, "_side_by_side", lambda _, requests, seconds: asked.append(seconds) or requests)
    for size in (1, 64, 300):
        assert ask_all("math-verify", [{}] * size, 1.5) == [{}] * size
    assert asked == [1.5] * 3


@pytest.mark.parametrize(
    "text", ["9^{9^{9^{9}}}", "10^{10^{10}}!", "(" * 100, "1" * 3000, "(x+y+z+w)^{900}", "\\sum_{k=1}^{10^{12}} k^{-2}"]
)
def test_an_answer_that_would_cost_too_much_is_refused_before_it_is_computed_and_counted(text: str) -> None:
    assert ask_all("math-verify", [{"completion": f"\\boxed{{{text}}}", "answer": "5", "entry": None}]) == [None]
    with pytest.raises(TooMuch):
        judge(f"\\boxed{{{text}}}", "5")


def test_many_open_tags_are_read_in_one_pass_and_the_last_closed_pair_counts() -> None:
    own = entry("countdown")
    right = own["item"]["metadata"]["expression"]
    text = "<answer>" * 2_000 + "</answer><answer>1</answer>" + f"<answer>{right}</answer><answer>2"
    assert score("reasoning-gym", text, "-", own).extracted == right


def test_a_format_has_no_second_try_beyond_its_own_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(bounded, "_side_by_side", lambda scorer, requests, seconds: asked.append(seconds) or [None])
    assert ask_all("format", [{}]) == [None]
    assert ask_all("math-verify", [{}]) == [None]
    assert asked == [bounded.QUICK_SECONDS, bounded.QUICK_SECONDS, bounded.CPU_SECONDS]
