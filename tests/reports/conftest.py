"""A whole report of made-up numbers: two gliding voices, separated with some errors."""

import numpy as np
import pytest

from jaxspk import reports

RATE, N_FFT, HOP = 8000, 256, 64
HOSTILE = """"><script>alert('x')</script> {{ 7*7 }} & \x07\udce9 .wav"""


@pytest.fixture(scope="session")
def sample_report() -> reports.Report:
    return make_report(np.random.default_rng(7))


def make_report(rng: np.random.Generator) -> reports.Report:
    pairs = {"F+M": (9.1, 40), "F+F": (5.2, 24), "M+M": (4.6, 24)}
    improvements = {pair: mean + 2.2 * rng.standard_normal(count) for pair, (mean, count) in pairs.items()}
    inputs = {pair: 2.4 * rng.standard_normal(count) for pair, (_, count) in pairs.items()}
    overall = np.concatenate(list(improvements.values()))
    return reports.Report(
        title="Deep clustering: two voices told apart",
        subtitle="Trained on 104 synthetic voices, tested on mixtures of speakers it has never heard.",
        facts=reports.Facts(
            [
                reports.Fact("SDR improvement, woman and man", 9.12, "dB", "mean of 40 mixtures"),
                reports.Fact("SDR improvement, all", float(overall.mean()), "dB", f"mean of {overall.size} mixtures"),
                reports.Fact("Ideal binary mask", 13.4, "dB", "the ceiling of this kind of mask"),
                reports.Fact("Real-time factor", 0.031, "", "two cores, compilation excluded", ".3f"),
            ]
        ),
        sections=[
            reports.Section("Results", [results_table(improvements), *improvement_figures(improvements, inputs)]),
            reports.Section(
                "Training",
                [reports.training_curves(metrics(rng), score="sdr_improvement", score_label="SDR improvement (dB)",
                                         best_step=900),
                 reports.Listing("Configuration of the run", '{\n  "layers": 2,\n  "units": 128,\n  "dim": 20\n}')],
            ),
            reports.Section(
                "Listen",
                [reports.Text("Use headphones. Estimates stand in the order of their references.", note=True),
                 *(separation(rng, number) for number in range(2))],
            ),
            reports.Section("Every mixture", [mixture_table(improvements, inputs)]),
        ],
        provenance=reports.provenance(seed=0, command="python -m experiments.deep_clustering quick"),
    )  # fmt: skip


def results_table(improvements: dict[str, np.ndarray]) -> reports.Table:
    means = [float(values.mean()) for values in improvements.values()]
    return reports.Table(
        columns=["System", *(f"{pair} (dB)" for pair in improvements), "All (dB)", "Mixtures"],
        rows=[
            ["Mixture", 0.0, 0.0, 0.0, 0.0, 88],
            ["Deep clustering, k-means", *means, float(np.mean(means)), 88],
            ["Deep clustering, soft masks", *(mean + 0.31 for mean in means), float(np.mean(means)) + 0.31, 88],
            ["Ideal binary mask", 13.38, 13.91, 13.02, 13.40, 88],
        ],
        caption="SDR improvement by the genders of the two speakers, mean over the mixtures of the test list.",
        best={name: "highest" for name in ("F+M (dB)", "F+F (dB)", "M+M (dB)", "All (dB)")},
        baselines=("Mixture", "Ideal binary mask"),
    )


