"""A night that was started by hand ends when somebody cancels it on Prefect's page.

The runs of a schedule or a work pool are ended by Prefect's own runner. Of any other it only writes down that it is
to be cancelled: the run has to look.
"""

from __future__ import annotations

import contextlib
import contextvars
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

_POLL_SECONDS = 2.0
_SIGNAL = signal.SIGUSR1  # not SIGINT, which a shell has its background jobs ignore


class NightCancelled(BaseException):
    """Somebody cancelled the flow run. No Exception: whoever retries or reports failures lets it pass."""


@contextlib.contextmanager
def cancellable() -> Iterator[None]:
    """Raise NightCancelled in the body, which runs on the main thread, soon after its flow run is cancelled.

    Nothing where Prefect's runner does it: in a flow run of a deployment.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    before = signal.signal(_SIGNAL, _raise)
    # With this thread's context: it holds the address of the server.
    arguments = (_watch, run.id, over)
    watcher = threading.Thread(target=contextvars.copy_context().run, args=arguments, name="cancelled", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(_SIGNAL, before)


def _raise(_signal: int, _frame: FrameType | None) -> None:
    raise NightCancelled


def _watch(run: UUID, over: threading.Event) -> None:
    """Ask for the run's state until the body is over; interrupt the main thread once when it is cancelled."""
    with get_client(sync_client=True) as client:
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(PrefectException, httpx.HTTPError):  # a server that is away says nothing
                state = client.read_flow_run(run).state
                if state and state.type in (StateType.CANCELLING, StateType.CANCELLED) and not over.is_set():
                    main = threading.main_thread().ident
                    assert main is not None  # it has started
                    signal.pthread_kill(main, _SIGNAL)
                    return
