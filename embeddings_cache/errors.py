"""The one error a person can mend: a bad file, value or option."""


class CacheError(ValueError):
    """Input that cannot be used; the message is one sentence naming the file, the value and the mend."""

    exit_code = 5
    """What the command line exits with: inputs are missing or changed."""
