"""Imported before matplotlib: its advice to users without a home directory is nothing for the output of a run."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)
