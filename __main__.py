"""``python -m hyposcreen`` is the ``screen`` command."""

from hyposcreen.cli import main

main()