def improvement_figures(improvements: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> list[reports.Figure]:
    ceiling = {"Ideal binary mask": {"F+M": 13.38, "F+F": 13.91, "M+M": 13.02}}
    return [
        reports.improvement_distribution(improvements, baselines=ceiling),
        reports.improvement_vs_input(inputs, improvements),
    ]


def mixture_table(improvements: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> reports.Table:
    rows = [
        [f"{pair} {number:03d}", pair, inputs[pair][number], inputs[pair][number] + gain, gain]
        for pair, gains in improvements.items()
        for number, gain in enumerate(gains)
    ]
    rows.append([HOSTILE, "F+M", None, float("nan"), -0.001])
    return reports.Table(
        ["Mixture", "Pair", "Input SDR (dB)", "Output SDR (dB)", "Improvement (dB)"],
        rows,
        caption=f"All {len(rows)} mixtures of the test list.",
        folded=True,
    )


def metrics(rng: np.random.Generator) -> list[dict[str, float | int | str]]:
    rows: list[dict[str, float | int | str]] = []
    for step in range(1, 1001, 2):
        loss = 0.9 * np.exp(-step / 180) + 0.09 + 0.2 / step
        rate = 1e-3 * min(step / 50, 1) * (0.5 + 0.5 * np.cos(np.pi * step / 1000))
        rows.append({"step": step, "split": "train", "loss": loss * np.exp(0.13 * rng.standard_normal()),
                     "learning_rate": rate})  # fmt: skip
    for step in range(100, 1001, 100):
        loss = 0.9 * np.exp(-step / 190) + 0.12
        score = 8.2 * (1 - np.exp(-step / 240)) + 0.15 * rng.standard_normal()
        rows.append({"step": step, "split": "validation", "loss": loss, "sdr_improvement": score})
    rows.append({"step": 500, "split": "train", "loss": float("nan")})
    return rows


def separation(rng: np.random.Generator, number: int) -> reports.Sounds:
    """Two voices, their mixture, ideal masks, and estimated ones with a twelfth of the bins wrong."""
    sources = np.stack([voice(rng, pitch, 3.0) for pitch in (205.0, 118.0)])
    spectra = np.stack([stft(source) for source in sources])
    mixture_db = 20 * np.log10(np.abs(spectra.sum(0)) + 1e-9)
    mixture_db = np.maximum(mixture_db, mixture_db.max() - 80)
    ideal = np.eye(2)[np.abs(spectra).argmax(0)].transpose(2, 0, 1)
    wrong = rng.random(ideal.shape[1:]) < 0.08
    estimated = np.where(wrong, ideal[::-1], ideal)
    directions = np.linalg.qr(rng.standard_normal((20, 20)))[0][:2]
    embeddings = directions[ideal.argmax(0).reshape(-1)] + 0.22 * rng.standard_normal((ideal[0].size, 20))
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    weights = (mixture_db > mixture_db.max() - 40).reshape(-1).astype(np.float64)
    panel = reports.separation_panel(mixture_db, ideal, estimated, sample_rate=RATE, hop_length=HOP, floor_db=50.0)
    scatter = reports.embedding_scatter(embeddings, ideal.reshape(2, -1).T, weights, centers=directions, seed=number)
    bleed = [0.92 * sources[i] + 0.12 * sources[1 - i] for i in range(2)]
    return reports.Sounds(
        f"Mixture {number + 1}: a high and a low voice",
        {
            "Mixture": [reports.Sound(sources.sum(0), RATE, "Both voices", "SDR −0.1 dB")],
            "References": [reports.Sound(sources[i], RATE, f"Source {i + 1}", source=i) for i in range(2)],
            "Estimates": [
                reports.Sound(bleed[i], RATE, f"Source {i + 1}", f"SDR {9.7 - i:.1f} dB", i) for i in range(2)
            ],
        },
        text="Three seconds at 8 kHz; relative level 1.3 dB.",
        figures=(panel, scatter),
    )


def voice(rng: np.random.Generator, pitch: float, seconds: float) -> np.ndarray:
    """Syllables of a harmonic tone with a moving pitch under two moving formants."""
    time = np.arange(int(RATE * seconds)) / RATE
    glide = pitch * (1 + 0.12 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    formants = [centre * (1 + 0.3 * np.sin(2 * np.pi * speed * time + rng.uniform(0, 6)))
                for centre, speed in ((600, 1.3), (1700, 0.9))]  # fmt: skip
    wave = sum(
        np.sin(k * phase) * sum(np.exp(-(((k * glide - formant) / 280) ** 2)) + 0.02 for formant in formants)
        for k in range(1, int(0.48 * RATE / pitch / 1.2))
    )
    syllables = np.clip(1.6 * np.sin(2 * np.pi * 1.9 * time + rng.uniform(0, 6)) + 0.7, 0, 1)
    quiet = 1e-3 * rng.standard_normal(time.size)
    return (wave * syllables / np.abs(wave).max() * 0.6 + quiet).astype(np.float32)


def stft(waveform: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(waveform, N_FFT)[::HOP]
    return np.fft.rfft(frames * np.sqrt(np.hanning(N_FFT)))
