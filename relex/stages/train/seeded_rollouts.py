"""Seeds for rollouts that vLLM writes through TRL: one a row, from (seed, step, place in the whole batch).

TRL seeds an engine with its process's rank and a server with nothing. So rollouts would be the same for every
`train.seed`, follow the number of processes, and not repeat after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from relex.core.seeding import seed_of
from relex.policy.seeded_sampling import Place

_AT_ONCE = 64  # requests to a server, which makes batches of them by itself

PlaceOf = Callable[[int], Place]  # from the number of rows asked for here to where they stand in the whole batch


def seed_engine(llm: Any, seed: int, place: PlaceOf) -> None:
    """Have a vllm.LLM draw each row of generate() from a seed of its own."""
    generate = llm.generate

    def seeded(prompts: list[Any], *, sampling_params: Any, **more: Any) -> Any:
        each = [sampling_params.clone() for _ in prompts]
        for parameters, number in zip(each, _seeds(seed, place(len(prompts))), strict=False):
            parameters.seed = number
        return generate(prompts, sampling_params=each, **more)

    llm.generate = seeded


def seed_server(client: Any, seed: int, place: PlaceOf) -> None:
    """Have TRL's client of a vLLM server ask for each row by itself, with its seed; the replies as of one request."""
    generate = client.generate

    def seeded(
        prompts: list[Any], *, n: int = 1, generation_kwargs: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        seeds = _seeds(seed, place(n * len(prompts)))

        def row(number: int) -> dict[str, Any]:
            how = {**(generation_kwargs or {}), "seed": seeds[number]}
            return generate([prompts[number // n]], n=1, generation_kwargs=how, **more)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(row, range(n * len(prompts))))
        of_prompts = {"prompt_ids": [reply["prompt_ids"][0] for reply in found[::n]]}
        return of_prompts | {
            key: None if found[0][key] is None else [reply[key][0] for reply in found]
            for key in ("completion_ids", "logprobs", "logprob_token_ids")
        }

    client.generate = seeded


def _seeds(seed: int, place: Place) -> list[int]:
    """Of the rows of `place.rows` from place.first on."""
    return [seed_of("rollouts", seed, place.step, row) for row in range(place.first, place.rows)]
