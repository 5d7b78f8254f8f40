"""Gram matrices of a whole window: G = M M^T [T, T] per tensor, from the trajectory's cache or by one pass.

The cache is keyed by the content of the base and of every step. One safetensors file; per tensor the lower triangle,
float64. Its metadata lists the hashes it was computed from, so a window that has grown reuses every row of a step that
is still there, and nothing stale is ever used; and the hash of the matrices, so that nothing damaged is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from relex.core import atomic, progress
from relex.core.choices import Device
from relex.forecast.subspace import Array, symmetric
from relex.trajectory.manifest import Manifest
from relex.trajectory.reader import CACHE
from relex.window.device import arithmetic_for
from relex.window.rows import Window
from relex.window.stream import Stream

_NAME = "gram.safetensors"
_VERSION = 2  # of the arithmetic: raise it when kernels/gram.py computes something else


def grams(window: Window, *, device: Device, budget: int) -> dict[str, Array]:
    """G [T, T] float64 of every tensor of the window; kept with the trajectory for the next call."""
    cache, manifest = window.trajectory.folder / CACHE, window.trajectory.manifest
    known, found = load_cache(cache, manifest)
    if known == len(window.steps):
        return found
    fresh = {}
    with Stream(window, budget, arithmetic_for(device), targets=0) as stream:
        for name in progress.bar(window.names, desc="gram", unit="tensor"):
            with stream.opened(name) as opened:
                fresh[name] = stream.gram(opened, found.get(name), known)
    save_cache(cache, manifest, fresh)
    return fresh


def load_cache(cache: Path, manifest: Manifest) -> tuple[int, dict[str, Array]]:
    """How many leading steps of the manifest the cache knows, and per tensor G [T, T] with those rows filled in.

    (0, {}) when there is no cache, it belongs to another content, or it is not what was kept.
    """
    path = cache / _NAME
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            key = json.loads((file.metadata() or {}).get("key", "null"))
        stored = load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError):
        return 0, {}
    if not isinstance(key, dict) or key.pop("sha256", None) != _digest(stored):
        return 0, {}
    if _key(manifest, 0) | {"steps": None} != key | {"steps": None}:
        return 0, {}
    wanted, held = _key(manifest, len(manifest.steps))["steps"], key["steps"]
    known = next(
        (at for at, (a, b) in enumerate(zip(wanted, held, strict=False)) if a != b), min(len(wanted), len(held))
    )
    total = len(wanted)
    lower = np.tril_indices(len(held))
    found = {}
    for name in manifest.tensors:
        if name not in stored or stored[name].shape != (len(lower[0]),):
            return 0, {}
        whole = np.zeros((len(held), len(held)))
        whole[lower] = stored[name]
        found[name] = np.zeros((total, total))
        found[name][:known, :known] = symmetric(whole)[:known, :known]
    return known, found


def save_cache(cache: Path, manifest: Manifest, grams: Mapping[str, Array]) -> None:
    """Keep G [T, T] of every tensor; silently nothing where the trajectory cannot be written to."""
    lower = np.tril_indices(len(manifest.steps))
    triangles = {name: gram[lower] for name, gram in grams.items()}
    key = _key(manifest, len(manifest.steps)) | {"sha256": _digest(triangles)}
    # One entry: the library writes several in a random order, and equal matrices would be unequal files.
    metadata = {"key": json.dumps(key, sort_keys=True)}
    try:
        with atomic.new_file(cache / _NAME) as temporary:
            save_file(triangles, temporary, metadata=metadata)
    except OSError:
        return


def _digest(triangles: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(triangles):
        digest.update(f"{name}\0".encode() + triangles[name].tobytes())
    return digest.hexdigest()


def _key(manifest: Manifest, count: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "base": manifest.base_sha256,
        "codec": manifest.codec,
        "kind": manifest.kind,
        "steps": [step.sha256 for step in manifest.steps[:count]],
    }
