"""What a ledger refuses, as one sentence that names the file, the value and the mend."""

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_VERIFICATION = 4
EXIT_INPUTS = 5


class LedgerError(Exception):
    """A refusal a person can act on; ``exit_code`` is what a command should end with.

    1: the ledger is as it was, the request could not be done (a duplicate, a lock, a full disk);
    2: it was asked for a row it does not hold;
    4: the file is a ledger, but its safeguards or its contents are not what hyposcreen wrote;
    5: the file is missing, foreign, damaged or from a newer version.
    """

    def __init__(self, message: str, exit_code: int = EXIT_FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DamagedLedgerError(LedgerError):
    """SQLite could not read the file as a whole database (truncated, overwritten, bad sectors)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_INPUTS)


class RepeatedError(LedgerError):
    """The ledger already holds what may be there once: another runner was quicker, or it was recorded before a crash."""
