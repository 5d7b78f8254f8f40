"""Every benchmark, one after the other: `make bench`. Each says at its top what it measures."""

from __future__ import annotations

import subprocess
import sys

for name in ("extrapolation", "cuda", "codecs", "capture", "evaluation"):
    print(f"\n## {name}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)
