"""Looks at every page of the built site as a reader does: in Chromium, on a screen and
on a phone, light and dark.

    python docs/tools/browser.py SITE [--shots FOLDER] [--only PART]

It names pages that are wider than the window, text of figures that is too small to be
read, pictures that do not load, and errors of the console. `--shots` keeps a picture of
each page. It needs Chromium, and the package `playwright`, which no extra has.
"""

import argparse
import contextlib
import functools as ft
import http.server
import importlib
import pathlib
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Any


WIDTHS = {"screen": 1280, "phone": 390}
SMALLEST = 10  # Pixels, of the text in a figure.

# The page; the elements that are wider than it, where they do not scroll by themselves;
# the smallest text of its figures; the pictures that are broken.
_MEASURE = """() => {
  const root = document.documentElement, wide = [];
  const scrolls = e => e && e !== document.body &&
    (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
  if (root.scrollWidth > window.innerWidth)
    for (const e of document.querySelectorAll('.md-content *'))
      if (e.getBoundingClientRect().right > window.innerWidth + 1 && !scrolls(e))
        wide.push(e.tagName + ' ' + (e.textContent || '').trim().slice(0, 40));
  let smallest = Infinity;
  for (const t of document.querySelectorAll('.figure svg text')) {
    const size = parseFloat(getComputedStyle(t).fontSize) *
      Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b);
    smallest = Math.min(smallest, size);
  }
  const broken = [...document.images]
    .filter(i => i.complete && !i.naturalWidth).map(i => i.src);
  return {width: root.scrollWidth, wide, smallest, broken,
          scaled: [...document.querySelectorAll('table')].filter(
            t => t.parentElement.scrollWidth > t.parentElement.clientWidth + 1).length};
}"""


@contextlib.contextmanager
def served(site: pathlib.Path) -> Iterator[str]:
    """The address of the site while it is served to this machine alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = ft.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def problems(page: Any, where: str, errors: list[str]) -> list[str]:
    """One line for each thing that is wrong with the page that is shown."""
    measured = page.evaluate(_MEASURE)
    lines = [f"console: {error}" for error in errors]
    if measured["width"] > page.viewport_size["width"]:
        lines.append(f"{measured['width']} pixels wide: {measured['wide'][:5]}")
    if (measured["smallest"] or SMALLEST) < SMALLEST - 0.05:
        lines.append(f"text of {measured['smallest']:.1f} pixels in a figure")
    lines += [f"broken picture: {source}" for source in measured["broken"]]
    return [f"{where}: {line}" for line in lines]


def look(site: pathlib.Path, shots: pathlib.Path | None, only: str) -> list[str]:
    """All problems of all pages."""
    playwright: Any = importlib.import_module("playwright.sync_api")
    pages = [path.parent for path in sorted(site.rglob("index.html"))]
    names = [str(path.relative_to(site)) for path in pages]
    lines: list[str] = []
    with playwright.sync_playwright() as driver, served(site) as address:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for scheme in ("light", "dark"):
            for screen, width in WIDTHS.items():
                size = {"width": width, "height": 900}
                context = browser.new_context(viewport=size, color_scheme=scheme)
                for name in filter(lambda name: only in name, names):
                    page, errors = context.new_page(), []
                    page.on("pageerror", lambda e, to=errors: to.append(str(e)))
                    page.on(
                        "console",
                        lambda m, to=errors: m.type == "error" and to.append(m.text),
                    )
                    page.goto(f"{address}/{name}/", wait_until="load")
                    where = f"{name} ({screen}, {scheme})"
                    lines += problems(page, where, errors)
                    if shots is not None:
                        file = f"{name.replace('/', '_')}_{screen}_{scheme}.png"
                        page.screenshot(path=shots / file, full_page=True)
                    page.close()
                context.close()
        browser.close()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("site", type=pathlib.Path)
    parser.add_argument("--shots", type=pathlib.Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.shots is not None:
        options.shots.mkdir(parents=True, exist_ok=True)
    sys.exit("\n".join(look(options.site, options.shots, options.only)) or None)


if __name__ == "__main__":
    main()
