"""The boundaries a worker can be put behind, strongest first. A new one is one new file and one line here."""

from .base import Backend
from .landlock import LANDLOCK
from .none import NONE
from .sealed import SEALED

BACKENDS: dict[str, Backend] = {b.name: b for b in (LANDLOCK, SEALED, NONE)}
"""Name → backend, in the order in which ``auto`` tries them. ``none`` is never chosen for code of a model."""
