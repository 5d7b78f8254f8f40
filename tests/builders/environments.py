"""A virtual environment at a path of one's choice, with what is installed in this one."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path


def environment_at(folder: Path) -> Path:
    """Its interpreter."""
    venv.EnvBuilder(symlinks=True).create(folder)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.rmdir()
    packages.symlink_to(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"
