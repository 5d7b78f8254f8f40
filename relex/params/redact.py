"""Texts without the secrets of this machine: everything that is uploaded, logged or shown to others goes through here.

A secret is known by where it stands (before the @ of a URI, behind the name of a password in its query, in a header) or
by its value: that of an environment variable whose name says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_PART = "***"  # for a part of a URI
_VALUE = "(hidden)"  # for what may be a value by itself: *** would be an alias in YAML
_WORDS = (
    r"password|passwd|passphrase|secret|token|credentials?|signature|sig|(?:api|access|secret|private|account)[_-]?key"
)
# user:password@, also where the password itself holds an @.
_USER = re.compile(r"(\w[\w+.-]*://)[^/?#\s'\"]*@")
_QUERY = re.compile(rf"(?i)([?&;](?:[\w.-]*[_.-])?(?:ssl)?(?:{_WORDS}|pwd)=)[^&\s'\";#]+")
_HEADER = re.compile(r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?)(?:(?:basic|bearer|token)\s+)?[^\s,;'\"}]+")
_BEARER = re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}")
_NAME = re.compile(rf"(?i)(?:.*[_-])?(?:{_WORDS}|pass|pat)(?:[_-](?:id|key|value))?|.*(?:password|secret|[_-]pwd)")
_SHORTEST = 6  # a shorter value would take half of a text with it
_NO_SECRET = re.compile(r"(?i)true|false|\d{1,7}|[\d.]+")  # USE_AUTH_TOKEN=false
_ANYWHERE = 12  # so long a value is also found inside a longer word


def redact(text: object) -> str:
    """`text` without credentials in URIs, queries and headers, and without the environment's secrets.

    It stays what it was otherwise, and valid JSON or YAML where it was: only the secret itself is replaced.
    """
    result = _USER.sub(rf"\1{_PART}@", str(text))
    result = _QUERY.sub(rf"\1{_PART}", result)
    for pattern in (_HEADER, _BEARER):
        result = pattern.sub(rf"\1{_VALUE}", result)
    for value in _values(os.environ):
        result = value.sub(_VALUE, result)
    return result


def redacted(value: Any) -> Any:
    """A JSON value with every string in it redacted; the keys stay."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def names_a_secret(name: str) -> bool:
    """Whether what stands under this name (of a variable or a key) is secret: FOO_API_KEY, HF_TOKEN, password."""
    return _NAME.fullmatch(name) is not None


def _values(environment: Mapping[str, str]) -> list[re.Pattern[str]]:
    """Patterns of the secret values of an environment, as they are and as a URI spells them; the longest first."""
    secrets = {
        spelled
        for name, value in environment.items()
        if len(value) >= _SHORTEST and names_a_secret(name) and not _NO_SECRET.fullmatch(value)
        for spelled in (value, quote(value, safe=""))
    }
    return [
        re.compile(re.escape(one) if len(one) >= _ANYWHERE else rf"(?<![^\W_]){re.escape(one)}(?![^\W_])")
        for one in sorted(secrets, key=len, reverse=True)
    ]
