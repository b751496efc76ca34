"""What every test shares."""

import os

from hypothesis import settings

# A slow machine is not a wrong result, and CI must say the same of the same commit twice.
settings.register_profile("repository", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("repository")
