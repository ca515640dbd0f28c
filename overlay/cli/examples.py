"""Examples of every command, for the end of `weave COMMAND --help` and of the manual page. Pure data."""

__all__ = ["EXAMPLES", "examples"]

EXAMPLES: dict[str, tuple[str, ...]] = {
    "launch": ("weave launch", "weave launch 192.168.0.3", "weave launch --ipalloc-range 10.2.0.0/16 host2 host3"),
    "launch-router": ("weave launch-router 192.168.0.3",),
    "launch-dns": ("weave launch-dns",),
    "launch-plugin": ("weave launch-plugin",),
    "launch-proxy": ("weave launch-proxy", "weave launch-proxy -H tcp://127.0.0.1:12375"),
    "stop-proxy": ("weave stop-proxy",),
    "env": ('eval "$(weave env)"', 'eval "$(weave env --restore)"'),
    "proxy-env": ('eval "$(weave proxy-env)"',),
    "config": ("docker $(weave config) ps",),
    "proxy-config": ("docker $(weave proxy-config) ps",),
    "connect": ("weave connect 192.168.0.3", "weave connect --replace host2 host3"),
    "forget": ("weave forget 192.168.0.3",),
    "status": ("weave status", "weave status connections"),
    "check": ("weave check", "weave check --json"),
    "graph": ("weave graph --format mermaid", "weave graph --containers | dot -Tsvg > graph.svg"),
    "report": ("weave report", "weave report -f '{{json .mesh.targets}}'"),
    "run": ("weave run --name web nginx", "weave run 10.2.1.3/24 -p 8080:80 --name web nginx"),
    "start": ("weave start web", "weave start 10.2.1.3/24 web"),
    "attach": ("weave attach web", "weave attach 10.2.1.3/24 net:10.2.2.0/24 web"),
    "detach": ("weave detach 10.2.1.3/24 web", "weave detach --all web"),
    "ps": ("weave ps", "weave ps web"),
    "expose": ("weave expose", "weave expose 10.2.1.100/24 -h gateway.weave.local"),
    "hide": ("weave hide 10.2.1.100/24", "weave hide --all"),
    "ip-claim": ("weave ip-claim vm1", "weave ip-claim vm1 10.2.1.3/24", "weave ip-claim --from owners.txt"),
    "ip-release": ("weave ip-release vm1", "weave ip-release vm1 10.2.1.3", "weave ip-release --from owners.txt"),
    "dns-add": (
        "weave dns-add web -h www.weave.local",
        "weave dns-add 10.2.1.9 -h printer.weave.local",
        "weave dns-add --from names.txt",
    ),
    "dns-remove": ("weave dns-remove web -h www.weave.local", "weave dns-remove --from names.txt"),
    "dns-lookup": ("weave dns-lookup web",),
    "dns-args": ("docker run $(weave dns-args --name web) --name web nginx",),
    "allow": ("weave allow from web to db:5432", "weave allow from peer:host1 to all"),
    "deny": ("weave deny to db", "weave deny --force from 10.2.9.0/24 to db:5432/tcp"),
    "policies": ("weave policies", "weave policies --explain web db:5432", "weave policies --remove 2"),
    "prime": ("weave prime",),
    "rmpeer": ("weave rmpeer host3",),
    "stop": ("weave stop", "weave stop --for-restart"),
    "stop-router": ("weave stop-router",),
    "setup": ("weave setup",),
    "bridge-type": ("weave bridge-type",),
    "docker-bridge-ip": ("weave docker-bridge-ip",),
    "systemd": ("weave systemd install --proxy 192.168.0.3", "weave systemd remove"),
    "reset": ("weave reset", "weave reset --force"),
    "version": ("weave version",),
    "completion": ('eval "$(weave completion bash)"', "weave completion zsh > ~/.zfunc/_weave"),
    "help": ("weave help launch",),
}


def examples(command: str) -> str:
    """The examples of a command's help; empty if it is not a command."""
    lines = EXAMPLES.get(command, ())
    return "\n\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
