"""Scores of hand-checked pairs, on the main thread and in workers; bounds on hostile completions."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import reasoning_gym

from relex.core.errors import InputError, StageFailed
from relex.rewards.bounded import BoundedWorker
from relex.rewards.score import Answered, FormatBonus, Score, VerifiableReward, score, score_all
from tests.builders import DATA

PAIRS = [json.loads(line) for line in (DATA / "answers.jsonl").read_text().splitlines()]
BENIGN = [pair for pair in PAIRS if pair["kind"] != "hostile"]


def answered(pair: dict) -> Answered:
    entry = {"percent": pair["percent"]} if "percent" in pair else None
    return Answered("math-verify", pair["completion"], pair["answer"], entry)


def judged(pair: dict) -> bool:
    return score_all([answered(pair)])[0].value == 1.0


def test_at_least_400_different_hand_checked_pairs_score_as_judged_each_with_its_reason() -> None:
    scores = score_all([answered(pair) for pair in PAIRS])
    wrong = [pair for pair, one in zip(PAIRS, scores, strict=True) if (one.value == 1.0) != pair["right"]]
    assert len({(pair["answer"], pair["completion"], pair.get("percent")) for pair in PAIRS}) == len(PAIRS) >= 400
    assert all(pair["reason"] for pair in PAIRS)
    assert wrong == []


def test_the_pairs_hold_right_and_wrong_answers_of_every_kind() -> None:
    for kind in {pair["kind"] for pair in PAIRS} - {"hostile", "factor of 100"}:
        assert {pair["right"] for pair in PAIRS if pair["kind"] == kind} == {True, False}, kind
    assert sum(pair["kind"] == "factor of 100" for pair in PAIRS) >= 20


def test_the_pairs_score_the_same_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(judged, BENIGN[::4])) == [pair["right"] for pair in BENIGN[::4]]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_pairs_score_the_same_in_worker_processes(method: str) -> None:
    some = BENIGN[::16]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(judged, some) == [pair["right"] for pair in some]


def test_a_hostile_completion_meets_its_bound_and_the_next_one_is_scored() -> None:
    worker = BoundedWorker("math-verify", cpu_seconds=0.5)
    hostile = {"completion": "\\boxed{9^{9^{9^{9}}}}", "answer": "5", "entry": None}
    try:
        with worker.batch() as ask:
            begin = time.perf_counter()
            assert ask(hostile) is None
            assert time.perf_counter() - begin < 30
            honest = {"completion": "\\boxed{5}", "answer": "5", "entry": None}
            assert ask(honest) == {"value": 1.0, "extracted": "5"}
            assert ask(hostile) is None
    finally:
        worker.close()


@pytest.fixture
def load() -> Iterator[None]:
    """Four busy processes: more than this test's processor share."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


def test_a_score_does_not_depend_on_load(load: None) -> None:
    slow = {"completion": "\\boxed{(x+1)^{12}}", "answer": "(1+x)^{12}", "entry": None}
    worker = BoundedWorker("math-verify", cpu_seconds=2.0)
    try:
        with worker.batch() as ask:
            assert ask(slow) == {"value": 1.0, "extracted": "(x+1)^{12}"}
    finally:
        worker.close()


