"""What the command lines of flows/ share: arguments in, an exit code out, a user's errors as one message."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from flows.refusals import Refused
from relex.core.errors import RelexError
from relex.params.redact import redact


def run_command_line(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, run: Callable[[argparse.Namespace], None]
) -> int:
    """Parse, run, and say how it ended: 0 done, 2 bad input, 1 anything else that is raised on purpose."""
    options = parser.parse_args(arguments)
    try:
        run(options)
    except Refused as error:
        print(f"relex: `{error.command}` refused: its message stands above", file=sys.stderr)
        return error.exit_code
    except RelexError as error:
        print(f"relex: {redact(error)}", file=sys.stderr)
        return error.exit_code
    return 0
