"""What CONTRIBUTING.md says about where to add something, done.

Each addition is made in a copy of the code, in the files that the table names and no other, and then used through the
real command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from relex.core import hop
from relex.core.workspace import HOP
from relex.trajectory.manifest import load as load_manifest
from tests.builders import ROOT
from tests.builders.nights import make_project
from tests.builders.project import Project
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints, write_trajectory

pytestmark = pytest.mark.real

Edits = Mapping[str, list[tuple[str, str]]]  # file -> (a line that is there, what stands after it)

CODEC: Edits = {
    "relex/trajectory/codec.py": [
        (
            '    Codec("int8", "I8", BLOCK, 127.0),\n',
            '    Codec("plain16", "F16", 0, 0.0),  # float16 without a scale\n',
        )
    ],
    "relex/core/choices.py": [('"float16", "int8"', ', "plain16"')],
}
FIT: Edits = {
    "relex/forecast/fits.py": [
        (
            '    "two-point": Fit(whole=two_point),\n',
            '    "stay": Fit(row=lambda steps, target, degree: np.eye(len(steps))[-1]),\n',
        )
    ],
    "relex/core/choices.py": [('"sinusoid", "two-point"', ', "stay"')],
}
PROBLEM_SOURCE: Edits = {
    "relex/stages/problems/params.py": [
        ("class Sizes(Section):\n", ""),
        ("SortDigits | Addition | ", "Doubling | "),
        (
            '    longest: Positive | None = None\n    unusable: Literal["refuse", "skip"] = "refuse"\n',
            '\n\nclass Doubling(Section):\n    """n -> 2 n."""\n\n    kind: Literal["doubling"]\n    most: Positive\n',
        ),
    ],
    "relex/stages/problems/sources.py": [
        ("    Addition,\n    DatasetProblems,\n", "    Doubling,\n"),
        (
            "    DatasetProblems: _table,\n",
            "    Doubling: lambda source, sizes, seed: _two(\n"
            '        (make_problem(f"{n} * 2 =", str(2 * n), "integer") for n in range(source.most)), iter(())\n'
            "    ),\n",
        ),
    ],
}
SCORER: Edits = {
    "relex/rewards/score.py": [
        (
            '    "exact": Scorer(_exact),\n',
            '    "loud": Scorer(lambda said, answer, entry: _exact(said.upper(), answer.upper(), entry)),\n',
        )
    ],
    "relex/core/choices.py": [('"exact", "integer", "math-verify"', ', "loud"')],
}
SUITE_SOURCE: Edits = {
    "relex/stages/evaluate/suites/params.py": [
        (
            "    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0\n",
            '\n\nclass CountSource(Section):\n    """1=, 2=."""\n\n    kind: Literal["count"]\n    size: Positive\n',
        ),
        ("SplitSource | FileSource | ", "CountSource | "),
    ],
    "relex/stages/evaluate/suites/sources.py": [
        ("from relex.stages.evaluate.suites.params import (\n", "    CountSource,\n"),
        (
            "    SplitSource: _split,\n",
            "    CountSource: lambda source, suite: [\n"
            '        Problem(str(n), f"{n}=", str(n), "exact") for n in range(source.size)\n    ],\n',
        ),
    ],
}
ACTION: Edits = {
    "relex/cli/registry.py": [
        (
            '_PANEL = "Registry"\n',
            "\n\n@commands.command(rich_help_panel=_PANEL)\ndef count() -> None:\n"
            '    """How many versions the registry has."""\n'
            "    from relex.params.load import read_params\n"
            "    from relex.registry import count as action\n\n"
            "    typer.echo(action.count(read_params()))\n\n\n",
        )
    ],
}
COUNT = '''"""How many versions the registry has."""

from __future__ import annotations

from relex.params.load import Params
from relex.registry.store import versions
from relex.registry.store.connection import connect, registry_errors


def count(params: Params) -> str:
    """The number of versions, in words."""
    with registry_errors(params):
        return f"{len(versions.versions(connect(params), params.registry.model))} versions"
'''


class Changed:
    """A copy of the code with additions, and its command line."""

    def __init__(self, folder: Path):
        self.root, self.work = folder / "code", folder / "work"
        self.work.mkdir()
        hop.write(hop.Hop(), self.work / HOP)
        shutil.copytree(ROOT / "relex", self.root / "relex", ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, edits: Edits) -> None:
        for name, places in edits.items():
            path = self.root / name
            text = path.read_text()
            for anchor, addition in places:
                assert text.count(anchor) == 1, f"{name}: {anchor!r}"
                text = text.replace(anchor, anchor + addition)
            path.write_text(text)

    def run(self, *arguments: object) -> str:
        """`relex ARGUMENTS` in the work folder; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "relex.cli", *(str(argument) for argument in arguments)],
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(self.root), "HF_HUB_OFFLINE": "1"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, code: str) -> str:
        """What a program prints that imports the changed code."""
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    return Changed(tmp_path)


