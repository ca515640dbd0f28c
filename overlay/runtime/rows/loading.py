"""Finds the build of the rows' source, and declares its functions and structures. Builds nothing.

A build stands next to the source and has the source's hash in its name, so another version's is never loaded, and
nobody can put one there who could not change the source as well.
"""

import ctypes
import os
import platform
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

__all__ = [
    "SOURCE", "SWITCH", "RowPiece", "RowRoute", "RowSession", "RowTurn", "RowWay", "build_path", "load", "loaded",
]  # fmt: skip

SOURCE: Final = Path(__file__).with_name("rows.c")
SWITCH: Final = "OVERLAY_TUNNEL_COMPILED"
"""Environment variable: 0 leaves a build alone."""
_NOT_COMPILED: Final = "not compiled (`lab compile`, or `python -m overlay.runtime.rows.building`)"
_CRYPTO: Final = "libcrypto.so.3"


class RowSession(ctypes.Structure):
    """`session` of rows.c."""

    _fields_ = (
        ("seal", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("out_counter", ctypes.c_uint64),
        ("out_limit", ctypes.c_uint64),
        ("in_counter", ctypes.c_uint64),
        ("in_limit", ctypes.c_uint64),
        ("room", ctypes.c_uint32),
        ("sent", ctypes.c_uint32),
        ("held", ctypes.c_int32),
        ("held_last", ctypes.c_int32),
        ("held_way", ctypes.c_int32),
        ("held_size", ctypes.c_uint32),
        ("name_length", ctypes.c_uint32),
        ("name", ctypes.c_uint8 * 28),
        ("tag", ctypes.c_uint8 * 4),
    )


class RowWay(ctypes.Structure):
    """`way` of rows.c."""

    _fields_ = (
        ("session", ctypes.c_uint32),
        ("plain", ctypes.c_uint8 * 16),
        ("partial", ctypes.c_uint8 * 16),
        ("packed", ctypes.c_uint8 * 16),
    )


class RowRoute(ctypes.Structure):
    """`route` of rows.c."""

    _fields_ = (("mac", ctypes.c_uint8 * 6), ("way", ctypes.c_uint16))


class RowPiece(ctypes.Structure):
    """`piece` of rows.c."""

    _fields_ = (
        ("at", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("segment", ctypes.c_uint32),
        ("session", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
    )


class RowTurn(ctypes.Structure):
    """`turn` of rows.c."""

    _fields_ = (
        ("routes", ctypes.c_void_p),
        ("ways", ctypes.c_void_p),
        ("sessions", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("pieces", ctypes.c_void_p),
        ("marks", ctypes.c_void_p),
        ("held", ctypes.c_void_p),
        ("room", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("route_count", ctypes.c_uint32),
        ("way_count", ctypes.c_uint32),
        ("session_count", ctypes.c_uint32),
        ("most", ctypes.c_uint32),
        ("received", ctypes.c_int32),
        ("taken", ctypes.c_int32),
        ("count", ctypes.c_uint32),
        ("marked", ctypes.c_uint32),
        ("sent", ctypes.c_uint32),
        ("lost", ctypes.c_uint32),
        ("join_datagrams", ctypes.c_uint32),
        ("own", ctypes.c_uint8 * 8),
    )


def build_path() -> Path:
    """Where the build of this source stands, if there is one."""
    digest = sha256(SOURCE.read_bytes()).hexdigest()[:16]
    return SOURCE.with_name(f"_rows_{digest}_{platform.machine()}.so")


@cache
def loaded() -> "ctypes.CDLL | str":
    """The library that this process uses, or why there is none."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if not SOURCE.is_file():
        return "this program is one file, which no compiled code can be loaded from"
    try:
        path = build_path()
        return load(path) if path.is_file() else _NOT_COMPILED
    except OSError as error:
        return str(error)


def load(path: Path) -> ctypes.CDLL:
    """The library of a build. Raises `OSError`."""
    library = ctypes.CDLL(str(path))
    pointer, number, descriptor = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int
    library.rows_layout.restype = number
    sizes = [library.rows_layout(which) for which in range(5)]
    if sizes != [ctypes.sizeof(each) for each in (RowSession, RowWay, RowRoute, RowPiece, RowTurn)]:
        raise OSError(f"{path.name} has structures of {sizes} bytes, which are not those of this Python")
    if not library.rows_open(_CRYPTO.encode()):
        raise OSError(f"there is no {_CRYPTO}")
    library.rows_key.restype = pointer
    library.rows_key.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
    library.rows_free.argtypes = (pointer,)
    library.rows_free.restype = None
    library.rows_turn_out.restype = library.rows_turn_in.restype = None
    library.rows_turn_out.argtypes = (pointer, pointer, number, number, number, descriptor, descriptor, descriptor)
    library.rows_turn_in.argtypes = (pointer, pointer, number, number, number, descriptor, descriptor)
    library.rows_frames.restype = library.rows_datagrams.restype = None
    library.rows_frames.argtypes = library.rows_datagrams.argtypes = (pointer, pointer, number)
    return library
