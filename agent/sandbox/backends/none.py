"""Backend ``none``: limits and a constructed environment, and no boundary. Only code of this package may run in it.

Closed: nothing but the worker's own memory and time. Open: files, network, other processes of the account.
"""

import sys

from .base import Confining, Wish


def _confine(wish: Wish) -> None:
    if sys.platform == "linux":
        from ..linux import lockdown

        lockdown.limit(wish.memory_bytes, wish.cpu_seconds)


NONE = Confining(
    name="none",
    confines="separate process; wall-clock and memory limits; constructed environment; no kernel confinement",
    holds_code=False,
    open=("files", "network", "other processes"),
    chosen=False,
    system="",
    confine=_confine,
)
