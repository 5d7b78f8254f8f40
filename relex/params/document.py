"""params.yaml as plain values, within bounds: a file of a few lines can stand for more than any memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from relex.core.errors import InputError
from relex.params.redact import redact

_LARGEST = 1 << 20  # bytes; a complete parameter file has some thousand
_MOST = 100_000  # values, each counted as often as it is referred to


def read(path: Path) -> dict[str, Any]:
    """The sections of a YAML file; InputError when it is missing, cannot be read, or holds more than it seems to."""
    try:
        with open(path, "rb") as handle:
            content = handle.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputError("the file is too large", where=path, expected=f"at most {_LARGEST} bytes")
        raw = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="run in the project's root") from None
    except RecursionError:
        raise InputError("nested too deep", where=path, todo="write the values out") from None
    except MarkedYAMLError as error:
        line = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else path
        found = redact(" ".join(str(error.problem or error).split()).removeprefix("found "))[:300]
        raise InputError("not readable as YAML", where=line, found=found, todo="correct that line") from None
    except (OSError, UnicodeDecodeError, YAMLError, ValueError) as error:
        found = redact(" ".join(str(error).split()))[:300]
        raise InputError("not readable as YAML", where=path, found=found, todo="save it as UTF-8 text") from None
    if not isinstance(raw, dict):
        raise InputError("not a mapping of sections", where=path, found=type(raw).__name__)
    if _values(raw, {}) > _MOST:
        raise InputError(
            "too large: its aliases multiply, or one refers to itself",
            where=path,
            expected=f"at most {_MOST} values",
            todo="write the values out",
        )
    return raw


def _values(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases followed; more than allowed where one lies inside itself."""
    if not isinstance(node, dict | list | set):
        return 1
    if id(node) not in known:
        known[id(node)] = _MOST + 1  # seen again before it is counted: it holds itself
        inner = [*node, *node.values()] if isinstance(node, dict) else list(node)
        known[id(node)] = 1 + sum(_values(value, known) for value in inner)
    return known[id(node)]
