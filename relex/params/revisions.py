"""Hub revisions that params.yaml names by a branch or a tag: what they stand for may change between two nights."""

from __future__ import annotations

import re
from typing import Any

from relex.params.load import Params

_COMMIT = re.compile(r"[0-9a-f]{40}")


def moving(params: Params) -> list[str]:
    """A sentence for each source on the hub whose revision is no commit hash."""
    places: dict[str, Any] = {"problems.source": params.problems.source, "base.source": params.base.source}
    places |= {f"evaluate.suites ({suite.name})": suite.source for suite in params.evaluate.suites}
    named = {place: getattr(source, "revision", None) for place, source in places.items()}
    return [
        f"{place}: {revision} is no commit: what it holds may change from one night to the next"
        for place, revision in named.items()
        if revision is not None and not _COMMIT.fullmatch(revision)
    ]
