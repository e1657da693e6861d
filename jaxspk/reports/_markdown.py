"""Results as Markdown pages for the docs."""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxspk.reports import _write
from jaxspk.reports._provenance import Provenance
from jaxspk.reports._tables import Table


def write_results_markdown(
    path: Path | str,
    title: str,
    tables: Sequence[Table],
    provenance: Provenance,
    *,
    introduction: str = "",
) -> Path:
    """Writes a page of results: title, introduction, tables, and where the numbers come from.

    Args:
      path: the file, such as ``docs/results/deep_clustering.md``; it is whole or not there at all.
      title: the heading of the page.
      tables: printed as on the HTML page, captions above them, the best numbers in bold.
      provenance: printed at the end.
      introduction: Markdown between title and tables, taken as it is.

    Returns:
      The path.
    """
    parts = [
        f"# {escape_markdown(title)}",
        f"*Written by a command, given at the end; not by hand.* {introduction}".strip(),
        *(_table(table) for table in tables),
        "## Where the numbers come from",
        "\n".join(f"- **{name}:** {_provenance_text(name, text)}" for name, text in provenance.items()),
    ]
    return _write.write_text(path, "\n\n".join(parts) + "\n")


def escape_markdown(text: str) -> str:
    r"""Text that Markdown, MyST and HTML show as it is, on one line.

    Example:
      >>> print(escape_markdown("a_b | <script> *x*"))
      a\_b \| &lt;script&gt; \*x\*
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|$~])", r"\\\1", text)


def _table(table: Table) -> str:
    headings = [escape_markdown(name) for name in table.columns]
    rules = ["--:" if numeric else ":--" for numeric in table.numeric]
    rows = [
        [f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text) for cell in row]
        for row in table.shown()
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows)]
    caption = f"{escape_markdown(table.caption)}\n\n" if table.caption else ""
    return caption + "\n".join(lines)


def _provenance_text(name: str, text: str) -> str:
    if name != "Command":
        return escape_markdown(text)
    # A fence longer than any inside, as CommonMark asks for.
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"
