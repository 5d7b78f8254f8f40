"""The scheduled night: preflight, then hops (stages -> register -> promote -> save -> ledger) within its budget, prune.

    python -m flows.nightly                       one night, now
    python -m flows.nightly --serve "0 1 * * *"   every night at one, until stopped

A flow never computes: it runs the stages that DVC owns and the registry's commands, and says what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled

from flows.ahead import begun_ahead
from flows.cancelled import NightCancelled, cancellable
from flows.command import run_command_line
from flows.commit import forgotten
from flows.dvc_command import forked_where_possible
from flows.forkserver import fork_server
from flows.killed_dvc import mend
from flows.old_runs import forget
from flows.parent import VARIABLE, end_with
from flows.process import environment
from flows.server import is_ours, page, prefect_server
from flows.stages import STAGES, run_action, run_stage, stage_command
from flows.summary import summary
from flows.supervise import supervised
from relex.core.atomic import remove_leftovers
from relex.core.errors import InputError, InputErrors, StageFailed
from relex.core.night_lock import night_lock
from relex.core.workspace import PARAMS, STATE, WRITTEN
from relex.nights.present import unfinished
from relex.params.load import load
from relex.params.preflight import faults
from relex.params.redact import redact
from relex.params.revisions import moving
from relex.stages.train.params import Train

DEPLOYMENT = "nightly/nightly"  # of a served schedule: the flow's name, and its own
BEGIN = ("relex", "hop", "--begin", "--in-night")
_READY = ContextVar("ready", default=False)  # whether whoever started this night has made everything ready for it


@flow(name="nightly", log_prints=True)
def nightly() -> int | State[Any]:
    """Run one night; how many hops it finished, or the state `Cancelled`.

    Busy (exit code 2) while another night runs in this folder.
    """
    if server := os.environ.get(VARIABLE):
        end_with(int(server))
    try:
        with cancellable():
            return night()
    except NightCancelled:
        return Cancelled(message="cancelled on Prefect's page; the next night goes on from what is complete")


def night() -> int:
    """The night itself, in a flow run; how many hops it finished: those of an unfinished night, or of the next one."""
    with ready(get_run_logger().info) if not _READY.get() else contextlib.nullcontext():
        if forgotten():
            run_action("commit", [sys.executable, "-m", "flows.commit"])
        run_action("begin", BEGIN)
        ran = 0
        while unfinished(load(PARAMS)):
            hop()
            ran += 1
        if ran:
            prune()
    print(summary(ran))
    return ran


@contextlib.contextmanager
def ready(say: Callable[[str], object]) -> Iterator[None]:
    """What the body, a night, needs first: sound parameters, the folder to itself and cleared of what killed commands
    left, a fork server. say: takes what was mended. Busy while another night runs in this folder."""
    preflight()
    with night_lock():
        for said in clear():
            say(said)
        before = _READY.set(True)
        try:
            with fork_server(load(PARAMS)):
                yield
        finally:
            _READY.reset(before)
            sweep()  # once the server has ended, and all that it has forked with it


def first_commands() -> Iterator[Sequence[str]]:
    """What a night begins with, and what needs no Prefect server: until its training."""
    if forgotten():
        return  # its task comes first
    yield BEGIN
    if unfinished(load(PARAMS)):
        yield from map(stage_command, STAGES[: STAGES.index("train")])


def hop() -> None:
    """The present hop: its stages, the registry, its line in the ledger; then hop.json is the next one, or the night
    has ended."""
    log = get_run_logger()
    ran = dict[str, bool]()
    for name in STAGES:
        with followed() if name == "train" and will_train(ran) else contextlib.nullcontext():
            ran[name] = run_stage(name)
    for name, did in ran.items():
        log.info("%-12s %s", name, "ran" if did else "up to date")
    run_action("register", ["relex", "register"])
    run_action("promote", ["relex", "promote"])
    run_action("save", [sys.executable, "-m", "flows.save"])
    run_action("end", ["relex", "hop", "--end", "--in-night"])
    run_action("commit", [sys.executable, "-m", "flows.commit"])


def prune() -> None:
    """Let go of what the section `retention` does not keep; nothing where it sets no limit."""
    limits = load(PARAMS).retention
    if not limits.limits:
        return
    run_action("prune", ["relex", "prune", "--yes", "--in-night"])
    if limits.nights is not None and is_ours():
        forget(limits.nights)


def preflight() -> None:
    """InputErrors naming everything that would stop this night, before any work; what may change it is told."""
    params, errors = faults(PARAMS)
    if errors or params is None:
        raise InputErrors(errors)
    for said in moving(params):
        print(said)


def clear() -> list[str]:
    """Remove what killed commands left half written in this folder; a sentence for what had to be mended."""
    sweep()
    return mend()


def sweep() -> None:
    """Remove what killed commands were writing in this folder: those of an earlier night, or of this one at its end."""
    for folder in WRITTEN:
        remove_leftovers(folder)
    remove_leftovers(STATE, below=True)


@contextlib.contextmanager
def followed() -> Iterator[None]:
    """Send the training's steps to MLflow while the body runs; the training never waits for it."""
    STATE.mkdir(exist_ok=True)
    command = ["relex", "live"]
    with open(STATE / "live.log", "wb") as log, supervised(command, environment=environment(), output=log):
        yield


