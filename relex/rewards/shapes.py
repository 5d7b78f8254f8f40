"""What an answer is made of, by its brackets: one thing, a list, a set, a tuple, an interval, a union. Pure text.

The brackets are part of an answer: (1,2,3) has an order, {1,2,3} has none, [1,2] holds its ends and (1,2) does not. A
list without brackets holds its elements in any order; so the braces of a set may be left out, those of a tuple not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["one", "list", "set", "tuple", "interval", "union"]
_OPEN, _CLOSE = "([{", ")]}"
_AND = re.compile(r"\s*,?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))\s*")
_ASSIGNED = re.compile(
    r"(\([a-zA-Z](?:\s*,\s*[a-zA-Z])+\)|\\?[a-zA-Z]+(?:\s*\([a-z]\))?)\s*(?:=|\\in(?![a-zA-Z]))\s*(?=[(\[]|\\\{)"
)
_PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")
_EMPTY = re.compile(r"\\emptyset|\\\{\s*\\\}")


@dataclass(frozen=True)
class Shape:
    """parts: the elements' texts; for "one" the text itself. brackets: of an interval or a tuple. name: what it was
    said to be equal to, or to be in."""

    kind: Kind
    parts: tuple[str, ...]
    brackets: str = ""
    name: str = ""


def shape(text: str) -> Shape:
    """The shape of an answer that notation.plain gave."""
    assigned = _ASSIGNED.match(text)
    if assigned and _wrapped(text[assigned.end() :]):
        held = shape(text[assigned.end() :])
        if held.kind != "one":
            return Shape(held.kind, held.parts, held.brackets, re.sub(r"\s", "", assigned[1]))
    if _EMPTY.fullmatch(text):
        return Shape("set", ())
    pieces = _split(_AND.sub(", ", text), ",;")
    if len(pieces) == 1 and _PLUS_MINUS.search(text) and not _wrapped(text):
        pieces = _both_signs(text)
    elif len(pieces) > 1:
        pieces = [sign for piece in pieces for sign in _both_signs(piece)]
    if len(pieces) > 1:
        return Shape("list", tuple(pieces))
    joined = _split(text.replace("\\cup", "\x00"), "\x00")
    if len(joined) > 1 and all(_wrapped(piece) for piece in joined):
        return Shape("union", tuple(joined))
    wrapped = _wrapped(text)
    if wrapped is not None:
        opened, inner, closed = wrapped
        parts = tuple(sign for piece in _split(_AND.sub(", ", inner), ",;") for sign in _both_signs(piece))
        if opened == "\\{":
            return Shape("set", parts) if not re.search(r"\\mid|\||:", inner) else Shape("one", (text,))
        if len(parts) == 2 and opened + closed != "()":
            return Shape("interval", parts, opened + closed)
        if len(parts) > 1 and opened + closed in ("()", "[]"):
            return Shape("tuple", parts, opened + closed)
    return Shape("one", (text,))


def same_shape(one: Shape, other: Shape, same: Callable[[str, str], bool]) -> bool | None:
    """Whether two shapes are the same, `same` comparing their elements; None where the shapes alone cannot tell."""
    if one.name and other.name and one.name != other.name:
        return False
    kinds = {one.kind, other.kind}
    if kinds <= {"list", "set"}:
        repeated = "set" in kinds  # a set has no element twice
        return _same_unordered(one.parts, other.parts, same, repeated)
    if kinds == {"union"}:
        return _same_unordered(one.parts, other.parts, same, False) or None
    if one.kind == other.kind and one.kind != "one":
        return (
            one.brackets == other.brackets
            and len(one.parts) == len(other.parts)
            and all(same(mine, theirs) for mine, theirs in zip(one.parts, other.parts, strict=True))
        )
    if kinds == {"set", "one"}:
        listed, single = (one, other) if one.kind == "set" else (other, one)
        if len(listed.parts) == 1:
            return same(one.parts[0], other.parts[0])
        return False if single.parts[0].strip("-").isdigit() else None
    if kinds & {"list", "tuple"} and kinds & {"set", "list", "interval"}:
        return False
    return None


def _same_unordered(
    ours: Sequence[str], theirs: Sequence[str], same: Callable[[str, str], bool], repeated: bool
) -> bool:
    """Each of ours is one of theirs and the other way round; without `repeated`, as often."""
    if repeated:
        ours, theirs = list(dict.fromkeys(ours)), list(dict.fromkeys(theirs))
        return all(any(same(one, other) for other in theirs) for one in ours) and all(
            any(same(one, other) for one in ours) for other in theirs
        )
    if len(ours) != len(theirs):
        return False
    left = list(theirs)
    for one in ours:
        found = next((place for place, other in enumerate(left) if same(one, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def _both_signs(text: str) -> list[str]:
    """The two values that a plus-minus sign stands for."""
    if not _PLUS_MINUS.search(text):
        return [text]
    up = re.sub(r"\\pm(?![a-zA-Z])\s*", "+", re.sub(r"\\mp(?![a-zA-Z])\s*", "-", text))
    down = re.sub(r"\\pm(?![a-zA-Z])\s*", "-", re.sub(r"\\mp(?![a-zA-Z])\s*", "+", text))
    return [up.strip().removeprefix("+"), down.strip()]


def _split(text: str, separators: str) -> list[str]:
    """Cut at separators that stand in no bracket. A half-open interval closes with the other bracket."""
    depth, pieces, begin = 0, [], 0
    for place, sign in enumerate(text):
        if sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
        elif sign in separators and depth == 0 and (sign != "," or text[place - 1 : place] != "\\"):
            pieces.append(text[begin:place].strip())
            begin = place + 1
    pieces.append(text[begin:].strip())
    return [piece for piece in pieces if piece] if depth == 0 else [text]


def _wrapped(text: str) -> tuple[str, str, str] | None:
    """(opening, inside, closing) where one pair of brackets holds the whole text."""
    opened = "\\{" if text.startswith("\\{") else text[:1]
    closed = "\\}" if text.endswith("\\}") else text[-1:]
    if opened not in ("\\{", "(", "[") or closed not in ("\\}", ")", "]") or (opened == "\\{") != (closed == "\\}"):
        return None
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth == 0 and place >= len(opened) - 1:
            return (opened, text[len(opened) : -len(closed)].strip(), closed) if place == len(text) - 1 else None
    return None
