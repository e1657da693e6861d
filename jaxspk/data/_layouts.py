"""The layouts of corpora that can be read, in one table: who speaks in which file."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from jaxspk.data._layouts_kaldi import is_kaldi, read_kaldi
from jaxspk.data._layouts_ldc import is_timit, is_wsj0, read_timit, read_wsj0
from jaxspk.data._layouts_librispeech import is_librispeech, read_librispeech
from jaxspk.data._layouts_openslr import is_openslr, read_openslr
from jaxspk.data._layouts_tables import TABLE_NAME, is_table, read_csv, read_folders
from jaxspk.data._layouts_voxceleb import is_voxceleb, read_voxceleb
from jaxspk.data._listing import Layout

LAYOUTS: Mapping[str, Layout] = {
    "csv": Layout(f"a table with the columns path and speaker ({TABLE_NAME})", is_table, read_csv),
    "kaldi": Layout("Kaldi's data directory (wav.scp, utt2spk)", is_kaldi, read_kaldi, implies_splits=True),
    "openslr": Layout("OpenSLR's utt_spk_text.tsv", is_openslr, read_openslr),
    "voxceleb": Layout(
        "VoxCeleb's folders (wav/id10001/video/00001.wav)", is_voxceleb, read_voxceleb, implies_splits=True
    ),
    "timit": Layout("TIMIT's folders (TRAIN/DR1/FCJF0/SA1.WAV)", is_timit, read_timit, implies_splits=True),
    "wsj0": Layout("WSJ0's folders (si_tr_s/011/011c0201.wv1)", is_wsj0, read_wsj0, implies_splits=True),
    "librispeech": Layout(
        "LibriSpeech's folders (subset/speaker/chapter/speaker-chapter-utterance.flac)",
        is_librispeech,
        read_librispeech,
        implies_splits=True,
    ),
    "folders": Layout("a folder per speaker (speaker/recording.wav)", Path.is_dir, read_folders),
}
"""Every layout, in the order in which ``layout="auto"`` tries them."""


def matching_layouts(path: Path) -> Iterator[str]:
    """Names of the layouts that a path looks like, best first."""
    return (name for name, layout in LAYOUTS.items() if layout.matches(path))
