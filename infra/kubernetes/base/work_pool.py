"""The work pool's base job template, with the overlay's defaults for its variables, on standard output.

    python infra/kubernetes/base/work_pool.py FOLDER

FOLDER holds job-template.json and job-variables.json. In the cluster both come from one ConfigMap.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def work_pool(folder: Path) -> dict[str, Any]:
    """The template; KeyError for a default of a variable that the template does not have."""
    template: dict[str, Any] = json.loads((folder / "job-template.json").read_text(encoding="utf-8"))
    for name, value in json.loads((folder / "job-variables.json").read_text(encoding="utf-8")).items():
        template["variables"]["properties"][name]["default"] = value
    return template


if __name__ == "__main__":
    print(json.dumps(work_pool(Path(sys.argv[1])), indent=2))
