"""What the suite found, as Markdown and as one HTML file that opens offline."""

import dataclasses
import datetime
import html
import importlib.metadata
import math
import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from jaxspk._files import write_whole
from jaxspk.testing._compare import DECIDES_FROM, DECIDES_FROM_FLOAT32
from jaxspk.testing._mutants import Outcome, detection_curve, smallest_line
from jaxspk.testing._reasons import reason_for
from jaxspk.testing._suite import Effort, RowResult

WITNESSES = ("reverse mode", "forward mode", "Richardson", "random directions")
DEFINITIONS = ("complex step", "Richardson, definition")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: a title, what its columns are, and its rows, all text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """The results of one run of the suite.

    Attributes:
      results: one a loss.
      effort: how much was done for each.
      seed: of everything random.
      command: that repeats the run.
      seconds: it took.
      identities: the symbolic ones with whether they hold; None where sympy is not installed.
      problems: what is wrong beyond single rows.
    """

    results: Sequence[RowResult]
    effort: Effort
    seed: int
    command: str
    seconds: float
    identities: dict[str, bool] | None = None
    problems: Sequence[str] = ()

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all planted mistakes."""
        return [outcome for result in self.results for outcome in result.outcomes]

    @property
    def unexplained(self) -> list[tuple[str, str]]:
        """Mistakes that changed nothing and of which nobody has said why: function and kind."""
        found = {
            (result.name, o.kind)
            for result in self.results
            for o in result.outcomes
            if o.equivalent and reason_for(result.name, o.kind) is None
        }
        return sorted(found)

    @property
    def passed(self) -> bool:
        """Every gradient is right, every mistake above the line was caught, every identity holds."""
        identities = all((self.identities or {}).values())
        return all(r.passed for r in self.results) and identities and not self.problems

    def summary(self) -> str:
        """One line."""
        planted = [o for o in self.outcomes if not o.equivalent]
        above = [o for o in planted if o.size >= o.line]
        survived = sum(o.survived for o in above)
        checks = sum(r.examples for r in self.results)
        wrong = sum(bool(r.problems) for r in self.results)
        return (
            f"{'PASSED' if self.passed else 'FAILED'}: {len(self.results)} losses, {checks} correct checks with "
            f"{wrong} losses at fault, {len(planted)} mistakes planted, {len(above)} of them above the line, "
            f"{survived} survived, {self.seconds:.0f} s"
        )

    def tables(self) -> list[Table]:
        """Everything, as tables."""
        tables = [self._equations(), self._witnesses(), self._precision(), self._kills(), self._curve(), self._laws()]
        if self.identities is not None:
            rows = tuple((name, "holds" if holds else "FAILS") for name, holds in self.identities.items())
            tables.append(Table("Derived by computer algebra", ("identity", ""), rows))
        equivalent = self._equivalent()
        problems = [(r.name, _one_line(problem)) for r in self.results for problem in r.problems]
        problems += [(r.name, f"survived: {o.kind}, size {o.size:.2g}") for r in self.results for o in r.survivors]
        problems += [("", problem) for problem in self.problems]
        notes = sorted({note for result in self.results for note in result.notes})
        if equivalent.rows:
            tables.append(equivalent)
        if problems:
            tables.append(Table("Problems", ("function", "what is wrong"), tuple(problems)))
        if notes:
            tables.append(Table("Not checked here", ("",), tuple((note,) for note in notes)))
        return tables

    def _equations(self) -> Table:
        rows = []
        for r in self.results:
            planted = [o for o in r.outcomes if not o.equivalent]
            above = [o for o in planted if o.size >= o.line]
            caught = sum(o.caught for o in above)
            exact = f"{r.exact} inputs" if r.exact else "—"
            worst = max(r.errors.values(), default=0.0)
            verdict = "right" if r.passed else "**WRONG**"
            rows.append(
                (r.name, r.reference, verdict, f"{r.examples}", f"{worst:.1e}", exact, f"{len(planted)}",
                 f"{caught} of {len(above)}", f"{smallest_line(r.outcomes):.1e}")
            )  # fmt: skip
        columns = (
            "function", "equation", "gradient", "checks", "worst error", "exact", "planted", "caught above the line",
            "all caught from",
        )  # fmt: skip
        text = (
            "Errors are relative to max(|gᵢ|, 10⁻³ max|g|) of the input. The line above which a mistake has to be "
            f"caught is {DECIDES_FROM:g} of that in float64 and {DECIDES_FROM_FLOAT32:g} of max|g| in float32. "
            "“Exact” counts inputs at which value and gradient equal rational arithmetic, with tolerance zero."
        )
        return Table("Equation by equation", columns, tuple(rows), text)

    def _witnesses(self) -> Table:
        rows = []
        for r in self.results:
            definition = next((f"{r.errors[name]:.1e} ({name})" for name in DEFINITIONS if name in r.errors), "—")
            cells = (f"{r.errors[w]:.1e}" if w in r.errors else "—" for w in WITNESSES)
            share = 1 - r.undecided / r.coordinates if r.coordinates else 0.0
            rows.append((r.name, *cells, definition, f"{r.kinks}", f"{100 * share:.1f} %"))
        columns = ("function", *WITNESSES, "definition", "on a kink", "judged to 1e-6")
        text = (
            "Worst error against every witness where its own error bar is below the line. At a kink the claim has "
            "to lie between the slopes from both sides; a coordinate that no witness can judge is too "
            "ill-conditioned at that input."
        )
        return Table("Witness by witness", columns, tuple(rows), text)

    def _precision(self) -> Table:
        rows = []
        for r in self.results:
            cells = (f"{r.precision[d]:.1e}" if d in r.precision else "—" for d in ("float32", "bfloat16"))
            rows.append((r.name, *cells, ", ".join(r.transformations)))
        text = (
            "Worst error of the gradient in the narrow type against float64 at the same, rounded, input, relative "
            "to the largest entry, over the inputs whose own rounding moves the gradient by at most 64 units."
        )
        return Table(
            "Narrow types and transformations",
            ("function", "float32", "bfloat16", "unchanged under"),
            tuple(rows),
            text,
        )

    def _kills(self) -> Table:
        families = list(dict.fromkeys(r.family for r in self.results))
        cells: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
        for r in self.results:
            for o in r.outcomes:
                if not o.equivalent:
                    cells[o.group, r.family].append(o)
        groups = sorted({group for group, _ in cells})
        rows = []
        for group in groups:
            row = [group]
            for family in families:
                above = [o for o in cells[group, family] if o.size >= o.line]
                below = len(cells[group, family]) - len(above)
                row.append(f"{sum(o.caught for o in above)} of {len(above)}" + (f" (+{below})" if below else ""))
            rows.append(tuple(row))
        total = ["all"]
        for family in families:
            above = [o for group in groups for o in cells[group, family] if o.size >= o.line]
            total.append(f"{sum(o.caught for o in above)} of {len(above)}")
        rows.append(tuple(total))
        text = "Caught, of those planted above the line; in brackets those planted below it."
        return Table("Kill matrix", ("mistake", *families), tuple(rows), text)

    def _curve(self) -> Table:
        wide, narrow = (detection_curve(self.outcomes, dtype) for dtype in ("float64", "float32"))
        rows = []
        for (low, planted, caught), (_, planted_32, caught_32) in zip(wide, narrow, strict=True):
            rows.append((f"from {low:.0e}", *_share(planted, caught), *_share(planted_32, caught_32)))
        columns = ("size", "float64 planted", "caught", "float32 planted", "caught")
        return Table("Detection curve", columns, tuple(rows), "Size of a mistake against the share that was caught.")

    def _laws(self) -> Table:
        rows = [(r.name, law, f"{error:.1e}") for r in self.results for law, error in r.laws.items()]
        text = "Worst violation, relative to the terms that cancel."
        return Table("Laws that need no second gradient", ("function", "law", "violation"), tuple(rows), text)

    def _equivalent(self) -> Table:
        counted: dict[tuple[str, str], int] = defaultdict(int)
        for r in self.results:
            for o in r.outcomes:
                if o.equivalent:
                    counted[r.name, o.kind] += 1
        rows = tuple(
            (name, kind, str(count), reason_for(name, kind) or "?") for (name, kind), count in sorted(counted.items())
        )
        columns = ("function", "mistake", "times", "why it changes nothing")
        return Table("Planted, and changed nothing on any input", columns, rows, "Not counted anywhere above.")

    def markdown(self) -> str:
        """The whole certificate as Markdown."""
        lines = ["# Certificate of the gradients", "", self.summary(), "", *(f"- {line}" for line in self._facts()), ""]
        for table in self.tables():
            lines += [f"## {table.title}", ""]
            if table.text:
                lines += [table.text, ""]
            lines += [_row(table.columns), _row(["---"] * len(table.columns))]
            lines += [_row([cell.replace("|", "\\|") for cell in row]) for row in table.rows]
            lines.append("")
        return "\n".join(lines)

    def html(self) -> str:
        """The whole certificate as one HTML file, with the detection curve drawn."""
        parts = [f"<h1>Certificate of the gradients</h1><p class={'good' if self.passed else 'bad'}>"]
        parts.append(f"{html.escape(self.summary())}</p><ul>")
        parts += [f"<li>{html.escape(line)}</li>" for line in self._facts()]
        parts.append("</ul>")
        for table in self.tables():
            parts.append(f"<h2>{html.escape(table.title)}</h2>")
            if table.text:
                parts.append(f"<p>{html.escape(table.text)}</p>")
            if table.title == "Detection curve":
                parts.append(self._figure())
            head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
            parts.append(f"<div><table><tr>{head}</tr>")
            for row in table.rows:
                parts.append("<tr>" + "".join(f"<td>{html.escape(c.strip('*'))}</td>" for c in row) + "</tr>")
            parts.append("</table></div>")
        head = "<!doctype html><html lang=en><meta charset=utf-8><title>Certificate of the gradients</title>"
        return f"{head}{_STYLE}{''.join(parts)}</html>\n"

    def _facts(self) -> list[str]:
        versions = ", ".join(f"{name} {_version(name)}" for name in ("jaxspk", "jax", "jaxlib", "numpy", "hypothesis"))
        return [
            f"Command: `{self.command}`, seed {self.seed}",
            f"Versions: {versions}, Python {platform.python_version()}",
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            f"Date: {datetime.datetime.now(datetime.UTC).date().isoformat()}",
        ]

    def _figure(self) -> str:
        """The detection curve as a drawing: size to the right, share caught upwards."""
        width, height, left, bottom = 640, 240, 50, 40

        def place(low: float, share: float) -> str:
            x = left + (math.log10(low) + 9) / 9 * (width - left - 20)
            return f"{x:.0f},{height - bottom - share * (height - bottom - 20):.0f}"

        drawn = []
        for dtype, colour in (("float64", "#1f6f8b"), ("float32", "#c1666b")):
            points = [
                place(low, caught / planted)
                for low, planted, caught in detection_curve(self.outcomes, dtype)
                if planted
            ]
            drawn.append(f"<polyline fill=none stroke='{colour}' stroke-width=2 points='{' '.join(points)}'/>")
            up = 30 if dtype == "float64" else 48
            drawn.append(f"<text x={width - 90} y={height - bottom - up} fill='{colour}'>{dtype}</text>")
        for exponent in range(-9, 1):
            x, _ = place(10.0**exponent, 0.0).split(",")
            drawn.append(f"<text x={x} y={height - 15} text-anchor=middle>1e{exponent}</text>")
        for share in (0.0, 0.5, 1.0):
            _, y = place(1.0, share).split(",")
            drawn.append(
                f"<line x1={left} x2={width - 20} y1={y} y2={y} stroke='#ddd'/><text x=5 y={y}>{share:.0%}</text>"
            )
        return f"<svg viewBox='0 0 {width} {height}' width={width} font-size=12>{''.join(drawn)}</svg>"


def write_certificate(certificate: Certificate, folder: Path) -> tuple[Path, Path]:
    """Writes ``certificate.md`` and ``certificate.html``, each beside its place and renamed into it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / "certificate.md", folder / "certificate.html")
    for path, text in zip(paths, (certificate.markdown(), certificate.html()), strict=True):
        write_whole(path, text.encode())
    return paths


def _share(planted: int, caught: int) -> tuple[str, str]:
    return str(planted), f"{100 * caught / planted:.1f} %" if planted else "—"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


_STYLE = """<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-size:.85rem}div{overflow-x:auto}
th,td{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:left;vertical-align:top}
.good{color:#176b3a;font-weight:600}.bad{color:#a11;font-weight:600}
</style>"""
