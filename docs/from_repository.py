"""What MkDocs is told beside mkdocs.yml: files of the repository that pages link to are pages.

Pages are written to be read in a checkout, where a link to an example or to another README leads to
the file. On the site that file becomes a page, and so do those that it links to.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
UNDER = PurePosixPath("repository")  # where on the site
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_NAMED = re.compile(r"^```(\w+) file=(\S+)$", re.MULTILINE)  # a block that is a file
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the repository that pages link to, and those that these link to."""
    waiting = [(DOCS / file.src_uri, file.content_string) for file in files.documentation_pages()]
    while waiting:
        path, text = waiting.pop()
        for link in _LINK.findall(text):
            target = _target(path, link)
            if target is None or files.get_file_from_path(_uri(target)):
                continue
            if target.suffix in (".md", ".py"):
                waiting.append((target, _text(target)))
                added = File.generated(config, _uri(target), content=_text(target))
            else:
                added = File.generated(config, _uri(target), abs_src_path=str(target))
            files.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to files of the repository lead to their pages."""
    uri = PurePosixPath(page.file.src_uri)
    inside = uri.is_relative_to(UNDER)
    path = ROOT / uri.relative_to(UNDER) if inside else DOCS / uri
    if inside and uri.name.endswith(".py.md"):
        return markdown
    path = path.with_name("README.md") if inside and uri.name == "index.md" else path

    def moved(link: re.Match[str]) -> str:
        target = _target(path, link[1])
        if target is None and not inside:
            return link[1]
        to = _uri(target) if target else (path.parent / link[1]).resolve().relative_to(DOCS)
        return os.path.relpath(to, uri.parent)

    parts = _CODE.split(_NAMED.sub(r'```\1 title="\2"', markdown))
    return "".join(part if n % 2 else _LINK.sub(moved, part) for n, part in enumerate(parts))


def _target(path: Path, link: str) -> Path | None:
    """Return the file outside of docs/ that a link of a page leads to, or None."""
    target = (path.parent / link).resolve()
    if target.is_dir():
        target /= "README.md"
    if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.is_file():
        return None
    return target


def _uri(target: Path) -> str:
    """Return where a file of the repository lies on the site."""
    relative = target.relative_to(ROOT)
    if relative.name == "README.md":
        relative = relative.with_name("index.md")
    if relative.suffix == ".py":
        relative = relative.with_name(relative.name + ".md")
    return str(UNDER / relative)


def _text(target: Path) -> str:
    if target.suffix == ".md":
        return target.read_text()
    return f"# {target.relative_to(ROOT)}\n\n````python\n{target.read_text()}````\n"
