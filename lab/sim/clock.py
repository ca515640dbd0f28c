"""A host's clock, which may be wrong: an offset and a drift relative to the run's time. Integer arithmetic only."""

BILLION = 1_000_000_000


class DriftingClock:
    """Shows `offset` + t x (1 + `drift` / 10^9) at time t of the run; `drift` is in parts per billion, above -10^9."""

    __slots__ = ("drift", "offset")

    def __init__(self, offset: int = 0, drift: int = 0) -> None:
        assert drift > -BILLION, f"a clock of drift {drift} ppb stands still or runs backwards"
        self.offset = offset
        self.drift = drift

    @property
    def right(self) -> bool:
        """Whether the clock shows the time of the run."""
        return not self.offset and not self.drift

    def read(self, time: int) -> int:
        """The clock's reading at `time`."""
        return time + self.offset + time * self.drift // BILLION

    def when(self, shown: int) -> int:
        """The first time at which the clock shows `shown` or more."""
        time = (shown - self.offset) * BILLION // (BILLION + self.drift)
        while self.read(time) < shown:
            time += 1
        while time > 0 and self.read(time - 1) >= shown:
            time -= 1
        return time

    def set(self, time: int, offset: int, drift: int) -> None:
        """From `time` on, the clock has this offset (nanoseconds) and this drift (parts per billion)."""
        assert drift > -BILLION, f"a clock of drift {drift} ppb stands still or runs backwards"
        self.drift = drift
        self.offset = offset - time * drift // BILLION
