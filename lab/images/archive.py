"""Images as data: tar layers and a configuration, combined into the archive that `docker load` reads.

Owns the format (Docker Image Specification 1.2: manifest.json, one configuration, one tar per layer) and reproducible
layers: the same files give the same bytes, so the same identifiers. Knows nothing of an image's content.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lab.errors import LabError

_CHUNK = 1 << 20
_EPOCH = "1970-01-01T00:00:00Z"


class Layer(Struct, frozen=True):
    """One layer: an uncompressed tar and its digest, which is the layer's identity (`diff_id`)."""

    file: str
    digest: str

    @property
    def path(self) -> Path:
        """The path of the tar."""
        return Path(self.file)


class BuiltImage(Struct, frozen=True, kw_only=True):
    """An image in the cache."""

    name: str
    """Name with its tag: `ksahnine/dummy-http:latest`."""
    layers: tuple[Layer, ...]
    config: dict[str, Any]
    """`Entrypoint`, `Cmd`, `Env` … as in a Docker image's configuration."""
    inputs: str
    """Hash of all its inputs; also its label `overlay-lab.inputs`."""

    @property
    def size(self) -> int:
        """Bytes of all layers, approximately the size in `docker images`."""
        return sum(layer.path.stat().st_size for layer in self.layers)


def digest_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


class LayerWriter:
    """Writes a layer; members in call order, owned by root, without time stamps by default. A context manager."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._made: set[str] = set()

    def __enter__(self) -> "LayerWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def add(self, name: str, data: bytes, mode: int = 0o644, time: float = 0) -> None:
        """Add a regular file; creates its directories."""
        self._parents(name)
        info = _info(name, size=len(data), mode=mode)
        info.mtime = time
        self._put(info, io.BytesIO(data))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._parents(name)
        info = _info(name, mode=0o777)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self._put(info)

    def directory(self, name: str, mode: int = 0o755) -> None:
        """Add a directory."""
        if name and name not in self._made:
            self._parents(name)
            self._made.add(name)
            info = _info(name, mode=mode)
            info.type = tarfile.DIRTYPE
            self._put(info)

    def copy(self, source: tarfile.TarFile, member: tarfile.TarInfo, *, timed: bool = True) -> None:
        """Copy a regular file of another tar, with hard links resolved. `timed` keeps its time stamp, by which Python
        matches compiled modules."""
        data = source.extractfile(member)
        assert data is not None
        self.add(member.name.removeprefix("./"), data.read(), member.mode & 0o7777, member.mtime if timed else 0)

    def _parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if parent:
            self.directory(parent)

    def _put(self, info: tarfile.TarInfo, data: io.BytesIO | None = None) -> None:
        if info.name in self._made and info.type != tarfile.DIRTYPE:
            return  # engines refuse a layer that has a path twice
        self._made.add(info.name)
        self._tar.addfile(info, data)


def _info(name: str, *, size: int = 0, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, 0
    return info


def configuration(image: BuiltImage, architecture: str) -> bytes:
    """The image's configuration, whose hash is the image's id."""
    labels = {**image.config.get("Labels", {}), "overlay-lab.inputs": image.inputs}
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": _EPOCH,
            "config": {**image.config, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
            "history": [{"created": _EPOCH, "created_by": "lab images build"} for _ in image.layers],
        },
        sort_keys=True,
    ).encode()


def archive(images: Sequence[BuiltImage], architecture: str) -> Iterator[bytes]:
    """The bytes of one archive with all these images, layer by layer; shared layers are included once."""
    manifest = []
    for image in images:
        config = configuration(image, architecture)
        name = hashlib.sha256(config).hexdigest() + ".json"
        yield from _member(name, [config], len(config))
        layers = [f"{layer.digest}/layer.tar" for layer in image.layers]
        manifest.append({"Config": name, "RepoTags": [image.name], "Layers": layers})
    unique = {layer.digest: layer for image in images for layer in image.layers}
    for layer in unique.values():
        yield from _member(f"{layer.digest}/layer.tar", _chunks(layer.path), layer.path.stat().st_size)
    text = json.dumps(manifest).encode()
    yield from _member("manifest.json", [text], len(text))
    yield tarfile.NUL * (2 * tarfile.BLOCKSIZE)


class _Entry(Struct):
    """One image of a manifest; only the keys needed here."""

    RepoTags: list[str] | None = None


def names_in(path: Path) -> list[str]:
    """The names (with tags) of the images in a user's archive. Raises `LabError` for other files."""
    if path.exists() and not path.is_file():
        raise LabError(f"{path} is no regular file, which an archive of images must be")
    try:
        with tarfile.open(path) as tar:
            file = tar.extractfile("manifest.json")
            manifest = msgspec.json.decode(file.read(), type=list[_Entry]) if file is not None else []
    except (tarfile.TarError, KeyError, ValueError, EOFError, RecursionError) as error:
        raise LabError(f"{path} is no image archive as `docker save` writes them: {error}") from None
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    names = [name for entry in manifest for name in entry.RepoTags or ()]
    if not names:
        raise LabError(f"{path} holds no image with a name: save it by its name, `docker save NAME`")
    return names


def _member(name: str, data: Iterable[bytes], size: int) -> Iterator[bytes]:
    yield _info(name, size=size, mode=0o644).tobuf(tarfile.GNU_FORMAT)
    yield from data
    if rest := size % tarfile.BLOCKSIZE:
        yield tarfile.NUL * (tarfile.BLOCKSIZE - rest)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
