"""The engine process: one model in memory, completions on request. Only this module imports vLLM.

    python -m relex.engine        (started by relex.engine_process, never by hand)

Requests and replies are messages on standard input and output (relex.pipes); everything that libraries print goes to
standard error, which the starter points at a log file. The first message starts the engine, each later one generates
a batch or reloads weights. Completions are sent as they finish. The process ends when its pipe closes, and the kernel
kills it when its starter dies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from relex.errors import InputError
from relex.pipes import die_with, receive, send
from relex.prompts import render

Finished = list[tuple[int, dict[str, Any]]]  # (which prompt, its completion) of those that finished together


class Backend(Protocol):
    """What the process needs of a generator."""

    version: str

    def generate(self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]) -> Iterator[Finished]:
        """Per prompt (token ids) {"tokens": completion's token ids, "finish": "stop" or "length"}, as they finish.

        sampling: temperature, top_p, max_tokens; with logprobs true, "logprobs" holds each token's log-probability.
        """
        ...

    def reload(self, folder: str) -> None:
        """Put the weights of another checkpoint of the same architecture in place."""
        ...


class VllmBackend:
    """vLLM's offline engine inside this process."""

    def __init__(self, settings: dict[str, Any]):
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # start-up in a third of the time
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        import vllm
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(settings["cpu_kv_cache_gib"])
        self.version = f"vllm {vllm.__version__} {current_platform.device_type}"
        self._vllm = vllm
        self._llm = vllm.LLM(
            settings["model"],
            dtype=settings["dtype"],
            max_model_len=settings["max_model_len"],
            tensor_parallel_size=settings["tensor_parallel"],
            seed=0,  # every request carries its own seed
            # A prompt prefilled in chunks crashes seeded sampling on the CPU build; a cached prefix would let an
            # earlier batch, or earlier weights, change the arithmetic of a later one.
            enable_chunked_prefill=False,
            enable_prefix_caching=False,
            max_num_batched_tokens=max(8192, settings["max_model_len"]),
            enforce_eager=on_cpu,  # compiling costs more than it gains there
            disable_log_stats=True,
        )

    def generate(self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]) -> Iterator[Finished]:
        """See Backend."""
        parameters = [
            self._vllm.SamplingParams(
                n=1,
                temperature=sampling["temperature"],
                top_p=sampling["top_p"],
                max_tokens=sampling["max_tokens"],
                seed=seed,
                detokenize=False,
                logprobs=0 if sampling["logprobs"] else None,
            )
            for seed in seeds
        ]
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        # What `LLM.generate` does, without waiting for the slowest: numbers with a random end go in, come out without.
        queued = self._llm.enqueue(inputs, parameters, use_tqdm=False)
        places = {name.split("-")[0]: place for place, name in enumerate(queued)}
        engine = self._llm.llm_engine
        while engine.has_unfinished_requests():
            outputs = [output for output in engine.step() if output.finished]
            if outputs:
                yield [(places[output.request_id], self._completion(output, sampling)) for output in outputs]

    @staticmethod
    def _completion(output: Any, sampling: dict[str, Any]) -> dict[str, Any]:
        found = output.outputs[0]
        tokens = list(found.token_ids)
        item = {"tokens": tokens, "finish": found.finish_reason}
        if sampling["logprobs"]:
            item["logprobs"] = [entry[t].logprob for t, entry in zip(tokens, found.logprobs, strict=True)]
        return item

    def reload(self, folder: str) -> None:
        """See Backend. Whether it takes effect must be proven: relex.evaluate compares with a fresh engine."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.reset_prefix_cache()


class Prompts:
    """Text to token ids and back, with the model's own tokenizer; the same for every backend."""

    def __init__(self, folder: str, max_model_len: int):
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._longest = max_model_len

    def encode(self, prompt: str, chat: bool, system: str | None, max_tokens: int) -> tuple[str, list[int]]:
        """(the prompt as the model sees it, its token ids); ValueError when it leaves no room for a completion.

        InputError when the model cannot be asked in this way at all (relex.prompts).
        """
        prompt = render(self._tokenizer, prompt, chat, system)
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
        return VllmBackend(settings)
    from relex.engine_transformers import TransformersBackend

    return TransformersBackend(settings)


def answer(message: dict[str, Any], backend: Backend, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """The replies to one message: one to a reload or a refused prompt, else one whenever completions finish."""
    if message["command"] == "reload":
        backend.reload(message["model"])
        yield {}
        return
    sampling = message["sampling"]
    try:
        how = message["chat"], message["system"], sampling["max_tokens"]
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
