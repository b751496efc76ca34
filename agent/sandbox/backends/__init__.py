"""The boundaries a worker can be put behind, strongest first. A new one is one new file and one line here."""

from .base import Backend, Confining, Launching
from .containers import DOCKER, PODMAN
from .landlock import LANDLOCK
from .namespaces import NAMESPACES
from .none import NONE
from .sealed import SEALED
from .seatbelt import SEATBELT

CONFINING: dict[str, Confining] = {b.name: b for b in (NAMESPACES, LANDLOCK, SEALED, NONE)}
"""Those that workers put around themselves, in the order in which ``auto`` tries them."""
LAUNCHING: dict[str, Launching] = {b.name: b for b in (SEATBELT, DOCKER, PODMAN)}
"""Those that a program builds around a worker."""
BACKENDS: dict[str, Backend] = {**CONFINING, **LAUNCHING}
"""Name → backend. ``none`` is never chosen for code of a model."""
