"""The characters that the embedded base knows, one token each."""

from __future__ import annotations

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
SYMBOLS = (PAD, EOS, UNK, "=", *"0123456789")
