"""Plays a timeline on a lab and writes what happens into the history."""
