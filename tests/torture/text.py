"""Damages tables, lists and configurations and reads them: `python -m tests.torture.text --minutes 2`.

Reading a damaged manifest, mixture list, list of trials or scores, RTTM file, configuration of a run or JSON beside
weights must end in what the package documents: values, or one of its errors in one line that names the file.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxspk import audio, data
from jaxspk.errors import JaxspkError
from jaxspk.systems import SeparationTraining, SpeakerTraining
from jaxspk.systems._beside_weights import load_fitted
from jaxspk.training import config_from_dict, config_to_dict, read_config
from tests.torture import ledger, mutations


class Kind(NamedTuple):
    """A kind of file: a sound one, what reads it, whether it is JSON, its name, and whether all it needs is there."""

    name: str
    content: bytes
    read: Callable[[Path], Any]
    is_json: bool = False
    file: str = "table.csv"
    complete: bool = True


def kinds(mixtures: bytes) -> list[Kind]:
    """All of them."""
    run_configs = [
        ("configuration of a separation run", SeparationTraining),
        ("configuration of a speaker run", SpeakerTraining),
    ]
    fitted = {
        "format": "k",
        "format_version": 1,
        "weights_sha256": "0" * 64,
        "rule": {"scale": 1.5, "offset": [0.1, 2.0]},
    }
    return [
        Kind("manifest", MANIFEST, data.Manifest.from_csv),
        Kind("corpus table", MANIFEST, data.read_corpus),
        Kind("mixture list", mixtures, data.read_mixture_list),
        Kind("recordings, Kaldi's", b"u1 ../a/one.wav\nu2 ../b/one.wav\n", _kaldi, file="kaldi/wav.scp"),
        Kind("speakers, Kaldi's", b"u1 ann\nu2 bob\n", _kaldi, file="kaldi/utt2spk"),
        # Their corpora are not here; all but the last step is taken.
        Kind("list of wsj0-mix", WSJ0, data.read_mixture_list, file="list.txt", complete=False),
        Kind("table of LibriMix", LIBRIMIX, data.read_mixture_list, complete=False),
        Kind("RTTM", RTTM, data.read_rttm),
        Kind("trials", b"1 a.wav b.wav\n0 a.wav c.wav\n1 b.wav d.wav\n", data.read_trials),
        Kind("trials, Kaldi's", b"a.wav b.wav target\na.wav c.wav nontarget\n", data.read_trials),
        Kind("scores", b"a.wav b.wav 0.25 1\na.wav c.wav -1.5e-3 0\n", data.read_scores),
        *(
            Kind(
                name,
                json.dumps({"run_format": 1, "config": config_to_dict(cls())}).encode(),
                lambda path, cls=cls: read_config(path.parent, cls),
                True,
            )
            for name, cls in run_configs
        ),
        Kind(
            "configuration by itself",
            json.dumps(config_to_dict(SpeakerTraining())).encode(),
            lambda path: config_from_dict(SpeakerTraining, _json(path), where=str(path)),
            True,
        ),
        Kind(
            "JSON beside weights",
            json.dumps(fitted).encode(),
            lambda path: load_fitted(path, kind="k", version=1, weights="0" * 64),
            True,
        ),
    ]


MANIFEST = b"""path,speaker,gender,seconds,text,session,corpus,split
a/one.wav,ann,F,3.25,"hello, there",s1,made,train
a/two.wav,ann,F,2.5,,s2,made,train
b/one.wav,bob,M,4.0,,s1,made,test
"""
WSJ0 = b"""wsj0/si_et_05/440/440c020a.wav 1.2426 wsj0/si_dt_05/050/050a0501.wav -1.2426
wsj0/si_tr_s/011/011c0201.wav 0.5 wsj0/si_et_05/440/440c020a.wav -0.5
"""
LIBRIMIX = b"""mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain
61-70968-0003_1580-141084-0010,test-clean/61/70968/61-70968-0003.flac,0.5,test-clean/1580/141084/1580-141084-0010.flac,0.7,n.wav,0.2
"""
RTTM = b"""SPEAKER talk 1 0.500 2.250 <NA> <NA> ann <NA> <NA>
;; a remark
SPEAKER talk 1 3.000 1.000 <NA> <NA> bob <NA> <NA>
SPEAKER other 1 0.000 9.999 <NA> <NA> ann <NA> <NA>
"""


def begin(folder: Path) -> tuple[Path, list[Kind]]:
    """A folder of some recordings, and the kinds, each read once as it is."""
    rng = np.random.default_rng(0)
    utterances = []
    for name, speaker in (("a/one", "ann"), ("a/two", "ann"), ("b/one", "bob")):
        path = folder / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        audio.write_audio(path, (0.1 * rng.standard_normal(8000)).astype(np.float32), 8000)
        utterances.append(data.Utterance(path, speaker, 1.0))
    source = data.MixtureSource(data.Manifest(tuple(utterances)), data.MixtureConfig(), seed=0, size=2)
    data.write_mixture_list(folder / "table.csv", source)
    made = kinds((folder / "table.csv").read_bytes())
    for kind in made:
        place(folder, kind).parent.mkdir(exist_ok=True)
        place(folder, kind).write_bytes(kind.content)
    for kind in made:
        place(folder, kind).write_bytes(kind.content)
        if kind.complete:
            kind.read(place(folder, kind))
    return folder, made


def place(folder: Path, kind: Kind) -> Path:
    """Where the file is read: a run's configuration has a name of its own."""
    return folder / ("config.json" if kind.is_json else kind.file)


def outcome(prepared: tuple[Path, list[Kind]], seed: int, number: int) -> str:
    """Damages one file and reads it."""
    folder, made = prepared
    rng = np.random.default_rng([seed, number])
    kind = made[int(rng.integers(len(made)))]
    if kind.is_json and rng.random() < 0.7:
        content = json.dumps(mutations.damaged_values(json.loads(kind.content), rng)).encode("utf-8", "surrogatepass")
    else:
        content = mutations.damaged_text(kind.content, rng)
    path = place(folder, kind)
    path.write_bytes(content)
    try:
        kind.read(path)
    except JaxspkError as error:
        what = ledger.refused(error, str(path), str(path.parent), "manifest", "speaker")
        return what if what.startswith("BROKEN") else f"{kind.name}: {what}"
    finally:
        # Files that are read together are sound but for the one.
        path.write_bytes(kind.content)
    return f"{kind.name}: read"


def _kaldi(path: Path) -> Any:
    return data.read_corpus(path.parent, "kaldi")


def _json(path: Path) -> dict[str, Any]:
    """What a caller who reads his own JSON would hand on."""
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


TORTURE = ledger.Torture(
    name="text",
    what="damaged manifests, corpus tables, mixture lists, RTTM, trial lists, scores and configurations: read, or one "
    "documented error of one line",
    total=100_000,
    chunk=5_000,
    begin=begin,
    outcome=outcome,
)

if __name__ == "__main__":
    sys.exit(ledger.main(TORTURE, __doc__))
