"""The command line: parse, call, print."""


def main() -> None:
    """Entry point of ``screen`` and ``hyposcreen``."""
