"""What tests are made of: tiny real models and windows, nights on disk, projects of their own."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the project
DATA = ROOT / "tests/data"
