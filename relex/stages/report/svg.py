"""Matplotlib figures as inline SVG: the page's colours and font, the same bytes from the same figure."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

WIDE, NARROW = 900, 420  # widths of a figure, in the SVG's own units; a letter is 11 of them

# What figures are drawn with; each becomes the page's variable of that name, so that one SVG serves light and dark.
COLOURS = {
    "ink": "#1c2127",
    "muted": "#5c6671",
    "rule": "#d8dee4",
    "paper": "#fefefe",
    "observed": "#3d7a5f",
    "test": "#2459b3",
    "ood": "#bd5a17",
    "champion": "#7646b0",
    "null": "#8b95a1",
    "s1": "#2459b4",
    "s2": "#bd5a18",
    "s3": "#3d7a60",
    "s4": "#7646b1",
    "s5": "#a8325e",
    "s6": "#8a6d12",
}
SERIES = tuple(COLOURS[f"s{number}"] for number in range(1, 7))

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so texts are measured alike everywhere
    "font.size": 11.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 11.0,
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlecolor": COLOURS["ink"],
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.7,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "ytick.major.size": 0.0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handlelength": 1.6,
}


def svg(name: str, width: int, height: int, title: str, draw: Callable[[Figure], None]) -> Markup:
    """The figure that `draw` fills, as an <svg> element that scales to its place.

    name: prefix of every id inside, unique on the page. width, height: in the SVG's own units. title: what a screen
    reader says.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the reader's own matplotlibrc
        matplotlib.rcParams.update(_STYLE)
        layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04)
        figure = Figure(figsize=(width / 72, height / 72), layout=layout)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return Markup(_inline(buffer.getvalue(), name, title))


def window_band(axes: Axes, last: int, label: str = "", legend: str = "") -> None:
    """Shade the observed window, steps 0 to `last`. label: written beside it; legend: its name in the legend."""
    band = axes.axvspan(0, last, color=COLOURS["observed"], alpha=0.13, linewidth=0, zorder=0)
    if legend:
        band.set_label(legend)
    if label:
        axes.annotate(
            label,
            (last, 1.0),
            (4, -1),
            axes.get_xaxis_transform(),
            "offset points",
            va="top",
            color=COLOURS["observed"],
        )


def _inline(text: str, name: str, title: str) -> str:
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    # A <style> inside an inline SVG would hold for the whole page; the page's own style sheet says the same.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    body = re.sub(
        r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", rf'<svg viewBox="\1" role="img" aria-label="{escape(title)}">', body
    )
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = body.replace("xlink:href", "href").replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    body = re.sub(r"(?:; )?font-family: [^;\"]*", "", body)
    for variable, colour in COLOURS.items():
        body = re.sub(f"{colour}", f"var(--{variable})", body, flags=re.IGNORECASE)
    return re.sub(r"\s*\n\s*", "\n", body).strip()