def test_a_codec_is_an_entry_and_a_word(changed: Changed, tmp_path: Path) -> None:
    changed.add(CODEC)
    model = tiny_llama()
    base = save(model, tmp_path / "base")
    write_checkpoints(tmp_path / "run", model, [1, 2, 3, 4], line_with_noise())
    changed.run("import", tmp_path / "run", "--base", base, "--out", "window", "--copy", "--codec", "plain16")
    assert "codec plain16" in changed.run("verify", "window")
    changed.run("extrapolate", "--trajectory", "window", "--base", base, "--target", 9, "--out", "out")
    assert (changed.work / "out/step_000009/model.safetensors").is_file()
    assert json.loads((changed.work / "window/manifest.json").read_text())["codec"] == "plain16"
    assert "plain16" in changed.run("import", "--help")


def test_a_fit_is_a_function_and_a_word(changed: Changed, tmp_path: Path) -> None:
    changed.add(FIT)
    base = save(tiny_llama(), tmp_path / "base")
    write_trajectory(tmp_path / "window", base, [1, 2, 3, 4], line_with_noise())
    window = ("--trajectory", tmp_path / "window", "--base", base)
    changed.run("extrapolate", *window, "--target", 40, "--fit", "stay", "--rank", "full", "--out", "out")
    changed.run("materialize", *window, "--step", 4, "--out", "last")
    name = "model.safetensors"
    assert (changed.work / "out/step_000040" / name).read_bytes() == (changed.work / "last" / name).read_bytes()
    assert load_manifest(tmp_path / "window").steps[-1].step == 4


def test_a_problem_source_is_a_section_and_an_entry(changed: Changed) -> None:
    changed.add(PROBLEM_SOURCE)
    shutil.copy(ROOT / "params.yaml", changed.work)
    sizes = {"train": 300, "validation": 20, "test": 10, "ood": 0}
    Project(changed.work).change({"problems.source": {"kind": "doubling", "most": 500}, "problems.sizes": sizes})
    document = YAML(typ="safe").load((changed.work / "params.yaml").read_text())
    suites = [suite for suite in document["evaluate"]["suites"] if suite["name"] != "ood"]
    folder = {"kind": "folder", "path": "."}  # the embedded base only sorts digits
    Project(changed.work).change({"evaluate.suites": suites, "base.source": folder})
    assert "train 300" in changed.run("problems")
    first = json.loads((changed.work / "problems/train.jsonl").read_text().splitlines()[0])
    assert int(first["answer"]) == 2 * int(first["prompt"].split()[0])


def test_a_scorer_is_an_entry_and_a_word(changed: Changed) -> None:
    changed.add(SCORER)
    shutil.copy(ROOT / "params.yaml", changed.work)
    rows = "".join(json.dumps({"problem": f"say {n}", "answer": f"word {n}"}) + "\n" for n in range(300))
    (changed.work / "rows.jsonl").write_text(rows)
    source = {"kind": "file", "path": "rows.jsonl", "scorer": "loud"}
    sizes = {"train": 240, "validation": 20, "test": 10, "ood": 0}
    folder = {"kind": "folder", "path": "."}
    Project(changed.work).change({"problems.source": source, "problems.sizes": sizes, "base.source": folder})
    document = YAML(typ="safe").load((changed.work / "params.yaml").read_text())
    Project(changed.work).change({"evaluate.suites": [s for s in document["evaluate"]["suites"] if s["name"] != "ood"]})
    changed.run("problems")
    code = (
        "from pathlib import Path\nfrom relex.rewards.problem import load_split\n"
        "from relex.rewards.score import score\n"
        "one = load_split(Path('problems'), 'train')[0]\n"
        "print(score(one.scorer, one.answer.title(), one.answer).value)\n"
    )
    assert changed.python(code) == "1.0\n"


def test_a_suite_source_is_a_section_and_an_entry(changed: Changed) -> None:
    changed.add(SUITE_SOURCE)
    shutil.copy(ROOT / "params.yaml", changed.work)
    document = YAML(typ="safe").load((changed.work / "params.yaml").read_text())
    counted = {"name": "counted", "role": "test", "source": {"kind": "count", "size": 7}}
    Project(changed.work).change({"evaluate.suites": [*document["evaluate"]["suites"], counted]})
    changed.run("problems")
    code = (
        "from relex.params.load import read_params\nfrom relex.stages.evaluate.suites.suite import load_suites\n"
        "params = read_params()\n"
        "print([len(s.problems) for s in load_suites(params.evaluate, params.problems) if s.name == 'counted'])\n"
    )
    assert changed.python(code) == "[7]\n"


def test_a_registry_action_is_a_file_and_a_command(changed: Changed) -> None:
    changed.add(ACTION)
    (changed.root / "relex/registry/count.py").write_text(COUNT)
    make_project(changed.work)
    assert changed.run("count") == "0 versions\n"
    assert "How many versions the registry has." in changed.run("--help")


def test_the_table_names_every_file_that_an_addition_touches() -> None:
    """CONTRIBUTING.md says where; these are the files that the tests above changed."""
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| a")]
    table = {line.split("|")[1].strip(): line.split("|")[2] for line in rows}
    for what, edits in {
        "a codec": CODEC,
        "a fit": FIT,
        "a problem source": PROBLEM_SOURCE,
        "a scorer": SCORER,
        "a registry action": ACTION,
    }.items():
        assert [name for name in edits if f"`{name}`" not in table[what]] == [], what
