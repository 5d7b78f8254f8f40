"""The compiled conversions: every float16 there is, rounding to bfloat16 as torch rounds, other processors' code."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numba import njit

from relex.checkpoints.tensors import torch_dtype
from relex.window.kernels import bfloat16 as kernels_bfloat16
from relex.window.kernels import decode as kernels
from relex.window.rounding import Rounding
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints


@pytest.mark.parametrize("convert", [kernels.from_float16, kernels._assembled], ids=["chosen", "assembled"])
def test_every_float16_is_converted(convert):
    @njit
    def all_of(halves, out):  # type: ignore[no-untyped-def]
        for i in range(len(halves)):
            out[i] = convert(halves[i])

    halves = np.arange(1 << 16, dtype=np.uint16)
    out = np.empty(1 << 16, np.float32)
    all_of(halves, out)
    np.testing.assert_array_equal(out, halves.view(np.float16).astype(np.float32))
    assert (np.signbit(out) == np.signbit(halves.view(np.float16))).all()


@pytest.mark.parametrize("name", ["F32", "BF16", "F16"])
def test_rounding_is_that_of_torch(name):
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    ties = (np.arange(1 << 16, dtype=np.uint32) << 16) | 0x8000  # half-way between two bfloat16 numbers
    edges = np.array([0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x80000000, 1], np.uint32)
    values = np.concatenate([bits, ties, edges]).view(np.float32)
    values = values[~np.isnan(values)]
    rounding, dtype = Rounding(), torch_dtype(name)
    got = torch.frombuffer(bytearray(rounding(values, name)), dtype=dtype)
    assert torch.equal(got, torch.from_numpy(values).to(dtype))
    assert (got.signbit() == torch.from_numpy(values).signbit()).all()
    nan = torch.frombuffer(bytearray(rounding(np.full(3, np.nan, np.float32), name)), dtype=dtype)
    assert nan.isnan().all()
    assert len(rounding(np.empty(0, np.float32), name)) == 0


_PLAIN = """
import sys
from pathlib import Path
import numpy as np
from relex.trajectory.reader import Trajectory
from relex.window.kernels import bfloat16 as kernels_bfloat16
from relex.window.kernels import decode as kernels
from relex.window.processor import Processor
from relex.window.rows import Window
from relex.window.stream import Stream
print(kernels_bfloat16.AVAILABLE, kernels.from_float16 is kernels._assembled)
with Window(Trajectory(Path(sys.argv[1])), Path(sys.argv[2])) as w, Stream(w, 1 << 30, Processor(), targets=1) as s:
    with s.opened("model.embed_tokens.weight") as opened:
        np.save(sys.argv[3], s.gram(opened))
"""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_a_processor_without_those_instructions_finds_the_same(tmp_path, dtype):
    from relex.window.importing import import_checkpoints

    model = tiny_llama(vocab_size=12_347)
    base = save(model, tmp_path / "base", dtype=dtype)
    path = line_with_noise(rate=1e-3, noise=1e-3)
    source = write_checkpoints(tmp_path / "full", model, [1, 2, 3, 4, 5], path, dtype=dtype)
    import_checkpoints(source, base, tmp_path / "window")
    found = []
    for name in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}):
        out = tmp_path / f"gram{len(found)}.npy"
        command = [sys.executable, "-c", _PLAIN, str(tmp_path / "window"), str(base), str(out)]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")} | name
        printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        found.append(np.load(out))
        if not name:
            assert printed.split()[0] == str(kernels_bfloat16.AVAILABLE)
    assert printed.split()[0] == "False"
    if os.uname().machine == "x86_64":
        assert printed.split()[1] == "True"
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
