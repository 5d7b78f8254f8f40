"""Sizes in bytes as people write and read them."""

from __future__ import annotations

FLOAT32_BYTES = 4
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size such as `256MiB` or `1.5GiB`; ValueError for anything else."""
    number = text.rstrip("BiKMGT").strip()
    unit = text[len(text.rstrip("BiKMGT")) :]
    try:
        size = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size: write a number and one of B, KiB, MiB, GiB, TiB") from None
    if size <= 0:
        raise ValueError(f"{text!r} must be above zero")
    return size


def show_bytes(count: int) -> str:
    """Bytes for people: 1.5 GiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"
        value /= 1024
    return f"{value:.1f} TiB"
