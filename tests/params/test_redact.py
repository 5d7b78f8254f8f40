"""Secrets are recognised by where they stand and by the environment, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from relex.core.errors import InputErrors
from relex.params.load import load
from relex.params.redact import names_a_secret, redact, redacted
from tests.builders import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg2://user:hunter2@db.example/mlflow", "postgresql+psycopg2://***@db.example/mlflow"),
        ("'https://hunter2@git.example/x.git'", "'https://***@git.example/x.git'"),
        ("http://user:hunter2@part@host:5000/a@b", "http://***@host:5000/a@b"),
        ("mysql://db/x?user=a&password=hunter2: refused", "mysql://db/x?user=a&password=*** refused"),
        ("http://host/?token=hunter2&page=2", "http://host/?token=***&page=2"),
        ("http://host/?api_key=hunter2", "http://host/?api_key=***"),
        (
            "https://s3/x?X-Amz-Credential=A&X-Amz-Signature=hunter2",
            "https://s3/x?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ('{"Authorization": "Basic aHVudGVyMg=="}', '{"Authorization": "(hidden)"}'),
        ("Bearer hunter2.hunter2.hunter2", "Bearer (hidden)"),
    ],
)
def test_what_stands_where_a_secret_stands_is_hidden_and_no_more(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "models:/sort-digits@champion",
        "http://host:5000/api?page=2#x@y",
        "max_tokens: 12, token_noise: 0.03",
        "basic arithmetic; bearer of news",
        "git@host:folder/x.git",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("HF_TOKEN", "FOO_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "password")),
        *((name, True) for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "GITHUB_PAT", "DB_PASS")),
        *(
            (name, False)
            for name in ("PWD", "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "SSH_AUTH_SOCK", "PATH", "token_noise")
        ),
    ],
)
def test_a_name_says_whether_its_value_is_secret(name: str, secret: bool) -> None:
    assert names_a_secret(name) == secret


def test_the_secrets_of_the_environment_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO_API_KEY", "p/ss word")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    monkeypatch.setenv("USE_AUTH_TOKEN", "false")
    monkeypatch.setenv("SOME_TOKEN", "4096")
    said = redacted(
        {"a": ["is p/ss word", "http://x/p%2Fss%20word"], "b": "xhf_abcdefghijklx", "c": "false 4096", "d": 1}
    )
    assert said == {"a": ["is (hidden)", "http://x/(hidden)"], "b": "x(hidden)x", "c": "false 4096", "d": 1}


def test_what_was_yaml_and_json_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO_API_KEY", "hunter2")
    assert YAML(typ="safe").load(redact("a: hunter2\nb: [hunter2, 'x://u:p@h']\n")) == {
        "a": "(hidden)",
        "b": ["(hidden)", "x://***@h"],
    }
    assert json.loads(redact(json.dumps(["hunter2", {"Authorization": "Basic x"}])))[0] == "(hidden)"
    text = (ROOT / "params.yaml").read_text()
    assert redact(text) == text


def test_a_faulty_value_that_is_secret_is_not_in_the_message(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO_API_KEY", "plant-variable")
    text = (ROOT / "params.yaml").read_text()
    text += "  password: plant-key\n  header: plant-variable\n  other: http://user:plant-uri@host\n  shown: plain\n"
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputErrors, match="plain") as caught:
        load(tmp_path / "params.yaml")
    assert "plant-" not in str(caught.value)
