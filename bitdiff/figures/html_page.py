"""Self-contained HTML pages with embedded pictures, which can be viewed offline."""

import base64
import html
from collections.abc import Mapping, Sequence

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; }
td, th { border: 1px solid #ddd; padding: 2px 8px; text-align: left; vertical-align: top; }
pre { background: #f6f6f6; padding: 0.6rem; overflow-x: auto; font-size: 13px; white-space: pre-wrap; }
img { max-width: 100%; image-rendering: pixelated; }
input[type=range] { width: 24rem; max-width: 100%; }
"""
_SCRIPT = """
for (const box of document.querySelectorAll('.scrubber')) {
  const slider = box.querySelector('input'), frames = box.querySelectorAll('.frame');
  const show = () => frames.forEach((frame, i) => { frame.hidden = i != slider.value; });
  slider.addEventListener('input', show);
  show();
}
"""


def page(title: str, sections: Mapping[str, str]) -> str:
    """An HTML document with a section of HTML under each heading."""
    parts = "".join(f"<h2>{html.escape(name)}</h2>\n{body}\n" for name, body in sections.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n{parts}"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A table of texts."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table>\n{f'<tr>{top}</tr>' if head else ''}\n{body}</table>"


def picture(png: bytes, about: str) -> str:
    """An embedded picture."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(about, quote=True)}" src="data:image/png;base64,{data}">'


def text(lines: Sequence[str]) -> str:
    """Lines of preformatted text."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def paragraph(sentences: str) -> str:
    """A paragraph of text."""
    return f"<p>{html.escape(sentences)}</p>"


def folded(summary: str, body: str) -> str:
    """HTML that is shown after a click on its summary."""
    return f"<details><summary>{html.escape(summary)}</summary>\n{body}\n</details>"


def scrubber(frames: Sequence[str], labels: Sequence[str]) -> str:
    """A slider that shows one of several frames of HTML, with its label; the last one at first."""
    shown = "\n".join(
        f'<div class="frame"{"" if i == len(frames) - 1 else " hidden"}><p>{html.escape(label)}</p>{frame}</div>'
        for i, (frame, label) in enumerate(zip(frames, labels, strict=True))
    )
    last = len(frames) - 1
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="step">'
    return f'<div class="scrubber">{slider}\n{shown}\n</div>'
