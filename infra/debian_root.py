"""A Debian root folder made by debootstrap, which stands in for a base image, and commands in it by chroot.

Where packages come from is the host's business: its apt sources with their keys, its pip configuration, certificates
and proxies are handed to the root, so that what installs on the host installs in there.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}  # the Python that a release of Debian carries
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED = re.compile(r"PIP_.*|.*_proxy|.*_PROXY|SSL_CERT_.*|.*_CA_BUNDLE")

_ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
# Mounts are made in a namespace of the command's own and end with it: what lies below the root is never the host's
# when the root is removed, whatever was killed.
_ENTER = """
set -e
root=$1 user=$2 folder=$3 line=$4; shift 4
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for shared; do
  mkdir -p "$root$shared"
  mount --bind "$shared" "$root$shared"
  mount -o remount,bind,ro "$root$shared"
done
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$1" && exec /bin/sh -c "$2"' sh "$folder" "$line"
"""


class NotMade(Exception):
    """There is no such root on this machine; the message says why."""


@dataclass(frozen=True)
class Base:
    """A base image that can be stood in for. `python`: the version in /usr/local, None for plain Debian."""

    release: str
    python: str | None


def base(image: str) -> Base:
    """The base that `FROM image` names; NotMade for an image that is not made of a release of Debian."""
    if match := re.fullmatch(r"python:([\d.]+)-(?:slim-)?(\w+)", image):
        version, release = match.groups()
        if PYTHONS.get(release) == version:
            return Base(release, version)
    if (match := re.fullmatch(r"debian:(\w+?)(?:-slim)?", image)) and match[1] in PYTHONS:
        return Base(match[1], None)
    raise NotMade(f"{image} is not made of a release of Debian with that release's own Python")


class Root:
    """The root folder of `base` in the folder `root`, which must not exist yet. Takes about a minute and 300 MB."""

    def __init__(self, base: Base, root: Path):
        if os.geteuid() != 0:
            raise NotMade("debootstrap and chroot want root")
        if missing := [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]:
            raise NotMade(f"{', '.join(missing)} not found: apt-get install debootstrap util-linux coreutils")
        self.root = root
        mirror = _mirror(base.release)
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", base.release, root, *mirror],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotMade(f"debootstrap ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
        self.environment, self._shared = dict[str, str](), list[str]()
        self._give_apt(sources=bool(mirror))
        self._give_pip()
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            self._copy(Path(name))
        if base.python:
            self._install_python(base.python)

    def run(
        self,
        line: str,
        *,
        user: str = "root",
        folder: str = "/",
        environment: dict[str, str] | None = None,
        seconds: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of sh in the root; stdout holds its errors, too. subprocess.TimeoutExpired after `seconds`."""
        home = {name: home for name, home in self._homes()}.get(user, "/")
        return subprocess.run(
            [*_ALONE, "sh", "-c", _ENTER, "sh", self.root, user, folder, line, *self._shared],
            env={"PATH": PATH, "HOME": home, **self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )

    def _install_python(self, version: str) -> None:
        """Python with its headers and pip, in /usr/local, where the image has them: an environment of Debian's."""
        done = self.run(
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "
            f"python{version} python{version}-dev python{version}-venv && /usr/bin/python{version} -m venv /usr/local"
        )
        if done.returncode:
            raise NotMade(f"Python {version} does not install: {done.stdout[-800:]}")

    def users(self) -> set[str]:
        """The names in the root's /etc/passwd."""
        return {name for name, _ in self._homes()}

    def _homes(self) -> Iterator[tuple[str, str]]:
        for line in (self.root / "etc/passwd").read_text().splitlines():
            fields = line.split(":")
            yield fields[0], fields[5]

    def _copy(self, path: Path) -> None:
        """Put the host's file or folder at the same place in the root."""
        target = self.root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        elif path.is_file():
            shutil.copyfile(path, target)

    def _give_apt(self, *, sources: bool) -> None:
        etc = Path("/etc/apt")
        if sources:
            for name in ("sources.list", "sources.list.d", "keyrings", "trusted.gpg.d", "auth.conf", "auth.conf.d"):
                self._copy(etc / name)
            self._copy(Path("/usr/share/keyrings"))
        settings = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
        acquire = [line for line in settings.splitlines() if line.startswith("Acquire::")]
        (self.root / "etc/apt/apt.conf.d/90host").write_text("\n".join(acquire) + "\n")

    def _give_pip(self) -> None:
        self.environment = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
        asked = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        values = list(self.environment.values())
        settings = configparser.RawConfigParser()
        for line in listed.splitlines():
            key, _, shown = line.partition("=")
            section, _, option = key.rpartition(".")
            if section == ":env:":
                continue  # an environment variable, which is passed as it is
            value = str(ast.literal_eval(shown))
            values.append(value)
            settings.read_dict({section: {option: value}})
        with open(self.root / "etc/pip.conf", "w", encoding="utf-8") as written:
            settings.write(written)
        for word in {word for value in values for word in value.split()}:
            path = Path(word.removeprefix("file://"))
            if not path.is_absolute():
                continue
            if word.startswith("file://"):
                path = path.parent  # the pages of an index point to files that may lie beside it
            if path.is_dir() and path != Path("/"):
                self._shared.append(str(path))
            else:
                self._copy(path)


def _mirror(release: str) -> list[str]:
    """Where the host itself gets this release from, as debootstrap's argument; nothing where it does not."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines():
        address, _, codename = line.partition(" ")
        if codename == release:
            return [address]
    return []