def test_the_scoring_process_ends_with_its_caller_even_when_that_is_killed() -> None:
    script = (
        "import os, time; from relex.rewards.bounded import BoundedWorker; w = BoundedWorker('math-verify')\n"
        "with w.batch() as ask:\n"
        "    ask({'completion': '1', 'answer': '1', 'entry': None}); print(w._process.pid, flush=True)\n"
        "    time.sleep(600)"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    assert len(family) == 2
    caller.kill()
    caller.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_a_scoring_process_at_a_long_text_ends_with_its_caller_at_once() -> None:
    script = (
        "from relex.rewards.bounded import BoundedWorker; w = BoundedWorker('format', cpu_seconds=600.0)\n"
        "with w.batch() as ask:\n"
        "    ask({'completion': 'a', 'pattern': 'a'}); print(w._process.pid, flush=True)\n"
        "    ask({'completion': 'a' * 60, 'pattern': '(a+)+b'})\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    helper = psutil.Process(int(caller.stdout.readline()))
    (server,) = helper.children()
    before = server.cpu_times().user
    while server.cpu_times().user < before + 0.3:
        time.sleep(0.01)
    caller.kill()
    caller.wait()
    _, alive = psutil.wait_procs([helper, server], timeout=5)
    assert alive == []


def test_a_server_of_a_scoring_process_that_is_killed_ends_with_it() -> None:
    worker = BoundedWorker("math-verify")
    try:
        with pytest.raises(StageFailed, match="scoring process"), worker.batch() as ask:
            ask({"completion": "1", "answer": "1", "entry": None})
            (server,) = psutil.Process(worker._process.pid).children()
            os.kill(worker._process.pid, signal.SIGKILL)
            assert psutil.wait_procs([server], timeout=5)[1] == []
    finally:
        worker.close()


def test_a_scoring_process_that_is_gone_is_an_error_and_not_a_wrong_answer() -> None:
    worker = BoundedWorker("math-verify")
    server = psutil.Process(worker._process.pid)
    os.kill(worker._process.pid, signal.SIGKILL)
    server.wait(10)
    with pytest.raises(StageFailed, match="scoring process"), worker.batch() as ask:
        ask({"completion": "1", "answer": "1", "entry": None})


def test_many_threads_share_one_scoring_process() -> None:
    pids: set[int] = set()

    def ask() -> None:
        judged(BENIGN[0])
        pids.add(BoundedWorker.shared("math-verify")._process.pid)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 1
    assert judged(BENIGN[0]) is BENIGN[0]["right"]  # and it outlives them


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("01248", 1.0),
        (" 01248\n", 1.0),
        ("0124", 0.0),
        ("01248 01248", 0.0),
        ("", 0.0),
    ],
)
def test_exact_wants_the_whole_completion(completion: str, value: float) -> None:
    assert score("exact", completion, "01248") == Score(value, completion.strip() or None)


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        ("47", "47", 1.0),
        ("12 + 35 = 47.", "47", 1.0),
        ("The answer is -47", "-47", 1.0),
        ("\u221247", "-47", 1.0),
        ("50-3 is 47", "47", 1.0),
        ("50-47", "47", 1.0),
        ("1,047", "1047", 1.0),
        ("47.0", "47", 1.0),
        ("47.5", "47", 0.0),
        ("0.47", "47", 0.0),
        ("1/47", "47", 0.0),
        ("94/2", "47", 1.0),
        ("47%", "47", 0.0),
        ("4700", "47", 0.0),
        ("47e2", "47", 0.0),
        ("47 or 48", "47", 0.0),
        ("forty-seven", "47", 0.0),
        ("", "47", 0.0),
        ("1e999999999", "47", 0.0),
        ("9" * 10_000, "47", 0.0),
        ("5/0", "47", 0.0),
        ("\u0664\u0667", "47", 0.0),
    ],
)
def test_integer_takes_the_last_number(completion: str, answer: str, value: float) -> None:
    assert score("integer", completion, answer).value == value


def test_reasoning_gym_scores_pass_or_fail_by_the_threshold() -> None:
    item = json.loads(json.dumps(reasoning_gym.create_dataset("countdown", seed=1, size=1)[0], default=str))
    entry = {"task": "countdown", "threshold": 1.0, "item": item}
    right = item["metadata"]["expression"]
    assert score("reasoning-gym", right, item["answer"], entry) == Score(1.0, right)
    assert score("reasoning-gym", f"So: <answer>{right}</answer>", item["answer"], entry) == Score(1.0, right)
    numbers = " + ".join(str(n) for n in item["metadata"]["numbers"])
    partial = score("reasoning-gym", numbers, item["answer"], entry)
    assert partial == Score(0.0, numbers)  # the task's scorer gives partial credit, the threshold does not
    assert score("reasoning-gym", numbers, item["answer"], entry | {"threshold": 0.04}).value == 1.0
    assert score("reasoning-gym", "", item["answer"], entry) == Score(0.0, None)


