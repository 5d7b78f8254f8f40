"""What the page says beside the night's numbers: when, of what, by which commit, champions so far, answers to read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from relex.core.errors import CorruptArtifact
from relex.stages.report.beside import read_beside
from relex.stages.report.read import read_night
from relex.stages.report.stage import page
from tests.builders.report_nights import change, write_night

PROMOTES = {"base": 0.30, "observed": 0.36, "champion": 0.4, "step_000020": 0.55, "step_000040": 0.80}
KEEPS = {"base": 0.30, "observed": 0.36, "champion": 0.85, "step_000020": 0.55, "step_000040": 0.60}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MOVES = [
    {"when": "2026-11-20T02:00:00Z", "what": "promote", "from": None, "to": "1", "right": {"test": 0.25, "ood": 0.125}},
    {"when": "2026-11-21T02:00:00Z", "what": "promote", "from": "1", "to": "2", "forced": True},
    {"when": "2026-11-22T02:00:00Z", "what": "rollback", "from": "2", "to": "1", "right": {"test": 0.25, "ood": 0.125}},
    {"when": "2026-11-25T02:00:00Z", "what": "promote", "from": "1", "to": "77", "right": {"test": 0.99}},
]


@pytest.fixture
def night(tmp_path, monkeypatch) -> Path:
    """A night that ended on 23 November, in a project whose champion moved before and after."""
    return enter(write_night(tmp_path / "night", PROMOTES), monkeypatch)


def enter(folder: Path, monkeypatch) -> Path:
    for stage, ended in (("train", "2026-11-23T01:00:00Z"), ("evaluate", "2026-11-23T02:30:00Z")):
        change(folder / f"timings/{stage}.json", ended=ended, commit=COMMIT if stage == "evaluate" else None)
    lines = [{"id": str(number), "model": "sorter", **move} for number, move in enumerate(MOVES)]
    lines.append({"id": "9", "model": "another", "when": "2026-11-20T03:00:00Z", "what": "promote", "to": "55"})
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.chdir(folder)
    return folder


def html(source=None) -> str:
    night = read_night()
    return page(night, read_beside(night, source or {"kind": "sort-digits"}, "sorter"))


def text(html: str) -> str:
    seen = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL))
    return " ".join(unescape(seen).replace("\N{EN DASH}", "-").split())


def test_the_page_says_when_of_what_and_by_which_commit(night):
    found = html()
    assert '<time datetime="2026-11-23T02:30:00Z">23 November 2026, 02:30 UTC</time>' in found
    assert "task sort-digits · model sorter · commit 0123456789" in text(found)
    assert COMMIT in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"kind": "reasoning-gym", "task": "number_sorting"}, "number_sorting (reasoning-gym)"),
        ({"kind": "dataset", "repo": "owner/set"}, "owner/set (dataset)"),
        ({"kind": "file", "path": None, "paths": {"train": "a.jsonl", "test": "b.jsonl"}}, "a.jsonl, b.jsonl (file)"),
    ],
)
def test_a_task_is_called_by_what_tells_it_from_others(night, source, said):
    assert f"task {said} · model" in text(html(source))


def test_the_only_script_that_may_run_is_the_pages_own(night):
    found = html()
    (script,) = re.findall(r"<script>(.*?)</script>", found, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in found


def test_what_is_in_force_is_not_what_was_decided(night):
    found = text(html())
    assert "This is what the hop decided" in found
    assert "relex history says which version is in force" in found
    assert "promoted" not in text(re.sub(r"<p class=\"numbers\">.*?</p>", "", html())).replace("that is promoted", "")


def test_the_champion_that_was_met_is_named_with_the_command_that_tells_of_it(night):
    found = text(html())
    assert "relex lineage sorter/3" in found
    assert "<a " not in html()


def test_champions_before_the_nights_end_stand_with_what_they_answered(night):
    found = text(html())
    table = found[found.index("Champions, one after another") :]
    assert "2026-11-20 promote 1 .250 .125 2026-11-21 promote by force 2 - - 2026-11-22 rollback 1 .250 .125" in table
    share = json.loads(Path("metrics/evaluate.json").read_text())["metrics"]["step_000040"]["test"]["avg_at_4"]["value"]
    assert f"this hop to promote - {share:.3f}".replace("0.", ".") in table
    assert "77" not in table[: table.index("this hop to promote")]  # that move came after the night
    assert "55" not in table[: table.index("this hop to promote")]  # and that is another model's
    assert html().count('id="trend-wide-') > 10


def test_a_first_night_has_no_champions_yet(night):
    Path("history.jsonl").unlink()
    assert "No version had become champion before this hop ended" in text(html())


def test_a_history_that_is_none_is_named(night):
    Path("history.jsonl").write_text('{"when": "yesterday"}\n')
    with pytest.raises(CorruptArtifact, match=r"history\.jsonl: line 1"):
        html()


def firsts(model: str, suite: str) -> dict[str, bool]:
    rows = pq.read_table(f"evaluation/rows/{model}.parquet").to_pylist()
    return {row["prompt"]: row["score"] > 0.5 for row in rows if row["suite"] == suite and row["sample"] == 0}


@pytest.mark.parametrize(
    ("accuracy", "suite", "after"), [(PROMOTES, "test", "step_000040"), (KEEPS, "gate", "step_000040")]
)
def test_the_answers_are_the_first_ones_on_which_the_models_differ(tmp_path, monkeypatch, accuracy, suite, after):
    enter(write_night(tmp_path / "other", accuracy), monkeypatch)
    night = read_night()
    found = read_beside(night, {"kind": "sort-digits"}, "sorter").samples
    old, new = firsts("champion", suite), firsts(after, suite)
    gained = [prompt for prompt in old if prompt in new and new[prompt] and not old[prompt]]
    lost = [prompt for prompt in old if prompt in new and old[prompt] and not new[prompt]]
    assert (found.before, found.after, found.suite) == ("champion", after, suite)
    assert [sample.prompt for sample in found.gained] == gained[:5]
    assert [sample.prompt for sample in found.lost] == lost[:5]
    assert (found.gains, found.losses) == (len(gained), len(lost))
    assert gained or lost
    for sample in found.gained:
        assert (sample.before, sample.after) == ("champion says wrong", f"{after} says right")
    assert f"{len(gained)} became right, {len(lost)} became wrong" in text(html())


def test_a_long_answer_is_shown_with_its_beginning_and_its_end(night):
    path = Path("evaluation/rows/step_000040.parquet")
    rows = pq.read_table(path)
    long = ["<b>begin " + "x" * 5000 + " end</b>"] * rows.num_rows
    place = rows.schema.get_field_index("completion")
    pq.write_table(rows.set_column(place, rows.schema.field(place), [long]), path)
    found = html()
    assert "&lt;b&gt;begin xxx" in found
    assert "xxx end&lt;/b&gt;" in found
    assert "[… 4,417 characters …]" in found
