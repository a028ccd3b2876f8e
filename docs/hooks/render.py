"""What mkdocs does not do by itself: mathematics becomes MathML when the site is built,
so that no page runs a script for it or fetches one; figures become part of the page, so
that their text takes the colour of the text around them; types in signatures lose the
quotes that they have where their evaluation is postponed; tutorials have a link to
themselves as a notebook; and numbers in tables stay in one line."""

import html
import pathlib
import re
import runpy

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File


_MATHS = re.compile(
    r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL
)
_QUOTED = re.compile(
    r'(<span class="(?:p">:|o">-&gt;)</span> <span class=")s1">&#39;(.*?)&#39;</span>'
)
_NUMBER = re.compile(r"<td>(?=[+>\d][^<]{0,32}</td>)")
_SENTENCE = re.compile(r"<td>(?=[^\n]{60,}</td>)")
_FIGURE = re.compile(r'<img alt="([^"]*)" src="([^"]*figures/(\w+)\.svg)"\s*/?>')

_TOOLS = pathlib.Path(__file__).parents[1] / "tools"
_NOTEBOOKS = runpy.run_path(str(_TOOLS / "notebooks.py"))
_PAGES = {page.name: page for page in _NOTEBOOKS["PAGES"]}


def _notebook(name: str) -> str:
    return f"notebooks/{pathlib.PurePath(name).stem}.ipynb"


def on_files(files, config):
    for name, page in _PAGES.items():
        text = _NOTEBOOKS["text"](page)
        files.append(File.generated(config, _notebook(name), content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Below the heading, so that it is seen before the code."""
    path = pathlib.Path(page.file.abs_src_path or "")
    if path not in _PAGES.values():
        return markdown
    up = "../" * page.file.src_uri.count("/")
    link = f'[Download as a notebook]({up}{_notebook(path.name)}){{ download="" }}'
    heading, _, rest = markdown.partition("\n")
    return f"{heading}\n\n{link}\n\n{rest}"


def on_page_content(content, page, config, files):
    figures = pathlib.Path(config.docs_dir, "figures")
    content = _MATHS.sub(lambda match: _mathml(match, page), content)
    if page.file.src_uri.startswith("api/"):
        content = _QUOTED.sub(r'\1n">\2</span>', content)
    content = _NUMBER.sub('<td class="number">', content)
    content = _SENTENCE.sub('<td class="sentence">', content)
    return _FIGURE.sub(lambda match: _inline(match, figures), content)


def _mathml(match, page) -> str:
    latex = html.unescape(match[3]).strip()
    display = "block" if match[2] == "[" else "inline"
    result = convert(latex, display=display)
    # What is not known stays as it is.
    if "\\" in html.unescape(result) or "<mi>&</mi>" in result:
        raise PluginError(f"{page.file.src_uri}: cannot render ${latex}$.")
    return result


def _inline(match, figures) -> str:
    svg = (figures / f"{match[3]}.svg").read_text()
    svg = svg[svg.index("<svg") :]
    # Identifiers are of one page now, which may have several figures.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\1{match[3]}-", svg)
    label = f'role="img" aria-label="{match[1]}"'
    return f'<div class="figure">{svg.replace("<svg", f"<svg {label}", 1)}</div>'
