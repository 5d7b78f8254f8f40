"""Bad input of every kind handed to the real commands: what each says, and that nothing is left behind.

python -m tests.bad_input > docs/bad-input.md
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import re
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from flows import nightly
from relex.cli import app
from relex.core import hop
from relex.core.digest import file_sha256
from relex.core.workspace import NIGHT_LOCK, STATE
from relex.registry.store.connection import connect
from tests.builders.nights import change_params, make_project
from tests.builders.windows import line_with_noise, write_checkpoints, write_trajectory

STEPS = [1, 2, 3, 4, 5, 6]
NIGHTLY = "python -m flows.nightly"
# Caches and locks: no output, and allowed to be new.
_NO_OUTPUT = ("trajectory/cache/", "window/cache/", ".relex/night.lock", ".relex/registry.lock", "hop.json.lock")

Damage = Callable[[], Any]  # makes one thing wrong in the project that is the present folder; may be a context manager


@dataclass(frozen=True)
class Case:
    """One kind of bad input. command: the words of it; says: a pattern that its one message must hold."""

    area: str
    name: str
    command: str
    damage: Damage
    says: str
    real: bool = False  # MLflow takes part
    without_gpu: bool = False  # only wrong where there is none


@dataclass(frozen=True)
class Outcome:
    """How a command ended. new: files that it left; changed: files that it altered."""

    code: int
    lines: tuple[str, ...]
    new: tuple[str, ...]
    changed: tuple[str, ...]


class Bench:
    """One sound project, copied for every case."""

    def __init__(self, folder: Path):
        self._folder, self._outcomes = folder, dict[Case, Outcome]()

    @functools.cached_property
    def _plain(self) -> Path:
        return build(self._folder / "plain")

    @functools.cached_property
    def _with_registry(self) -> Path:
        project = Path(shutil.copytree(self._plain, self._folder / "registry"))
        with contextlib.chdir(project):
            connect(change_params(project)).client.search_experiments()
        return project

    def outcome(self, case: Case) -> Outcome:
        """What comes of a case; run once."""
        if case not in self._outcomes:
            # A folder of its own: MLflow keeps the databases that it has opened by their place.
            project = Path(tempfile.mkdtemp(dir=self._folder)) / "project"
            shutil.copytree(self._with_registry if case.real else self._plain, project)
            try:
                with contextlib.chdir(project):
                    self._outcomes[case] = run(case)
            finally:
                shutil.rmtree(project.parent)
        return self._outcomes[case]


def build(project: Path) -> Path:
    """A project in which every command of the table would go through: base, window, checkpoints, problem files."""
    make_project(project)
    base = project / "base"
    write_trajectory(project / "trajectory", base, STEPS, line_with_noise(), rewards=True)
    from transformers import AutoModelForCausalLM

    write_checkpoints(project / "run", AutoModelForCausalLM.from_pretrained(base), [10, 20, 30], line_with_noise())
    shutil.copytree(base, project / "given")
    for number, split in enumerate(("train", "validation", "test", "ood")):
        prompts = [f"{number}{digit}=" for digit in "5678"]
        problems = [{"id": prompt, "prompt": prompt, "answer": prompt[:2], "scorer": "exact"} for prompt in prompts]
        (project / f"problems/{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems))
    rows = [{"problem": f"{a} + 1", "answer": str(a + 1)} for a in range(12)]
    (project / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return project


def run(case: Case) -> Outcome:
    """Damage the project that is the present folder, and run the case's command in it."""
    with contextlib.ExitStack() as stack:
        made = case.damage()
        if isinstance(made, contextlib.AbstractContextManager):
            stack.enter_context(made)
        before = files()
        said = io.StringIO()
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        code = _call(case.command)
    after = files()
    lines = tuple(line for line in said.getvalue().splitlines() if line.startswith("relex:"))
    changed = tuple(name for name in before if after.get(name) != before[name])
    return Outcome(code, lines, tuple(sorted(after.keys() - before.keys())), changed)


def _call(command: str) -> int:
    if command.startswith(NIGHTLY):
        return nightly.main(_words(command.removeprefix(NIGHTLY)))
    before = sys.argv
    sys.argv = _words(command)
    try:
        app.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def _words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)


