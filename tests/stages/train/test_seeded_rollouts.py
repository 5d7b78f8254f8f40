"""Rollouts by vLLM follow (seed, step, place in the whole batch): not the process's rank, not what was asked before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relex.policy.seeded_sampling import Place
from relex.stages.base.embedded import make_tokenizer
from relex.stages.train.seeded_rollouts import seed_server
from tests.builders.project import ROOT
from tests.builders.windows import save, tiny_llama

# vLLM's own engine in a process of its own, as TRL calls it in colocate mode: one SamplingParams for all rows.
PROGRAM = """
import json, os, sys
from relex.policy.seeded_sampling import Place
from relex.stages.evaluate.engine.vllm_backend import VllmBackend
from relex.stages.train.seeded_rollouts import seed_engine
settings = {"model": sys.argv[1], "dtype": "float32", "max_model_len": 48, "tensor_parallel": 1, "cpu_kv_cache_gib": 1}
backend = VllmBackend(settings)
llm, at = backend._llm, {}
draw = llm.generate
how = backend._vllm.SamplingParams(n=1, temperature=1.0, max_tokens=8, logprobs=0)
prompts = [{"prompt_token_ids": ids} for ids in ([5, 6], [5, 6], [7], [7])]

def rollouts(seed, step, first, rows):
    llm.generate = draw
    seed_engine(llm, seed, lambda count: Place(step, first, len(prompts)))
    found = llm.generate(prompts[first : first + rows], sampling_params=how, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in found]

found = {
    "whole": rollouts(0, 1, 0, 4),
    "halves": rollouts(0, 1, 0, 2) + rollouts(0, 1, 2, 2),
    "again": rollouts(0, 1, 0, 4),
    "step": rollouts(0, 2, 0, 4),
    "seed": rollouts(1, 1, 0, 4),
}
print("found " + json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.real
@pytest.mark.slow
def test_an_engine_gives_the_same_rows_however_many_processes_share_them(tmp_path: Path) -> None:
    base = save(tiny_llama(hidden_size=64, initializer_range=0.2), tmp_path / "base")
    make_tokenizer().save_pretrained(base)
    command = [sys.executable, "-c", PROGRAM, str(base)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    found = json.loads(line.removeprefix("found "))
    assert found["whole"] == found["halves"] == found["again"]
    assert found["whole"][0] != found["whole"][1]  # rows of one prompt differ
    assert found["whole"] not in (found["step"], found["seed"])


class Client:
    """Plays TRL's client: what it was asked for, and one token a row, its seed."""

    def generate(self, prompts: list[Any], features: Any = None, n: int = 1, **more: Any) -> dict[str, Any]:
        assert features is None
        seed = (more["generation_kwargs"] or {}).get("seed")
        rows = range(n * len(prompts))
        return {
            "prompt_ids": prompts,
            "completion_ids": [[seed] for _ in rows],
            "logprobs": [[[-1.0]] for _ in rows],
            "logprob_token_ids": None,
        }


def test_a_server_is_sent_a_seed_for_every_row_and_its_replies_come_as_of_one_request() -> None:
    def rollouts(seed: int, step: int) -> dict[str, Any]:
        client = Client()
        seed_server(client, seed, lambda rows: Place(step, 0, rows))
        return client.generate(prompts=[[5], [6], [7]], features=None, n=2, temperature=1.0, generation_kwargs={})

    found = rollouts(0, 1)
    assert found["prompt_ids"] == [[5], [6], [7]]
    assert len({tokens[0] for tokens in found["completion_ids"]}) == 6
    assert (len(found["logprobs"]), found["logprob_token_ids"]) == (6, None)
    assert found == rollouts(0, 1)
    assert found["completion_ids"] not in (rollouts(0, 2)["completion_ids"], rollouts(1, 1)["completion_ids"])
