"""infra/dockerfile.py, and which base images have a stand-in. The trial itself is run by hand: infra/README.md."""

from __future__ import annotations

import pytest

from infra.debian_root import Base, NotMade, base
from infra.dockerfile import NotUnderstood, assignments, other_indexes, parse, without_index, words
from tests.builders import ROOT

TEXT = """\
# a remark
FROM python:3.11-slim-bookworm

RUN apt-get update \\
 # in the middle
 && apt-get install --yes git
ENV A=1 \\
    B="two words"
CMD ["python", "-m", "flows.nightly"]
"""


def test_continued_lines_are_one_instruction_and_remarks_none() -> None:
    assert [(one.number, one.keyword, one.rest) for one in parse(TEXT)] == [
        (2, "FROM", "python:3.11-slim-bookworm"),
        (4, "RUN", "apt-get update && apt-get install --yes git"),
        (7, "ENV", 'A=1 B="two words"'),
        (9, "CMD", '["python", "-m", "flows.nightly"]'),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "infra").glob("Dockerfile.*")), ids=lambda path: path.name)
def test_every_dockerfile_of_this_project_is_understood(path) -> None:
    found = parse(path.read_text())
    assert {"FROM", "RUN", "USER"} <= {one.keyword for one in found}
    assert not any(one.rest.endswith("\\") for one in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first instruction"),
        ("RUN true", "first instruction"),
        ("FROM a\nFROM b", "line 2: FROM"),
        ("FROM a AS b", "one stage"),
        ("FROM a\nVOLUME /x", "line 2: VOLUME"),
        ("FROM a\nCOPY --from=b c d", "line 2: COPY with a flag"),
        ("FROM a\nRUN <<EOF\ntrue\nEOF", "heredoc|is none of"),
        ("FROM a\nRUN true \\", "backslash"),
        ("FROM a\nRUN", "says nothing"),
    ],
)
def test_more_of_the_language_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        parse(text)


def test_variables_are_replaced_as_docker_does() -> None:
    assert assignments('PATH=/opt/venv/bin:$PATH X="${Y}z" N=$NONE', {"PATH": "/bin", "Y": "y"}) == {
        "PATH": "/opt/venv/bin:/bin",
        "X": "yz",
        "N": "",
    }


def test_the_words_of_a_command_are_its_list_or_those_of_a_shell() -> None:
    assert words('["a", "b c"]') == ["a", "b c"]
    assert words("a b") == ["/bin/sh", "-c", "a b"]


def test_an_index_of_its_own_can_be_taken_out_of_a_command() -> None:
    line = "pip install torch --index-url https://a.example/cpu && pip install x --extra-index-url=https://b.example"
    assert other_indexes(line) == ["https://a.example/cpu", "https://b.example"]
    assert without_index(line, "https://a.example/cpu") == (
        "pip install torch && pip install x --extra-index-url=https://b.example"
    )


def test_only_images_made_of_a_release_of_debian_have_a_stand_in() -> None:
    assert base("python:3.11-slim-bookworm") == Base("bookworm", "3.11")
    assert base("debian:trixie-slim") == Base("trixie", None)
    for image in ("nvidia/cuda:13.0.1-devel-ubuntu22.04", "python:3.12-slim-bookworm", "python:3.11-alpine"):
        with pytest.raises(NotMade, match=image):
            base(image)
