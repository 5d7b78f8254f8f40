"""By what a checkpoint's folder is called, whatever layout its trainer writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.trajectory.numbering import INNER, naming_folder, step_of_folder


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_an_inner_folder_is_called_by_the_steps_folder_around_it(inner: Path) -> None:
    folder = Path("/data/run/global_step_45")
    assert naming_folder(folder / inner) == naming_folder(folder) == folder
    assert step_of_folder(folder / inner) == 45


def test_any_other_folder_is_called_by_its_own_name() -> None:
    assert naming_folder(Path("/data/actor/my-model")) == Path("/data/actor/my-model")
    assert step_of_folder(Path("/data/actor/my-model")) is None
