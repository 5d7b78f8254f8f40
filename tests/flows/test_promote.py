"""Promotion and rollback as flow runs of a real Prefect server."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.promote import promote, rollback
from relex.core.errors import InputError
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import versions as registry_versions
from tests.builders.nights import change_params, finish_night, make_project

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_promotion_and_rollback_run_as_flows_and_a_refusal_fails_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    make_project(project)
    monkeypatch.chdir(project)
    params = change_params(project)
    with prefect_test_harness(server_startup_timeout=120):
        first = finish_night(project, 1, champion=None)
        register(params)
        assert promote() == ["promoted: sort-digits version 1 is the champion"]
        finish_night(project, 2, champion=first)
        register(params)
        assert promote(version="2") == ["promoted: sort-digits version 2 is the champion, after version 1"]
        assert rollback("complaints")[0].startswith("rolled back: sort-digits version 1 is the champion")
        with pytest.raises(InputError, match="taken back since"):
            promote(version="2")
    aliases = registry_versions.aliases(registry_client.connect(params))
    assert aliases["champion"] == "1"
