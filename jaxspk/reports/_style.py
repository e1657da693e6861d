"""The look of all pictures: one palette, one grid, SVG that follows the reader's light or dark mode."""

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jaxspk.errors import MissingExtraError
from jaxspk.reports._blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# The page's colours in light and dark mode. The pictures are drawn in the light ones; `to_figure` makes
# variables of them, so that one file serves both modes.
_MODES = {
    "paper": ("#ffffff", "#14171a"),
    "ink": ("#1c2024", "#e6e9ec"),
    "muted": ("#5b6670", "#9ba6b0"),
    "line": ("#dfe3e6", "#30373d"),
}
PAPER, INK, MUTED, LINE = (light for light, _ in _MODES.values())

SOURCES = ("#2f86c8", "#d9641e", "#12946f", "#b2619a")
"""Blue, vermilion, green and purple after Okabe and Ito, told apart with any colour vision and at least 3:1
against both papers. The page gives the sounds of the sources the same colours."""

_FAMILY = "-apple-system, 'Segoe UI', Roboto, 'Noto Sans', Ubuntu, Cantarell, 'Helvetica Neue', Arial, sans-serif"

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    # Text stays text, set by the reader's own fonts; the same picture is the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxspk",
    "svg.image_inline": True,
}


@contextlib.contextmanager
def drawing(width: float, height: float) -> Iterator["Drawing"]:
    """A figure of so many inches in the style of the reports; after the ``with`` all settings are as before.

    It belongs to no window and no global list, so there is nothing to close.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure as Drawing
    except ImportError as error:
        raise MissingExtraError("Drawing figures", "reports") from error
    with matplotlib.rc_context(_SETTINGS):
        yield Drawing(figsize=(width, height), layout="constrained")


def to_figure(drawn: "Drawing", caption: str, alt: str) -> Figure:
    """The drawing as an SVG block whose neutral colours follow the reader's light or dark mode."""
    file = io.BytesIO()
    drawn.savefig(file, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    svg = (
        file.getvalue()
        .decode("utf-8")
        .replace("'DejaVu Sans'", _FAMILY)
        .replace("font-weight: 700", "font-weight: 600")
    )
    svg = svg[svg.index("<svg") :]
    for name, (light, _) in _MODES.items():
        svg = svg.replace(f": {light}", f": var(--{name})")
    light, dark = ("".join(f"--{name}:{colours[mode]};" for name, colours in _MODES.items()) for mode in (0, 1))
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    start = svg.index(">") + 1
    return Figure((svg[:start] + style + svg[start:]).encode("utf-8"), caption, alt)


def source_colour(source: int) -> str:
    """The colour of a source; a fifth starts again."""
    return SOURCES[source % len(SOURCES)]


def legend(axes: "Axes", handles: list[Any] | None = None, **settings: Any) -> None:
    """A legend above the axes, flush right, beside the title."""
    axes.legend(
        **({} if handles is None else {"handles": handles}),
        **{
            "loc": "lower right",
            "bbox_to_anchor": (1.0, 1.0),
            "ncols": 4,
            "borderaxespad": 0.15,
            "handlelength": 1.1,
            "handletextpad": 0.5,
            "columnspacing": 1.2,
            "labelcolor": INK,
            **settings,
        },
    )
