"""The main job on real parts: TRL, vLLM, DVC, Prefect and MLflow, on a night small enough for a test."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.stages import STAGES
from tests.builders import ROOT
from tests.builders.pages import AFTER_A_NIGHT
from tests.builders.project import SMALL, Project
from tests.end_to_end.conftest import MARK

pytestmark = [pytest.mark.real, pytest.mark.slow]

METRICS = (
    "metrics/base.json",
    "metrics/train.json",
    "metrics/diagnose.json",
    "metrics/extrapolate.json",
    "metrics/evaluate.json",
    "metrics/decision.json",
    "metrics/headline.json",
    "metrics/race.csv",
)


def versions(project: Project) -> list[dict[str, str]]:
    code = (
        "import json, mlflow; from mlflow import MlflowClient\n"
        "client = MlflowClient('sqlite:///mlflow.db', 'sqlite:///mlflow.db')\n"
        "print(json.dumps([{'version': v.version, **v.tags} for v in client.search_model_versions('')]))\n"
    )
    done = project.run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_a_night_prints_what_it_did_and_the_decision_in_the_metrics(first_night):
    project, printed = first_night
    for said in (
        "trained       6 steps",
        "to steps 12, 24",
        "base",
        "observed",
        "step_000012",
        "step_000024",
        "report.html",
    ):
        assert said in printed
    decision = json.loads((project.folder / "metrics/decision.json").read_text())
    assert f"{decision['outcome']}: {decision['sentence']}" in " ".join(printed.split())


def test_no_secret_of_the_environment_or_of_a_uri_is_in_anything_that_the_night_left_or_printed(first_night):
    project, printed = first_night
    assert MARK not in printed
    own = {"params.yaml", ".dvc/config.local", ".git/config"}  # where a user put them
    left = [path for path in project.folder.parent.rglob("*") if path.is_file()]
    names = {path.relative_to(project.folder).as_posix() for path in left if path.is_relative_to(project.folder)}
    assert names >= own | {"mlflow.db", ".prefect/prefect.db", ".relex/live.log"}
    assert any(path.is_relative_to(project.folder.parent / "store") for path in left)
    found = [path for path in left if MARK.encode() in path.read_bytes()]
    assert {path.relative_to(project.folder).as_posix() for path in found} == own
    refs = project.run("git", "for-each-ref", "refs/exps", "--format=%(refname)").stdout.split()
    (kept,) = [ref for ref in refs if "/night-" in ref]
    assert project.run("git", "grep", "-aF", MARK, kept).returncode == 1  # found nowhere
    assert "password=***" in project.run("git", "show", f"{kept}:params.yaml").stdout


def test_whatever_it_ran_was_forked(first_night):
    project, _ = first_night
    log = (project.folder / ".relex/forkserver.log").read_text()
    assert "refused" not in log
    # `problems` of the first hop is over before the templates have imported anything: python -m relex.cli.
    commands = ["hop", *STAGES[1:], "live", "register", "promote"]
    assert [name for name in commands if f"forked relex.cli.app {name}\n" not in log] == []
    assert "forked relex.stages.evaluate.engine\n" in log


def test_the_printed_table_is_the_one_in_the_metrics(first_night):
    project, printed = first_night
    metrics = json.loads((project.folder / "metrics/evaluate.json").read_text())["metrics"]
    assert {"base", "observed"} <= {name for name, suites in metrics.items() if {"test", "ood"} <= suites.keys()}
    table = printed[printed.index("THE NIGHT") : printed.index("\ndecision ")]
    for name, suites in metrics.items():
        _, test, ood = re.search(rf"^({name}) +(\S+(?: \[.*?\])?) +(\S.*)$", table, re.MULTILINE).groups()
        for suite, cell in (("test", test), ("ood", ood)):
            if suite in suites:
                assert cell.startswith(f"{suites[suite]['avg_at_4']['value']:.3f} [")
            else:
                assert cell == "\N{EN DASH}"


def test_only_what_the_proof_and_its_report_asked_was_generated(first_night):
    project, _ = first_night
    evaluation = json.loads((project.folder / "metrics/evaluate.json").read_text())
    decision = json.loads((project.folder / "metrics/decision.json").read_text())
    spent = {part: facts["rows"] for part, facts in evaluation["proof"]["spent"].items()}
    assert {part: spent[part] for part in ("race", "gate", "guards")} == decision["spent"]
    timings = json.loads((project.folder / "timings/evaluate.json").read_text())
    assert {part: timings[part]["rows"] for part in spent} == spent
    summed = (facts for suites in evaluation["metrics"].values() for facts in suites.values())
    assert sum(facts["problems"] * facts["samples"] for facts in summed) == sum(spent.values())
    everything = 4 * (20 * 4 + 20 * 16 + 20 * 16 + 20 * 4)  # choose, gate, ood and test of four models
    assert sum(spent.values()) < everything / 2


def test_every_captured_step_is_in_the_trajectory_and_has_a_hash_in_dvc(first_night):
    project, _ = first_night
    manifest = json.loads((project.folder / "trajectory/manifest.json").read_text())
    assert [step["step"] for step in manifest["steps"]] == [1, 2, 3, 4, 5, 6]
    listed = project.run("dvc", "ls", ".", "trajectory", "--recursive", "--dvc-only", "--show-hash").stdout
    for step in manifest["steps"]:
        row = next(line for line in listed.splitlines() if Path(step["files"][0]["file"]).name in line)
        assert len(row.split()[0]) == 32


def test_the_run_and_its_stages_are_seen_in_the_prefect_server_that_the_night_started(first_night):
    project, _ = first_night
    code = (
        "import sqlite3, json\n"
        "db = sqlite3.connect('.prefect/prefect.db')\n"
        "flows = db.execute('select state_type from flow_run').fetchall()\n"
        "tasks = db.execute('select name, state_type from task_run').fetchall()\n"
        "logs = db.execute('select count(*) from log').fetchone()\n"
        "print(json.dumps([flows, tasks, logs]))\n"
    )
    flows, tasks, logs = json.loads(project.run(sys.executable, "-c", code).stdout)
    assert flows == [["COMPLETED"]]
    assert {name for name, state in tasks if state == "COMPLETED"} >= {*STAGES, "save", "prune"}
    assert logs[0] > 20


def test_dvc_repro_after_a_night_is_up_to_date_and_begins_nothing(first_night):
    project, _ = first_night
    files = project.bytes_of(*METRICS, "candidates", "hop.json", "ledger.jsonl", "dvc.lock")
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Data and pipelines are up to date" in done.stdout
    assert project.bytes_of(*METRICS, "candidates", "hop.json", "ledger.jsonl", "dvc.lock") == files
    # What the night wrote itself it has committed: nothing of it is left to clean up.
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert "Night 1, hop 1: " in project.run("git", "log", "-1", "--format=%s").stdout
    (version,) = versions(project)
    assert json.loads(version["lineage"])["git_dirty"] == "False"


@pytest.mark.parametrize("command", AFTER_A_NIGHT)
def test_what_the_pages_show_runs_after_a_night(first_night, command):
    project, _ = first_night
    before = project.run("git", "status", "--porcelain").stdout
    python, *words = shlex.split(command)
    done = project.run(sys.executable if python == "python" else python, *words)
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.strip()
    assert project.run("git", "status", "--porcelain").stdout == before
    shutil.rmtree(project.folder / "dvc_plots", ignore_errors=True)  # others look at what the night alone left


def test_the_table_of_nights_fits_a_screen(first_night):
    project, _ = first_night
    recipe = subprocess.run(
        ["make", "--dry-run", "nights"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (line,) = [line for line in recipe.splitlines() if "exp show" in line]
    done = project.run("bash", "-c", line.replace(".venv/bin/", ""))
    assert done.returncode == 0, done.stdout[-4000:]
    assert "promoted" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_deleted_candidates_come_back_identical_from_checkout_and_from_repro(first_night, tmp_path):
    project, _ = first_night
    before = project.bytes_of("candidates")
    assert len(before) > 4
    for command in (["dvc", "checkout"], ["dvc", "repro", "extrapolate"]):
        subprocess.run(["rm", "-r", "candidates"], cwd=project.folder, check=True)
        done = project.run(*command)
        assert done.returncode == 0, done.stdout
        assert project.bytes_of("candidates") == before


def changed_stages(project: Project) -> set[str]:
    """Stages whose own inputs changed; what comes after them follows when their outputs do."""
    printed = project.run("dvc", "repro", "--dry").stdout
    return {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}


def test_other_targets_change_extrapolate_and_nothing_before_it(first_night):
    project, _ = first_night
    text = (project.folder / "params.yaml").read_text()
    assert changed_stages(project) == set()
    project.change({"extrapolate.targets": [12, 30]})
    changed = changed_stages(project)
    (project.folder / "params.yaml").write_text(text)
    assert changed == {"extrapolate"}


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("relex/registry/promotion.py", set()),
        ("relex/cli/stages.py", set()),
        ("relex/params/preflight.py", set()),
        ("relex/window/kernels/sum.py", {"diagnose", "extrapolate"}),
        ("relex/window/importing.py", {"diagnose", "extrapolate"}),
        ("relex/forecast/fits.py", {"train", "diagnose", "extrapolate"}),  # train: its meter
        ("relex/stages/train/capture.py", {"train"}),
        ("relex/stages/extrapolate/combine.py", {"extrapolate"}),
        ("relex/proof/policy.py", {"evaluate", "decide"}),
        ("relex/stages/evaluate/generation.py", {"evaluate", "decide"}),
        ("relex/stages/decide/sentences.py", {"decide"}),
    ],
)
def test_a_changed_line_runs_again_the_stages_whose_rooms_it_stands_in_and_no_other(first_night, module, again):
    project, _ = first_night
    path = project.folder / module
    text = path.read_text()
    path.write_text(text + "\n# another line\n")
    changed = changed_stages(project)
    path.write_text(text)
    assert changed == again


def test_dvc_repro_alone_gives_the_same_artifacts_as_the_flow(first_night, tmp_path):
    project, _ = first_night
    other = Project.make(tmp_path / "other", SMALL)
    done = other.run("dvc", "repro")
    assert done.returncode == 0, done.stdout[-8000:]
    names = ("problems", "base", "trajectory", "completions.parquet", "candidates", "observed", "evaluation", *METRICS)
    ours, theirs = project.artifacts(*names), other.artifacts(*names)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.timeout(1800)
def test_a_night_of_which_five_processes_are_killed_at_random_leaves_what_an_undisturbed_one_does(
    first_night, tmp_path
):
    """Artifacts, lock, history and registry are the same; no process and no temporary file is left."""
    command = [sys.executable, "-m", "tests.endurance.kills", "--count", "5", "--seed", "3", "--mean", "6"]
    done = subprocess.run(
        [*command, "--undisturbed", str(first_night[0].folder), "--folder", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    for found in ("orphans", "leftovers", "differing", "failed"):
        assert re.search(rf"^{found} +0$", done.stdout, re.MULTILINE)


def test_the_next_night_begins_at_the_champion_and_is_asked_fresh_problems(first_night, tmp_path):
    first, _ = first_night
    if not json.loads((first.folder / "metrics/decision.json").read_text())["promote"]:
        pytest.fail("the small night promotes nothing: there is no champion to begin at")
    shutil.copytree(first.folder, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    done = project.night()
    assert done.returncode == 0, done.stdout[-8000:]
    hop = json.loads((project.folder / "hop.json").read_text())
    assert (hop["night"], hop["hop"], hop["mode"], hop["slice"]) == (2, 1, "reground", 1)
    assert hop["training"] == {"before": 6, "grown": 0}
    evaluation = json.loads((project.folder / "metrics/evaluate.json").read_text())
    models = evaluation["models"]
    assert hop["start"] == hop["champion"]
    assert models["base"]["model_sha256"] == models["champion"]["model_sha256"] == hop["start"]["model_sha256"]
    # The same weights under another name have the same rows, generated once.
    for suite, measured in evaluation["metrics"]["base"].items():
        assert evaluation["metrics"]["champion"].get(suite, measured) == measured
    splits = [
        {name: (folder / f"problems/{name}.jsonl").read_text().splitlines() for name in ("train", "validation", "test")}
        for folder in (first.folder, project.folder)
    ]
    assert splits[0]["train"] == splits[1]["train"]
    assert splits[0]["test"] == splits[1]["test"]
    assert not {*splits[0]["validation"]} & {*splits[1]["validation"]}
    rows = [json.loads(line) for line in (project.folder / "ledger.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["night"]) for row in rows] == [("hop", 1), ("night", 1), ("hop", 2), ("night", 2)]
    assert [row["total"]["steps"] for row in rows] == [6, 6, 12, 12]
    assert rows[0]["accepted"]
    for row in rows:
        assert set(row["spent"]["rows"]) == {"race", "gate", "guards", "report"}
    assert len(versions(project)) == 1 + rows[2]["accepted"]
    # Each hop is kept: an earlier one comes back, and nothing of it has to run again.
    for command in (["dvc", "exp", "apply", "night-0001-hop-1"], ["dvc", "checkout"], ["dvc", "repro"]):
        done = project.run(*command)
        assert done.returncode == 0, done.stdout[-4000:]
    assert "up to date" in done.stdout
    assert project.artifacts("base", "candidates", *METRICS) == first.artifacts("base", "candidates", *METRICS)


def test_a_second_night_is_refused_while_one_runs(first_night):
    project, _ = first_night
    code = "from relex.core.night_lock import night_lock\nwith night_lock():\n    print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    done = project.night()
    holder.communicate(b"\n")
    assert done.returncode == 2
    assert "another night is running" in done.stdout


def test_bad_parameters_and_a_missing_base_are_named_together_before_any_work(tmp_path):
    project = Project.make(
        tmp_path / "project",
        {"base.source": {"kind": "folder", "path": "nowhere"}, "train.lerning_rate": 1.0, "extrapolate.targets": [10]},
    )
    before = sorted(path.name for path in project.folder.iterdir())
    done = project.night()
    assert done.returncode == 2
    for said in ("nowhere", "lerning_rate", "inside the window"):
        assert said in done.stdout
    assert sorted(path.name for path in project.folder.iterdir()) == before
