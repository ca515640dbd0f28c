"""How each verb of a timeline is carried out on the stage.

One function per verb: (stage, body, index) -> what there is to say in the step's last event. A function raises
`LabError` when its step cannot be carried out. Knows nothing of schedules, and nothing of `expect` (`runner_expect`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from lab.contracts.fault import Fault
from lab.contracts.overlay import together
from lab.errors import Exhausted, LabError
from lab.faults.churn import ChurnFault, words
from lab.faults.device import ClockTrouble, DiskTrouble
from lab.faults.packet_filter import ObstacleFault
from lab.faults.partition import PartitionFault
from lab.faults.process import death_of
from lab.overlays.weave import WeaveOverlay
from lab.runner.expect import judge_exec
from lab.runner.stage import Stage
from lab.scenario.base import ALL, chosen
from lab.scenario.resolve import Replica
from lab.scenario.steps import (
    Attach,
    Connect,
    Exec,
    Forget,
    Launch,
    Remove,
    Reset,
    Run,
    Scale,
    SetPolicy,
    Step,
    Victim,
)
from lab.scenario.values import UNITS, format_duration

Detail = dict[str, Any]
Carry = Callable[[Stage, Any, int], Awaitable[Detail]]


async def launch(stage: Stage, body: Launch, index: int) -> Detail:
    """Launch the overlay on hosts."""
    hosts = chosen(body.hosts, stage.scenario.hosts)
    async with stage.upkeep.working_on(hosts):
        await stage.overlay.launch(hosts, body.options)
        if stage.overlay.has_daemons:
            for host in hosts:
                stage.daemon_runs(host)
            for host in hosts:
                await stage.upkeep.launched(host)
    return {"hosts": list(hosts)}


async def connect(stage: Stage, body: Connect, index: int) -> Detail:
    """Let one peer connect to others; or, where the scenario has a graph, all of them to their neighbours."""
    edges = stage.scenario.edges
    if edges is not None and body.source is None and body.target == (ALL,):
        neighbours: dict[str, list[str]] = {}
        for dialler, dialled in edges:
            neighbours.setdefault(dialler, []).append(dialled)
        await together(stage.overlay.connect(dialler, dialled) for dialler, dialled in neighbours.items())
        return {"edges": len(edges)}
    source, targets = _ends(stage, body)
    if targets:
        await stage.overlay.connect(source, targets)
    return {"from": source, "to": list(targets)}


async def forget(stage: Stage, body: Forget, index: int) -> Detail:
    """Let one peer forget others."""
    source, targets = _ends(stage, body)
    await _weave(stage).forget(source, targets)
    return {"from": source, "to": list(targets)}


async def run(stage: Stage, body: Run, index: int) -> Detail:
    """Start the containers of services: side by side on different hosts, in order on one."""
    services = [stage.scenario.services[name] for name in chosen(body.services, stage.scenario.services)]
    replicas = [service.replica(number) for service in services for number in range(1, service.replicas + 1)]
    if body.ipam:
        replicas = [replica.without_address() for replica in replicas]
    await _start(stage, replicas)
    return stage.containers()


async def remove(stage: Stage, body: Remove, index: int) -> Detail:
    """Remove all containers of services."""
    await _remove(stage, stage.live.chosen(chosen(body.services, stage.scenario.services), alive=False))
    return stage.containers()


async def scale(stage: Stage, body: Scale, index: int) -> Detail:
    """Start the replicas that are missing, or remove those with the highest numbers."""
    service = stage.scenario.services[body.service]
    wanted = {replica.name: replica for replica in map(service.replica, range(1, body.to + 1))}
    there = {replica.name: replica for replica in stage.live.chosen((service.name,), alive=False)}
    await _start(stage, [replica for name, replica in wanted.items() if name not in there])
    await _remove(stage, [replica for name, replica in reversed(there.items()) if name not in wanted])
    return stage.containers()


async def attach(stage: Stage, body: Attach, index: int) -> Detail:
    """`weave attach` of a service's containers."""
    for replica in _some(stage, body.service):
        async with stage.upkeep.working_on((replica.host,)):
            await _weave(stage).attach(replica, body.address)
    await stage.probing.sync()
    return stage.containers()


