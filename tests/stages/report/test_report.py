"""The page as a reader and a browser see it, made of a night that the stages' own functions wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from relex.core import hop
from relex.core.hop import Hop, Model
from relex.stages.report import stage as report
from relex.stages.report.beside import read_beside
from relex.stages.report.read import read_night
from relex.stages.report.stage import page as make_page
from tests.builders.report_nights import change, likelihood_scan, run_report, write_night

PROMOTES = {"base": 0.30, "observed": 0.36, "step_000020": 0.55, "step_000040": 0.80}
KEEPS = {"base": 0.30, "observed": 0.36, "champion": 0.85, "step_000020": 0.55, "step_000040": 0.60}
SOURCE, MODEL = {"kind": "reasoning-gym", "task": "number_sorting"}, "night-sorter"
COLLAPSES = {"base": 0.30, "observed": 0.60, "step_000020": 0.20, "step_000040": 0.05}


class Page(HTMLParser):
    """What a browser would take from the page: elements with attributes, and the text outside <style>."""

    def __init__(self, html: str):
        super().__init__()
        self.html, self.elements, self.texts, self.inside = html, [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self.inside):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def classes(self) -> set[str]:
        return {name for _, attrs in self.elements for name in (attrs.get("class") or "").split()}


def page(folder: Path, monkeypatch) -> Page:
    monkeypatch.chdir(folder)
    night = read_night()
    return Page(make_page(night, read_beside(night, SOURCE, MODEL)))


@pytest.fixture(scope="module")
def nights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    for name, accuracy in (("promotes", PROMOTES), ("keeps", KEEPS), ("collapses", COLLAPSES)):
        write_night(folder / name, accuracy)
    return folder


@pytest.fixture(scope="module")
def pages(nights) -> dict[str, Page]:
    with pytest.MonkeyPatch.context() as patch:
        return {folder.name: page(folder, patch) for folder in sorted(nights.iterdir())}


@pytest.fixture
def night(nights, tmp_path) -> Path:
    """A copy of the promoting night that a test may change."""
    return shutil.copytree(nights / "promotes", tmp_path / "night")


def test_the_decision_comes_first_with_its_sentence_and_its_numbers(nights, pages):
    seen = pages["promotes"]
    decision = json.loads((nights / "promotes/metrics/decision.json").read_text())
    headline, _, numbers = decision["sentence"].partition(": ")
    assert decision["outcome"] == "promote-candidate"
    assert "promote-candidate" in seen.classes
    assert seen.text.index(headline) < seen.text.index(numbers) < seen.text.index("Accuracy against horizon")
    test = decision["verdicts"][-1]["tests"][0]
    of = f"{test['problems']} problems, {test['samples']} sample{'' if test['samples'] == 1 else 's'} of each"
    said = f"{100 * test['gain']:+.1f} points gained over the last observed at the gate: {of}, which nothing was"
    assert said in seen.text
    assert "test avg@4: last observed \N{RIGHTWARDS ARROW} winner; 80 problems, 4 samples of each" in seen.text
    assert "Gain and shares are of different problems." in seen.text


def test_a_gain_beside_shares_of_the_same_problems_needs_no_warning(pages):
    assert "right at the gate: champion \N{RIGHTWARDS ARROW} chosen forecast; 20 problems" in pages["keeps"].text
    assert "Gain and shares are of different problems" not in pages["keeps"].text


def test_every_model_stands_in_the_table_with_its_measured_accuracy(nights, pages):
    seen = pages["keeps"]
    metrics = json.loads((nights / "keeps/metrics/evaluate.json").read_text())["metrics"]
    names = {
        "base": "base",
        "observed": "last observed (10)",
        "champion": "champion, version 3",
        "step_000020": "forecast 20 (2\N{MULTIPLICATION SIGN})",
        "step_000040": "forecast 40 (4\N{MULTIPLICATION SIGN})",
    }
    section = seen.text[seen.text.index("Accuracy, model by model") : seen.text.index("Answers to read")]
    reported, race = section.split("The race model")
    for name, called in names.items():
        for suite, found in metrics[name].items():
            table = race if suite == "choose" else reported
            row = table[table.index(f" {called} ") :]
            (share,) = (cell for metric, cell in found.items() if metric.startswith("avg_at_"))
            value, low, high = (f"{share[part]:.3f}".replace("0.", ".") for part in ("value", "low", "high"))
            by_need = f" {found['problems']} problems \N{MULTIPLICATION SIGN} {found['samples']}"
            shown = f"{value} {low}\N{EN DASH}{high}" + (by_need if suite in ("choose", "gate") else "")
            assert shown in row[:260], (name, suite)
    assert metrics["step_000020"].keys() == {"choose"}


@pytest.mark.parametrize(
    ("which", "outcome", "mark", "before_and_after"),
    [
        ("promotes", "promote-candidate", "winner", "last observed → winner"),
        ("keeps", "keep-champion", "kept", "champion → chosen forecast"),
        ("collapses", "promote-observed", "winner", "base → winner"),
    ],
)
def test_each_outcome_has_its_look_and_its_marks(pages, which, outcome, mark, before_and_after):
    seen = pages[which]
    assert outcome in seen.classes
    assert before_and_after in seen.text
    assert ("right at the gate: champion" in seen.text) == (which == "keeps")  # what was refused is not reported on
    assert mark in [" ".join(text.split()) for text in seen.texts]
    assert ("There was no champion yet" in seen.text) == (which != "keeps")


def test_the_page_says_that_test_is_never_chosen_on_and_that_forecasts_were_not_trained(pages):
    text = pages["promotes"].text
    assert "the test problems are only reported, never chosen on" in text
    assert "predicted weights that nobody trained" in text


def test_the_null_of_a_random_walk_stands_beside_the_explained_share(nights, pages):
    text = pages["promotes"].text
    found = json.loads((nights / "promotes/metrics/diagnose.json").read_text())
    ours, walk = (f"{found[part]['explained_share'][0]:.3f}".replace("0.", ".", 1) for part in ("overall", "null"))
    assert f"Rank 1 explains {ours} , but a walk without any direction already reaches {walk}" in text


def test_the_updates_persistence_stands_beside_that_of_a_random_walk(nights, pages):
    found = json.loads((nights / "promotes/metrics/diagnose.json").read_text())["persistence"]
    one, three, null, straight, walk = (
        f"{value:.3f}".replace("0.", ".", 1)
        for value in (*found["cosine"][:2], found["null_cosine"], found["straight"], found["null_straight"])
    )
    assert found["cosine"][2:] == [None, None]
    assert (
        f"Update persistence: the mean cosine of two 1 apart is {one}, 3 apart {three} (a random walk: {null}), and "
        f"{straight} of the way travelled is straight (a random walk with updates as long: {walk})."
    ) in pages["promotes"].text


def test_a_diagnosis_without_persistence_says_nothing_of_it(night, monkeypatch):
    change(night / "metrics/diagnose.json", persistence=None)
    assert "Update persistence" not in page(night, monkeypatch).text


def test_the_cost_of_the_steps_that_were_not_trained_is_an_estimate_from_the_median_step(pages):
    text = pages["promotes"].text
    # 40 - 10 steps at a median of 2 s, although the first step took 9 s.
    assert "The hop trained 10 RLVR steps at 2 s a step (median)" in text
    assert (
        "to step 40 at that pace would have taken about 1 min 0 s more (an estimate: those steps were not run)" in text
    )
    assert "0.25 s for 2 forecasts of 2 steps." in text


def test_the_same_input_gives_the_same_bytes_in_another_process(night, monkeypatch):
    monkeypatch.chdir(night)
    run_report(MODEL)
    first = (night / "report.html").read_bytes()
    (night / "matplotlibrc").write_text(
        "lines.linewidth: 9\nfont.size: 30\n"
    )  # matplotlib reads the one that it starts in
    program = f"from tests.builders.report_nights import run_report; run_report({MODEL!r})"
    root = str(Path(report.__file__).parents[3])
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=night,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": root},
        check=True,
    )
    assert (night / "report.html").read_bytes() == first


def test_nothing_outside_the_page_is_referred_to(pages):
    seen = pages["keeps"]
    assert not {"link", "img", "iframe", "object", "embed", "base", "a"} & {tag for tag, _ in seen.elements}
    references = [
        attrs[key] for _, attrs in seen.elements for key in ("src", "href", "xlink:href", "srcset") if key in attrs
    ]
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert set(re.findall(r"url\((.)", seen.html)) == {"#"}
    assert not re.search(r"https?:|@import|\bsrc=", seen.html)


def test_every_reference_inside_the_page_finds_its_one_element(pages):
    seen = pages["keeps"]
    ids = Counter(attrs["id"] for _, attrs in seen.elements if "id" in attrs)
    assert max(ids.values()) == 1
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', seen.html)) <= ids.keys()


def test_charts_have_no_colour_that_a_dark_page_could_not_change(pages):
    charts = re.findall(r"<svg.*?</svg>", pages["keeps"].html, re.DOTALL)
    # The icon, two accuracy charts, two of the campaign, two of coefficients, reward, spectrum, backtest, seconds.
    assert len(charts) == 11
    for chart in charts:
        assert not re.search(r"(?:fill|stroke|color)[:=] ?\"?(?:#|rgb|black|white)", chart)


def test_hostile_names_and_sentences_are_shown_as_text(tmp_path, monkeypatch):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(2)> $\\frac{1'
    folder = write_night(tmp_path / "night", KEEPS, champion_version=hostile)
    diagnosis = json.loads((folder / "metrics/diagnose.json").read_text())
    name = diagnosis["coefficients"][1]["name"]
    diagnosis["coefficients"][1]["name"] = hostile
    diagnosis["tensors"][hostile] = diagnosis["tensors"].pop(name)
    (folder / "metrics/diagnose.json").write_text(json.dumps(diagnosis | {"says": hostile}))
    change(folder / "metrics/decision.json", sentence=f"{hostile}: {hostile}")
    (folder / "timings/<b>.json").write_text('{"seconds": 1}')
    seen = page(folder, monkeypatch)
    assert "img" not in {tag for tag, _ in seen.elements}
    assert [tag for tag, _ in seen.elements].count("script") == 1  # the page's own; its policy lets no other run
    assert not [attrs for _, attrs in seen.elements if "onerror" in attrs]
    # Sentence twice, tensor, diagnosis, and the champion in its table, its charts, the gate and the identity.
    assert seen.text.count(hostile) >= 8
    assert "<b>" in seen.text


def test_absent_parts_are_said_to_be_absent(night, monkeypatch):
    shutil.rmtree(night / "timings")
    change(night / "metrics/diagnose.json", backtest=[], coefficients=[])
    change(night / "metrics/decision.json", verdicts=[], winner=None, promote=False, outcome="keep-champion")
    text = page(night, monkeypatch).text
    for said in (
        "No stage left its seconds",
        "The window is too short for a backtest",
        "The diagnosis holds no coefficient lines",
        "No model met the gate",
        "There was no champion yet",
        "No likelihood scan was made",
    ):
        assert said in text


def test_the_likelihood_scan_says_where_right_answers_are_most_likely(night, monkeypatch):
    change(night / "metrics/diagnose.json", scan=likelihood_scan(best=40))
    text = page(night, monkeypatch).text
    assert (
        "most likely at step 40 , 4\N{MULTIPLICATION SIGN} the window (90 % of resamples: 40 to 40). 20 held-out"
        in text
    )
    assert "log-likelihood of right answers" in text
    assert "No likelihood scan" not in text


def test_a_candidate_that_left_the_race_stands_in_its_table_alone(nights, pages):
    decision = json.loads((nights / "promotes/metrics/decision.json").read_text())
    (loser,) = (candidate for candidate in decision["candidates"] if not candidate["finalist"])
    assert (loser["name"], loser["left"]) == ("step_000020", 1)
    text = pages["promotes"].text
    name = "forecast 20 (2\N{MULTIPLICATION SIGN}) "
    table = text[text.index("Accuracy, model by model") : text.index("Answers to read")]
    shown = f"left the race after look 1 {loser['choose']:.3f}".replace("0.", ".")
    assert table.count(name) == 1
    assert table[table.index(name) :].removeprefix(name).startswith(shown)
    # Base and last observed have nothing but what they were asked either.
    assert "The race model choose picks cut off last observed (10) " in table
    assert "Asked nothing" not in table


def test_a_study_that_reports_every_model_says_so(night, monkeypatch):
    assert "of the models that it is about alone" in page(night, monkeypatch).text
    found = json.loads((night / "metrics/evaluate.json").read_text())
    found["proof"]["plan"]["report"] = "all"
    change(night / "metrics/evaluate.json", **found)
    assert "and were asked of every model" in page(night, monkeypatch).text


def test_the_chart_names_the_problems_that_each_step_of_the_race_rests_on_once(nights, pages):
    metrics = json.loads((nights / "promotes/metrics/evaluate.json").read_text())["metrics"]
    chart = re.search(r"<svg[^>]*in the race.*?</svg>", pages["promotes"].html, re.DOTALL)
    assert chart
    texts = Counter(re.findall(r"<text[^>]*>([^<]*)</text>", chart[0]))
    asked = Counter(str(suites["choose"]["problems"]) for suites in metrics.values() if "choose" in suites)
    assert sum(asked.values()) == 3  # the last observed and two forecasts
    steps = {"10", "20", "40"}  # on the lower axis
    assert {count: texts[count] - (count in steps) for count in asked} == asked
    assert texts["race (choosing problems)"] == 1


def test_each_test_says_how_many_looks_it_took_and_how_it_ended(nights, pages):
    for name, said in (("promotes", "proven"), ("keeps", "no longer to be expected")):
        decision = json.loads((nights / name / "metrics/decision.json").read_text())
        for test in decision["tests"]:
            looks = f"{test['looks']} look{'' if test['looks'] == 1 else 's'}"
            took = f"{test['problems']} problems \N{MULTIPLICATION SIGN} {test['samples']} {looks},"
            assert took in pages[name].text
        assert f" {said} " in pages[name].text


def test_a_loss_out_of_domain_stands_with_its_interval_and_its_level(nights, pages):
    decision = json.loads((nights / "promotes/metrics/decision.json").read_text())
    losses = [guard for guard in decision["guards"] if guard["guard"] == "ood loss"]
    assert losses
    for loss in losses:
        low, high, value = (
            f"{100 * loss[part]:+.1f}".replace("-", "\N{MINUS SIGN}") for part in ("low", "high", "value")
        )
        assert f"{value} {low} to {high}" in pages["promotes"].text
    assert "a loss out of domain must be ruled out at 0.1" in pages["promotes"].text


def test_what_the_proof_took_stands_beside_the_training(nights, pages):
    text = pages["promotes"].text
    evaluation = json.loads((nights / "promotes/metrics/evaluate.json").read_text())
    rows = {part: spent["rows"] for part, spent in evaluation["proof"]["spent"].items()}
    proof = rows["race"] + rows["gate"] + rows["guards"]
    assert f"The decision rests on {proof:,} rows" in text
    assert f"{proof / 2560:.2f} times the training's 2,560 rollouts" in text
    assert "the evaluation took 2 min 10 s, 5.2 times the training" in text
    table = text[text.index("What the proof took") :]
    assert "training, rollouts 2,560 12,800 25 s" in table
    assert (
        f"race, on choosing problems {rows['race']:,} {5 * rows['race']:,} {max(rows['race'] - 100, 0)} 10 s" in table
    )
    assert f"report, after the decision {rows['report']:,} {5 * rows['report']:,} {rows['report']:,} 0 s" in table
    assert "2 engine starts 18 s" in table


def test_an_evaluation_that_left_no_seconds_still_shows_its_rows(night, monkeypatch):
    (night / "timings/evaluate.json").unlink()
    text = page(night, monkeypatch).text
    table = text[text.index("What the proof took") : text.index("What training would have cost")]
    assert "times the training ." not in table
    assert "engine start" not in table
    assert "\N{EN DASH} \N{EN DASH}" in table


def test_candidates_that_lie_beyond_the_checks_are_marked_not_hidden(night, monkeypatch):
    candidates = json.loads((night / "metrics/decision.json").read_text())["candidates"]
    for candidate in candidates:
        candidate["beyond"] = ["backtest", "likelihood"] if candidate["step"] == 40 else []
    change(night / "metrics/decision.json", candidates=candidates)
    text = page(night, monkeypatch).text
    assert text.count("beyond the backtest and the likelihood's peak") == 1


def test_a_night_without_candidates_test_or_ood_problems_still_has_a_page(tmp_path, monkeypatch):
    folder = write_night(tmp_path / "night", {"base": 0.3, "observed": 0.6}, sizes={"choose": 40, "gate": 40})
    text = page(folder, monkeypatch).text
    assert "No suite of the role test or ood was evaluated" in text
    assert "last observed (10)" in text


def test_no_line_is_drawn_across_forecasts_that_were_not_asked(nights, pages):
    """The winner's test point stands alone: between it and the last observed lies a forecast that nobody measured."""

    def dashed(name: str, colour: str) -> int:
        chart = re.search(r"<svg[^>]*in the race.*?</svg>", pages[name].html, re.DOTALL)
        assert chart
        lines = re.findall(r'<path d="M [^"]*L [^"]*"[^>]*style="([^"]*)"', chart[0])
        return sum(f"stroke: var(--{colour})" in style and "stroke-dasharray" in style for style in lines)

    assert dashed("promotes", "observed") == 2  # last observed, 20, 40
    assert dashed("promotes", "test") == 0


