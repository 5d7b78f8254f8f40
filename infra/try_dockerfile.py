"""Execute a Dockerfile's lines without a container engine: in a Debian root made by debootstrap, by chroot.

    sudo python3 -m infra.try_dockerfile infra/Dockerfile.mlflow --then "mlflow --version"

Every line is printed as ok, FAILED, or not tried with the reason. What this is not: the base image itself (its stand-in
is Debian with the same Python), layers, limits, GPUs. The root is removed at the end. Exit code 1 where a line failed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

from infra.debian_root import PATH, NotMade, Root, base
from infra.dockerfile import Instruction, NotUnderstood, assignments, other_indexes, parse, without_index, words

_SHOWN = 20  # lines of what a failed command printed


class Failed(Exception):
    """A line that did not do what it says; the message is what it printed."""


class NotTried(Exception):
    """A line that was left out; the message says why."""


class Image:
    """What the lines so far have made: the root, and where and as whom the next line runs."""

    def __init__(self, root: Root, context: Path, seconds: float):
        self.root, self.context, self.seconds = root, context, seconds
        self.environment = {"PATH": PATH}
        self.folder, self.user = "/", "root"

    def do(self, one: Instruction) -> str:
        """Carry one instruction out; a remark, or nothing. Raises Failed or NotTried."""
        return {
            "RUN": self._run,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "USER": self._user,
            "EXPOSE": self._expose,
            "CMD": self._command,
            "ENTRYPOINT": self._command,
        }[one.keyword](one.rest)

    def command(self, line: str) -> str:
        """Run a line of sh as the image would; what it printed. Raises Failed."""
        try:
            done = self.root.run(
                line, user=self.user, folder=self.folder, environment=self.environment, seconds=self.seconds
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not done after {self.seconds / 60:.0f} minutes (--minutes)") from error
        if done.returncode:
            raise Failed(f"exit code {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-_SHOWN:]))
        return done.stdout.strip()

    def _run(self, rest: str) -> str:
        remarks = []
        for address in other_indexes(rest):
            if not reached(address):
                rest = without_index(rest, address)
                remarks.append(f"from the indexes of this machine: {address} is not reached from here")
        self.command(rest)
        return "; ".join(remarks)

    def _env(self, rest: str) -> str:
        self.environment.update(assignments(rest, self.environment))
        return ""

    def _workdir(self, rest: str) -> str:
        self.folder = str(PurePosixPath(self.folder) / rest)
        self._inside(self.folder).mkdir(parents=True, exist_ok=True)
        return ""

    def _copy(self, rest: str) -> str:
        *sources, target = rest.split()
        place = self._inside(str(PurePosixPath(self.folder) / target))
        for source in (self.context / name for name in sources):
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            elif source.is_file():
                into = place / source.name if target.endswith(("/", ".")) or place.is_dir() else place
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, into)
            else:
                raise Failed(f"{source} is not there")
        return ""

    def _user(self, rest: str) -> str:
        if rest not in self.root.users():
            raise Failed(f"no user {rest} in the image's /etc/passwd")
        self.user = rest
        return ""

    def _expose(self, rest: str) -> str:
        raise NotTried("only a note for who runs the image")

    def _command(self, rest: str) -> str:
        program = words(rest)[0]
        return f"not started; {program} is {self.command(f'command -v {program}')}"

    def _inside(self, path: str) -> Path:
        return self.root.root / PurePosixPath(path).relative_to("/")


def reached(address: str) -> bool:
    """Whether anything answers at an address within 10 seconds, be it with an error."""
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False


def say(word: str, begun: float, text: str, remark: str = "") -> None:
    """One line of the report, with its remark below it."""
    print(f"{word:9} {time.monotonic() - begun:6.1f} s  {text}", flush=True)
    for line in remark.splitlines():
        print(f"{'':20}{line}", flush=True)


def attempt(path: Path, context: Path, *, where: Path | None, seconds: float, then: list[str]) -> int:
    """Try every line of the Dockerfile `path`, then the commands `then`; how many failed."""
    instructions = parse(path.read_text(encoding="utf-8"))
    first, *others = instructions
    counts = {"ok": 0, "FAILED": 0, "not tried": 0}
    with tempfile.TemporaryDirectory(prefix="relex-image-", dir=where) as temporary:
        begun, why = time.monotonic(), ""
        try:
            image = Image(Root(base(first.rest), Path(temporary) / "root"), context, seconds)
            say("stand-in", begun, f"FROM {first.rest}")
        except NotMade as error:
            why = "its base was not made"
            say("not tried", begun, f"FROM {first.rest}", str(error))
        for one in [*others, *(Instruction(0, "then", line) for line in then)]:
            begun, word, remark = time.monotonic(), "ok", ""
            try:
                if why:
                    raise NotTried(why)
                remark = image.command(one.rest) if one.keyword == "then" else image.do(one)
            except NotTried as error:
                word, remark = "not tried", str(error)
            except Failed as error:
                word, remark, why = "FAILED", str(error), "a line before it failed"
            counts[word] += 1
            say(word, begun, f"{one.keyword} {one.rest}", remark)
    print(f"{path}: " + ", ".join(f"{number} {word}" for word, number in counts.items()))
    return counts["FAILED"]


def main() -> int:
    """Parse the command line, try the Dockerfile, and say how it went: 0, 1 where a line failed, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python3 -m infra.try_dockerfile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--context", type=Path, default=Path(), help="the folder that COPY takes from (here)")
    parser.add_argument(
        "--where", type=Path, help="a folder with room for the image, up to 6 GB (the system's temporary one)"
    )
    parser.add_argument("--minutes", type=float, default=30, help="the longest that one line may take (30)")
    parser.add_argument(
        "--then", action="append", default=[], metavar="COMMAND", help="run this in the image at the end"
    )
    options = parser.parse_args()
    try:
        failed = attempt(
            options.dockerfile, options.context, where=options.where, seconds=60 * options.minutes, then=options.then
        )
    except (NotUnderstood, OSError) as error:
        print(f"{options.dockerfile}: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
