"""For all tiers: system tools are found although an ordinary user's PATH lacks them; no example fails for slowness."""

import os

from hypothesis import settings

from lab.fabric.features import tool_path

os.environ["PATH"] = tool_path()
settings.register_profile("shared", deadline=None)  # on a machine that others use too, any example may be slow
settings.load_profile("shared")
