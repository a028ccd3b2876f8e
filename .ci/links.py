"""Checks the links of a built site, without a network: `python .ci/links.py SITE`.

Links within it must lead to files and anchors that are there, and links to other sites
must be well formed. Nothing may be fetched from another site to show a page."""

import html.parser
import pathlib
import sys
import urllib.parse


FETCHED = {"script", "img", "source", "iframe"}


class Page(html.parser.HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        fetched = tag in FETCHED or (tag == "link" and given.get("rel") != "canonical")
        for key in ("href", "src"):
            if given.get(key) is not None and tag not in ("base", "use"):
                self.links.append((given[key], fetched))


def problems(site: pathlib.Path) -> list[str]:
    """One line for each link that is wrong."""
    files = sorted(site.rglob("*.html"))
    pages = {file: Page(file.read_text()) for file in files}
    found = []
    for file, page in pages.items():
        for link, fetched in page.links:
            wrong = _problem(site, file, pages, link, fetched)
            if wrong:
                found.append(f"{file.relative_to(site)}: {link}: {wrong}")
    return found


def _problem(site, file, pages, link: str, fetched: bool) -> str:
    parts = urllib.parse.urlsplit(link)
    if parts.scheme in ("data", "javascript"):
        return ""
    if parts.scheme or parts.netloc:
        if fetched:
            return "fetched from another site"
        return "" if parts.scheme == "https" and "." in parts.netloc else "malformed"
    path = urllib.parse.unquote(parts.path)
    target = site / path.lstrip("/") if path.startswith("/") else file.parent / path
    target = file if not path else target.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return "no such file"
    known = pages.get(target)
    anchor = urllib.parse.unquote(parts.fragment)
    missing = known is not None and anchor and anchor not in known.anchors
    return "no such anchor" if missing else ""


if __name__ == "__main__":
    listed = problems(pathlib.Path(sys.argv[1]).resolve())
    sys.exit("\n".join(listed) or None)
