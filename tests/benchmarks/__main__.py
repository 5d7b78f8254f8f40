"""Every benchmark, one after the other: `make bench`. Each says at its top what it measures."""

from __future__ import annotations

import argparse
import subprocess
import sys

NAMES = ("extrapolation", "cuda", "codecs", "patches", "capture", "evaluation", "forming", "memory")


def main() -> None:
    """Those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"of {', '.join(NAMES)}")
    for name in parser.parse_args().names or NAMES:
        print(f"\n## {name}\n", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
