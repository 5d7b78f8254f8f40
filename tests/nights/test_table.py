"""`relex ledger`: the lines as a table and as JSON."""

from __future__ import annotations

import json

from relex.core.hop import Hop
from relex.ledger.lines import Ledger
from relex.nights.table import as_json, as_table
from tests.nights.rows import hop_row, model, night_row


def test_the_table_has_a_line_a_hop_and_a_line_a_night() -> None:
    assert "no hop" in as_table(Ledger([]))
    found = Ledger([hop_row(Hop(), accepted=True, champion=model(1)), night_row(1, promoted=True)])
    head, first, night = as_table(found).splitlines()
    assert head.split()[:4] == ["night", "hop", "mode", "from"]
    for said in ("source", "v1", "0.700 [0.600, 0.800]", "promote-candidate, step 600"):
        assert said in first
    assert "promoted: its hops are spent" in night
    assert [row["kind"] for row in json.loads(as_json(found))] == ["hop", "night"]
