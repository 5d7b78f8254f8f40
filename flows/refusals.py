"""A user's error in Prefect's log: what the command said, once, without Prefect's tracebacks and repetitions of it."""

from __future__ import annotations

import logging

from relex.core.errors import InputError, RelexError
from relex.params.redact import redact

_LOGGERS = ("prefect.task_runs", "prefect.flow_runs")
_FINISHED = "Finished in state Failed("


class Refused(InputError):
    """A command of a flow ended with exit code 2. What it said stands in the log already.

    command: in words, without secrets.
    """

    def __init__(self, said: str, command: str = ""):  # Prefect makes exceptions again from their text alone
        super().__init__(said)
        self.command = command


class _Once(logging.Filter):
    """Prefect logs an exception of a task and again of its flow, each with a traceback and once more in the state."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Refused):
            return False
        if isinstance(error, RelexError):
            record.msg, record.args, record.exc_info = redact(error), (), None
        elif (text := record.getMessage()).startswith(_FINISHED) and f" {Refused.__name__}: " in text:
            record.msg, record.args = "Finished in state Failed", ()
        return True


_ONCE = _Once()


def said_once() -> None:
    """From now on, in this process."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_ONCE)  # of the same filter a logger takes one