def files() -> dict[str, str]:
    """Every file below the present folder and its content, and every folder; without caches and locks."""
    found = {}
    for path in sorted(Path().rglob("*")):
        name = path.as_posix()
        if name != STATE.as_posix() and not name.startswith(_NO_OUTPUT) and not name.endswith("/cache"):
            found[name] = file_sha256(path) if path.is_file() else "folder"
    return found


# What makes things wrong.


def params(**changes: Any) -> Damage:
    """Other values in params.yaml: section__key=value."""

    def damage() -> None:
        yaml = YAML(typ="safe", pure=True)
        document = yaml.load(Path("params.yaml").read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            section = document
            for parent in parents:
                section = section[parent]
            section[last] = value
        with open("params.yaml", "w") as handle:
            yaml.dump(document, handle)

    return damage


def text(old: str, new: str, path: str = "params.yaml") -> Damage:
    """Other text in a file."""

    def damage() -> None:
        before = Path(path).read_text()
        assert old in before, old
        Path(path).write_text(before.replace(old, new, 1))

    return damage


def written(path: str, content: bytes | str) -> Damage:
    """Another content of a file."""

    def damage() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def gone(path: str) -> Damage:
    """A file or folder that is missing."""
    return lambda: shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()


def cut(path: str) -> Damage:
    """A file without its last bytes."""
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[:-100])


def flipped(path: str) -> Damage:
    """A file in which a bit turned."""

    def damage() -> None:
        content = bytearray(Path(path).read_bytes())
        content[-1] ^= 1
        Path(path).write_bytes(content)

    return damage


