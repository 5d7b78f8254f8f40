"""Make the virtual environment of this interpreter whole again after its folder was moved or copied.

    .venv/bin/python infra/moved_environment.py

Nothing of this project need be installed. Three things name the folder that an environment was made in: the head of
every console script, the activate scripts with pyvenv.cfg, and the editable install, which `pip install -e .` redoes.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import venv
from pathlib import Path

# The two heads that pip writes: the plain one, and one by way of sh for a path that is long or holds a space.
_HEAD = re.compile(
    rb"#!(?P<plain>/[^\n]*/bin/python[\d.]*)\n"
    rb"|#!/bin/sh\n'''exec' \"?(?P<long>/[^\n]*?/bin/python[\d.]*)\"? [^\n]*\n' '''\n"
)
_LONGEST = 127  # of a first line that Linux follows


def head(python: Path) -> bytes:
    """The head of a console script that `python` runs."""
    plain = f"#!{python}\n".encode()
    if len(plain) <= _LONGEST and b" " not in plain:
        return plain
    return f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n".encode()


def mend_scripts(folder: Path) -> int:
    """Let the console scripts in `folder` be run by the Python beside them; how many were run by another."""
    mended = 0
    for script in sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink()):
        text = script.read_bytes()
        match = _HEAD.match(text)
        if match is None:
            continue
        old = Path(os.fsdecode(match["plain"] or match["long"]))
        new = folder / old.name
        if old == new or old.parent.parent.name != folder.parent.name:
            continue  # it is right, or is meant for a Python outside any such environment
        temporary = script.with_name(f".tmp-{script.name}")
        temporary.write_bytes(head(new) + text[match.end() :])
        temporary.chmod(script.stat().st_mode)
        temporary.replace(script)
        mended += 1
    return mended


def separate(path: Path) -> None:
    """Give the file a content of its own where it is a hard link, as in a folder that `cp -al` made."""
    if path.stat().st_nlink > 1:
        temporary = path.with_name(f".tmp-{path.name}")
        shutil.copy2(path, temporary)
        temporary.replace(path)


def main() -> None:
    """Mend the environment that this interpreter belongs to."""
    folder = Path(sys.prefix)
    mended = mend_scripts(folder / "bin")
    for written in (folder / "pyvenv.cfg", *(folder / "bin").glob("[Aa]ctivate*")):
        separate(written)
    builder = venv.EnvBuilder(symlinks=True)
    context = builder.ensure_directories(sys.prefix)
    builder.create_configuration(context)
    builder.setup_scripts(context)
    print(f"{sys.prefix}: {mended} console scripts mended")


if __name__ == "__main__":
    main()
