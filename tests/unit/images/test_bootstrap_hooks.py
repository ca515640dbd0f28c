"""The hooks of mmdebstrap are words of a shell: a checkout's folder may have a space in its name."""

from pathlib import Path

import pytest
from tiers import cannot_run

from lab.images import layers

TOOL = r"""#!/bin/sh
# What mmdebstrap does with a hook that is not just the path of a program.
for word in "$@"; do
    case "$word" in --customize-hook=*) sh -c "${word#--customize-hook=}" exec /the/root || exit 1 ;; esac
done
"""


def test_a_hook_in_a_folder_with_a_space_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not layers._own_release():
        cannot_run("mmdebstrap needs a system of Debian's kind")
    folder = tmp_path / "a folder's"
    folder.mkdir()
    for name, text in (("mmdebstrap", TOOL), ("finish", f'#!/bin/sh\nprintf "%s" "$1" > "{folder}/told"\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    layers.bootstrap(folder / "base.tar", "test", ["busybox"], [folder / "finish"], lambda _: None)
    assert (folder / "told").read_text() == "/the/root"
