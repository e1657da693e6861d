"""SDR, SIR and SAR with the best permutation, against mir_eval, on one thread."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._frame import Case, Comparison, Peer, Run
from jaxspk.metrics import BssEval, bss_eval

_SAMPLES = 6 * 8000


def _cases() -> Sequence[Case]:
    return [
        _case(sources, at_least, aim) for sources, at_least, aim in ((1, 1, None), (2, 5, 10), (3, 9, 15), (4, 9, None))
    ]


def _case(sources: int, at_least: float, aim: float | None) -> Case:
    # Each estimate holds its source, some of the others and noise: 10 to 20 dB, like a good separator's.
    rng = np.random.default_rng(sources)
    references, noise = rng.normal(size=(2, sources, _SAMPLES))
    estimates = references + 0.2 * np.roll(references, 1, axis=0) + 0.1 * noise
    return Case(
        name=f"{sources} sources" if sources > 1 else "1 source",
        ours=functools.partial(bss_eval, references, estimates),
        peers=[
            Peer(
                name="mir_eval.separation.bss_eval_sources",
                prepare=functools.partial(_mir_eval, references, estimates),
                at_least=at_least,
                aim=aim,
                install="pip install 'mir_eval==0.8.*'",
            )
        ],
        check=_check,
    )


def _mir_eval(references: np.ndarray, estimates: np.ndarray) -> Run:
    from mir_eval import separation

    # It says at every call that it will go; that is why it is pinned.
    warnings.filterwarnings("ignore", category=FutureWarning, message="mir_eval")
    return functools.partial(separation.bss_eval_sources, references, estimates)


def _check(ours: BssEval, theirs: tuple[Any, ...]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)


COMPARISON = Comparison(title="BSS-eval of 6 s at 8 kHz, one thread each", cases=_cases, threads=1)
