"""How many GPUs a vLLM server works on: they are spent while a training that uses it runs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from relex.core.errors import InputError

_SECONDS = 30


def server_gpus(url: str) -> int:
    """Workers of the server, one a GPU, as it says itself; InputError when it does not say."""
    place = f"{url.rstrip('/')}/get_world_size"
    try:
        with urllib.request.urlopen(place, timeout=_SECONDS) as reply:
            return int(json.load(reply)["world_size"])
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the vLLM server does not say how many GPUs it uses",
            where=f"train.generation.server_url: {place}",
            found=" ".join(str(error).split())[:200],
            todo="start it as TRL describes (trl vllm-serve)",
        ) from error
