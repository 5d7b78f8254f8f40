"""A training that asks neither vLLM nor MLflow does not wait for either to be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.builders import ROOT

CODE = """
import sys
from relex.stages.train.trl_import import importing_trl
import transformers.integrations, importlib
with importing_trl(vllm=False):
    import relex.stages.train.process
print([name for name in ("vllm", "mlflow") if name in sys.modules])
import relex.stages.train.trainer
print(transformers.integrations.is_mlflow_available(), importlib.import_module("trl.import_utils").is_vllm_available())
"""


@pytest.mark.real
def test_trl_is_imported_without_what_no_training_here_asks_and_nothing_stays_hidden() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "True True"]
