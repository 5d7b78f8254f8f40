"""Finding versions of the registered model: by number, by alias, by the hash of their weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relex.core.atomic import write_json
from relex.core.errors import InputError
from relex.core.workspace import STATE
from relex.registry.store.connection import Connection
from relex.registry.store.facts import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)
WEIGHTS_TAG = "weights_sha256"

_NAME = re.compile(r"[A-Za-z0-9][\w .-]*")
_MODEL = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>[^@/]+))")


@dataclass(frozen=True)
class Version:
    """One version of a registered model; number is a string of digits (MLflow gives int or str, by the store)."""

    name: str
    number: str
    run_id: str | None
    tags: Mapping[str, str]

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights that were evaluated; InputError for a version registered by other means."""
        if WEIGHTS_TAG not in self.tags:
            raise InputError(
                "registered by other means: nothing says which weights it should hold",
                where=self,
                expected="a version made by `relex register`",
            )
        return self.tags[WEIGHTS_TAG]

    @property
    def lineage(self) -> dict[str, str]:
        """The facts of facts.flat that it was registered with; empty for one registered by other means."""
        try:
            facts = json.loads(self.tags.get(TAG, "{}"))
        except ValueError:
            facts = None
        if not isinstance(facts, dict):
            raise InputError("its lineage is not what `relex register` writes", where=self)
        return facts

    def __str__(self) -> str:
        return f"models:/{self.name}/{self.number}"


@dataclass(frozen=True)
class Reference:
    """models:/NAME@ALIAS or models:/NAME/VERSION; exactly one of alias and version is set."""

    name: str
    alias: str | None
    version: str | None

    def __str__(self) -> str:
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def parse(text: str) -> Reference:
    """`models:/NAME@ALIAS`, `models:/NAME/VERSION`, or either without `models:/`; InputError for anything else."""
    match = _MODEL.fullmatch(text)
    expected = "models:/NAME@ALIAS or models:/NAME/VERSION, such as models:/sort-digits@champion"
    if match is None or not _NAME.fullmatch(match["name"]):
        raise InputError("not the name of a registered model", where=text, expected=expected)
    alias, version = match["alias"], match["version"]
    if alias is not None and (alias.lower() == "latest" or re.fullmatch(r"v\d+", alias, re.IGNORECASE)):
        raise InputError(
            "MLflow reserves this alias", where=text, expected=f"an alias such as {', '.join(ALIASES)}", found=alias
        )
    if version is not None and not re.fullmatch(r"[1-9]\d*", version):
        raise InputError("not a version number", where=text, expected="1, 2, 3, ...", found=version)
    return Reference(match["name"], alias, version)


def find(connection: Connection, reference: Reference) -> Version:
    """The version that a reference names; InputError when the model, alias or version is unknown."""
    found = (
        by_alias(connection, reference.alias, reference.name)
        if reference.alias
        else by_number(connection, str(reference.version), reference.name)
    )
    if found is not None:
        return found
    known = versions(connection, reference.name)
    if not known:
        raise InputError("no such registered model", where=reference, todo="`relex register` makes it")
    aliases = sorted(_aliases(connection, reference.name))
    raise InputError(
        "no such version",
        where=reference,
        found=f"versions {', '.join(v.number for v in known)}; aliases {', '.join(aliases) or 'none'}",
    )


def by_alias(connection: Connection, alias: str, name: str | None = None) -> Version | None:
    """The version that an alias points to, None when the alias or the model does not exist."""
    number = _aliases(connection, name or connection.model).get(alias)
    return by_number(connection, number, name) if number is not None else None


def by_number(connection: Connection, number: str, name: str | None = None) -> Version | None:
    """A version by its number, None when there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(connection.client.get_model_version(name or connection.model, number))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def versions(connection: Connection, name: str | None = None) -> list[Version]:
    """All versions of a registered model, the oldest first; empty when the model does not exist."""
    return _search(connection, f"name = '{name or connection.model}'")


def of_all_models(connection: Connection) -> list[Version]:
    """Every version of every model in the registry: one project's DVC may hold what several models were made from."""
    return _search(connection, "")


def by_weights(connection: Connection, weights_sha256: str) -> list[Version]:
    """The versions that hold these weights, the oldest first: one, unless two nights registered them together."""
    return _search(connection, f"name = '{connection.model}' AND tags.{WEIGHTS_TAG} = '{weights_sha256}'")


def weights_of(version: Version | None) -> str | None:
    """The weights hash that a version was registered with, None for no version or one registered by other means."""
    return version.tags.get(WEIGHTS_TAG) if version is not None else None


def _version(entity: ModelVersion) -> Version:
    return Version(entity.name, str(entity.version), entity.run_id, dict(entity.tags))


def _search(connection: Connection, query: str) -> list[Version]:
    found: list[Version] = []
    token: str | None = None
    while True:
        page = connection.client.search_model_versions(query, max_results=200, page_token=token)
        found.extend(_version(entity) for entity in page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.number))


def _aliases(connection: Connection, name: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(number) for alias, number in connection.client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def aliased(connection: Connection, name: str) -> frozenset[str]:
    """The numbers of a model's versions that any alias points to."""
    return frozenset(_aliases(connection, name).values())


def aliases(connection: Connection) -> dict[str, str | None]:
    """The version number that each of ALIASES points to now, None for an alias that is not set."""
    now = _aliases(connection, connection.model)
    return {alias: now.get(alias) for alias in ALIASES}


REGISTERED = STATE / "registered.json"


def write_note(connection: Connection, number: str | None) -> None:
    """Note a version, or the champion for None, with the aliases that point to it now; nothing when there is none."""
    state = aliases(connection)
    number = number or state[CHAMPION]
    if number is None:
        REGISTERED.unlink(missing_ok=True)
        return
    held = [alias for alias, version in state.items() if version == number]
    write_json(REGISTERED, {"name": connection.model, "version": number, "aliases": held})