def will_train(ran: Mapping[str, bool]) -> bool:
    """Whether there will be steps to follow, as far as it is known. ran: whether the stages before it had to."""
    return isinstance(load(PARAMS).train, Train) and (any(ran.values()) or not nothing_changed())


def nothing_changed() -> bool:
    """Whether DVC finds every stage up to date; StageFailed when it did not get to say.

    A status that was killed is no news: taken for a change, it would let the night meet the champion that it made.
    """
    with supervised(forked_where_possible(["dvc", "status", "--quiet"]), environment=environment()) as status:
        code = status.wait()
    if code not in (0, 1):
        raise StageFailed(f"dvc status ended with exit code {code}")
    return code == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.nightly",
        description="Run the night described by params.yaml in this folder, or serve it on a schedule.",
        epilog="With PREFECT_API_URL set, the runs are reported to that server; otherwise one is started for as long "
        "as it is needed, its database in .prefect/, its port PREFECT_SERVER_API_PORT (default: 4200, or a free one). "
        "Its commands and engines are forked from a server that imports torch, transformers, vLLM and MLflow once a "
        "night; where a GPU is, or with RELEX_FORKSERVER set to nothing, each imports them itself. "
        "Exit codes: 0 done, 2 bad input or another night is running, 1 anything else.",
    )
    parser.add_argument("--serve", metavar="CRON", help='a cron schedule such as "0 1 * * *"')
    parser.add_argument("--timezone", default="UTC", help="of the schedule (default: UTC)")
    return run_command_line(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    if options.serve is not None:
        check_schedule(options.serve, options.timezone)
        preflight()
        with night_lock():
            pass  # tell a second night at once, before a server is started for it
        with prefect_server() as url:
            print(how_to_ask(url), flush=True)
            serve(options.serve, options.timezone)
        return
    # Prefect's server, the fork server and the first commands start side by side.
    with ready(print), begun_ahead(first_commands()), prefect_server() as url:
        print(f"Prefect       {page(url)}, where this night can be cancelled", flush=True)
        try:
            nightly()
        except CancelledRun as cancelled:
            raise StageFailed(f"the night was {cancelled}") from None


def how_to_ask(url: str) -> str:
    """What to do about a served schedule: the page, and the whole command for a night between two firings."""
    prefect = shlex.quote(str(Path(sys.executable).with_name("prefect")))
    return (
        f"serving nights until this is stopped; {page(url)} shows them. A night now, from anywhere:\n\n"
        f"  PREFECT_API_URL={shlex.quote(redact(url))} {prefect} deployment run {DEPLOYMENT}\n"
    )


def check_schedule(cron: str, timezone: str) -> None:
    """InputError for what is no cron line or no time zone: before a server is started for it."""
    from prefect.client.schemas.schedules import CronSchedule

    for flag, given, cron_of, expected in (
        ("--serve", cron, {"cron": cron}, 'a cron line of five fields, such as "0 1 * * *"'),
        ("--timezone", timezone, {"cron": "0 1 * * *", "timezone": timezone}, "a time zone such as Europe/Berlin"),
    ):
        try:
            CronSchedule(**cron_of)
        except ValueError:
            raise InputError(
                "not a schedule", where=flag, expected=expected, found=repr(given[:80]), todo="correct it"
            ) from None


def serve(cron: str, timezone: str) -> None:
    """Run a night at every firing of `cron`, one at a time, until stopped."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron

    os.environ[VARIABLE] = str(os.getpid())
    nightly.serve(
        name=DEPLOYMENT.partition("/")[2],
        schedule=Cron(cron, timezone=timezone),
        # A night that overruns its successor's hour makes the successor wait its turn no longer than it takes.
        global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        pause_on_shutdown=False,
        print_starting_message=False,  # it leaves the server's address out
    )


if __name__ == "__main__":
    # Under its import name, so that Prefect's runs of a served flow find it where the deployment says.
    from flows.nightly import main as run

    sys.exit(run())
