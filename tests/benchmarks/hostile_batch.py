"""What hostile completions among honest ones cost a batch: wall seconds, and what was counted.

python -m tests.benchmarks.hostile_batch [--batch 512] [--hostile 64]
"""

from __future__ import annotations

import argparse
import time

from relex.rewards.score import Answered, score_all
from tests import hostile

# One of each way to make a parser run long that was tried on it.
MATHEMATICS = (
    "\\boxed{" + "(" * 12_000 + "}",
    "\\boxed{" + "\\frac{" * 2_000 + "1" + "}{2}" * 2_000 + "}",
    "\\boxed{9^{9^{9^{9}}}}",
    "\\boxed{10**10**10}",
    "\\boxed{10^{10^{10}}!}",
    "\\boxed{" + ",".join(map(str, range(3_000))) + "}",
    "\\boxed{" + "x+" * 5_000 + "x}",
    "\\boxed{(x+y+z+w)^{900}}",
    "\\boxed{\\sum_{k=1}^{10^{12}} \\frac{1}{k^2+1}}",
    "\\boxed{\\int_0^1 \\sin(x^{x^x}) e^{\\cos(x)^x} dx}",
    "the answer is " * 1_500,
    "answer " + "1+" * 9_000,
    "$" * 20_000,
    "\\boxed{" + "9" * 19_000 + "!}",
    "\\boxed{x^{7}+y^{5}-\\sqrt{x+\\sqrt{y+\\sqrt{x+\\sqrt{y+\\sqrt{x+1}}}}} = 1}",
    "\\boxed{\\binom{10^{9}}{5 \\cdot 10^{8}}}",
)
EXPRESSIONS = (
    "(" * 12_000,
    "9**9**9**9",
    "10**10**10",
    "[" * 9_000 + "]" * 9_000,
    "+".join(["1"] * 9_000),
    "(x+y+z+w)**900",
    "factorial(10**9)",
    "binomial(10**9, 5*10**8)",
    "1" * 20_000,
    "<answer>" * 2_500,
    "a" * 20_000,
    "-" * 15_000 + "1",
    "1" + "**2" * 6_000,
    "sqrt(" * 3_000 + "2" + ")" * 3_000,
    "1<<10**10",
    "gamma(10**8)",
)


def batches(size: int, bad: int) -> dict[str, list[Answered]]:
    """For each scorer `size` completions of which `bad` are hostile, spread evenly."""
    item = hostile.items()["countdown"]
    entry = {"task": "countdown", "threshold": 1.0, "item": item}
    right = item["metadata"]["expression"]
    every = size // bad if bad else size + 1
    made = {
        "math-verify": [Answered("math-verify", f"\\boxed{{\\frac{{{place}}}{{2}}}}", "7/2") for place in range(size)],
        "reasoning-gym": [Answered("reasoning-gym", f"{right} + {place}", "-", entry) for place in range(size)],
    }
    for number in range(bad):
        place = number * every
        made["math-verify"][place] = Answered("math-verify", MATHEMATICS[number % len(MATHEMATICS)], "5")
        text = EXPRESSIONS[number % len(EXPRESSIONS)]
        made["reasoning-gym"][place] = Answered("reasoning-gym", text, "-", entry)
    return made


def main() -> None:
    """Print one line a scorer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--hostile", type=int, default=64)
    given = parser.parse_args()
    for name, batch in batches(given.batch, given.hostile).items():
        score_all(batches(8, 0)[name])  # every process that forks servers starts
        begin = time.perf_counter()
        scores = score_all(batch)
        seconds = time.perf_counter() - begin
        counted = sum(one.timed_out for one in scores)
        print(f"{name}: {given.hostile} of {given.batch} hostile: {seconds:.1f} s, {counted} counted as timed out")


if __name__ == "__main__":
    main()
