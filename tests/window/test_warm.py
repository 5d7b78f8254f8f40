"""What is compiled ahead is all that a window of any codec needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

_COMPILE = "from relex.window.warm import compile_all; compile_all()"
_WORK = """
import sys
from pathlib import Path
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.window.request import Request
place = Path(sys.argv[1])
for codec in ("float16", "float32", "bfloat16"):
    extrapolate_folder(place / codec, place / "base", Request((40, 80)), place / f"{codec}-out")
"""


@pytest.mark.slow
def test_nothing_is_compiled_after_it(tmp_path: Path) -> None:
    base = save(tiny_llama(hidden_size=256, intermediate_size=640), tmp_path / "base")
    for codec in ("float16", "float32", "bfloat16"):
        write_trajectory(tmp_path / codec, base, [1, 2, 3, 4, 5, 6], line_with_noise(), codec=codec)
    cache = tmp_path / "cache"
    compiled = []
    for code in (_COMPILE, _WORK):
        command = [sys.executable, "-c", code, str(tmp_path)]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, check=True)
        compiled.append(sorted(path.name for path in cache.rglob("*.nbc")))
    assert compiled[0]
    assert compiled[1] == compiled[0]
