"""What every test shares."""

import os
import signal

from hypothesis import settings

# A slow machine is not a wrong result, and CI must say the same of the same commit twice.
settings.register_profile("repository", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("repository")

# A suite that a shell started in the background inherits an ignored Ctrl-C, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
