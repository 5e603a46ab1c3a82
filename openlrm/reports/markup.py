"""Pieces of a page: text is escaped here, pictures and styles are put inside."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.images import load_image, to_uint8

# Nothing may be loaded and no script may run, whatever a result's files hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 72rem; margin: 1.5rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ccc }
h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .7rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere }
table.words td, table.words th { text-align: left; overflow-wrap: anywhere; min-width: 5.5rem }
thead th { border-bottom: 2px solid #888 }
figure { margin: .6rem 0; break-inside: avoid } figcaption { color: #555; font-size: .9rem }
img { max-width: 100%; height: auto } svg { width: 100%; max-width: 40rem; height: auto }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
.note { color: #555 } .warning { background: #fff3d6; padding: .4rem .7rem; border-left: 4px solid #d90 }
pre { background: #f6f6f6; padding: .6rem; overflow-x: auto; font-size: .85rem }
@media print { body { max-width: none; font-size: 10pt } section { break-inside: avoid-page } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole HTML document.

    Args:
        title: plain text.
        parts: HTML, in order.
    """
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join([f"<h1>{text(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def text(value: object) -> str:
    """Escape plain text."""
    return html.escape(str(value))


def heading(value: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{text(value)}</h{level}>"


def note(value: str, warning: bool = False) -> str:
    """Return a paragraph of plain text, set apart when it is a warning."""
    return f'<p class="{"warning" if warning else "note"}">{text(value)}</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]], words: bool = False) -> str:
    """Return a table of plain text.

    Args:
        header: names of the columns; empty for none.
        rows: cells; None is shown as a dash.
        words: whether the cells are words, to be set left, not numbers.
    """

    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{text('–' if cell is None else cell)}</{tag}>" for cell in cells) + "</tr>"

    head = f"<thead>{line(header, 'th')}</thead>" if header else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table{' class=words' if words else ''}>{head}<tbody>{body}</tbody></table>"


def folded(summary: str, content: str) -> str:
    """Return content that is shown on a click."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def picture(path: Path, width: int, caption: str = "") -> str:
    """Return a picture inside the page, as JPEG of at most this width; a note when it cannot be read.

    Args:
        path: the file.
        width: in pixels; smaller pictures stay as they are.
        caption: plain text below it.
    """
    try:
        pixels = to_uint8(load_image(path))
    except UserError as error:
        return note(str(error), warning=True)
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{text(caption or path.stem)}" src="{_data(pixels, width)}">{below}</figure>'


def image(pixels: np.ndarray, width: int, caption: str = "") -> str:
    """Return pixels (H, W, 3), uint8 or floats in [0, 1], as a picture inside the page; small ones are enlarged."""
    pixels = to_uint8(pixels)
    factor = max(1, width // pixels.shape[1])
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{text(caption)}" src="{_data(large, width)}">{below}</figure>'


def heat_maps(maps: Sequence[np.ndarray], width: int, caption: str = "") -> str:
    """Return maps (H, W), at least 0, side by side on one scale: dark is 0, light the greatest value of all.

    Lightness rises evenly from dark blue over grey to yellow, which the colour-blind and print tell apart as well.
    """
    gap = np.ones((maps[0].shape[0], 1, 3))
    top = max(float(values.max()) for values in maps) or 1.0
    shown: list[np.ndarray] = []
    for values in maps:
        shown += [gap, _coloured(values / top)]
    return image(np.concatenate(shown[1:], axis=1), width, f"{caption}; the lightest is {top:.3g}")


def _coloured(values: np.ndarray) -> np.ndarray:
    stops = np.array([[0.0, 0.13, 0.33], [0.35, 0.38, 0.44], [0.66, 0.62, 0.46], [1.0, 0.92, 0.27]])
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, places, stops[:, channel]) for channel in range(3)], axis=-1)


def _data(pixels: np.ndarray, width: int) -> str:
    image = Image.fromarray(pixels)
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