def test_what_the_answers_were_like_while_training_is_said_with_what_it_means(night, monkeypatch):
    rows = ["1,0.3,0.5,0.25,6.0", "2,0.4,0.25,0.0,5.0", "3,0.5,0.0,0.05,7.0"]
    head = "step,reward,share_without_signal,share_truncated,completion_length"
    (night / "metrics/train_steps.csv").write_text("\n".join([head, *rows]) + "\n")
    text = page(night, monkeypatch).text
    table = text[text.index("Signal and lengths while training") :]
    for said in (
        "groups without signal a group: the answers to one problem; where all got the same reward, right or wrong, it "
        "teaches nothing 25% 50% 0%",
        "answers cut off at the longest that an answer may be: train.max_completion_length 10.0% 25.0% 5.0%",
        "length of an answer mean, in tokens 6.0 6.0 7.0",
        "must be well below 100 %",
    ):
        assert said in table


def test_a_log_without_them_leaves_what_the_training_says_in_sum(pages):
    text = pages["promotes"].text
    assert "it teaches nothing 10% \N{EN DASH} \N{EN DASH} answers cut off" in text
    assert "length of an answer" not in text


@pytest.fixture
def regrounded(night) -> Path:
    """A night that began at the champion: base and champion are one model."""
    found = json.loads((night / "metrics/evaluate.json").read_text())
    base = found["models"]["base"]
    found["models"]["champion"] = base | {"kind": "champion", "step": None, "version": "3"}
    found["metrics"]["champion"] = dict(found["metrics"]["base"])
    change(night / "metrics/evaluate.json", **found)
    shutil.copy(night / "evaluation/rows/base.parquet", night / "evaluation/rows/champion.parquet")
    decision = json.loads((night / "metrics/decision.json").read_text())
    for verdict in decision["verdicts"]:
        for part in ("tests", "guards"):
            both = [one | {"against": "champion"} for one in verdict[part] if one.get("against") == "base"]
            verdict[part] += both
            assert both
    change(night / "metrics/decision.json", **decision)
    hop.write(Hop(champion=Model(version="3", model_sha256=base["model_sha256"])), night / "hop.json")
    return night


