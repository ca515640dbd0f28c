"""The archives that engines load: whole, the same for the same inputs, and complaints about what is none."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.images import layers, store
from lab.images.archive import BuiltImage, Layer, LayerWriter, archive, digest_of, names_in


def _layer(path: Path, *files: tuple[str, bytes]) -> Layer:
    with LayerWriter(path) as layer:
        for name, data in files:
            layer.add(name, data, 0o755)
        layer.link("bin/sh", "busybox")
    return Layer(str(path), digest_of(path))


def _image(name: str, *stack: Layer) -> BuiltImage:
    return BuiltImage(name=name, layers=stack, config={"Cmd": ["/bin/sh"]}, inputs="abc")


def test_an_archive_has_everything_that_its_manifest_names(tmp_path: Path) -> None:
    shared = _layer(tmp_path / "a.tar", ("bin/busybox", b"x" * 700))
    own = _layer(tmp_path / "b.tar", ("etc/name", b"n"))
    data = b"".join(archive([_image("a:1", shared), _image("b:2", shared, own)], "amd64"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))  # a shared layer is in it once
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        for entry in manifest:
            config = json.load(tar.extractfile(entry["Config"]) or io.BytesIO())
            assert len(config["rootfs"]["diff_ids"]) == len(entry["Layers"])
            assert set(entry["Layers"]) <= set(names)
            assert config["config"]["Labels"] == {"overlay-lab.inputs": "abc"}
    file = tmp_path / "both.tar"
    file.write_bytes(data)
    assert names_in(file) == ["a:1", "b:2"]


def test_the_same_files_make_the_same_layer(tmp_path: Path) -> None:
    files = (("usr/bin/x", b"1"), ("usr/bin/y", b"2"))
    first, second = (_layer(tmp_path / name, *files) for name in ("1.tar", "2.tar"))
    assert first.digest == second.digest


def test_a_path_is_in_a_layer_once(tmp_path: Path) -> None:
    layer = _layer(tmp_path / "l.tar", ("a/b", b"first"), ("a/b", b"second"))
    with tarfile.open(layer.path) as tar:
        assert tar.getnames() == ["a", "a/b", "bin", "bin/sh"]
        assert (tar.extractfile("a/b") or io.BytesIO()).read() == b"first"


def test_what_is_no_archive_is_refused_with_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"not a tar")
    with pytest.raises(LabError, match=r"broken\.tar is no image archive"):
        names_in(broken)
    with pytest.raises(LabError, match="No such file"):
        names_in(tmp_path / "absent.tar")


def test_a_copied_file_keeps_its_time_by_which_python_knows_its_compiled_form(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "source.tar", "w") as source:
        member = tarfile.TarInfo("./usr/lib/module.py")
        member.size, member.mtime, member.mode = 4, 1_700_000_000, 0o644
        source.addfile(member, io.BytesIO(b"pass"))
    with LayerWriter(tmp_path / "layer.tar") as layer, tarfile.open(tmp_path / "source.tar") as source:
        layer.copy(source, source.getmembers()[0])
        layer.add("own", b"x")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getmember("usr/lib/module.py").mtime == 1_700_000_000
        assert tar.getmember("own").mtime == 0


def test_what_a_killed_builder_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "cache", lambda: tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "loaded").mkdir()
    kept = {
        "base-1f2b.tar",
        "base-1f2b.sha256",
        f"base-1f2b.{os.getpid()}.tar",
        "images.json",
        "loaded/3e93.tar",
        "kvm-6.1.0",
    }
    for name in (*kept, f"base-1f2b.{gone.pid}.tar", f"loaded/3e93.{gone.pid}"):
        (tmp_path / name).touch()
    store.forget_old()
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == kept
