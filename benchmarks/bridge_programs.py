"""eBPF programs that carry IPv4 frames of one container around the bridge, attached to a port and a VXLAN device.

    python bridge_programs.py MODE PORT VXLAN ADDRESS MAC OTHER_MAC

MODE: `off`, `receive` (only frames that arrive from the other host) or `both`. Runs in the network namespace of a host
and replaces what it attached there before. Needs Linux 6.6 (tcx) and CAP_BPF in the first user namespace, but no
compiler: the instructions are written here. Knows nothing of the overlay, and is no part of it: `benchmarks/bpf.py`
measures what such programs would gain.

A frame that the program at the port does not know stays with the bridge and its filters: anything but TCP and UDP over
IPv4, fragments, IP options, VLAN tags, DHCP, a source that is not the port's own (port, MAC, address), and a
destination that is not a known remote container.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from contextlib import suppress

_NUMBERS = {"x86_64": 321, "aarch64": 280}
"""Of the system call bpf(2)."""
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 0, 2, 5, 8, 9
_HASH, _SCHED_CLS, _TCX_INGRESS, _FIRST = 1, 3, 46, 8
_LOOKUP, _REDIRECT, _CHANGE_TYPE, _REDIRECT_PEER = 1, 23, 32, 155
_NEXT = -1
"""TCX_NEXT: the kernel goes on as if there were no program."""
_DATA, _DATA_END, _IFINDEX, _VLAN = 76, 80, 40, 20
"""Offsets in `__sk_buff`."""
_LOAD = {1: 0x71, 2: 0x69, 4: 0x61}
_STORE = {2: 0x6B, 4: 0x63}
_IS, _IS_NOT, _HAS_BITS = 0x15, 0x55, 0x45
_CONTEXT, _FRAME, _END, _STACK = 6, 7, 8, 10
"""Registers."""
_ATTRIBUTES = 144
"""Bytes of `union bpf_attr` that are used here; the kernel accepts zeros after those that it knows."""

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    """Raises `OSError`."""
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES)
    result = int(_libc.syscall(_NUMBERS[platform.machine()], command, buffer, _ATTRIBUTES))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class HashMap:
    """A hash map of the kernel."""

    def __init__(self, key: int, value: int) -> None:
        self.descriptor = _bpf(_MAP_CREATE, struct.pack("=5I", _HASH, key, value, 1024, 0))

    def put(self, key: bytes, value: bytes) -> None:
        """Set one element."""
        buffers = [ctypes.create_string_buffer(each, len(each)) for each in (key, value)]
        _bpf(_MAP_UPDATE, struct.pack("=I4x3Q", self.descriptor, *map(ctypes.addressof, buffers), 0))


class Instructions:
    """A program in the making. Whatever does not match jumps to its end, which leaves the frame to the kernel."""

    def __init__(self, header: int) -> None:
        """`header`: bytes of the frame that must be readable."""
        self._made: list[tuple[int, int, int, int, int]] = []
        self._leaving: list[int] = []
        self.add(0xBF, _CONTEXT, 1).read(4, _FRAME, _CONTEXT, _DATA).read(4, _END, _CONTEXT, _DATA_END)
        self.reaches(header)

    def add(self, code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> "Instructions":
        """Append one instruction."""
        self._made.append((code, target, source, offset, value))
        return self

    def read(self, size: int, target: int, source: int, offset: int) -> "Instructions":
        """Read from memory into a register."""
        return self.add(_LOAD[size], target, source, offset)

    def store(self, size: int, offset: int, register: int) -> "Instructions":
        """Write a register onto the stack."""
        return self.add(_STORE[size], _STACK, register, offset)

    def reaches(self, length: int) -> "Instructions":
        """Leave if the frame is shorter."""
        self.add(0xBF, 2, _FRAME).add(0x07, 2, value=length)
        self._leaving.append(len(self._made))
        return self.add(0x2D, 2, _END)

    def leave_if(self, how: int, register: int, value: int) -> "Instructions":
        """Leave if the register is so."""
        self._leaving.append(len(self._made))
        return self.add(how, register, value=value)

    def require(self, size: int, offset: int, value: int) -> "Instructions":
        """Leave if a field of the frame is another."""
        return self.read(size, 2, _FRAME, offset).leave_if(_IS_NOT, 2, value)

    def put_mac(self, frame: int, stack: int) -> "Instructions":
        """Copy a MAC of the frame onto the stack, with two zero bytes after it."""
        self.add(0x7A, _STACK, 0, stack)
        self.read(4, 2, _FRAME, frame).store(4, stack, 2)
        return self.read(2, 2, _FRAME, frame + 4).store(2, stack + 4, 2)

    def look_up(self, table: HashMap, stack: int) -> "Instructions":
        """Leave if a key on the stack has no element; register 0 points at its value."""
        self.add(0x18, 1, 1, 0, table.descriptor).add(0)
        self.add(0xBF, 2, _STACK).add(0x07, 2, value=stack)
        return self.call(_LOOKUP).leave_if(_IS, 0, 0)

    def call(self, helper: int) -> "Instructions":
        """Call a helper of the kernel."""
        return self.add(0x85, value=helper)

    def load(self) -> int:
        """Give the program to the kernel; returns its descriptor. Raises `OSError`."""
        self.add(0x95)
        end = len(self._made)
        self.add(0xB7, 0, value=_NEXT).add(0x95)
        for place in self._leaving:
            code, target, source, _, value = self._made[place]
            self._made[place] = (code, target, source, end - place - 1, value)
        text = b"".join(struct.pack("=BBhi", c, s << 4 | t, o, v) for c, t, s, o, v in self._made)
        buffers = ctypes.create_string_buffer(text, len(text)), ctypes.create_string_buffer(b"GPL")
        places = map(ctypes.addressof, buffers)
        return _bpf(_PROG_LOAD, struct.pack("=2I2Q", _SCHED_CLS, len(self._made), *places))


def sending(own: HashMap, remote: HashMap) -> Instructions:
    """At a container's port: straight into the tunnel. `own`: port, address, MAC; `remote`: MAC to device."""
    made = Instructions(34)
    made.read(4, 2, _CONTEXT, _VLAN).leave_if(_IS_NOT, 2, 0)
    made.require(2, 12, socket.htons(0x0800)).require(1, 14, 0x45)
    made.read(2, 2, _FRAME, 20).leave_if(_HAS_BITS, 2, socket.htons(0x3FFF))  # a fragment
    made.read(1, 2, _FRAME, 23)
    made.add(_IS, 2, 0, 8, socket.IPPROTO_TCP)  # skips the eight instructions for UDP
    made.leave_if(_IS_NOT, 2, socket.IPPROTO_UDP).reaches(42)
    made.read(2, 2, _FRAME, 34).leave_if(_IS, 2, socket.htons(67))
    made.read(2, 2, _FRAME, 36).leave_if(_IS, 2, socket.htons(68))
    made.read(4, 2, _CONTEXT, _IFINDEX).store(4, -24, 2)
    made.read(4, 2, _FRAME, 26).store(4, -20, 2)
    made.put_mac(6, -16).look_up(own, -24)
    made.put_mac(0, -8).look_up(remote, -8)
    return made.read(4, 1, 0, 0).add(0xB7, 2).call(_REDIRECT)