def test_a_base_that_is_the_champion_too_is_shown_once(regrounded, monkeypatch):
    text = page(regrounded, monkeypatch).text
    table = text[text.index("Accuracy, model by model") : text.index("Answers to read")]
    assert table.count("base, also the champion (version 3)") == 1
    assert "base and champion are the very same model" in table
    tests = text[text.index("The tests behind it") : text.index("This is what the hop decided")]
    assert tests.count("gain over base, also the champion (version 3), points") == 1
    assert tests.count("loss on ood against base, also the champion (version 3), points") == 1
    identity = text[text.index("Protocol and identity") :]
    assert identity.count("base, also the champion (version 3)") == 1


def test_no_loss_out_of_domain_is_spoken_of_where_no_such_suite_was_given(tmp_path, monkeypatch):
    sizes = {"choose": 60, "gate": 60, "test": 80}
    text = page(write_night(tmp_path / "night", PROMOTES, sizes=sizes), monkeypatch).text
    assert "out of domain must be ruled out" not in text
    assert "which stands in for it. " in text


def test_controls_are_counted_apart_from_the_forecasts(night, monkeypatch):
    """One that goes farther than every forecast, and was best in the race."""
    found = json.loads((night / "metrics/evaluate.json").read_text())
    found["models"]["step_000090-random"] = found["models"]["step_000020"] | {
        "step": 90,
        "control": True,
        "model_sha256": "c0" * 32,
    }
    found["metrics"]["step_000090-random"] = found["metrics"]["step_000020"]
    change(night / "metrics/evaluate.json", **found)
    text = page(night, monkeypatch).text
    assert "asked every forecast, and beside them 1 control, which take no forecast" in text
    assert "0.25 s for 2 forecasts of 2 steps and 1 control." in text
    assert "control 90, random (9\N{MULTIPLICATION SIGN}) .600" in text
    assert "forecast 90" not in text
    assert "The chosen forecast is the farthest that was tried" in text
    assert "10 \N{RIGHTWARDS ARROW} 40" in text
