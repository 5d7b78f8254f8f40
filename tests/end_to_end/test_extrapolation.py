"""The commands as a new user runs them, on foreign checkpoints, and the result in the programs that load it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from relex.cli import app as cli
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints

pytestmark = pytest.mark.real

STEPS = [5, 10, 15, 20, 30]


def relex(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the console script; assert its exit code."""
    command = [sys.executable, "-m", "relex.cli", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> tuple[Path, Path]:
    """(source, base): sharded bfloat16 checkpoints as another trainer saves them."""
    folder = tmp_path_factory.mktemp("foreign")
    model = tiny_llama(vocab_size=512, hidden_size=64, intermediate_size=128, num_attention_heads=2)
    base = save(model, folder / "base", dtype=torch.bfloat16, shard="50KB")
    path = line_with_noise(rate=2e-4, noise=2e-4)
    source = write_checkpoints(folder / "run", model, STEPS, path, dtype=torch.bfloat16, shard="50KB")
    return source, base


@pytest.mark.slow
def test_import_verify_diagnose_extrapolate_materialize(foreign, tmp_path):
    source, base = foreign
    window = tmp_path / "window"
    assert "5 steps (5..30) by reference" in relex("import", source, "--base", base, "--out", window).stdout
    assert "sound" in relex("verify", window).stdout
    given = ("--trajectory", window, "--base", base)
    assert "held-out skill" in relex("diagnose", *given, "--out", tmp_path / "diagnosis").stdout
    assert json.loads((tmp_path / "diagnosis" / "diagnose.json").read_text())["trajectory"]["steps"] == STEPS
    relex("extrapolate", *given, "--target", 60, "--target", 300, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fit.json", "step_000060", "step_000300"]
    relex("materialize", *given, "--step", 20, "--out", tmp_path / "observed")
    wanted = AutoModelForCausalLM.from_pretrained(source / "checkpoint-20").state_dict()
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "observed").state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)

    copied = tmp_path / "copied"
    relex("import", source, "--base", base, "--out", copied, "--copy", "--codec", "float16")
    relex("materialize", "--trajectory", copied, "--base", base, "--step", 20, "--out", tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again").state_dict()
    for name, value in wanted.items():
        assert (again[name].float() - value.float()).abs().max() <= 2.0**-11 * value.float().abs().max()


def test_mistakes_end_with_code_2_and_one_message(foreign, tmp_path, monkeypatch, capsys):
    source, base = foreign
    window = tmp_path / "window"

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["relex", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())  # out of typer's box

    assert run("import", source, "--base", base, "--out", window)[0] == 0
    given = ("--trajectory", window, "--base", base, "--out", tmp_path / "out")
    for arguments, said in (
        (("extrapolate", *given, "--target", 30), "not beyond the window"),
        (("extrapolate", *given, "--target", 90, "--rank", 9), "above the window"),
        (("extrapolate", *given, "--target", 90, "--rank", "many"), "--rank"),
        (("extrapolate", *given), "go together"),
        (("import", source, "--base", base, "--out", window), "already exists"),
        (("import", tmp_path / "gone", "--base", base, "--out", tmp_path / "x"), "not a folder"),
        (("materialize", *given, "--step", 7), "not an observed step"),
        (("verify", tmp_path), "relex import makes one"),
    ):
        code, message = run(*arguments)
        assert code == 2, message
        assert said in message
        assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


_GENERATE = """
import sys
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    llm = LLM(sys.argv[1], skip_tokenizer_init=True, dtype="float32", max_model_len=32, enable_chunked_prefill=False,
              max_num_batched_tokens=8192, enforce_eager=True)
    params = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True, detokenize=False)
    found = llm.generate([{"prompt_token_ids": [3, 4, 5]}], params)
    print("tokens", list(found[0].outputs[0].token_ids))
"""


@pytest.mark.slow
def test_vllm_generates_from_the_result_as_transformers_does(foreign, tmp_path):
    source, base = foreign
    relex("import", source, "--base", base, "--out", tmp_path / "window")
    given = ("--trajectory", tmp_path / "window", "--base", base)
    relex("extrapolate", *given, "--target", 90, "--out", tmp_path / "out")
    checkpoint = tmp_path / "out" / "step_000090"
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.no_grad():
        wanted = model.generate(
            torch.tensor([[3, 4, 5]]), max_new_tokens=8, min_new_tokens=8, do_sample=False, eos_token_id=None
        )
    script = tmp_path / "generate.py"
    script.write_text(_GENERATE)
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    done = subprocess.run(
        [sys.executable, str(script), str(checkpoint)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env=environment,
    )
    assert f"tokens {wanted[0, 3:].tolist()}" in done.stdout, done.stdout[-500:] + done.stderr[-1500:]
