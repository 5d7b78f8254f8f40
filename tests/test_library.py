"""docs/library.md, run as it stands, and `import relex`, which loads nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import relex
from tests.builders import ROOT
from tests.builders.nights import make_project

PAGE = ROOT / "docs/library.md"


def test_every_name_of_the_library_is_there_and_on_its_page() -> None:
    text = PAGE.read_text()
    for name in relex.__all__:
        assert getattr(relex, name) is not None
        assert f"relex.{name}" in text, name
    used = set(re.findall(r"\brelex\.([A-Za-z_]+)\(", text))
    assert used <= set(relex.__all__)
    with pytest.raises(AttributeError, match="capture"):
        relex.capture  # noqa: B018
    assert {"Capture", "prove"} <= set(dir(relex))


def test_importing_relex_loads_none_of_it() -> None:
    code = "import sys, relex; print([name for name in sys.modules if name.startswith(('relex.', 'torch', 'numpy'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.real
@pytest.mark.slow
def test_the_examples_of_the_page_run_one_after_the_other(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    (tmp_path / "project/base").rename(tmp_path / "model")
    rows = [{"problem": f"{a}{b}=", "answer": f"{b}{a}"} for a in range(10) for b in range(10)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "(1, 2, 3, 4, 5, 6)" in done.stdout
    rewards = re.search(r"\(1, 2, 3, 4, 5, 6\) \((.*?)\)", done.stdout)
    assert rewards is not None
    assert "None" not in rewards[1]
    assert {path.name for path in (tmp_path / "candidates").iterdir()} == {"fit.json", "step_000012", "step_000024"}
    assert (tmp_path / "proof/report.html").is_file()
    assert "o" in done.stdout.splitlines()[-1]  # the decision, in a sentence
