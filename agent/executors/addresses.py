"""Where a scheduler is: an address as it is, or the file a scheduler wrote with ``--scheduler-file``."""

import json
import re
from pathlib import Path

from ..errors import Exit, UserError

_ADDRESS = re.compile(r"^(?:[a-z]+://)?[^/\s]+:\d+$")


def scheduler_address(said: str) -> str:
    """The address in ``said``. Raises :class:`UserError` where it is neither an address nor such a file."""
    if not said:
        raise UserError(
            "executor 'dask' needs a scheduler: --scheduler tcp://HOST:8786, or the file that `dask scheduler "
            "--scheduler-file FILE` wrote",
            Exit.USAGE,
        )
    if _ADDRESS.match(said):
        return said if "://" in said else f"tcp://{said}"
    try:
        return str(json.loads(Path(said).read_text(encoding="utf-8"))["address"])
    except OSError as error:
        raise UserError(
            f"scheduler '{said}' is no address (tcp://HOST:PORT), and no file that can be read ({error.strerror}); start "
            f"`dask scheduler --scheduler-file {said}` first, or correct it"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{said} does not hold the address of a scheduler; name the file that `dask scheduler --scheduler-file` wrote"
        ) from None
