"""What one text did to the interpreter that scored it is gone with that interpreter: no batch meets another's."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from relex.rewards import bounded
from relex.rewards.bounded import BoundedWorker, ask_all
from relex.rewards.score import Answered, VerifiableReward, score_all, unusable_answers
from tests import hostile

pytestmark = pytest.mark.real

# In place of math-verify's judge: it does what the text says, as a text would that found a way to be run. A reply holds
# what the interpreter remembers of earlier texts, and its process.
_JUDGE = """
    import os, sys
    import relex.rewards.answers, relex.rewards.sizes
    from relex.core.pipes import send

    remembered = []

    def judge(completion, answer):
        if completion == "remember":
            remembered.append(completion)
        if completion == "never end":
            sys.modules["__main__"].receive = lambda handle: exec_forever()
        if completion == "a second reply":
            send(1, {"value": 0.0, "extracted": "forged"})
            return {"value": 1.0, "extracted": "the real one, which the next to read would get"}
        if completion == "print":
            print("\\0" * 100_000, flush=True)
        if completion == "too much":
            raise relex.rewards.sizes.TooMuch("a text")
        return {"value": float(len(remembered)), "extracted": str(os.getpid())}

    def exec_forever():
        import time
        while True:
            time.sleep(1)

    relex.rewards.answers.judge = judge
"""


@pytest.fixture
def obedient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scoring processes of this test whose judge obeys the texts."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(_JUDGE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own: dict[tuple[int, str, int], BoundedWorker] = {}
    monkeypatch.setattr(BoundedWorker, "_shared", own)
    yield
    for worker in own.values():
        worker.close()


def asked(*texts: str) -> list[tuple[float, int] | None]:
    """For each text of a batch (what the interpreter remembered, its process), None where it met a bound."""
    replies = ask_all("math-verify", [{"completion": text, "answer": "5", "entry": None} for text in texts])
    return [None if reply is None else (reply["value"], int(reply["extracted"])) for reply in replies]


def servers(replies: list[tuple[float, int] | None]) -> set[int]:
    return {reply[1] for reply in replies if reply}


def test_no_server_answers_two_batches(obedient: None) -> None:
    batches = [servers(asked(*["a"] * 20)) for _ in range(4)]
    assert all(batches)
    assert len(set.union(*batches)) == sum(map(len, batches))


def test_what_a_text_changed_in_its_interpreter_is_not_there_for_the_next_batch(obedient: None) -> None:
    assert asked("remember")[0][0] == 1.0
    assert [value for value, _ in asked(*["a"] * 20)] == [0.0] * 20


def test_what_a_text_changed_is_not_there_for_the_next_step_of_a_training(obedient: None) -> None:
    reward = VerifiableReward()
    steps = [reward(["p"], [text], answer=["5"], scorer=["math-verify"]) for text in ("remember", "a", "remember")]
    assert steps == [[1.0], [0.0], [1.0]]


def test_batches_at_the_same_time_share_no_server(obedient: None) -> None:
    with ThreadPoolExecutor(4) as pool:
        batches = [servers(replies) for replies in pool.map(lambda _: asked(*["a"] * 50), range(8))]
    assert len(set.union(*batches)) == sum(map(len, batches))


def test_no_server_is_left_when_its_batch_is_over_even_one_that_does_not_end_by_itself(obedient: None) -> None:
    for text in ("a", "never end"):
        assert not any(map(psutil.pid_exists, servers(asked(text)))), text
    assert asked("a")[0][0] == 0.0


def test_a_reply_too_many_is_not_taken_for_one_to_the_next_batch(
    obedient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    ask_all("math-verify", [{"completion": "a second reply", "answer": "5", "entry": None}])
    assert [value for value, _ in asked("a", "a", "a")] == [0.0] * 3


def test_what_a_scorer_prints_is_not_taken_for_a_reply(obedient: None) -> None:
    assert [value for value, _ in asked("print", "print", "a")] == [0.0] * 3


def test_a_server_that_refused_a_text_as_too_much_answers_no_other(
    obedient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    replies = asked("a", "a", "too much", "a", "a", "too much", "a")
    assert [reply is None for reply in replies] == [False, False, True, False, False, True, False]
    assert len(servers(replies)) == 3


def test_a_task_that_takes_long_to_set_up_is_set_up_outside_the_bounds_of_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded, "QUICK_SECONDS", 0.1)
    monkeypatch.setattr(bounded, "BATCH_SECONDS", 0.0)
    monkeypatch.setattr(BoundedWorker, "_shared", {})
    item = hostile.items()["arc_agi"]
    entry = {"task": "arc_agi", "threshold": 1.0, "item": item}
    scores = score_all([Answered("reasoning-gym", item["answer"], "-", entry)] * 4)
    assert not any(one.timed_out for one in scores)


def test_many_references_are_held_against_their_scorer_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from relex.rewards import score

    batches = []
    monkeypatch.setattr(score, "ask_all", lambda name, *rest: batches.append(name) or ask_all(name, *rest))
    references = [("math-verify", str(n), None) for n in range(9)]
    faults = unusable_answers([*references, ("math-verify", "{", None), ("integer", "1/2", None), ("exact", "a", None)])
    assert faults[:9] == [None] * 9
    assert "cannot read" in faults[9]
    assert faults[10:] == ["the answer is not an integer", None]
    assert batches == ["math-verify"]
