"""Errors a user can mend, each with the exit code of the command line."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts may rely on them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REPLAY_DIVERGED = 3
    LEDGER_BROKEN = 4
    INPUTS = 5
    BUDGET = 6
    INTERRUPTED = 130


class UserError(Exception):
    """One sentence that names the thing, the value and the mend; ``code`` is the exit code."""

    def __init__(self, message: str, code: Exit = Exit.INPUTS) -> None:
        super().__init__(message)
        self.code = code
