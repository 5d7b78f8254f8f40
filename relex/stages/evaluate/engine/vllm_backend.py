"""Generation with vLLM. Only this module imports it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relex.checkpoints.formed import Formed
from relex.stages.evaluate.engine.backend import Finished
from relex.stages.evaluate.engine.vllm_options import options


def load() -> None:
    """Import what an engine imports before it knows its model, for a template of the fork server."""
    _set()
    import vllm
    from vllm.platforms import current_platform

    _ = vllm.LLM, vllm.SamplingParams  # they are imported when they are asked for
    if current_platform.is_cpu():
        importlib.import_module("vllm.v1.worker.cpu_worker")


def _set() -> None:
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # start-up in a third of the time
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


class VllmBackend:
    """vLLM's offline engine inside this process."""

    def __init__(self, settings: dict[str, Any]):
        _set()
        import torch
        import torch._dynamo.config
        import vllm
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        config = None
        if on_cpu:
            # A few helpers of the sampler ask to be compiled, even of an eager engine: 20 s of a C++ compiler the first
            # time, seconds every time, for functions that run as fast without.
            torch._dynamo.config.disable = True
            os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would overrule the options
            config = _introduced(settings["model"])
        self.version = f"vllm {vllm.__version__} {current_platform.device_type}"
        self._vllm = vllm
        self._llm = vllm.LLM(settings["model"], **options(settings, None if on_cpu else _memory(), config))

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
        """See Backend. Whether it takes effect must be proven: reload.py compares with a fresh engine."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.reset_prefix_cache()

    def form(self, folder: str, base: str, head: str | None) -> None:
        """See Backend. Every process of the engine forms the tensors itself, and keeps its part of them."""
        self._llm.collective_rpc(_form, args=(folder, base, head))
        self._llm.reset_prefix_cache()


def _form(worker: Any, folder: str, base: str, head: str | None) -> None:
    """In a worker of vLLM: load a model's weights as they are formed, tensor by tensor."""
    with Formed(Path(folder), Path(base)) as formed:
        worker.reload_weights(weights_iterator=formed.tensors(head=head))


def _introduced(folder: str) -> Any:
    """The configuration of the model in `folder`, whose class is imported for vLLM: to look at it, vLLM else starts a
    process that imports all of vLLM, which is longer than an engine takes to start. It remembers what it saw in a
    folder of the user, so that only the first engine on a machine would be slow."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    config = AutoConfig.from_pretrained(folder)
    for architecture in config.architectures or []:
        if architecture in ModelRegistry.models:
            ModelRegistry.register_model(architecture, ModelRegistry.models[architecture].load_model_cls())
    return config.get_text_config()


def _memory() -> tuple[int, int]:
    """Bytes of the first GPU that this process sees: free, in all."""
    import torch

    return torch.cuda.mem_get_info(0)
