"""The instructions of a Dockerfile, as far as this project's Dockerfiles use the language."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

KEYWORDS = ("FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "EXPOSE", "CMD", "ENTRYPOINT")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class NotUnderstood(Exception):
    """A Dockerfile that uses more of the language than is read here; the message names the line."""


@dataclass(frozen=True)
class Instruction:
    """`number` is the line where it begins, from 1; `rest` is what follows the keyword, on one line."""

    number: int
    keyword: str
    rest: str


def parse(text: str) -> list[Instruction]:
    """The instructions in order, continued lines joined and remarks left out.

    Raises NotUnderstood for a keyword not in KEYWORDS, an instruction before FROM, a second stage, a heredoc, flags
    (`COPY --from`, `RUN --mount`), and a last line that is to be continued.
    """
    found: list[Instruction] = []
    begun, number = "", 0
    for here, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not begun):
            continue  # a remark may stand in the middle of an instruction, too
        number = number if begun else here
        begun += line.strip().removesuffix("\\").rstrip() + " "
        if line.rstrip().endswith("\\"):
            continue
        keyword, _, rest = begun.strip().partition(" ")
        found.append(Instruction(number, keyword.upper(), rest.strip()))
        begun = ""
    if begun:
        raise NotUnderstood(f"line {number}: the last line ends with a backslash")
    _check(found)
    return found


def _check(instructions: list[Instruction]) -> None:
    if not instructions or instructions[0].keyword != "FROM":
        raise NotUnderstood("the first instruction is to be FROM")
    for index, one in enumerate(instructions):
        where = f"line {one.number}: {one.keyword}"
        if one.keyword not in KEYWORDS:
            raise NotUnderstood(f"{where} is none of {', '.join(KEYWORDS)}")
        if not one.rest:
            raise NotUnderstood(f"{where} says nothing")
        if one.keyword == "FROM" and (index or " " in one.rest):
            raise NotUnderstood(f"{where} {one.rest}: one stage without a name or flags is read")
        if "<<" in one.rest or (one.keyword in ("RUN", "COPY") and one.rest.startswith("--")):
            raise NotUnderstood(f"{where} with a flag or a heredoc")


def assignments(rest: str, known: dict[str, str]) -> dict[str, str]:
    """What `ENV rest` sets, with $NAME and ${NAME} replaced by the value in `known`, or by nothing, as Docker does."""
    replaced = _VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), rest)
    return dict(word.split("=", 1) for word in shlex.split(replaced))


def words(rest: str) -> list[str]:
    """The words of CMD or ENTRYPOINT: of its JSON list, or of the command that a shell is to run."""
    return [str(word) for word in json.loads(rest)] if rest.startswith("[") else ["/bin/sh", "-c", rest]


def other_indexes(rest: str) -> list[str]:
    """The addresses of package indexes that a command of pip names itself."""
    return re.findall(r"--(?:extra-)?index-url[= ](\S+)", rest)


def without_index(rest: str, address: str) -> str:
    """The same command without the option that names this index."""
    return re.sub(rf"\s*--(?:extra-)?index-url[= ]{re.escape(address)}(?=\s|$)", "", rest)
