"""How long a cable of a topology file takes: from its length, or from where its ends lie on the globe.

Pure. Light in fibre goes at two thirds of its speed in vacuum; a cable between two coordinates is as long as the great
circle, because no file says by which way it was laid.
"""

import re
from collections.abc import Mapping
from math import asin, cos, isfinite, radians, sin, sqrt
from typing import Any

__all__ = ["delay_of_length", "great_circle", "length_of", "position_of"]

EARTH = 6371.0088
"""Mean radius in km (IUGG)."""
FIBRE = 299_792.458 * 2 / 3
"""Kilometres a second."""
_LENGTHS = ("dist", "distance", "length", "length_km", "dist_km", "distance_km")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(km|m|)", re.IGNORECASE)
_LATITUDES, _LONGITUDES = ("latitude", "lat"), ("longitude", "lon", "lng", "long")


def length_of(data: Mapping[str, Any]) -> tuple[float, str] | None:
    """Kilometres of an edge, and the attribute that says them; None: none does."""
    for key, value in data.items():
        if str(key).lower() in _LENGTHS and (match := _LENGTH.fullmatch(str(value).strip())):
            length = float(match[1]) / (1000 if match[2].lower() == "m" else 1)
            if 0 <= length <= 100_000:
                return length, str(key)
    return None


def position_of(data: Mapping[str, Any]) -> tuple[float, float] | None:
    """(latitude, longitude) of a node in degrees; None: the file does not say where it is."""
    words = {str(key).lower(): value for key, value in data.items()}
    found = [next((words[key] for key in keys if key in words), None) for keys in (_LATITUDES, _LONGITUDES)]
    if None in found and isinstance(place := words.get("pos"), list | tuple) and len(place) == 2:
        found = [place[1], place[0]]
    try:
        latitude, longitude = (float(str(value)) for value in found)
    except ValueError:
        return None
    usable = isfinite(latitude) and isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 360
    return (latitude, longitude) if usable else None


def great_circle(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Kilometres between two positions on a sphere (haversine)."""
    (lat1, lon1), (lat2, lon2) = ((radians(a), radians(b)) for a, b in (one, other))
    half = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH * asin(min(1.0, sqrt(half)))


def delay_of_length(km: float) -> str:
    """The delay of this length of fibre, as a scenario writes it: whole microseconds."""
    return f"{round(km / FIBRE * 1_000_000)}us"
