"""Which registry and which registered model a command means: params.yaml's, and what its options say otherwise."""

from __future__ import annotations

from pydantic import ValidationError

from relex.core.errors import InputError
from relex.core.workspace import PARAMS
from relex.params.load import Params, read_params
from relex.params.registry import Alone, Registry
from relex.registry.store import versions

HERE = "sqlite:///mlflow.db"  # the registry where neither params.yaml nor an option names one
_EXPERIMENT = "nightly"
_ANY = "any"  # a name that is not looked at


def meant(model: str | None, tracking_uri: str | None, *, of_all: bool = False) -> Params | Alone:
    """All of params.yaml with these in its section `registry`; that section alone where there is no params.yaml.

    None: what params.yaml says, else HERE. of_all: the registry as a whole is meant, whatever models it holds.
    InputError where nothing names the model that is meant.
    """
    given = {name: value for name, value in (("model", model), ("tracking_uri", tracking_uri)) if value is not None}
    if PARAMS.is_file():
        params = read_params()
        return params.model_copy(update={"registry": _registry(params.registry.model_dump() | given)})
    if of_all:
        given = {"model": _ANY} | given
    elif model is None:
        raise InputError("nothing says what the registered model is called", where="--model", todo="name it")
    return Alone(_registry({"tracking_uri": HERE, "experiment": _EXPERIMENT} | given))


def of_version(text: str | None, tracking_uri: str | None, model: str | None = None) -> Params | Alone:
    """The same where a version is named as versions.parse reads it: in full, its model is the one that is meant."""
    if text is None or text.isdecimal():
        return meant(model, tracking_uri)
    name = versions.parse(text).name
    if model not in (None, name):
        raise InputError("another model than the version's", where="--model", expected=name, found=model)
    return meant(name, tracking_uri)


def _registry(facts: dict[str, str]) -> Registry:
    try:
        return Registry.model_validate(facts)
    except ValidationError as error:
        raise InputError("not a name of a registered model", where="--model", found=error.errors()[0]["msg"]) from None
