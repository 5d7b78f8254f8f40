"""The commands that README.md, docs/ and infra/README.md show, and where each of them is run."""

from __future__ import annotations

import re

from tests.builders import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "infra/README.md", *sorted((ROOT / "docs").glob("*.md")))
_TOOLS = r"make|dvc|mlflow|docker|kubectl|prefect|\.venv/bin/ray"
_STARTS = re.compile(rf"(relex |python -m|\.venv/bin/python -m|{_TOOLS}) ?(?![/:|.])")


def commands() -> list[tuple[str, str]]:
    """(page, command) of every indented or fenced line that begins like one, without its remark."""
    found = []
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if not line.startswith("    "):
                continue
            text = re.split(r"\s{2,}#|\s#\s", line.strip())[0].strip()
            for part in re.split(r"\s*(?:;|&&)\s*", text):
                if _STARTS.match(part):
                    found.append((page.relative_to(ROOT).as_posix(), part))
    return list(dict.fromkeys(found))


# Run as they stand in a project after a night: tests/end_to_end/test_night.py.
AFTER_A_NIGHT = (
    "relex --help",
    "relex doctor",
    "relex doctor --params infra/profiles/smollm2-135m.yaml",
    "relex doctor --params infra/profiles/qwen3-8b-base.yaml --gpus 8x80GiB",
    "relex ledger",
    "relex hop",
    "relex profile",
    "relex history",
    "relex lineage sort-digits@champion",
    "relex relocate",
    "relex prune",
    "dvc metrics show",
    "dvc plots show",
    "dvc repro",
    "python -m flows.study --help",
)
# Run one after the other, with the names of a small run and few rows: tests/proving/test_pages.py.
OWN_CHECKPOINTS = (
    "relex import RUN --base BASE --out window",
    "relex materialize --trajectory window --base BASE --step 45 --out last/step_45",
    "relex diagnose --trajectory window --base BASE --out diagnosis",
    "relex extrapolate --trajectory window --base BASE --target 500 --out predicted",
    "relex prove --base BASE --last RUN/checkpoint-45 --candidate predicted/step_000500 --suite problems.jsonl "
    "--out proof",
    "relex register --from proof --model NAME",
    "relex promote NAME/1",
)
# Long, lasting, for a GPU, or changing what is there: the test that runs the same thing, or its parts, in miniature.
ELSEWHERE = {
    "make nightly": "tests/end_to_end/test_night.py::test_a_night_prints_what_it_did_and_the_decision_in_the_metrics",
    "make test": "tests/test_makefile.py::test_after_the_folder_moved_make_mends_the_environment",
    "make check": "tests/test_makefile.py::test_after_the_folder_moved_make_mends_the_environment",
    "make nights": "tests/end_to_end/test_night.py::test_the_table_of_nights_fits_a_screen",
    "make bench": "tests/benchmarks/test_benchmarks.py::test_",
    "mlflow ui": "tests/registry/test_relocate.py::test_a_moved_folder_promotes_rolls_back_fetches_verifies_and_serves",
    "mlflow server": "tests/registry/test_server.py::test_",
    "python -m flows.nightly --serve": "tests/end_to_end/test_schedule.py::test_a_served_schedule_fires_and_the_night",
    "python -m flows.study --campaign": "tests/flows/study/test_campaign.py::test_",
    "python -m flows.study --portfolio": "tests/flows/study/test_portfolio.py::test_",
    "python -m flows.study --regimes": "tests/flows/study/test_regimes.py::test_",
    "python -m flows.study --seeds": "tests/flows/study/test_seeds.py::test_",
    "relex new": "tests/params/test_new_project.py::test_a_checkout_with_parameters_that_are_sound",
    "relex profile smollm2-135m": "tests/params/test_profiles.py::test_a_profile_replaces_what_git_or_a_profile_holds",
    "relex import RUN --out window": "tests/window/test_adapters.py::test_candidates_of_adapters_are_whole_merged",
    "relex serve": "tests/registry/test_serve.py::test_a_registered_champion_is_served_by_vllm_and_answers",
    "relex rollback": "tests/proving/test_register.py::test_a_proof_is_registered_read_and_promoted_without_a_project",
    "relex prune --yes": "tests/retention/test_prune.py::test_a_prune_killed_anywhere_leaves_nights_that_are_whole",
    "relex problems": "tests/end_to_end/test_night.py::test_dvc_repro_alone_gives_the_same_artifacts_as_the_flow",
    "relex base": "tests/end_to_end/test_night.py::test_dvc_repro_alone_gives_the_same_artifacts_as_the_flow",
    "relex train": "tests/end_to_end/test_night.py::test_dvc_repro_alone_gives_the_same_artifacts_as_the_flow",
    ".venv/bin/python -m pytest -m gpu": "tests/window/test_stream.py::test_",
    ".venv/bin/python -m pytest": "tests/window/test_stream.py::test_blocks_cover_a_tensor_once",
    ".venv/bin/python -m tests.endurance.campaign": "tests/endurance/test_campaign.py::test_the_command_says",
    ".venv/bin/python -m tests.endurance.served": "tests/endurance/test_served.py::test_the_command_says",
    ".venv/bin/python -m tests.endurance.kills": "tests/end_to_end/test_night.py::test_a_night_of_which_five_processes",
    "make setup": "tests/test_makefile.py::test_what_is_installed_fits_the_machine_unless_it_is_asked_otherwise",
    "relex profile qwen2.5-math-1.5b": "tests/params/test_profiles.py::test_a_profile_replaces_what_git_or_a_profile",
    "relex doctor --params params.yaml --gpus": "tests/params/test_ledger.py::test_every_profile_fits_the_machine_that",
    "relex extrapolate --trajectory /shared": "tests/stages/extrapolate/test_on_ray.py::test_ray_and_one_process_write",
    ".venv/bin/ray": "tests/stages/extrapolate/test_on_ray.py::test_ray_and_one_process_write_identical_files",
    "dvc remote add": "tests/registry/test_dvc.py::test_a_reference_comes_from_the_dvc_remote_when_the_cache_is_gone",
    "docker build": "tests/test_infra.py::test_every_dockerfile_copies_files_that_exist",
    "docker push": "tests/test_infra.py::test_every_dockerfile_copies_files_that_exist",
    "docker compose": "tests/test_infra.py::test_a_profile_starts_one_kind_of_worker_on_the_pool",
    "kubectl": "tests/test_infra_kubernetes.py::test_what_the_page_asks_of_kubectl_is_there",
    "prefect --no-prompt deploy": "tests/test_infra_kubernetes.py::test_the_deployments_are_those_of_the_process_pool",
    "prefect deployment run": "tests/end_to_end/test_schedule.py::test_a_deployment_to_a_process_work_pool_runs_and_a",
    ".venv/bin/python -m infra.try_dockerfile": "tests/test_dockerfile.py::test_every_dockerfile_of_this_project_is",
    ".venv/bin/python -m tests.benchmarks.forming": "tests/benchmarks/test_benchmarks.py::test_the_forming_benchmark",
    ".venv/bin/python -m tests.benchmarks.memory": "tests/benchmarks/test_benchmarks.py::test_the_memory_benchmark",
    ".venv/bin/python -m tests.benchmarks": "tests/benchmarks/test_benchmarks.py::test_",
}
