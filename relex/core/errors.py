"""The errors a user can cause, each saying what, where, expected, found and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class RelexError(Exception):
    """Anything this package raises on purpose. Exit code 1 unless a subclass says otherwise."""

    exit_code = 1


class InputError(RelexError):
    """Bad input or parameters: nothing was written under a final name. Exit code 2.

    what: one clause, what is wrong. where: file, tensor, or key path. expected / found: the rule and the value
    that broke it. todo: what the user can do about it. Parts that do not apply stay empty.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = "", expected: object = "", found: object = "", todo: str = ""):
        self.what, self.where, self.expected, self.found, self.todo = what, str(where), str(expected), str(found), todo
        parts = [f"{self.where}: {what}" if self.where else what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.found:
            parts.append(f"found {self.found}")
        if todo:
            parts.append(todo)
        super().__init__("; ".join(parts))


class InputErrors(InputError):
    """Several input errors found in one look, reported together."""

    def __init__(self, errors: Sequence[InputError]):
        self.errors = tuple(errors)
        if len(self.errors) == 1:
            text = str(self.errors[0])
        else:
            text = f"{len(self.errors)} problems:\n" + "\n".join(f"  - {error}" for error in self.errors)
        InputError.__init__(self, text)


class CorruptArtifact(InputError):
    """A file whose bytes are not what its manifest, header or hash says."""


class Busy(InputError):
    """Another process holds what this one needs."""


class StageFailed(RelexError):
    """A stage ended with an error that is not the user's input."""
