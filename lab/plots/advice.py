"""Imported before matplotlib: suppresses its advice to users without a home directory, which would be in a run's
output.
"""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)