def receiving(local: HashMap) -> Instructions:
    """At the VXLAN device: straight into the container. `local`: MAC to port."""
    made = Instructions(14).put_mac(0, -8).look_up(local, -8)
    made.read(4, 9, 0, 0)
    # The frame is not for the VXLAN device's own MAC, so the kernel takes it for somebody else's.
    made.add(0xBF, 1, _CONTEXT).add(0xB7, 2).call(_CHANGE_TYPE)
    return made.add(0xBF, 1, 9).add(0xB7, 2).call(_REDIRECT_PEER)


def _attach(program: int, device: int) -> None:
    _bpf(_PROG_ATTACH, struct.pack("=5I", device, program, _TCX_INGRESS, 0, 0))


def _detach_all(device: int) -> None:
    with suppress(FileNotFoundError):
        while True:
            _bpf(_PROG_DETACH, struct.pack("=5I", device, 0, _TCX_INGRESS, _FIRST, 0))


def main(arguments: list[str]) -> int:
    """Attach or detach; 2 where the kernel refuses."""
    mode, port_name, vxlan_name, address, mac_text, other = arguments
    port, vxlan = socket.if_nametoindex(port_name), socket.if_nametoindex(vxlan_name)
    mac, other_mac = (bytes.fromhex(text.replace(":", "")) + bytes(2) for text in (mac_text, other))
    try:
        for device in (port, vxlan):
            _detach_all(device)
        if mode == "both":
            own, remote = HashMap(16, 4), HashMap(8, 4)
            own.put(struct.pack("=I", port) + socket.inet_aton(address) + mac, bytes(4))
            remote.put(other_mac, struct.pack("=I", vxlan))
            _attach(sending(own, remote).load(), port)
        if mode in ("both", "receive"):
            local = HashMap(8, 4)
            local.put(mac, struct.pack("=I", port))
            _attach(receiving(local).load(), vxlan)
    except (OSError, KeyError) as error:
        reason = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else platform.machine()
        print(f"no BPF programs by tcx ({reason}): use Linux 6.6 or newer, as root", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
