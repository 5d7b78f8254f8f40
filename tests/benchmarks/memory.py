"""What the phases of a night take, counted by the ledger of `relex doctor --gpus` and measured on this processor.

    python -m tests.benchmarks.memory [--steps 5] [PARAMS]

On the embedded default, or on the night of another params.yaml (infra/profiles/smollm2-135m.yaml), with a window of
four steps. Each phase is a process of its own, or a part of the training's, that does the real thing; measured is the
peak of its anonymous memory beyond what it held after its imports. Counted are the same lines without the share of a
GPU's runtime. What is freed goes back at once (MALLOC_MMAP_THRESHOLD_), so that no phase is charged for an earlier one.
What libraries take on first use, some megabytes, hides a model of as many: look at larger ones.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from relex.core import hop
from relex.core.sizes import show_bytes
from relex.core.workspace import BASE, COMPLETIONS, HOP, PARAMS, PROBLEMS, STATE, TRAJECTORY
from relex.params.ledger import Machine, ledger
from relex.params.load import Params, load, read_params
from relex.params.shapes import shape_of

_MEMORY = "256MiB"  # of the passes over a window
_SCORED = 2048  # tokens of a batch in policy/likelihood.py on a processor
_FREED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
ROOT = Path(__file__).resolve().parents[2]


class Peaks:
    """The most anonymous memory that this process holds while each phase runs, beyond what it held at first."""

    def __init__(self) -> None:
        self.phase = ""
        self.most: dict[str, int] = {}
        self._first, self._end = _anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.002):
            phase, held = self.phase, _anonymous() - self._first
            self.most[phase] = max(self.most.get(phase, 0), held)

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    def told(self) -> None:
        self._end.set()
        self._thread.join()
        print(json.dumps(self.most), flush=True)


def _anonymous() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon:"))


def write_params(source: Path, out: Path, steps: int) -> None:
    yaml = YAML()
    document = yaml.load(source.read_text(encoding="utf-8"))
    document["train"]["budget"]["steps"] = steps
    document["train"]["window"] = {"first": steps - 3, "last": steps, "every": 1}
    if document["base"]["source"]["kind"] == "embedded":
        document["base"]["source"]["pretraining"] |= {"steps": 20, "warmup_steps": 5}  # memory does not depend on it
    document["diagnose"] |= {"scan_horizons": 2, "backtest": [0.5]}
    document["extrapolate"] |= {"targets": [2 * steps], "variants": [], "memory": _MEMORY}
    with open(out, "w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


def _copied(model: Any) -> Any:
    """With weights of its own, as on a device: those of a file in float32 are that file, mapped."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def _load(params: Params) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    peaks = Peaks()
    with peaks.during("load"):
        kept = _copied(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32))
        time.sleep(0.1)
    del kept
    peaks.told()


def _train(params: Params) -> None:
    """Rollout and update before the first capture, so that no queue stands beside them."""
    from relex.stages.train import stage
    from relex.stages.train.trl_import import importing_trl

    with importing_trl(vllm=False):
        from relex.stages.train import process
    from relex.stages.train.capture import Capture

    peaks, captures = Peaks(), []

    def labelled(owner: Any, name: str, phase: str) -> None:
        usual = getattr(owner, name)

        def run(self: Any, *args: Any, **more: Any) -> Any:
            with peaks.during(phase if not captures else f"{phase} beside a queue"):
                return usual(self, *args, **more)

        setattr(owner, name, run)

    labelled(process.Trainer, "_generate_single_turn", "rollout")
    labelled(process.Trainer, "_inner_training_loop", "update")
    take = Capture.on_step_end

    def captured(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step in self._steps:
            with peaks.during("capture"):
                take(self, args, state, control, **more)
                time.sleep(0.05)
            captures.append(state.global_step)
            peaks.phase = "beside a queue"

    Capture.on_step_end = captured  # type: ignore[method-assign]
    stage.drawn.keep_completions = lambda *_: None  # a phase of its own
    stage.run(params.train, params.problems)
    peaks.told()


def _queue(params: Params) -> None:
    """The most that a capture may hold: one step is written, one waits, one is taken."""
    from relex.checkpoints.tensors import CheckpointReader
    from relex.trajectory.step_queue import StepQueue
    from relex.trajectory.writer import TrajectoryWriter

    with CheckpointReader(BASE) as reader:
        names = list(reader.names)
        identity = {"identity": {"of": "a measurement"}, "only": names}
        writer = TrajectoryWriter(Path("queue"), base=BASE, codec=params.train.codec, **identity)

        def deltas() -> dict[str, Any]:
            return {name: reader.tensor(name).float() * 1e-3 for name in names}

        peaks, go = Peaks(), threading.Event()
        append = writer.append
        writer.append = lambda *args, **more: (go.wait(), append(*args, **more))[1]  # type: ignore[method-assign]
        with peaks.during("capture and its queue"):
            queue = StepQueue(writer)
            queue.put(1, deltas())
            queue.put(2, deltas())
            third = deltas()
            go.set()
            queue.put(3, third)
            del third
            queue.close()
    peaks.told()


def _completions(params: Params) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from relex.policy.completions import sample_completions, write_completions
    from relex.rewards.problem import load_split

    train = params.train
    held_out = load_split(PROBLEMS, "train")[-train.completions.prompts :]
    peaks = Peaks()
    with peaks.during("completions"):
        table = sample_completions(
            _copied(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)),
            AutoTokenizer.from_pretrained(BASE, padding_side="left"),
            held_out,
            samples=train.completions.samples,
            temperature=train.temperature,
            max_new_tokens=train.max_completion_length,
            seed=0,
            asking=params.problems,
            room=1,  # one row at a time, as on a device that has room for no more
        )
    peaks.told()
    write_completions(COMPLETIONS, table)