async def detach(stage: Stage, body: Attach, index: int) -> Detail:
    """`weave detach` of a service's containers."""
    for replica in _some(stage, body.service):
        async with stage.upkeep.working_on((replica.host,)):
            await _weave(stage).detach(replica, body.address)
    await stage.probing.sync()
    return stage.containers()


async def policy(stage: Stage, body: SetPolicy, index: int) -> Detail:
    """`weave allow` or `deny`."""
    host = body.host or stage.hosts[0]
    await _weave(stage).policy(host, body.policy.text, remove=body.remove, force=body.force)
    return {"host": host, "policy": body.policy.text, "removed": body.remove}


async def execute(stage: Stage, body: Exec, index: int) -> Detail:
    """Run a command on a host or in a container, and judge how it ended."""
    container = "" if body.service is None else _some(stage, body.service)[0].name
    host = body.host or stage.live.running[container].host
    result = await stage.lab.hosts[host].exec(body.command, container=container, timeout=body.timeout / UNITS["s"])
    problem = judge_exec(body.expect, result, body.timeout)
    if problem:
        raise LabError(f"{container or host}: `{' '.join(body.command)[:80]}`: {problem}")
    return {"code": result.code, "stdout": result.out[-2000:]}


async def heal(stage: Stage, body: Any, index: int) -> Detail:
    """End all partitions."""
    for step in stage.in_force("partition"):
        await stage.heal(step)
    return {}


async def restart(stage: Stage, body: Victim, index: int) -> Detail:
    """Start again what was killed."""
    fault = death_of(body)
    return {"hosts": await stage.restart(fault), **stage.containers()}


async def reset(stage: Stage, body: Reset, index: int) -> Detail:
    """`weave reset`."""
    hosts = chosen(body.hosts, stage.scenario.hosts)
    for host in hosts:
        async with stage.upkeep.working_on((host,)):
            stage.daemon_stops(host)
            await _weave(stage).reset((host,))
    await stage.probing.sync()
    return {"hosts": list(hosts), **stage.containers()}


async def wait(stage: Stage, body: int, index: int) -> Detail:
    """Let time pass."""
    await stage.lab.sleep_until(stage.lab.now() + body)
    return {}


_CARRY: Mapping[str, Carry] = {
    "launch": launch,
    "connect": connect,
    "forget": forget,
    "run": run,
    "remove": remove,
    "scale": scale,
    "attach": attach,
    "detach": detach,
    "policy": policy,
    "exec": execute,
    "heal": heal,
    "restart": restart,
    "reset": reset,
    "wait": wait,
}
REGROUPS = ("heal", "restart", "reset", "launch")
"""Verbs after which other hosts may reach each other than before."""


async def carry(stage: Stage, step: Step, index: int) -> None:
    """Carry out a step and write its events; a fault's last event comes when it is healed."""
    label = label_of(step, stage.hosts)
    fault = fault_of(step, index, stage.hosts, stage.scenario.seed)
    if fault is not None:
        await stage.strike(index, fault, step.duration)
        return
    begun = stage.lab.now()
    stage.event(index, step.verb, "start", label=label)
    try:
        detail = await _CARRY[step.verb](stage, step.body, index)
    except Exhausted:
        raise  # the machine's fault: the step was not tried
    except LabError as error:
        took = stage.lab.now() - begun
        stage.event(index, step.verb, "end", ok=False, label=label, took=took, error=str(error))
        raise
    groups = step.verb in REGROUPS
    stage.event(index, step.verb, "end", ok=True, groups=groups, label=label, took=stage.lab.now() - begun, **detail)


