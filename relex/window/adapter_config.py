"""adapter_config.json, as PEFT writes it: rank and scale of a plain LoRA adapter, and what is refused.

What a folder asks for beyond plain LoRA is refused with the reason: its merged weights would be others than the base
with the scaled product on top.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.core.errors import CorruptArtifact, InputError

CONFIG = "adapter_config.json"
# Keys that are read here, or say nothing about what the weights are.
_READ = {"peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern"}
_HARMLESS = {"auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config", "exclude_modules"}
_HARMLESS |= {"inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_dropout"}
_HARMLESS |= {"megatron_core", "modules_to_save", "peft_version", "qalora_group_size", "revision", "target_modules"}
_HARMLESS |= {"task_type"}
_WHY = {
    "use_dora": "DoRA rescales whole weights: its change is no product of two factors",
    "lora_bias": "biases of the factors are not merged here",
    "loftq_config": "LoftQ trains against a quantised base, which is not the base's own weights",
    "use_qalora": "QALoRA trains against a quantised base, which is not the base's own weights",
    "layer_replication": "the model has layers that the base lacks",
    "alora_invocation_tokens": "an activated adapter changes the model for some tokens only: it cannot be merged",
}
_OWN_INIT = {"true", "false", "gaussian", "eva", "orthogonal"}  # those that leave the base's weights as they are


@dataclass(frozen=True)
class Lora:
    """A plain LoRA adapter's settings. `base`: what it names as its base, "" for nothing."""

    folder: Path
    base: str
    r: float
    alpha: float
    rslora: bool
    fan_in_fan_out: bool
    ranks: Mapping[str, float]
    alphas: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> Lora:
        """InputError when the folder's adapter is of another kind, CorruptArtifact when its file is not sound."""
        path = Path(folder) / CONFIG
        settings = _load(path)
        _refuse(settings, path)
        rank: Any = settings.get("r")
        alpha: Any = settings.get("lora_alpha")
        ranks, alphas = (settings.get(key) or {} for key in ("rank_pattern", "alpha_pattern"))
        named = settings.get("base_model_name_or_path")
        try:
            numbers = [rank, alpha, *ranks.values(), *alphas.values()]
            for pattern in (*ranks, *alphas):
                re.compile(pattern)
        except (AttributeError, TypeError, re.error) as error:
            raise CorruptArtifact("not patterns of ranks and scales", where=path, found=str(error)[:200]) from None
        if not all(map(_is_number, numbers)):
            raise CorruptArtifact("not a rank and a scale", where=path, found=f"r {rank!r}, lora_alpha {alpha!r}"[:200])
        return cls(
            folder=Path(folder),
            base=named if isinstance(named, str) else "",
            r=float(rank),
            alpha=float(alpha),
            rslora=bool(settings.get("use_rslora")),
            fan_in_fan_out=bool(settings.get("fan_in_fan_out")),
            ranks=ranks,
            alphas=alphas,
        )

    def base_folder(self) -> Path:
        """The base that it names, where that is a folder of this machine; InputError else."""
        if self.base and Path(self.base).is_dir():
            return Path(self.base)
        raise InputError(
            "the base is not a folder of this machine",
            where=self.folder / CONFIG,
            found=f"base_model_name_or_path {self.base!r}"[:200],
            todo="give its checkpoint folder as --base",
        )

    def can_have_rank(self, module: str, rank: int) -> bool:
        """Whether the factors at a module can be of that rank: PEFT saves patterns sorted, not in their order."""
        return rank in (_matched(self.ranks, module) or {self.r})

    def scale(self, module: str, rank: int) -> float:
        """What the product of the factors of that rank is multiplied with; InputError where patterns say two things."""
        alphas = _matched(self.alphas, module) or {self.alpha}
        if len(alphas) > 1:
            raise InputError(
                "several patterns with different values are for one module",
                where=f"{self.folder / CONFIG}: alpha_pattern, {module}",
                found=sorted(alphas),
                todo="PEFT saved them sorted, so that it is lost which came first: leave one of them",
            )
        return alphas.pop() / (math.sqrt(rank) if self.rslora else rank)


def _matched(patterns: Mapping[str, float], module: str) -> set[float]:
    """The values of the patterns that the module's name ends with."""
    return {value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module)}


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the adapter's configuration is missing", where=path, todo="PEFT saves it beside it") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CorruptArtifact("not JSON", where=path, found=str(error)[:200]) from None
    if not isinstance(value, dict):
        raise CorruptArtifact("not a JSON object", where=path)
    return value


def _refuse(settings: Mapping[str, Any], where: Path) -> None:
    """InputError for an adapter that is something else than the sum of base and scaled product."""
    if settings.get("peft_type") != "LORA":
        raise InputError("not a LoRA adapter", where=where, expected="peft_type LORA", found=settings.get("peft_type"))
    for key, value in sorted(settings.items()):
        if value and key not in _READ | _HARMLESS:
            why = _WHY.get(key, "what it does to the weights is not known here")
            raise InputError("this kind of adapter is not read", where=f"{where}: {key}", found=value, todo=why)
    start = str(settings.get("init_lora_weights", True)).lower()
    if start not in _OWN_INIT:
        raise InputError(
            "this kind of adapter is not read",
            where=f"{where}: init_lora_weights",
            found=start,
            todo="it takes a part out of the base's weights: save with path_initial_model_for_weight_conversion",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
