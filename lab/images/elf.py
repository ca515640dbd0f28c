"""What a program or library needs from the dynamic linker. Owns only the needed part of the ELF format: 64 bits, little
endian, like every machine for which images are built. Pure.
"""

import struct

__all__ = ["needed"]

_MAGIC = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_END, _NEEDED, _STRINGS = 0, 1, 5


def needed(data: bytes) -> list[str]:
    """The names of the libraries (`libc.so.6`), and the path of the linker itself; empty for other files."""
    if not data.startswith(_MAGIC):
        return []
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loaded: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    found: list[str] = []
    for at in range(table, table + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        if kind == _LOAD:
            loaded.append((address, offset, length))
        elif kind == _DYNAMIC:
            dynamic = (offset, length)
        elif kind == _INTERPRETER:
            found.append(data[offset : offset + length].rstrip(b"\0").decode())
    if dynamic is None:
        return found
    names: list[int] = []
    strings = 0
    for at in range(dynamic[0], sum(dynamic), 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        if tag == _END:
            break
        if tag == _NEEDED:
            names.append(value)
        elif tag == _STRINGS:
            strings = value
    start = next((offset + strings - address for address, offset, size in loaded if 0 <= strings - address < size), 0)
    return found + [data[start + name : data.index(b"\0", start + name)].decode() for name in names]
