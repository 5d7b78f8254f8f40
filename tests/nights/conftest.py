"""The registry's own project, for what happens from hop to hop."""

from tests.registry.conftest import project, template

__all__ = ["project", "template"]
