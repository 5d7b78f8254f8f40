"""Finding versions of the registered model: by number, by alias, by the hash of their model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relex.core.atomic import write_json
from relex.core.errors import CorruptArtifact, InputError
from relex.core.workspace import STATE
from relex.registry.store.connection import Connection
from relex.registry.store.facts import TAG, tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)
MODEL_TAG, WEIGHTS_TAG = "model_sha256", "weights_sha256"
FORCED_TAG = "promoted_by_force"

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
    def model_sha256(self) -> str:
        """What was evaluated (checkpoints.digest.model_sha256); InputError for one registered by other means."""
        return self._hash(MODEL_TAG)

    @property
    def weights_sha256(self) -> str:
        """The hash of its weights alone; InputError for a version registered by other means."""
        return self._hash(WEIGHTS_TAG)

    def _hash(self, tag: str) -> str:
        if tag not in self.tags:
            raise InputError(
                "registered by other means: nothing says which model it should hold",
                where=self,
                expected=f"a version made by `relex register`, with the tag {tag}",
            )
        return self.tags[tag]

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


def parse(text: str, model: str | None = None) -> Reference:
    """`models:/NAME@ALIAS`, `models:/NAME/VERSION`, or either without `models:/`; InputError for anything else.

    model: whose version a number alone is; None where a number alone says too little.
    """
    if model is not None and text.isdecimal():
        text = f"{model}/{text}"
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


def by_model(connection: Connection, model_sha256: str) -> list[Version]:
    """The versions that hold this model, the oldest first: one, unless two nights registered them together."""
    return _search(connection, f"name = '{connection.model}' AND tags.{MODEL_TAG} = '{model_sha256}'")


def model_of(version: Version | None) -> str | None:
    """The model_sha256 that a version was registered with, None for no version or one registered by other means."""
    return version.tags.get(MODEL_TAG) if version is not None else None


def hashes(version: Version | None) -> dict[str, str | None]:
    """What a version says it holds, for an entry of the log: its model and its weights, None where nothing does."""
    known = version.tags if version is not None else {}
    return {tag: known.get(tag) for tag in (MODEL_TAG, WEIGHTS_TAG)}


def check_tags(version: Version, lineage: dict[str, Any]) -> None:
    """CorruptArtifact unless a version carries exactly the tags that its lineage.json gives."""
    for key, expected in tags(lineage).items():
        if version.tags.get(key) != expected:
            raise CorruptArtifact(
                "a tag changed",
                where=f"{version}: {key}",
                expected=expected,
                found=version.tags.get(key, "no such tag"),
            )


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
