"""Makes the real mixtures that come with the package, of LibriSpeech speakers held out for testing.

    python -m experiments.make_samples --data SPEECH

SPEECH is the folder that docs/data.md describes. Drawn by the seed alone: nobody listened first.
"""

import csv
import dataclasses
import sys
from pathlib import Path

import tyro

from jaxspk import audio, data
from jaxspk.errors import JaxspkError

ATTRIBUTION = """\
# Sample recordings

Mixtures of two LibriSpeech readers each (`mixtures/`, 16 kHz), and each reader alone at the level it has in the mixture
(`references/`). `samples.csv` names the utterances and the relative levels. The readers are among the test speakers of
jaxspk: no packaged weights were trained on them.

LibriSpeech (c) 2014 by Vassil Panayotov, licensed CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/),
https://www.openslr.org/12. V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "LibriSpeech: an ASR corpus based on public
domain audio books", ICASSP 2015. Changes: cut to the shorter utterance, scaled, added.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to mix."""

    data: Path
    """The folder of speech."""
    output: Path = Path("jaxspk/samples")
    """Receives mixtures/, references/, samples.csv and ATTRIBUTION.md."""
    seed: int = 0
    genders: tuple[str, ...] = ("FM", "FM", "FF", "MM")
    """One mixture each."""
    min_seconds: float = 5.0
    max_seconds: float = 8.0
    """Range of the utterances."""


def main(config: Config) -> None:
    """Draws, mixes and writes."""
    speech = data.read_corpus(config.data).manifest.where(
        corpus="LibriSpeech", split="test", min_seconds=config.min_seconds, max_seconds=config.max_seconds
    )
    rows = []
    for number, pair in enumerate(config.genders, 1):
        mixing = data.MixtureConfig(sample_rate=16000, genders=(pair,))
        mixture = data.MixtureSource(speech, mixing, seed=config.seed, size=number)[number - 1]
        name = f"{pair.lower()}-{number}"
        (config.output / "mixtures").mkdir(parents=True, exist_ok=True)
        (config.output / "references").mkdir(parents=True, exist_ok=True)
        audio.write_audio(config.output / "mixtures" / f"{name}.flac", mixture.mixture, 16000, subtype="PCM_16")
        row: dict[str, object] = {"name": name, "seconds": round(len(mixture.mixture) / 16000, 2)}
        for k, (source, utterance) in enumerate(zip(mixture.sources, mixture.utterances, strict=True), 1):
            audio.write_audio(config.output / "references" / f"{name}-{k}.flac", source, 16000, subtype="PCM_16")
            row |= {
                f"speaker_{k}": utterance.speaker,
                f"gender_{k}": utterance.gender,
                f"utterance_{k}": utterance.path.stem,
                f"gain_db_{k}": round(mixture.gains_db[k - 1], 2),
            }
        rows.append(row)
    with (config.output / "samples.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (config.output / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