def weights(path: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Other tensors in a safetensors file."""

    def damage() -> None:
        tensors = {name: value.clone() for name, value in load_file(path).items()}
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return damage


def edited(path: str, change: Callable[[Any], Any]) -> Damage:
    """Another value in a JSON file."""

    def damage() -> None:
        value = json.loads(Path(path).read_text())
        change(value)
        Path(path).write_text(json.dumps(value))

    return damage


def all_of(*damages: Damage) -> Damage:
    """Several at once; the last may be a context manager."""

    def damage() -> Any:
        made = None
        for one in damages:
            made = one()
        return made

    return damage


def table(*rows: dict[str, Any], **more: Any) -> Damage:
    """Problems of the project's own file, after its first rows."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    source = {"kind": "file", "path": "mine.jsonl", "scorer": "integer", **more}
    sizes = {"train": 4, "validation": 4, "test": 4, "ood": 0}
    suites = [{"name": "validation", "role": "validation", "source": {"kind": "problems", "split": "validation"}}]

    def damage() -> None:
        params(
            problems__source=source,
            problems__sizes=sizes,
            evaluate__suites=suites,
            base__source={"kind": "folder", "path": "given"},
            train__prompts_per_step=4,
            train__per_device_train_batch_size=32,
        )()
        with open("mine.jsonl", "a") as handle:
            handle.write(content)

    return damage


def given(damage: Damage) -> Damage:
    """The base comes from the folder `given`, in which something is wrong."""
    return all_of(params(base__source={"kind": "folder", "path": "given"}), damage)


def imported(*damages: Damage) -> Damage:
    """Another trainer has written the folder `run`, in which something is wrong."""
    section = {
        "kind": "import",
        "run": "run",
        "seed": 0,
        "temperature": 1.0,
        "max_completion_length": 4,
        "completions": {"prompts": 2, "samples": 1},
        "settled": 1e-9,
    }
    return all_of(params(train=section), *damages)


def _adapters() -> None:
    for path in Path("run").glob("*/model.safetensors"):
        path.rename(path.with_name("adapter_model.safetensors"))


def _repeats() -> None:
    for step in range(40, 90, 10):
        shutil.copytree("run/checkpoint-30", f"run/checkpoint-{step}")


def _taken(sha256: str) -> None:
    """The present hop takes the run's checkpoints, by this hash."""
    found = [hop.Checkpoint(step=step, path=f"checkpoint-{step}", sha256=sha256) for step in (10, 20, 30)]
    hop.write(hop.Hop(training=hop.Training(checkpoints=tuple(found))))


@contextlib.contextmanager
def _short_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _night_runs() -> Iterator[None]:
    STATE.mkdir(exist_ok=True)
    with FileLock(NIGHT_LOCK):
        yield


@contextlib.contextmanager
def _nobody_answers() -> Iterator[None]:
    """A server's address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        params(registry__tracking_uri=f"http://127.0.0.1:{taken.getsockname()[1]}")()
        before = os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        try:
            yield
        finally:
            os.environ.pop("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
            if before is not None:
                os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = before


def _pickles(folder: str) -> Damage:
    def damage() -> None:
        for path in Path(folder).rglob("*.safetensors"):
            path.rename(path.with_name("pytorch_model.bin"))

    return damage


def _shards(folder: str) -> None:
    """Weights in two files with an index, of which the second is missing."""
    names = sorted(load_file(f"{folder}/model.safetensors"))
    Path(f"{folder}/model.safetensors").rename(f"{folder}/model-00001-of-00002.safetensors")
    files = [f"model-0000{1 + (at > 3)}-of-00002.safetensors" for at in range(len(names))]
    index = {"metadata": {}, "weight_map": dict(zip(names, files, strict=True))}
    Path(f"{folder}/model.safetensors.index.json").write_text(json.dumps(index))


def _renamed(source: str, target: str) -> Damage:
    return lambda: Path(source).rename(target)


def _suite(**changes: Any) -> Damage:
    """evaluate.suites with another first suite."""

    def damage() -> None:
        split = {"kind": "problems", "split": "validation"}
        first = {"name": "validation", "role": "validation", "source": split, **changes}
        second = {"name": "test", "role": "test", "source": {"kind": "problems", "split": "test"}}
        params(evaluate__suites=[first, second])()

    return damage


_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
_EMBEDDING, _NORM = "model.embed_tokens.weight", "model.norm.weight"
_EXTRAPOLATE = "relex extrapolate --trajectory trajectory --base base --out out"
_IMPORT = "relex import run --base base --out window"
_BEGIN = "relex hop --begin"
_STEP = "trajectory/steps/000003.safetensors"
_TOLD = "one of its section"

CASES = (
    # params.yaml
    Case("params.yaml", "is missing", "relex problems", gone("params.yaml"), "params.yaml: the file is missing"),
    Case("params.yaml", "is empty", "relex problems", written("params.yaml", ""), "not a mapping of sections"),
    Case(
        "params.yaml", "is not UTF-8", "relex problems", written("params.yaml", b"a: \xff\xfe"), "not readable as YAML"
    ),
    Case("params.yaml", "is cut off", "relex problems", written("params.yaml", "train: {seed: 0,"), "not readable as"),
    Case(
        "params.yaml",
        "names a Python object",
        "relex problems",
        text("seed: 0", "seed: !!python/name:os.system"),
        "python/name",
    ),
    Case(
        "params.yaml", "a key is there twice", "relex problems", text("  seed: 0", "  seed: 0\n  seed: 1"), "duplicate"
    ),
    Case("params.yaml", "aliases that multiply", "relex problems", written("params.yaml", _BOMB), "aliases|too large"),
    Case(
        "params.yaml",
        "aliases that multiply inside a section",
        "relex problems",
        all_of(text("problems:", _BOMB + "problems:"), text("seed: 0", "seed: *a11")),
        "too large",
    ),
    Case("params.yaml", "an alias of itself", "relex problems", text("seed: 0", "seed: &a [*a]"), "itself|too large"),
    Case("params.yaml", "nested too deep", "relex problems", text("seed: 0", f"seed: {'[' * 600}{']' * 600}"), "deep"),
    Case(
        "params.yaml",
        "an unknown section",
        "relex problems",
        text("train:\n", "trian: {}\ntrain:\n"),
        "unknown section",
    ),
    Case("params.yaml", "an unknown key", "relex problems", params(train__lerning_rate=1e-6), "unknown key"),
    Case("params.yaml", "a text for a number", "relex problems", params(train__learning_rate="fast"), "learning_rate"),
    Case("params.yaml", "NaN", "relex problems", params(train__learning_rate=float("nan")), "learning_rate"),
    Case("params.yaml", "infinity", "relex problems", params(base__source__rope_theta=float("inf")), "rope_theta"),
    Case("params.yaml", "out of range", "relex problems", params(decide__alpha=2.0), "decide.alpha"),
    Case(
        "params.yaml", "targets inside the window", "relex problems", params(extrapolate__targets=[10]), "inside the wi"
    ),
    # problems
    Case(
        "problems", "the file is missing", "relex problems", all_of(table(), gone("mine.jsonl")), "the file is missing"
    ),
    Case("problems", "the file is empty", "relex problems", all_of(table(), written("mine.jsonl", "")), "no rows"),
    Case("problems", "a line is not JSON", "relex problems", all_of(table(), cut("mine.jsonl")), "line .* is not JSON"),
    Case("problems", "a column is missing", "relex problems", table({"question": "1"}), "a column is missing"),
    Case("problems", "a row without an answer", "relex problems", table({"problem": "x", "answer": ""}), "no answer"),
    Case(
        "problems", "an answer that is no number", "relex problems", table({"problem": "x", "answer": "y"}), "mine.json"
    ),
    Case(
        "problems",
        "two answers to one problem",
        "relex problems",
        table({"problem": "3 + 1", "answer": "5"}),
        "two answe",
    ),
    Case(
        "problems",
        "one prompt in two splits",
        "relex problems",
        table(path=None, paths={"train": "mine.jsonl", "validation": "mine.jsonl", "test": "mine.jsonl"}),
        "stands in two splits",
    ),
    Case(
        "problems", "too few", "relex problems", all_of(table(), params(problems__sizes__train=40)), "too few distinct"
    ),
    Case(
        "problems", "a huge line", "relex problems", table({"problem": "1" * (5 << 20), "answer": "1"}), "line 13 is lo"
    ),
    Case(
        "problems",
        "a file that is not UTF-8",
        "relex problems",
        all_of(table(), written("mine.jsonl", b"\xff\xfe\n")),
        "cannot be read",
    ),
    Case(
        "problems",
        "an id that is there twice",
        "relex evaluate",
        text("\n", '\n{"id": "25=", "prompt": "21=", "answer": "12", "scorer": "exact"}\n', "problems/test.jsonl"),
        "test.jsonl:2: .*twice",
    ),
    # base
    Case("base", "no such folder", "relex base", given(gone("given")), "the base is missing"),
    Case("base", "no weights", "relex base", given(gone("given/model.safetensors")), "no safetensors weights"),
    Case("base", "pickled weights only", "relex base", given(_pickles("given")), "never loaded"),
    Case("base", "cut off", "relex base", given(cut("given/model.safetensors")), "truncated"),
    Case(
        "base",
        "a shard is missing",
        "relex base",
        given(lambda: _shards("given")),
        "00002.safetensors: the file is miss",
    ),
    Case(
        "base",
        "NaN",
        "relex base",
        given(weights("given/model.safetensors", lambda w: w[_NORM].fill_(float("nan")))),
        f"{_NORM}: NaN or infinite",
    ),
    Case(
        "base",
        "another shape than its configuration's",
        "relex base",
        given(weights("given/model.safetensors", lambda w: w.update({_NORM: torch.ones(7)}))),
        f"{_NORM}: wrong shape",
    ),
    Case(
        "base",
        "float64 weights",
        "relex base",
        given(weights("given/model.safetensors", lambda w: w.update({_NORM: w[_NORM].double()}))),
        "float64",
    ),
    Case(
        "base",
        "a configuration that is not JSON",
        "relex base",
        given(written("given/config.json", "{")),
        "config.json",
    ),
    Case(
        "base",
        "a tokenizer with more tokens than the model has",
        "relex base",
        given(
            edited("given/tokenizer.json", lambda t: t["model"]["vocab"].update({f"w{n}": n for n in range(15, 90)}))
        ),
        "more tokens",
    ),
    Case("base", "a damaged tokenizer", "relex base", given(cut("given/tokenizer.json")), "tokenizer"),
    # trajectory
    Case("trajectory", "no manifest", "relex verify trajectory", gone("trajectory/manifest.json"), "not a trajectory"),
    Case("trajectory", "a step is cut off", "relex verify trajectory", cut(_STEP), "000003.*wrong size"),
    Case("trajectory", "a bit turned", "relex verify trajectory", flipped(_STEP), "000003.*wrong hash"),
    Case("trajectory", "a step is missing", _EXTRAPOLATE + " --target 12", gone(_STEP), "000003.*missing"),
    Case(
        "trajectory",
        "a step is left out of the manifest",
        _EXTRAPOLATE + " --target 12",
        edited("trajectory/manifest.json", lambda m: m["steps"].pop(2)),
        "the manifest leaves out",
    ),
    Case(
        "trajectory",
        "a newer format",
        "relex verify trajectory",
        edited("trajectory/manifest.json", lambda m: m.update(format=2)),
        "unknown format version",
    ),
    Case(
        "trajectory",
        "another base",
        _EXTRAPOLATE + " --target 12",
        weights("base/model.safetensors", lambda w: w[_NORM].add_(1)),
        "another base",
    ),
    Case(
        "trajectory",
        "a step that was not observed",
        "relex materialize --trajectory trajectory --base base --step 9 --out out",
        lambda: None,
        "not an observed step",
    ),
    # extrapolate
    Case(
        "extrapolate", "a target inside the window", _EXTRAPOLATE + " --target 5", lambda: None, "not beyond the window"
    ),
    Case(
        "extrapolate",
        "a rank beyond the steps",
        _EXTRAPOLATE + " --target 9 --rank 7",
        lambda: None,
        "above the window",
    ),
    Case(
        "extrapolate",
        "a broken expression",
        _EXTRAPOLATE + " --target 9 --only '('",
        lambda: None,
        "regular expression",
    ),
    Case(
        "extrapolate",
        "no tensor of that name",
        _EXTRAPOLATE + " --target 9 --only x$",
        lambda: None,
        "matches no tensor",
    ),
    Case(
        "extrapolate",
        "one step in the sub-window",
        _EXTRAPOLATE + " --target 9 --first 6",
        lambda: None,
        "fewer than two",
    ),
    Case("extrapolate", "too little memory", _EXTRAPOLATE + " --target 9 --memory 1KiB", lambda: None, "memory"),
    Case(
        "extrapolate", "the output exists", _EXTRAPOLATE + " --target 9", lambda: Path("out").mkdir(), "already exists"
    ),
    Case("extrapolate", "no space", _EXTRAPOLATE + " --target 9", _short_files, "cannot write the checkpoint"),
    Case(
        "extrapolate",
        "CUDA where there is none",
        _EXTRAPOLATE + " --target 9 --device cuda",
        lambda: None,
        "no CUDA device",
        without_gpu=True,
    ),
    # import
    Case("import", "no such folder", _IMPORT, gone("run"), "run: not a folder"),
    Case(
        "import",
        "one checkpoint",
        _IMPORT,
        all_of(gone("run/checkpoint-10"), gone("run/checkpoint-20")),
        "fewer than two",
    ),
    Case(
        "import",
        "an unknown layout",
        _IMPORT,
        all_of(*(_renamed(f"run/checkpoint-{n}", f"run/epoch{n}") for n in (10, 20, 30))),
        "fewer than two",
    ),
    Case("import", "pickles only", _IMPORT, _pickles("run"), "never loaded here"),
    Case(
        "import",
        "a trainer's own shards",
        _IMPORT,
        written("run/global_step_40/actor/model_world_size_2_rank_0.pt", b"pickled"),
        "verl.model_merger merge",
    ),
    Case(
        "import",
        "a step under two names",
        _IMPORT,
        lambda: shutil.copytree("run/checkpoint-10", "run/step_10"),
        "twice",
    ),
    Case(
        "import",
        "mixed shapes",
        _IMPORT,
        weights("run/checkpoint-20/model.safetensors", lambda w: w.update({_NORM: torch.ones(7)})),
        "wrong shape or dtype",
    ),
    Case(
        "import",
        "a tensor too many",
        _IMPORT,
        weights("run/checkpoint-20/model.safetensors", lambda w: w.update(extra=torch.ones(7))),
        "that the base lacks",
    ),
    Case("import", "the output exists", _IMPORT, lambda: Path("window").mkdir(), "already exists"),
    # another trainer's run
    Case("another's run", "no such folder", NIGHTLY, imported(gone("run")), "train.run"),
    Case(
        "another's run",
        "a kind that is none",
        "relex train",
        params(train__kind="verl"),
        r"kind must be grpo \(or left out\) or import",
    ),
    Case(
        "another's run",
        "an option that is not possible",
        "relex train",
        imported(params(nights__mode="reground")),
        "nights.mode: reground is not possible",
    ),
    Case("another's run", "adapters", _BEGIN, imported(_adapters), "an adapter, where a night takes whole"),
    Case(
        "another's run",
        "a trainer's own shards",
        _BEGIN,
        imported(written("run/global_step_40/actor/model_world_size_2_rank_0.pt", b"pickled")),
        "verl.model_merger merge",
    ),
    Case("another's run", "repeats", _BEGIN, imported(_repeats), "more than half of the checkpoints repeat"),
    Case(
        "another's run",
        "a checkpoint that changed",
        "relex train",
        imported(lambda: _taken("0" * 64)),
        "changed since this hop began",
    ),
    Case(
        "another's run",
        "a checkpoint that is gone",
        "relex train",
        imported(lambda: _taken("0" * 64), gone("run/checkpoint-20")),
        "is gone",
    ),
    Case("another's run", "no hop was begun", "relex train", imported(), "names no checkpoints of another trainer"),
    # evaluate
    Case(
        "evaluate",
        "an unknown suite",
        "relex evaluate",
        _suite(source={"kind": "ready-made", "set": "x", "path": "y"}),
        "set",
    ),
    Case("evaluate", "an unknown role", "relex evaluate", _suite(role="exam"), "role"),
    Case("evaluate", "nothing to choose on", "relex evaluate", _suite(role="ood"), "none has the role validation"),
    Case(
        "evaluate", "an empty split", "relex evaluate", written("problems/validation.jsonl", ""), "the split is empty"
    ),
    Case(
        "evaluate", "no candidates", "relex evaluate", _suite(source={"kind": "file", "path": "mine.jsonl"}), "missing"
    ),
    Case(
        "evaluate",
        "a prompt in two roles",
        "relex evaluate",
        all_of(
            written(
                "problems/validation.jsonl",
                "".join(
                    json.dumps({"id": p, "prompt": p, "answer": "1", "scorer": "exact"}) + "\n"
                    for p in ("a", "b", "05=")
                ),
            ),
        ),
        "stands in two roles",
    ),
    Case(
        "evaluate", "everything is reported without a budget", "relex evaluate", params(evaluate__report="all"), "all"
    ),
    Case(
        "evaluate",
        "more samples in the race than in the gate",
        "relex evaluate",
        params(evaluate__proof__race_samples=17),
        "race_samples",
    ),
    Case(
        "evaluate",
        "an unknown key of the proof",
        "relex evaluate",
        params(evaluate__proof__sampels=8),
        "proof.sampels: unknown",
    ),
    # report
    Case(
        "report",
        "a curve of true RLVR that is none",
        "relex report",
        written("inputs/true-rlvr.json", '[{"task": "ours", "seed": 0, "command": "", "points": []}]'),
        r"true-rlvr\.json: 0\.task",
    ),
    Case(
        "report",
        "curves of true RLVR after a merge",
        "relex report",
        written("inputs/true-rlvr.json", "<<<<<<< HEAD\n[]\n"),
        "true-rlvr.json: not curves",
    ),
    # registry
    Case("registry", "nobody answers", "relex rollback --reason x", _nobody_answers, "cannot be reached", real=True),
    Case(
        "registry", "no such alias", "relex fetch sort-digits@champion --out got", lambda: None, "champion", real=True
    ),
    Case(
        "registry", "a name that is none", "relex fetch sort-digits --out got", lambda: None, "sort-digits", real=True
    ),
    Case(
        "registry",
        "no history to go back to",
        "relex rollback --reason x",
        lambda: None,
        "nothing to roll back",
        real=True,
    ),
    Case(
        "registry",
        "a damaged database",
        "relex history",
        written("mlflow.db", b"SQLite format 3\0" + b"x" * 4096),
        "database is damaged",
        real=True,
    ),
    Case("registry", "no decision", "relex register", lambda: None, "decision.json: the file is missing", real=True),
    Case(
        "registry", "a forced promotion without a reason", "relex promote 1 --force", lambda: None, "needs its reason"
    ),
    # hops and the ledger
    Case("hop", "no hop.json", "relex hop", gone("hop.json"), "hop.json: the file is missing"),
    Case("hop", "cut off", "relex train", cut("hop.json"), "hop.json"),
    Case("hop", "a key changed by hand", "relex train", text('"hop": 1', '"hop": 2', "hop.json"), "changed by hand"),
    Case("hop", "a line of the ledger that is none", "relex ledger", written("ledger.jsonl", b"{}\n"), "ledger.jsonl"),
    Case("hop", "an unknown mode", "relex hop --begin", params(nights__mode="always"), "nights.mode"),
    # the night
    Case("night", "a cron line that is none", f"{NIGHTLY} --serve '0 25 * * *'", lambda: None, "--serve"),
    Case(
        "night",
        "an unknown time zone",
        f"{NIGHTLY} --serve '0 1 * * *' --timezone Mars/Base",
        lambda: None,
        "--timezone",
    ),
    Case("night", "another one runs", NIGHTLY, _night_runs, "another night is running"),
    Case("night", "bad parameters", NIGHTLY, params(decide__alpha=2.0), "decide.alpha"),
    Case(
        "night",
        "a budget too small for the smallest proof",
        NIGHTLY,
        params(evaluate__budget__rows=9),
        "evaluate.budget: .*at least .* rows",
    ),
)


def shown(line: str) -> str:
    """A message without what differs from machine to machine: hashes, ports, times, the place of the project."""
    line = line.removeprefix("relex: ").replace(str(Path.cwd()), "")
    line = re.sub(r"(?:/\S+)?/project\b", "PROJECT", line)
    line = re.sub(r"127\.0\.0\.1(:|', port=)\d+", r"127.0.0.1\g<1>PORT", line)
    line = re.sub(r"0x[0-9a-f]+", "0x…", line)
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "HASH", line)
    line = re.sub(r">= \d{5,}", ">= BYTES", line)
    return line.replace("|", "\\|")


def page(found: dict[Case, Outcome]) -> str:
    """docs/bad-input.md."""
    lines = [
        "# What bad input is answered with",
        "",
        f"Made by `python -m tests.bad_input`: {len(found)} kinds of bad input, each handed to the real command.",
        "Each ends with exit code 2 and one message that says where, what, what was expected or found, and what to do;",
        "no file is new or changed afterwards. HASH, PORT, BYTES and PROJECT stand for what differs between machines.",
        "",
        "| | what is wrong | command | what it says |",
        "|---|---|---|---|",
    ]
    for case, outcome in found.items():
        said = shown(" ".join(outcome.lines))
        lines.append(f"| {case.area} | {case.name} | `{case.command}` | {said} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The page to stdout; what is not as it should be to stderr."""
    argparse.ArgumentParser(
        description="Hand all kinds of bad input to the real commands and print docs/bad-input.md: a minute or two. "
        "Kinds that are answered otherwise than they should be, or slowly, are named on stderr."
    ).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench, found = Bench(Path(folder)), {}
        for case in CASES:
            start = time.monotonic()
            try:
                outcome = bench.outcome(case)
            except BaseException as error:
                print(f"RAISED {case.area}: {case.name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
                continue
            found[case] = outcome
            seconds = time.monotonic() - start
            right = outcome.code == 2 and len(outcome.lines) == 1 and not outcome.new and not outcome.changed
            right = right and bool(re.search(case.says, outcome.lines[0]))
            if not right or seconds > 2:
                print(
                    f"{'' if right else 'WRONG '}{case.area}: {case.name} ({seconds:.1f} s): {outcome}", file=sys.stderr
                )
    print(page(found), end="")


if __name__ == "__main__":
    main()
