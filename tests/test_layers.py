"""Who may import what: each big part is behind the modules that are named for it."""

from __future__ import annotations

import re

import grimp
import pytest

GRAPH = grimp.build_graph("relex", "flows", include_external_packages=True, cache_dir=None)

ALLOWED = {
    "vllm": r"relex\.engine",
    "trl": r"relex\.(train_config|trainer)",
    "mlflow": r"relex\.registry(_\w+)?",
    "ray": r"relex\.on_ray",
}


@pytest.mark.parametrize("package", ALLOWED)
def test_only_the_modules_named_for_it_import_it(package):
    importers = GRAPH.find_modules_that_directly_import(package) if package in GRAPH.modules else set()
    assert {name for name in importers if not re.fullmatch(ALLOWED[package], name)} == set()


def test_relex_never_imports_prefect_nor_the_flows_directly_or_through_another():
    for forbidden in ("prefect", "flows"):
        assert not [
            name
            for name in GRAPH.modules
            if name.startswith("relex") and GRAPH.chain_exists(name, forbidden, as_packages=False)
        ]