def _diagnose(params: Params) -> None:
    from relex.stages.diagnose import moving_model, stage
    from relex.window.options import Options
    from relex.window.request import Request

    moving_model.room_for_directions = lambda place: 0  # none is held, as on a device that has no room for any
    options = Options(device="cpu", memory=_MEMORY)
    peaks = Peaks()
    with peaks.during("scan and backtest"):
        stage.diagnosis(TRAJECTORY, BASE, COMPLETIONS, params.diagnose, Request((), options=options))
    peaks.told()


def _extrapolate(params: Params) -> None:
    from relex.stages.extrapolate.stage import extrapolate_folder
    from relex.window.options import Options
    from relex.window.request import Request

    request = Request((2 * params.train.window.last,), options=Options(device="cpu", memory=_MEMORY))
    peaks = Peaks()
    with peaks.during("Gram and sums"):
        extrapolate_folder(TRAJECTORY, BASE, request, STATE / "out")
    peaks.told()


PHASES: dict[str, Callable[[Params], None]] = {
    "load": _load,
    "train": _train,
    "queue": _queue,
    "completions": _completions,
    "diagnose": _diagnose,
    "extrapolate": _extrapolate,
}


def counted(params: Params, root: Path, prompt: int) -> dict[str, int]:
    """Bytes of each phase on a machine whose device is its processor: without a GPU's runtime, both memories in one."""
    shape = shape_of(params.base, root)
    assert shape is not None
    lines = ledger(params, shape, Machine(1, 0), processes=1, sharded=False, prompt=prompt, scored=_SCORED)

    def of(phase: str, device: str) -> dict[str, int]:
        (found,) = [line for line in lines if (line.phase, line.device) == (phase, device)]
        return {name: size for name, size in found.parts.items() if name != "runtime"}

    found = {phase: sum(of(phase, "GPU").values()) for phase in ("rollout", "update", "capture", "completions")}
    found |= {phase: sum(of(phase, "host").values()) for phase in ("load", "capture and its queue", "Gram and sums")}
    scan, compared = of("scan and backtest", "GPU"), of("backtest", "host")
    # Blocks of the window keep within their budget, and go before a pass: the line below is of them.
    found["scan and backtest"] = scan["weights"] + max(scan["forward passes"], *compared.values())
    return found


def longest_prompt(folder: Path, params: Params) -> int:
    """Tokens of the longest prompt that is trained on."""
    from transformers import AutoTokenizer

    from relex.policy.prompts import render
    from relex.rewards.problem import load_split

    tokenizer = AutoTokenizer.from_pretrained(folder / BASE)
    prompts = [render(tokenizer, problem.prompt, params.problems) for problem in load_split(folder / PROBLEMS, "train")]
    return max(len(ids) for ids in tokenizer(prompts)["input_ids"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("params", nargs="?", type=Path, default=Path("params.yaml"))
    parser.add_argument("--steps", type=int, default=5, help="of the training: the window is the last four")
    parser.add_argument("--phase", choices=list(PHASES), help=argparse.SUPPRESS)  # what this starts itself with
    asked = parser.parse_args()
    if asked.phase:
        PHASES[asked.phase](read_params())
        return
    measured: dict[str, int] = {}
    environment = {**os.environ, **_FREED, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory(prefix="relex-bench-") as name:
        folder = Path(name)
        hop.write(hop.Hop(), folder / HOP)
        write_params(asked.params, folder / PARAMS, asked.steps)
        for stage in ("problems", "base"):
            command = [sys.executable, "-m", "relex.cli", stage]
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        for phase in PHASES:
            command = [sys.executable, "-m", "tests.benchmarks.memory", "--phase", phase]
            done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            measured |= json.loads(done.stdout.splitlines()[-1])
        params = load(folder / PARAMS)
        found = counted(params, ROOT, longest_prompt(folder, params))
    print("| phase | counted | measured | counted / measured |")
    print("|---|---|---|---|")
    for phase, size in found.items():
        print(
            f"| {phase} | {show_bytes(size)} | {show_bytes(measured[phase])} | {size / max(measured[phase], 1):.2f} |"
        )


if __name__ == "__main__":
    main()
