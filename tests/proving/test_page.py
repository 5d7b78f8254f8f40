"""The page of a proof, made of files that a night's builders wrote."""

from __future__ import annotations

import json
from pathlib import Path

from relex.proving.folder import ProofFolder
from relex.proving.options import Files
from relex.proving.prove import write_page
from tests.builders.report_nights import write_night

ACCURACY = {"base": 0.30, "observed": 0.36, "step_000020": 0.55, "step_000040": 0.80}
VERL = {"observed": "global_step_10", "step_000020": "global_step_20", "step_000040": "global_step_40"}


def test_checkpoints_of_verl_are_called_by_their_steps_folder(tmp_path: Path) -> None:
    night, proof = write_night(tmp_path / "night", ACCURACY), ProofFolder(tmp_path / "proof")
    proof.timings.mkdir(parents=True)
    evaluation = json.loads((night / "metrics/evaluate.json").read_text())
    for name, facts in evaluation["models"].items():
        facts["folder"] = f"/data/run/{VERL[name]}/actor/huggingface" if name in VERL else "/data/qwen"
    proof.evaluation.write_text(json.dumps(evaluation))
    (night / "metrics/decision.json").rename(proof.decision)
    (night / "evaluation/rows").rename(proof.rows)
    write_page(proof, Files(suite=Path("suite.jsonl")))
    page = proof.report.read_text()
    for name in ("qwen", *VERL.values()):
        assert f"<code>{name}: model " in page
    assert "huggingface" not in page
