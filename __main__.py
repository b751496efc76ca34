"""``python -m hyposcreen`` is the ``screen`` command."""

from .cli import main

main()
