"""How an endpoint of the plugin is called where containers are called by their ids."""

from overlay.docker.journal import Attachment
from overlay.owners import release_command, replace_command, short

ID, ENDPOINT = "ab" * 32, "cd" * 32


def test_an_endpoint_is_its_containers_and_leaves_by_the_engine() -> None:
    unknown = Attachment(container=f"weave:plugin:{ENDPOINT}")
    assert unknown.label == unknown.shown == unknown.container
    known = Attachment(container=f"weave:plugin:{ENDPOINT}", holder=ID)
    assert known.shown == ID and known.label == f"{ID}:{ENDPOINT[:12]}"
    assert short(known.label) == short(ID) == ID[:12]
    for owner in (unknown.label, known.label):
        assert "docker network disconnect" in release_command(owner, "10.40.0.1/24")
        assert replace_command(owner) == "connect it again"
    assert release_command(ID) == f"`weave detach --all {ID[:12]}`"
