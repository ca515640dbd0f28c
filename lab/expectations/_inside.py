"""Commands in the first running container of a service."""

from collections.abc import Sequence

from lab.contracts.fault import Bench
from lab.contracts.lab import CommandResult


async def in_service(bench: Bench, name: str, argv: Sequence[str], timeout: float) -> CommandResult | str:
    """The command's result; an error message if there is no such container."""
    replica = next(iter(bench.live.chosen((name,), alive=True)), None)
    if replica is None:
        return f"no container of {name} runs"
    return await bench.lab.hosts[replica.host].exec(argv, container=replica.name, timeout=timeout)
