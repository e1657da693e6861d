"""The ladder of gains of u-vectors: one change a row, baselines below."""

from collections.abc import Sequence

import numpy as np

from jaxspk.reports._tables import Cell, Table, format_cell
from jaxspk.reports._u_vector_measures import ari, marks, measure, spread
from jaxspk.systems import (
    DISCRIMINANT,
    HELD_OUT_SPEAKERS,
    MFCC_STATISTICS,
    U_VECTORS,
    UNTRAINED_NETWORK,
    UVectorCell,
    UVectorResult,
    find_score,
)


def u_vector_ladder_table(results: Sequence[UVectorResult], cells: Sequence[UVectorCell]) -> Table:
    """One change a row: scores of segments against the speakers, and the gain on the row that it differs from.

    Args:
      results: of the ladder.
      cells: its rows; what was not run is left out.
    """
    rows: list[list[Cell]] = []
    for cell in cells:
        own = [result for result in results if result.name == cell.name]
        if not own:
            continue
        rows.append(
            [
                cell.name,
                cell.about + (f" ({marks(own[0])})" if marks(own[0]) else ""),
                cell.against,
                spread(own, ari(U_VECTORS)),
                _gain(results, cell),
                *(spread(own, measure(U_VECTORS, key)) for key in ("accuracy", "nmi")),
                spread(own, ari(U_VECTORS, of="frames")),
                spread(own, ari(U_VECTORS, speech=HELD_OUT_SPEAKERS)),
                spread(own, lambda result: result.record["link_error"]),
                len(own),
                int(np.mean([result.record["steps"] for result in own])),
                float(np.mean([result.record["minutes"] for result in own])),
            ]
        )
    rows += _baseline_rows(results)
    columns = (
        "Row", "What is changed", "Against", "ARI", "Gain", "ACC", "NMI", "ARI of frames", "ARI of other speakers",
        "Link error", "Draws", "Steps", "Minutes",
    )  # fmt: skip
    caption = (
        "Clusters of segments against the speakers, k-means with their number given. Gain: mean difference of ARI to "
        "the row named, draw by draw. Link error: of the frames by which the step was chosen, or of those trained on; "
        "no label goes into it. Minutes by the clock of a machine shared with other work."
    )
    return Table(columns, rows, caption, formats={"Minutes": ".1f"}, baselines=[str(row[0]) for row in rows[-4:]])


def _gain(results: Sequence[UVectorResult], cell: UVectorCell) -> str | None:
    wanted = ari(U_VECTORS)
    before = {result.seed: wanted(result) for result in results if result.name == cell.against}
    gains = [
        now - then
        for result in results
        if result.name == cell.name and (then := before.get(result.seed)) is not None
        if (now := wanted(result)) is not None and not result.record["transductive"]
    ]
    return format_cell(float(np.mean(gains)), "+.3f") if gains else None


def _baseline_rows(results: Sequence[UVectorResult]) -> list[list[Cell]]:
    """What needs no training, once a draw of speakers."""
    open_rows = [r for r in results if not r.record["transductive"] and not r.record["uses_labels"]]
    rows: list[list[Cell]] = []
    for vectors, about in (
        (MFCC_STATISTICS, "mean and deviation of 20 MFCCs, standardised"),
        (DISCRIMINANT, "of band statistics by pseudo-labels, solved"),
        (UNTRAINED_NETWORK, "before any step"),
    ):
        own = list({r.seed: r for r in open_rows if find_score(r.scores, vectors) is not None}.values())
        rows.append(
            [
                f"baseline: {vectors}",
                about,
                "",
                spread(own, ari(vectors)),
                None,
                *(spread(own, measure(vectors, key)) for key in ("accuracy", "nmi")),
                spread(own, ari(vectors, of="frames")),
                spread(own, ari(vectors, speech=HELD_OUT_SPEAKERS)),
                None,
                len(own),
                None,
                None,
            ]
        )
    own = list({r.seed: r for r in open_rows}.values())
    noise: list[Cell] = ["baseline: noise", "random vectors", "", spread(own, ari(U_VECTORS, noise=True)), None]
    noise += [spread(own, measure(U_VECTORS, f"noise_{key}")) for key in ("accuracy", "nmi")]
    noise += [spread(own, ari(U_VECTORS, of="frames", noise=True))]
    noise += [spread(own, ari(U_VECTORS, speech=HELD_OUT_SPEAKERS, noise=True)), None, len(own), None, None]
    return [*rows, noise]
