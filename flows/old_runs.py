"""Prefect's memory of old nights: flow runs beyond what `retention.nights` keeps, with their tasks and logs.

Only in the database that this project's own server keeps in .prefect/. A server that PREFECT_API_URL names is its
operator's, who has Prefect's own settings for it (PREFECT_SERVER_SERVICES_DB_VACUUM_...).
"""

from __future__ import annotations

import time
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, LogFilter
from prefect.client.schemas.filters import LogFilterFlowRunId as OfRuns
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort

_PAGE = 200
_LOGS_SECONDS = 30.0  # the server removes a run's logs after it has answered


def forget(keep: int) -> int:
    """Remove every ended flow run but the newest `keep`, with all they logged; how many went."""
    ended = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))))
    with get_client(sync_client=True) as client:
        gone: list[UUID] = []
        while True:  # what is removed makes room for the next ones at the same place
            runs = client.read_flow_runs(
                flow_run_filter=ended, sort=FlowRunSort.START_TIME_DESC, limit=_PAGE, offset=keep
            )
            if not runs:
                break
            for run in runs:
                client.delete_flow_run(run.id)
                gone.append(run.id)
        _wait_for_logs(client, gone)
    return len(gone)


def _wait_for_logs(client: SyncPrefectClient, gone: list[UUID]) -> None:
    deadline = time.monotonic() + _LOGS_SECONDS
    while gone and time.monotonic() < deadline:
        if not client.read_logs(LogFilter(flow_run_id=OfRuns(any_=gone[-_PAGE:])), limit=1):
            return
        time.sleep(0.1)
