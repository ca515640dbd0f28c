"""The texts of an artifact's files: README, container recipe, CITATION.cff, RO-Crate. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from lab.artifact.claims import Artifact, ClaimGroup
from lab.words import count

__all__ = ["citation", "containerfile", "crate", "readme"]

_CODE = "https://www.apache.org/licenses/LICENSE-2.0"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PACKAGES = "iproute2 nftables wireguard-tools iputils-ping procps git ca-certificates"
"""Debian packages that runs on real packets need."""


def readme(artifact: Artifact, code: str) -> str:
    """Description, instructions for checking, and every claim."""
    commit = artifact.made_by.get("commit")
    made = f"commit {commit}{' with changes' if artifact.made_by.get('dirty') else ''}, " if commit else ""
    lines = [
        f"# Artifact of {artifact.name}",
        "",
        artifact.title,
        "",
        f"Made by overlay-lab {artifact.made_by.get('version')} ({made}digest {artifact.made_by.get('digest')}).",
        "",
        "## Check it",
        "",
        "```console",
        *(["$ docker build -t artifact -f Containerfile .", "$ docker run --rm artifact"] if code else []),
        "$ lab artifact check .                 # with overlay-lab installed",
        "```",
        "",
        "The check replays the commands below in fresh folders and prints each claim as *reproduced*, *not reproduced* "
        "or *not run*. It runs what is quick and needs nothing; the others by `--claim NAME`, or `--all`.",
        "",
        "| name | what | command | minutes | memory, MB | needs | claims |",
        "|---|---|---|---|---|---|---|",
        *(_group(group) for group in artifact.groups),
        "",
        "## Claims",
        "",
    ]
    for group in artifact.groups:
        lines += [f"### {group.id}", "", "| claim | value | reproduced between |", "|---|---|---|"]
        for claim in group.claims:
            value = claim.equals or f"{claim.value:.4g} {claim.unit}".strip()
            between = "equal" if claim.equals else f"{claim.low:.4g} and {claim.high:.4g}"
            lines.append(f"| {_cell(claim.text)} | {_cell(value)} | {between} |")
        lines.append("")
    return "\n".join(lines)


def _group(group: ClaimGroup) -> str:
    command, needs = f"`{' '.join(group.command)}`", ", ".join(group.needs) or "nothing"
    return (
        f"| {group.id} | {_cell(group.title)} | {command} | {group.minutes:g} | {group.memory_mb:g} | {needs} | "
        f"{count(len(group.claims), 'claim')} |"
    )


def containerfile(code: str) -> str:
    """The recipe: the code of the archive with the locked libraries, and the check as its command."""
    return (
        "# The check of this artifact in a container. Claims that need packets: docker run --privileged …\n"
        "FROM python:3.11-slim-bookworm\n"
        f"RUN apt-get update && apt-get install -y --no-install-recommends {_PACKAGES} && rm -rf /var/lib/apt/lists/*\n"
        f"ADD {code} /opt/\n"
        "WORKDIR /opt/overlay-lab\n"
        "RUN pip install --no-cache-dir --require-hashes -r requirements.lock "
        "&& pip install --no-deps --no-build-isolation .\n"
        "COPY . /artifact\n"
        "WORKDIR /artifact\n"
        'CMD ["lab", "artifact", "check", "/artifact"]\n'
    )


def citation(artifact: Artifact, date: str, authors: Sequence[str]) -> str:
    """The text of CITATION.cff 1.2.0."""
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this artifact, please cite it as below.",
        "type: dataset",
        f"title: {json.dumps(artifact.title)}",
        f"version: {json.dumps(str(artifact.made_by.get('version')))}",
        f"date-released: {date}",
        "license: Apache-2.0",
        "authors:",
        *(f"  - name: {json.dumps(author)}" for author in authors),
    ]
    if commit := artifact.made_by.get("commit"):
        lines.append(f"commit: {commit}")
    return "\n".join(lines) + "\n"


def crate(artifact: Artifact, date: str, authors: Sequence[str], files: Iterable[tuple[str, int]]) -> str:
    """`ro-crate-metadata.json` (RO-Crate 1.1): the folder, its files, the software, and the actions that check it."""
    parts = [{"@id": name} for name, _ in files]
    people = [{"@id": f"#author-{number}"} for number, _ in enumerate(authors, 1)]
    graph: list[dict[str, Any]] = [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "conformsTo": {"@id": _CRATE},
         "about": {"@id": "./"}},
        {"@id": "./", "@type": "Dataset", "name": artifact.name, "description": artifact.title, "datePublished": date,
         "license": {"@id": _CODE}, "author": people, "hasPart": parts,
         "mentions": [{"@id": f"#check-{group.id}"} for group in artifact.groups]},
        {"@id": _CODE, "@type": "CreativeWork", "name": "Apache License 2.0"},
        {"@id": "#software", "@type": "SoftwareApplication", "name": "overlay-lab",
         "softwareVersion": f"{artifact.made_by.get('version')}+{artifact.made_by.get('digest')}"},
        *({"@id": f"#author-{number}", "@type": "Organization", "name": author}
          for number, author in enumerate(authors, 1)),
        *({"@id": name, "@type": "File", "contentSize": str(size)} for name, size in files),
        *({"@id": f"#check-{group.id}", "@type": "CreateAction", "name": group.title,
           "instrument": {"@id": "#software"}, "description": " ".join(group.command)} for group in artifact.groups),
    ]  # fmt: skip
    return json.dumps({"@context": f"{_CRATE}/context", "@graph": graph}, indent=2, ensure_ascii=False) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
