"""The engine process: one model in memory, completions on request.

    python -m relex.stages.evaluate.engine        (started by process.py, never by hand)

Requests and replies are messages on standard input and output (core/pipes.py); everything that libraries print goes to
standard error, which the starter points at a log file. The first message starts the engine, each later one generates
a batch or reloads weights. Completions are sent as they finish. The process ends when its pipe closes, and the kernel
kills it when its starter dies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from relex.core.asking import Asking
from relex.core.errors import InputError
from relex.core.pipes import die_with, receive, send
from relex.policy.prompts import render
from relex.stages.evaluate.engine.backend import Backend


class Prompts:
    """Text to token ids and back, with the model's own tokenizer; the same for every backend."""

    def __init__(self, folder: str, max_model_len: int):
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._longest = max_model_len

    def encode(self, prompt: str, asking: Asking, max_tokens: int) -> tuple[str, list[int]]:
        """(the prompt as the model sees it, its token ids); ValueError when it leaves no room for a completion.

        InputError when the model cannot be asked in this way at all (policy/prompts.py).
        """
        prompt = render(self._tokenizer, prompt, asking)
        ids = self._tokenizer(prompt)["input_ids"]
        if not ids:
            raise ValueError(f"the prompt {prompt[:80]!r} has no tokens")
        if len(ids) + max_tokens > self._longest:
            raise ValueError(
                f"a prompt of {len(ids)} tokens and {max_tokens} new ones do not fit max_model_len {self._longest}"
            )
        return prompt, ids

    def decode(self, tokens: list[int]) -> str:
        """The completion's text without special tokens."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True)


def make_backend(settings: dict[str, Any]) -> Backend:
    """The backend that params.yaml names; never another one in its place."""
    if settings["backend"] == "vllm":
        from relex.stages.evaluate.engine.vllm_backend import VllmBackend

        return VllmBackend(settings)
    from relex.stages.evaluate.engine.transformers_backend import TransformersBackend

    return TransformersBackend(settings)


def answer(message: dict[str, Any], backend: Backend, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """The replies to one message: one to a reload, a forming or a refused prompt, else one whenever completions
    finish."""
    if message["command"] == "reload":
        backend.reload(message["model"])
        yield {}
        return
    if message["command"] == "form":
        backend.form(message["model"], message["base"], message["head"])
        yield {}
        return
    sampling = message["sampling"]
    try:
        how = Asking(**message["asking"]), sampling["max_tokens"]
        rendered = [prompts.encode(text, *how) for text in message["prompts"]]
    except (ValueError, InputError) as error:
        yield {"input_error": str(error)}
        return
    for finished in backend.generate([ids for _, ids in rendered], message["seeds"], sampling):
        yield {
            "finished": [
                (
                    place,
                    {
                        "prompt": rendered[place][0],
                        "text": prompts.decode(output["tokens"]),
                        "tokens": len(output["tokens"]),
                        "finish": output["finish"],
                        **({"logprobs": output["logprobs"]} if sampling["logprobs"] else {}),
                    },
                )
                for place, output in finished
            ]
        }


def main() -> None:
    """Serve until the pipe closes."""
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what libraries print is not a reply
    settings = receive(requests)
    if settings is None:
        return
    die_with(settings["parent"])
    try:
        prompts = Prompts(settings["model"], settings["max_model_len"])
        backend = make_backend(settings)
    except Exception as error:
        send(replies, {"error": f"{type(error).__name__}: {error}"})
        raise
    send(replies, {"version": backend.version})
    while (message := receive(requests)) is not None:
        try:
            for reply in answer(message, backend, prompts):
                send(replies, reply)
        except BrokenPipeError:
            return  # nobody waits for the rest
        except Exception as error:
            send(replies, {"error": f"{type(error).__name__}: {error}"})
            raise


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # nothing is left to save, and library threads may linger
