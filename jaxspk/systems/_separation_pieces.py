"""A recording too long to embed at once, as overlapping pieces: how it is cut, and how the voices are joined again."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Spans of one length that cover a recording; a single shorter one where it is no longer than that.

    Neighbours overlap. In the middle of what they share one is faded into the other, so that no sample is taken from
    near the end of a piece, where the network has heard only what comes before it, or only what comes after.

    Attributes:
      samples: of the recording.
      length: of a piece, in samples; the last may reach beyond the recording by less than a hop.
      starts: of the pieces.
      fade: samples over which neighbours are exchanged.
    """

    samples: int
    length: int
    starts: tuple[int, ...]
    fade: int

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, index: int) -> tuple[int, int]:
        """First sample of a piece, and the one after its last."""
        return self.starts[index], min(self.starts[index] + self.length, self.samples)

    def fades(self) -> tuple[int, ...]:
        """Where each exchange begins."""
        return tuple(
            (before + self.length + after - self.fade) // 2 for before, after in itertools.pairwise(self.starts)
        )


def cut(samples: int, *, longest: int, hop: int, context: int, fade: int) -> Pieces:
    """Pieces of the length ``longest``; the last is moved back to be as long as the others.

    Args:
      samples: of the recording.
      longest: length of a piece, a multiple of ``hop``.
      hop: pieces start at multiples of it, so that the frames of all pieces lie on one grid.
      context: samples a piece has beyond each end of what is taken of it; less where pieces are short.
      fade: samples of an exchange, likewise.
    """
    if samples <= longest:
        return Pieces(samples, samples, (0,), 0)
    overlap = min(2 * context + fade, longest // 2 // hop * hop)
    last = -(-(samples - longest) // hop) * hop
    starts = (*range(0, last, longest - overlap), last)
    return Pieces(samples, longest, starts, min(fade, overlap))


def joined(
    pieces: Pieces, voices: Iterable[Float[np.ndarray, "speakers _"]]
) -> Iterator[Float[np.ndarray, "speakers _"]]:
    """The voices of the recording, in blocks, from those of its pieces in their order.

    Args:
      pieces: how it was cut.
      voices: of each piece, with or without padding after it. Where those of each piece add up to the piece, what
        is yielded adds up to the recording.
    """
    begins, ends = (0, *pieces.fades()), (*pieces.fades(), pieces.samples)
    rising = (np.arange(pieces.fade, dtype=np.float32) + 0.5) / max(pieces.fade, 1)
    left: np.ndarray | None = None
    for index, (start, begin, end, found) in enumerate(zip(pieces.starts, begins, ends, voices, strict=True)):
        taken = found[:, begin - start : end - start].copy()
        if left is not None:
            # Moved back, the last piece may bring little of its own: its fade then ends with the recording.
            fade = min(pieces.fade, taken.shape[1])
            taken[:, :fade] = (1 - rising[:fade]) * left[:, :fade] + rising[:fade] * taken[:, :fade]
        yield taken
        if index + 1 < len(pieces):
            left = found[:, end - start : end - start + pieces.fade]
