"""Orders to a lab's zygote: more of them than fit between the two at once, which once made each wait for the other."""

import subprocess
import sys

SCRIPT = """
import asyncio, os, socket, sys
sys.path[:0] = sys.argv[2:]
from lab.backends.netns import zygote
from lab.backends.netns.spawn import Spawner

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for end in (ours, theirs):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least: a few messages each way
if os.fork() == 0:
    ours.close()
    zygote.serve(theirs, ())
    os._exit(0)
theirs.close()

async def main(count):
    spawner = Spawner(ours)
    env = {"PATH": os.environ["PATH"]}
    run = lambda n: spawner.collect(host=0, argv=["sh", "-c", f"echo {n}"], env=env, timeout=60)
    results = await asyncio.gather(*(run(number) for number in range(count)))
    assert [result.out for result in results] == [f"{number}\\n" for number in range(count)], results
    spawner.close()

asyncio.run(main(int(sys.argv[1])))
print("done")
"""


def test_many_orders_at_once_are_all_obeyed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "200", *sys.path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr
