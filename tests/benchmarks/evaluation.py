"""Throughput of the two evaluation backends on the same work: vLLM and transformers, start-up counted.

    python -m tests.benchmarks.evaluation [--problems 500] [--samples 8] [--repeats 3]

The work: the embedded model's architecture, untrained, on sort-digits problems, at most 12 new tokens; one process of
each backend with one core's threads, one after the other in every repeat. Prints a Markdown table of medians;
completions a second both with and without the start of the process.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from relex.core.asking import BARE
from relex.params.load import load
from relex.stages.base.embedded import make_model, make_tokenizer
from relex.stages.base.params import EmbeddedBase
from relex.stages.evaluate.engine.process import EngineProcess
from tests.builders import ROOT

ONE_CORE = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}  # as when `relex evaluate` runs two
SAMPLING = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 12, "logprobs": False}


def make_checkpoint(folder: Path) -> None:
    """The embedded architecture with seeded random weights: it answers at length, as a bad model does."""
    source = load(ROOT / "params.yaml").base.source
    assert isinstance(source, EmbeddedBase)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    make_model(source, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def one(backend: str, checkpoint: Path, prompts: list[str], log: Path) -> tuple[float, float, int]:
    """Seconds to start, seconds to generate, and completion tokens."""
    settings = {"backend": backend, "model": str(checkpoint), "dtype": "float32", "max_model_len": 64}
    settings |= {"tensor_parallel": 1, "cpu_kv_cache_gib": 1}
    begin = time.perf_counter()
    with EngineProcess(settings, log, ONE_CORE) as engine:
        engine.wait_until_ready()
        started = time.perf_counter()
        found = engine.generate(prompts, list(range(len(prompts))), SAMPLING, BARE)
        return started - begin, time.perf_counter() - started, sum(item["tokens"] for item in found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    generator = random.Random(0)
    problems = ["".join(generator.sample("0123456789", 6)) + "=" for _ in range(asked.problems)]
    prompts = [problem for problem in problems for _ in range(asked.samples)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoint(folder / "model")
        runs: dict[str, list[tuple[float, float, int]]] = {"vllm": [], "transformers": []}
        for _ in range(asked.repeats):
            for backend, found in runs.items():
                found.append(one(backend, folder / "model", prompts, folder / f"{backend}.log"))
    print(f"{len(prompts)} completions of at most {SAMPLING['max_tokens']} tokens, medians of {asked.repeats}:\n")
    print("| backend | start, s | generate, s | completions/s | with the start | tokens/s |")
    print("|---|---|---|---|---|---|")
    for backend, found in runs.items():
        start, seconds, tokens = (statistics.median(column) for column in zip(*found, strict=True))
        print(
            f"| {backend} | {start:.1f} | {seconds:.1f} | {len(prompts) / seconds:.0f} | "
            f"{len(prompts) / (start + seconds):.0f} | {tokens / seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
