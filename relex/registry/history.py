"""history.jsonl: the registry's log of moves as a file under version control, only ever appended to."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from relex.core.atomic import write_text
from relex.core.errors import CorruptArtifact, InputError
from relex.core.workspace import HISTORY
from relex.params.registry import Registered
from relex.registry.store import log
from relex.registry.store.connection import Connection, RegistryUnreachable, connect, exists, registry_errors
from relex.registry.store.versions import CHAMPION, FORCED_TAG, by_number

_TITLE = "Champions, the latest first. Kept by relex from its own log; `relex history` shows all."
_SHOWN = 20


def mirror(connection: Connection) -> None:
    """Append what the registry's log holds and the file lacks, and show the latest moves on the model's own page.

    The file may hold moves of other registries too (a clone that began its own): moves are told apart by their id.
    """
    moved, lines = _moved(connection), read()
    new = _lacking(lines, moved)
    if new:
        new = [line | _made(connection, line["to"]) | {"right": _right(connection, line["run"])} for line in new]
        write_text(HISTORY, "".join(json.dumps(line, sort_keys=True) + "\n" for line in (*lines, *new)))
    if moved:
        _show(connection, moved)
    for slot in log.read(connection) if any(line["forced"] for line in moved) else []:
        if slot.outcome == "done" and slot.move.forced:
            _mark_forced(connection, slot.move)


def _moved(connection: Connection) -> list[dict[str, Any]]:
    """The moves of the registry's own log that were carried out, as lines of the file but for what came of a night."""
    return [_line(slot) for slot in log.read(connection) if slot.outcome == "done"]


def _lacking(lines: list[dict[str, Any]], moved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {line["id"] for line in lines}
    return [line for line in moved if line["id"] not in known]


def _made(connection: Connection, number: str | None) -> dict[str, Any]:
    """Where DVC has the weights of the version that came: they are found by it where the registry is away."""
    version = by_number(connection, number) if number is not None else None
    facts = version.lineage if version is not None else {}
    if "dvc_md5" not in facts:
        return {}
    return {"artifact": {"path": facts["dvc_path"], "md5": facts["dvc_md5"]}}


def _right(connection: Connection, run: str | None) -> dict[str, float]:
    """Share of right samples of the version that came, by suite, as the night's run that made it reported it."""
    from mlflow.exceptions import MlflowException

    try:
        figures = connection.client.get_run(run).data.metrics if run else {}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        figures = {}
    start = "reported/winner/"
    return {name.removeprefix(start): value for name, value in figures.items() if name.startswith(start)}


def _mark_forced(connection: Connection, move: log.Move) -> None:
    """Say on the version itself, in a tag and first on its page, that no decision promoted it. That stays."""
    version = by_number(connection, str(move.after[CHAMPION]))
    if version is None or FORCED_TAG in version.tags:
        return
    text = f"Promoted by force on {move.when} by {move.by}, without a decision that proves it better: {move.why}"
    page = connection.client.get_model_version(version.name, version.number).description or ""
    if text not in page:
        connection.client.update_model_version(version.name, version.number, f"**{text}**\n\n{page}"[:5000])
    connection.client.set_model_version_tag(version.name, version.number, FORCED_TAG, text)


def _show(connection: Connection, moved: list[dict[str, Any]]) -> None:
    """Write the latest moves as the registered model's description, unless someone wrote another there."""
    present = connection.client.get_registered_model(connection.model).description or ""
    rows = [
        f"| {line['when'].replace('T', ' ')} | {line['what']}{', forced' if line['forced'] else ''} "
        f"| {line['from'] or 'none'} | {line['to'] or 'none'} | {line['by']} "
        f"| {textwrap.shorten(line['why'].replace('|', '/'), 160, placeholder=' …')} |"
        for line in reversed(moved[-_SHOWN:])
    ]
    head = ["| when | what | from | to | by | why |", "|---|---|---|---|---|---|"]
    text = "\n".join([_TITLE, "", *head, *rows])
    if present != text and (not present or present.startswith(_TITLE)):
        connection.client.update_registered_model(connection.model, text)


def read() -> list[dict[str, Any]]:
    """The lines of the file, the oldest first; CorruptArtifact names a line that is not one of ours."""
    if not HISTORY.is_file():
        return []
    lines = []
    for number, text in enumerate(HISTORY.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            line["id"], line["when"], line["model"]
        except (ValueError, TypeError, KeyError):
            raise CorruptArtifact("not a line of the history", where=f"{HISTORY}: line {number}") from None
        lines.append(line)
    return lines


def history(params: Registered, at: str | None = None) -> str:
    """The moves of the model as a table, or with `at` who was champion then.

    The registry is asked for moves that the file lacks; where it cannot be reached the file answers alone. Nothing is
    written: whoever moves an alias completes the file.
    """
    moment = _moment(at) if at else ""
    known, note = read(), ""
    try:
        if exists(params):
            with registry_errors(params):
                known += _lacking(known, _moved(connect(params)))
    except RegistryUnreachable as error:
        note = f"\n(from {HISTORY} alone: {error})"
    lines = [line for line in known if line["model"] == params.registry.model]
    if at:
        line = champion_at(lines, params.registry.model, moment)
        if line is None or line["to"] is None:
            return f"{params.registry.model}: no champion at {moment}{note}"
        return f"{params.registry.model}: version {line['to']} was champion at {moment}, since {_told(line)}{note}"
    if not lines:
        return f"{params.registry.model}: no champion so far{note}"
    return "\n".join(_told(line) for line in lines) + note


def _told(line: dict[str, Any]) -> str:
    forced = ", forced" if line["forced"] else ""
    moved = f"{line['what']}: {line['from'] or 'none'} -> {line['to'] or 'none'}"
    return f"{line['when']}  {moved} by {line['by']}{forced}: {line['why']}"


def _moment(text: str) -> str:
    """A date (its last second) or a moment, in UTC, as the history writes it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError("not a date", where="--at", expected="2026-11-23 or 2026-11-23T04:00", found=text) from None
    if len(text) <= 10:
        moment = moment.replace(hour=23, minute=59, second=59)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def champion_at(lines: list[dict[str, Any]], model: str, moment: str) -> dict[str, Any] | None:
    """The last move of `model` at or before `moment` (UTC, ISO 8601), None when there was no champion yet."""
    return next((line for line in reversed(lines) if line["model"] == model and line["when"] <= moment), None)


def _line(slot: log.Slot) -> dict[str, Any]:
    move = asdict(slot.move)
    for private in ("owner", "before", "after"):
        del move[private]
    return {
        "number": slot.number,
        "from": slot.move.before[CHAMPION],
        "to": slot.move.after[CHAMPION],
        **move,
    }