def test_the_reward_is_picklable_and_takes_strings_and_conversations() -> None:
    reward = pickle.loads(pickle.dumps(VerifiableReward()))
    assert reward.__name__ == "verifiable_reward"
    values = reward(
        prompts=["a", "b", "c"],
        completions=["012", [{"role": "assistant", "content": "The answer is 7"}], "\\boxed{0.5}"],
        answer=["012", "7", "\\frac12"],
        scorer=["exact", "integer", "math-verify"],
        entry=[None, None, None],
        trainer_state=None,
    )
    assert values == [1.0, 1.0, 1.0]


def test_the_reward_counts_what_met_its_bound() -> None:
    logged: list[tuple[str, float]] = []
    values = VerifiableReward()(
        prompts=["a", "b"],
        completions=["\\boxed{" + "(" * 12_000 + "}", "\\boxed{5}"],
        answer=["5", "5"],
        scorer=["math-verify", "math-verify"],
        log_metric=lambda name, value: logged.append((name, value)),
    )
    assert values == [0.0, 1.0]
    assert logged == [("reward_timeouts", 1.0)]


BOX = r"\A<think>.*</think>\s*\\boxed\{.+\}\s*\Z"


@pytest.mark.parametrize(
    ("pattern", "completion", "value"),
    [
        (r"\\boxed\{.+\}", "so \\boxed{5} it is", 1.0),
        (r"\\boxed\{.+\}", "so 5 it is", 0.0),
        (BOX, "<think>a\nb</think>\n\\boxed{5}", 1.0),
        (BOX, "<think>a\nb</think>\n\\boxed{5} or 6", 0.0),
        (BOX, "", 0.0),
        (BOX, "\ud800", 0.0),
        ("x", "x" * 200_001, 0.0),
    ],
)
def test_the_format_bonus_is_for_completions_in_which_the_pattern_is_found(
    pattern: str, completion: str, value: float
) -> None:
    bonus = pickle.loads(pickle.dumps(FormatBonus(pattern)))
    assert bonus.__name__ == "format_bonus"
    conversation = [{"role": "assistant", "content": completion}]
    assert bonus(prompts=["p", "p"], completions=[completion, conversation], answer=["5", "5"]) == [value, value]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(bonus, ["p"], [completion]).result() == [value]


def test_a_catastrophic_pattern_is_bounded_and_counted_and_the_next_completion_is_judged() -> None:
    logged: list[tuple[str, float]] = []
    bonus = FormatBonus(r"\A(a+)+\Z")
    begin = time.perf_counter()
    values = bonus(["p"] * 3, ["a" * 40 + "b", "aaa", "b"], log_metric=lambda name, value: logged.append((name, value)))
    assert time.perf_counter() - begin < 30
    assert values == [0.0, 1.0, 0.0]
    assert logged == [("format_timeouts", 1.0)]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "[z-a]"])
def test_a_pattern_that_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match=r"train\.format\.pattern: not a regular expression"):
        FormatBonus(pattern)


@pytest.mark.parametrize(
    ("scorer", "answer", "entry", "message"),
    [
        ("exakt", "1", None, "unknown scorer"),
        ("exact", " ", None, "without an answer"),
        ("integer", "1/2", None, "not an integer"),
        ("reasoning-gym", "1", {"task": "countdown"}, "entry is incomplete"),
    ],
)
def test_a_problem_that_cannot_be_scored_is_bad_input(
    scorer: str, answer: str, entry: dict | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        score(scorer, "1", answer, entry)
