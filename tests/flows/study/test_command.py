"""The studies' command line: what a study does not read is refused before anything runs."""

from __future__ import annotations

import pytest

from flows.study.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--only committed", "--only"),
        ("--adapters 0", "--adapters"),
        ("--nights 2", "--nights"),
        ("--regimes --true-steps 90", "--true-steps"),
        ("--portfolio --window 8", "--window"),
        ("--campaign --bent 0", "--bent"),
        ("--campaign --portfolio", "--campaign --portfolio"),
    ],
)
def test_an_option_that_the_study_does_not_read_is_refused(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"relex: {said}: ")
