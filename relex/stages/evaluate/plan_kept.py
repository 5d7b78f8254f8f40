"""The plan of a proof that minutes limit, kept while it runs: a run that was killed goes on with the plan it had,
though the machine has since been measured anew."""

from __future__ import annotations

from typing import Any

from relex.core.atomic import read_json, write_json
from relex.core.digest import json_sha256
from relex.core.errors import InputError
from relex.core.workspace import STATE
from relex.proof.plan import Plan

FILE = STATE / "plan.json"


def key(*facts: Any) -> str:
    """Of what a plan is for."""
    return json_sha256(list(facts))


def read(name: str) -> Plan | None:
    """The plan that was made for this; None where none was, or it cannot be read."""
    try:
        kept = read_json(FILE)
        return Plan.read(kept["plan"]) if kept["key"] == name else None
    except (InputError, KeyError, TypeError, ValueError):
        return None


def write(name: str, plan: Plan) -> None:
    """Keep a plan, in place of any other."""
    write_json(FILE, {"key": name, "plan": plan.facts()})
