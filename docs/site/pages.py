"""Pages of the site that are not in docs/: the README as the start page, the changelog, the gallery of reports.

A hook of mkdocs. Owns where such a page stands on the site; links in it are made to fit the new place, and a link to
something that is not on the site becomes its bare text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PLACES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "tests/README.md": "tests.md",
}
"""Path in the repository: page of the site."""
LINK = re.compile(r"\[([^][]*(?:!\[[^][]*\]\([^()]*\))?[^][]*)\]\(([^()\s]+)\)")
MARKS = re.compile(r"^```console .*$", re.MULTILINE)
"""A block of commands with words for those who type it (`fails`, `on packets`), which mkdocs would take for prose."""
IMAGE = re.compile(r"!\[([^][]*)\]\(([^()\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of `PLACES`, the gallery and its pictures."""
    top = Path(config.config_file_path).parent
    pictures = sorted((top / "reports" / "gallery").glob("*.png"))
    texts = {page: (top / path).read_text(encoding="utf-8") for path, page in PLACES.items()}
    texts["gallery.md"] = (
        "# Gallery\n\nReports of runs, as the lab writes them. [What is on them](results.md)\n\n"
        + "\n\n".join(f"![The report of {path.stem}](reports/gallery/{path.name})" for path in pictures)
    )
    for picture in pictures:
        place = f"reports/gallery/{picture.name}"
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Each link made to fit the site, and each block without words that mkdocs does not know."""
    sources = {page: path for path, page in PLACES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def fitting(target: str) -> str | None:
        """The same target seen from the page's place on the site; None where the site has none."""
        path, mark, anchor = target.partition("#")
        if not path or ":" in path or source == "docs/gallery.md":
            return target
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = PLACES.get(named, named.removeprefix("docs/"))
        if files.get_file_from_path(place) is None and (Path(config.config_file_path).parent / named).exists():
            return None  # source code, a scenario, a folder
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".") + mark + anchor

    def link(found: re.Match[str]) -> str:
        target = fitting(found[2])
        return found[1] if target is None else f"[{found[1]}]({target})"

    def image(found: re.Match[str]) -> str:
        return f"![{found[1]}]({fitting(found[2]) or found[2]})"

    return LINK.sub(link, IMAGE.sub(image, MARKS.sub("```console", markdown)))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Raises `PluginError` for a block that was not taken as one."""
    if "```console" in html:
        raise PluginError(f"{page.file.src_uri}: a block with ``` that mkdocs takes for prose")
    return html
