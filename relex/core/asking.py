"""How a model is asked: the same in training, for the scan's completions, and in suites that are splits."""

from __future__ import annotations

from relex.core.section import Section


class Asking(Section):
    """chat: as the user's turn of the tokenizer's chat template, after `system` if there is one. See policy/prompts.py.

    Keys of the section `problems`; the problems themselves hold bare prompts.
    """

    chat: bool = False
    system: str | None = None


BARE = Asking()
