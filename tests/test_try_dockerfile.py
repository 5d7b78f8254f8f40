"""How infra/try_dockerfile.py reads a Dockerfile; that it runs one in a Debian root is a command in infra/README.md."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra.debian_root import NotMade, base
from infra.dockerfile import KEYWORDS, NotUnderstood, assignments, other_indexes, parse, without_index, words
from tests.builders import ROOT


def test_continued_lines_are_one_instruction_and_remarks_are_left_out() -> None:
    text = '# a remark\nFROM debian:bookworm\n\nRUN apt-get update \\\n# in between\n && true\nCMD ["sh"]\n'
    assert [(one.number, one.keyword, one.rest) for one in parse(text)] == [
        (2, "FROM", "debian:bookworm"),
        (4, "RUN", "apt-get update && true"),
        (7, "CMD", '["sh"]'),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RUN true", "FROM"),
        ("FROM a\nFROM b", "line 2"),
        ("FROM a AS b", "one stage"),
        ("FROM a\nCOPY --from=b c d", "flag"),
        ("FROM a\nRUN <<END\ntrue\nEND", "heredoc|none of"),
        ("FROM a\nHEALTHCHECK NONE", "none of"),
        ("FROM a\nRUN true \\", "backslash"),
        ("FROM a\nRUN", "says nothing"),
    ],
)
def test_what_is_not_read_is_told(text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        parse(text)


@pytest.mark.parametrize("path", sorted((ROOT / "infra").glob("Dockerfile.*")), ids=lambda path: path.name)
def test_the_projects_own_dockerfiles_are_read(path) -> None:
    found = parse(path.read_text())
    lines = [line.split(" ")[0] for line in path.read_text().splitlines()]
    for keyword in KEYWORDS:
        assert sum(one.keyword == keyword for one in found) == lines.count(keyword)


def test_variables_are_replaced_as_they_stand_before_the_line() -> None:
    assert assignments('A=1 PATH=/opt/bin:$PATH B="x y"', {"PATH": "/bin"}) == {
        "A": "1",
        "PATH": "/opt/bin:/bin",
        "B": "x y",
    }
    assert assignments("A=${GONE}b", {}) == {"A": "b"}


def test_a_command_is_a_list_or_a_line_for_a_shell() -> None:
    assert words('["python", "-m", "flows.nightly"]') == ["python", "-m", "flows.nightly"]
    assert words("echo a") == ["/bin/sh", "-c", "echo a"]


def test_an_index_that_a_command_names_can_be_left_out() -> None:
    line = "pip install torch==2.13.0 --index-url https://wheels.example/cpu && true"
    assert other_indexes(line) == ["https://wheels.example/cpu"]
    assert without_index(line, "https://wheels.example/cpu") == "pip install torch==2.13.0 && true"


def test_a_base_that_is_no_release_of_debian_is_not_made() -> None:
    assert base("python:3.11-slim-bookworm").python == "3.11"
    assert base("debian:trixie-slim").python is None
    for image in ("nvidia/cuda:13.0.1-devel-ubuntu22.04", "python:3.12-slim-bookworm"):
        with pytest.raises(NotMade, match="not made of"):
            base(image)


def test_a_dockerfile_that_is_not_there_is_bad_input() -> None:
    command = [sys.executable, "-m", "infra.try_dockerfile", "gone"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gone" in done.stderr
