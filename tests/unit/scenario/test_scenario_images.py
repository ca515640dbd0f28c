"""An image that a scenario names by its archive's path: found next to the scenario, and what is wrong with it."""

from pathlib import Path

import pytest

from lab.backends.netns.backend import NetnsBackend
from lab.explore.case import first_case
from lab.images.archive import BuiltImage, Layer, LayerWriter, archive, digest_of
from lab.scenario.from_json import from_json
from lab.scenario.load import ScenarioError, load, load_resolved
from lab.sweep import grid

TEXT = """version: 1
underlay: {{hosts: {{a: {{}}}}}}
services: {{shop: {{image: {0}, port: 80}}}}
timeline: [wait: 1s]
"""


def _archive(path: Path, *names: str) -> None:
    with LayerWriter(path.with_suffix(".layer")) as layer:
        layer.add("bin/shop", b"#!", 0o755)
    file = path.with_suffix(".layer")
    shared = (Layer(str(file), digest_of(file)),)
    images = [BuiltImage(name=name, layers=shared, config={"Cmd": ["/bin/shop"]}, inputs="x") for name in names]
    path.write_bytes(b"".join(archive(images, "amd64")))


def _scenario(folder: Path, image: str) -> Path:
    file = folder / "shop.yaml"
    file.write_text(TEXT.format(image))
    return file


def test_the_archive_is_found_beside_the_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _archive(tmp_path / "shop.tar", "my/shop:2")
    monkeypatch.chdir("/")
    scenario = load_resolved(_scenario(tmp_path, "./shop.tar"))
    assert scenario.services["shop"].image == "my/shop:2"
    assert scenario.services["shop"].archive == str(tmp_path / "shop.tar")
    assert from_json(scenario.to_json()) == scenario


def test_backends_without_engines_refuse_it_even_if_they_know_the_name(tmp_path: Path) -> None:
    _archive(tmp_path / "shop.tar", "tutum/curl:latest")
    (reason,) = NetnsBackend().refuse(load_resolved(_scenario(tmp_path, "shop.tar")))
    assert reason.startswith("services.shop: no host made of namespaces runs the image 'tutum/curl:latest' of /")


def test_backends_without_engines_refuse_images_that_they_do_not_know(tmp_path: Path) -> None:
    (reason,) = NetnsBackend().refuse(load_resolved(_scenario(tmp_path, "my/shop")))
    assert reason.startswith("services.shop: no host made of namespaces runs the image 'my/shop'; there are ksahnine/")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"no tar", "is no image archive as `docker save` writes them"),
    ],
)
def test_what_is_no_archive_is_told_with_its_place(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "shop.tar.gz").write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load(_scenario(tmp_path, "shop.tar.gz"))
    (problem,) = caught.value.problems
    assert problem.path == "services.shop.image" and problem.line == 3
    assert "'shop.tar.gz'" in problem.text and words in problem.text


def test_an_archive_of_several_images_does_not_say_which(tmp_path: Path) -> None:
    _archive(tmp_path / "shop.tar", "a:1", "b:1")
    with pytest.raises(ScenarioError, match=r"which holds a:1, b:1, expected one image"):
        load(_scenario(tmp_path, "shop.tar"))


def test_archive_is_no_key_of_the_language(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="`archive`"):
        load(_scenario(tmp_path, "my/shop, archive: x.tar"))


def test_what_is_made_of_a_scenario_can_stand_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "a folder", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    _archive(home / "shop.tar", "my/shop:2")
    (home / "net.gml").write_text(
        'graph [ node [ id 0 label "a" ] node [ id 1 label "b" ] edge [ source 0 target 1 ] ]'
    )
    steps = "[launch: all, expect: {converged: all, within: 9s}]"
    text = TEXT.format("shop.tar").replace("{hosts: {a: {}}", "{file: net.gml").replace("[wait: 1s]", steps)
    (home / "shop.yaml").write_text(text)
    monkeypatch.chdir(home)
    case = first_case(text, "shop", Path(), deadline=10**9).text()
    swept = grid.variant_text(text, (), "shop", Path())
    for made in (case, swept):
        (elsewhere / "made.yaml").write_text(made)
        monkeypatch.chdir("/")
        scenario = load_resolved(elsewhere / "made.yaml")
        assert scenario.services["shop"].archive == str(home / "shop.tar")
        assert list(scenario.hosts) == ["a", "b"]
