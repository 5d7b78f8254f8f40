"""A trajectory published as revisions of a Hugging Face hub repository: one branch step_N per checkpoint."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from tqdm import tqdm

from relex.core.errors import InputError
from relex.trajectory.numbering import LAYOUT

HUB = "hub:"
_WANTED = ["*.safetensors", "*.safetensors.index.json", "config.json", "adapter_config.json"]


def fetch_revisions(source: str) -> list[tuple[int, Path]]:
    """(step, snapshot folder) of every branch step_N of `hub:owner/name`, by their commits, in the order of steps.

    Files go to huggingface_hub's own cache; a revision that is already there is not fetched again. InputError when
    the repository cannot be read or a step has two branches.
    """
    repository = source.removeprefix(HUB)
    try:
        branches = HfApi().list_repo_refs(repository).branches
        found: dict[int, str] = {}
        for branch in branches:
            match = LAYOUT.fullmatch(branch.name)
            if match and int(match[1]) in found:
                raise InputError("a step has two branches", where=source, found=branch.name)
            if match:
                found[int(match[1])] = branch.target_commit
        return [
            (step, Path(snapshot_download(repository, revision=commit, allow_patterns=_WANTED)))
            for step, commit in tqdm(sorted(found.items()), desc="fetch", unit="revision", disable=None)
        ]
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError("the hub repository cannot be read", where=source, found=str(error).splitlines()[0]) from error