def fault_of(step: Step, index: int, hosts: Sequence[str], seed: int) -> Fault | None:
    """The fault of a step, None when it is none; `seed` and the step's index make what is random in it."""
    match step.verb:
        case "partition":
            return PartitionFault(step.body, hosts)
        case "block" | "mtu":
            return ObstacleFault(step.body, hosts)
        case "kill":
            return death_of(step.body)
        case "churn":
            return ChurnFault(step.body, hosts, f"{seed} churn {index}", step.duration or 0)
        case "slow_disk":
            return DiskTrouble(step.body)
        case "clock":
            return ClockTrouble(step.body)
    return None


def label_of(step: Step, hosts: Sequence[str]) -> str:
    """A step in a few words; `hosts` are all hosts of the scenario."""
    body = step.body
    match step.verb:
        case "partition":
            return PartitionFault(body, hosts).label
        case "block" | "mtu":
            said = ObstacleFault(body, hosts).label
        case "launch" | "reset":
            said = ", ".join(body.hosts)
        case "connect" | "forget":
            said = "all" if body.source is None else f"{body.source} → {', '.join(body.target)}"
        case "run" | "remove":
            said = ", ".join(body.services)
        case "scale":
            said = f"{body.service} to {body.to}"
        case "attach" | "detach":
            said = f"{body.service} {body.address or ''}".strip()
        case "policy":
            said = f"{body.rule}{' (removed)' if body.remove else ''}"
        case "exec":
            line = (
                body.command[2]
                if body.command[:2] == ("sh", "-c") and len(body.command) == 3
                else " ".join(body.command)
            )
            said = f"{body.host or body.service}: {line if len(line) <= 60 else line[:57] + '…'}"
        case "restart" | "kill":
            said = death_of(body).label
        case "churn":
            said = words(body, step.duration or 0)
        case "slow_disk":
            said = DiskTrouble(body).label
        case "clock":
            said = ClockTrouble(body).label
        case "wait":
            said = format_duration(body)
        case "heal":
            said = "all"
        case _:
            said = ""
    return f"{step.verb} {said}".strip()


async def _start(stage: Stage, replicas: list[Replica]) -> None:
    for replica in replicas:
        if replica.name in stage.live.placed:
            raise LabError(f"{replica.name} was started already; `remove` it first, or `scale` its service")
    by_host: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_host.setdefault(replica.host, []).append(replica)

    async def on_host(host: str, mine: list[Replica]) -> None:
        async with stage.upkeep.working_on((host,)):
            for replica in mine:
                if host in stage.live.hosts_down:
                    raise LabError(f"{replica.name} belongs on {host}, which is switched off")
                await stage.overlay.run(replica)
                stage.live.container_placed(replica)

    await together(on_host(host, mine) for host, mine in by_host.items())
    await stage.probing.sync()


async def _remove(stage: Stage, replicas: list[Replica]) -> None:
    async with stage.upkeep.working_on(replica.host for replica in replicas):
        for replica in replicas:
            stage.live.container_removed(replica.name)
            stage.upkeep.removed(replica)
        await stage.probing.sync()
        alive = [replica for replica in replicas if replica.host not in stage.live.hosts_down]
        await together(stage.overlay.remove(replica) for replica in alive)


def _ends(stage: Stage, body: Connect) -> tuple[str, tuple[str, ...]]:
    source = body.source or next(iter(stage.scenario.hosts))
    return source, tuple(name for name in chosen(body.target, stage.scenario.hosts) if name != source)


def _some(stage: Stage, service: str) -> list[Replica]:
    replicas = stage.live.chosen((service,), alive=True)
    if not replicas:
        raise LabError(f"no container of {service} runs")
    return replicas


def _weave(stage: Stage) -> WeaveOverlay:
    # The checks of a scenario let these verbs through where the overlay's kind lists them.
    return cast(WeaveOverlay, stage.overlay)
