"""For all tiers: no Hypothesis example fails for being slow; on a machine that others use too, any may be."""

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
