"""Long recordings: pieces, their sample and their joints give what the whole would give, in bounded memory."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from jaxspk import audio
from jaxspk.errors import AudioError
from jaxspk.systems import DeepClusteringModel, Separator, SpectrumConfig
from jaxspk.systems import _separation_passes as separation_passes
from jaxspk.systems import _separation_steps as separation_steps
from jaxspk.systems._separation_passes import Passes
from jaxspk.systems._separation_pieces import cut, joined
from jaxspk.systems._separation_steps import Steps, active_bins

HOP = 64


@pytest.fixture
def short_pieces(monkeypatch, tiny_config):
    """Pieces of about a second, with context for a network that forgets within 24 frames."""
    numbers = 131 * tiny_config.features.bins * tiny_config.network.dim
    monkeypatch.setattr(separation_steps, "_LARGEST_EMBEDDINGS", numbers)
    monkeypatch.setattr(separation_passes, "_CONTEXT_FRAMES", 24)
    monkeypatch.setattr(separation_passes, "_FADE_FRAMES", 8)
    monkeypatch.setattr(separation_passes, "_SAMPLED", 2000)
    monkeypatch.setattr(separation_passes, "_BLOCK", 3000)
    return 128 * HOP


@pytest.fixture(scope="module")
def conversation(two_voices):
    """Six seconds, with a level that goes up and down."""
    mixture = np.tile(two_voices.sum(0), 4)
    time = np.arange(mixture.size) / 8000
    return (mixture * (1 + 0.5 * np.sin(2 * np.pi * time / 5)) + 1e-4 * np.sin(97 * time)).astype(np.float32)


def passes(separator, waveform, sample_rate=8000, **options):
    return Passes(
        Steps(separator.config, separator.model), lambda: [waveform], sample_rate, shortest_seconds=0.1, **options
    )


def former(separator, waveform, sample_rate, speakers, masks, seed):
    """The method on a whole recording at once, as its own sequence of array operations."""
    features, peak = separator.config.features, np.abs(waveform).max()
    heard = audio.resample(waveform / peak, sample_rate, features.sample_rate)
    found = separator.analyze(heard, speakers, masks=masks, seed=seed)
    spectra = audio.apply_masks(found.mixture, found.masks)
    estimates = np.asarray(audio.istft(spectra, **features.stft, length=len(heard)))
    estimates = audio.resample(estimates, features.sample_rate, sample_rate)[:, : len(waveform)]
    estimates = np.pad(estimates, ((0, 0), (0, len(waveform) - estimates.shape[1])))
    window = round(0.032 * sample_rate)
    power = uniform_filter1d(estimates.astype(np.float64) ** 2, window, axis=-1, mode="constant")
    power = np.maximum(power, 0) + 1e-12
    estimates = peak * (estimates + power / power.sum(0) * (waveform / peak - estimates.sum(0)))
    return estimates[np.argsort(-(estimates**2).sum(1))]


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
@pytest.mark.parametrize("speakers, masks", [(2, "soft"), (3, "soft"), (2, "binary")])
def test_a_recording_of_one_piece_gives_what_the_whole_does(tiny_separator, two_voices, sample_rate, speakers, masks):
    waveform = audio.resample(two_voices.sum(0), 8000, sample_rate)
    voices = tiny_separator.separate(waveform, sample_rate, speakers, masks=masks, seed=4)
    expected = former(tiny_separator, waveform, sample_rate, speakers, masks, 4)
    np.testing.assert_allclose(voices, expected, rtol=0, atol=2e-6)


# --- Pieces -----------------------------------------------------------------------------------------------


@given(samples=st.integers(1, 60_000), hops=st.integers(8, 60), context=st.integers(0, 9), fade=st.integers(1, 9))
def test_pieces_cover_the_recording_and_join_to_it(samples, hops, context, fade):
    pieces = cut(samples, longest=hops * HOP, hop=HOP, context=context * HOP, fade=fade * HOP)
    recording = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    assert pieces.starts[0] == 0
    assert max(start + pieces.length for start in pieces.starts) >= samples
    assert all(start % HOP == 0 for start in pieces.starts)
    found = [np.pad(recording[:, slice(*pieces.span(i))], ((0, 0), (0, 5))) for i in range(len(pieces))]
    blocks = list(joined(pieces, found))
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), recording, rtol=0, atol=1e-6)


@given(samples=st.integers(20_000, 90_000))
def test_nothing_is_taken_from_near_the_end_of_a_piece(samples):
    context = 10 * HOP
    pieces = cut(samples, longest=100 * HOP, hop=HOP, context=context, fade=4 * HOP)
    # What is taken is marked 1, its context 0: no 0 may show in the result, but where the recording itself ends.
    marks = []
    for index in range(len(pieces)):
        mark = np.ones((1, pieces.length), np.float32)
        if index > 0:
            mark[:, :context] = 0
        if index + 1 < len(pieces):
            mark[:, -context:] = 0
        marks.append(mark)
    assert (np.concatenate(list(joined(pieces, marks)), axis=1) > 0.999).all()


@pytest.mark.parametrize("extra", [-1, 0, 1, HOP - 1, HOP, HOP + 1, 5000])
def test_lengths_around_a_piece_separate_and_add_up(tiny_separator, conversation, short_pieces, extra):
    waveform = conversation[: short_pieces + extra]
    with passes(tiny_separator, waveform) as found:
        assert (len(found.pieces) == 1) == (extra <= 0)
    voices = tiny_separator.separate(waveform, 8000)
    np.testing.assert_allclose(voices.sum(0), waveform, atol=3e-6)


def test_away_from_the_ends_of_pieces_the_network_hears_what_it_hears_in_the_whole(
    tiny_config, conversation, short_pieces, monkeypatch
):
    # With statistics of a corpus, and no floor that the loudest bin of a piece decides, pieces differ from the whole
    # by what the network remembers and nothing else.
    config = dataclasses.replace(tiny_config, features=SpectrumConfig(normalization="corpus", floor_db=200.0))
    statistics = audio.Normalization(np.full(config.features.bins, -6.0), np.full(config.features.bins, 3.0))
    separator = Separator(config, DeepClusteringModel(config, rngs=nnx.Rngs(1), statistics=statistics))
    centers = jnp.eye(3)
    in_pieces = []
    for context in (4, 12, 28):
        monkeypatch.setattr(separation_passes, "_CONTEXT_FRAMES", context)
        with passes(separator, conversation) as found:
            assert len(found.pieces) > 5
            in_pieces.append(np.concatenate(list(found.estimates(centers, "soft")), axis=1))
    monkeypatch.setattr(separation_steps, "_LARGEST_EMBEDDINGS", 2**25)
    with passes(separator, conversation) as found:
        assert len(found.pieces) == 1
        at_once = np.concatenate(list(found.estimates(centers, "soft")), axis=1)
    little, more, most = (np.abs(estimates - at_once).max() for estimates in in_pieces)
    assert little > 3 * more > 9 * most > 0
    assert most < 2e-3


def test_a_piece_is_what_it_would_be_alone(tiny_separator, conversation, short_pieces):
    centers = jnp.eye(3)[:2]
    with passes(tiny_separator, conversation) as found:
        whole = np.concatenate(list(found.estimates(centers, "soft")), axis=1) * found.peak
        pieces = found.pieces
    compared = 0
    for index in range(1, len(pieces) - 1):
        begin, end = pieces.span(index)
        with passes(tiny_separator, conversation[begin:end]) as alone:
            assert len(alone.pieces) == 1
            voices = np.concatenate(list(alone.estimates(centers, "soft")), axis=1) * alone.peak
        middle = slice((pieces.span(index - 1)[1]), pieces.span(index + 1)[0])
        if middle.stop <= middle.start:
            continue  # The last piece, moved back, overlaps with two.
        compared += 1
        expected = voices[:, middle.start - begin : middle.stop - begin]
        np.testing.assert_allclose(whole[:, middle], expected, rtol=0, atol=1e-6)
    assert compared >= 4


# --- The sample -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_sample_is_bounded_whatever_the_length(tiny_separator, conversation, short_pieces, repeats):
    with passes(tiny_separator, np.tile(conversation, repeats)) as found:
        assert len(found.pieces) > 5 * repeats
        points, active, magnitudes = found.sample(0)
    assert points.shape == (2000, 3)
    assert active.sum() == 2000
    assert (magnitudes > 0.01 * 0.999).all() and (magnitudes <= 1).all()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)


def test_the_sample_is_of_active_bins_spread_over_all_pieces(tiny_separator, conversation, short_pieces):
    with passes(tiny_separator, conversation) as found:
        points = np.asarray(found.sample(3).points)
        steps, position = Steps(tiny_separator.config, tiny_separator.model), 0
        peaks = [steps.loudest(found._piece(i)) for i in range(len(found.pieces))]
        counts = [steps.num_active(found._piece(i), peak) for i, peak in enumerate(found._survey())]
        expected = 2000 * np.cumsum(counts) / sum(counts)
        for index, peak in enumerate(found._survey()):
            assert peak >= peaks[index]
            embedded = steps.embed(found._piece(index))
            active = np.asarray(active_bins(embedded.mixture, peak, tiny_separator.config)).reshape(-1)
            rows = {row.tobytes() for row in np.asarray(embedded.embeddings)[active]}
            end = position
            while end < 2000 and points[end].tobytes() in rows:
                end += 1
            assert end > position
            position = end
            assert position >= expected[index] - 2
    assert position == 2000


def test_fewer_active_bins_than_are_sampled_come_once_each(tiny_separator, conversation, short_pieces, monkeypatch):
    monkeypatch.setattr(separation_passes, "_SAMPLED", 60_000)
    with passes(tiny_separator, conversation) as found:
        points, active, magnitudes = found.sample(0)
        steps = Steps(tiny_separator.config, tiny_separator.model)
        available = sum(steps.num_active(found._piece(i), peak) for i, peak in enumerate(found._survey()))
    assert points.shape == (60_000, 3)
    assert active.sum() == available < 60_000
    assert not points[available:].any() and not magnitudes[available:].any()


def test_the_seed_decides(tiny_separator, conversation, short_pieces):
    first, again, other = (tiny_separator.separate(conversation, 8000, 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    with passes(tiny_separator, conversation) as found:
        assert (found.sample(1).points != found.sample(2).points).any()
    assert other.shape == first.shape


def test_one_slammed_door_does_not_silence_hours(tiny_separator, conversation, short_pieces):
    recording = np.tile(conversation, 5)
    quiet = passes(tiny_separator, recording)
    slammed = recording.copy()
    slammed[100_000:100_200] += 30
    loud = passes(tiny_separator, slammed)
    with quiet, loud:
        assert len(quiet.pieces) > 20
        before, after = np.array(quiet._survey()) * quiet.peak, np.array(loud._survey()) * loud.peak
        changed = np.abs(after / before - 1) > 0.2
        assert 1 <= changed.sum() <= 2
        assert (after >= 0.8 * before).all()


def test_a_silent_stretch_is_separated_into_silence(tiny_separator, conversation, short_pieces):
    recording = np.concatenate([conversation, np.zeros(40_000, np.float32), conversation])
    voices = tiny_separator.separate(recording, 8000)
    assert np.isfinite(voices).all()
    assert np.abs(voices[:, 60_000:80_000]).max() < 1e-6
    np.testing.assert_allclose(voices.sum(0), recording, atol=3e-6)


# --- Files ------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path, conversation):
    audio.write_audio(tmp_path / "in.wav", audio.resample(conversation, 8000, 16000), 16000)
    return tmp_path / "in.wav"


@pytest.mark.parametrize("speakers", [2, 3])
def test_a_file_gives_the_voices_of_its_waveform(tiny_separator, recording, short_pieces, tmp_path, speakers):
    shares = []
    done = tiny_separator.separate_file(recording, tmp_path / "out", speakers=speakers, seed=2, progress=shares.append)
    waveform, sample_rate = audio.read_audio(recording)
    expected = tiny_separator.separate(waveform, sample_rate, speakers, seed=2)
    assert [path.name for path in done.voices] == [f"in-voice{k}.wav" for k in range(1, speakers + 1)]
    assert done.sample_rate == 16000 and done.seconds == pytest.approx(6.0) and done.count is None
    for path, voice in zip(done.voices, expected, strict=True):
        np.testing.assert_allclose(audio.read_audio(path)[0], voice, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in done.voices]
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 10


@pytest.mark.parametrize("channel, chosen", [("mean", slice(None)), (0, slice(0, 1)), (1, slice(1, 2))])
def test_a_channel_or_their_mean_is_separated(tiny_separator, conversation, tmp_path, channel, chosen):
    stereo = np.stack([conversation, 0.3 * conversation[::-1]], axis=1)
    audio.write_audio(tmp_path / "in.wav", stereo, 8000)
    done = tiny_separator.separate_file(tmp_path / "in.wav", tmp_path, channel=channel, name="out")
    voices = [audio.read_audio(path)[0] for path in done.voices]
    np.testing.assert_allclose(sum(voices), stereo[:, chosen].mean(1), atol=3e-6)


def test_what_is_put_aside_lies_on_the_disk_without_a_name(
    tiny_separator, recording, short_pieces, tmp_path, monkeypatch
):
    monkeypatch.setattr(separation_passes, "_IN_MEMORY", 1000)
    seen = []
    done = tiny_separator.separate_file(
        recording, tmp_path / "out", progress=lambda share: seen.append(list((tmp_path / "out").iterdir()))
    )
    assert not seen[1]  # Before the results are begun nothing can be seen.
    waveform, sample_rate = audio.read_audio(recording)
    in_memory = tiny_separator.separate(waveform, sample_rate)
    np.testing.assert_allclose(audio.read_audio(done.voices[0])[0], in_memory[0], atol=1e-6)


@pytest.mark.parametrize("when", [0.05, 0.3, 0.7])
def test_an_interruption_leaves_no_half_file(tiny_separator, recording, short_pieces, tmp_path, when):
    def interrupt(share):
        if share > when:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        tiny_separator.separate_file(recording, out, progress=interrupt)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    "waveform, problem",
    [
        (np.zeros(8000), "is silent"),
        (np.ones(1), "lasts 0.000 s; at least 0.104 s"),
        (np.ones(831), "lasts 0.104 s; at least 0.104 s"),
    ],
    ids=["silent", "one sample", "a sample too short"],
)
def test_what_cannot_be_separated_is_named_and_nothing_is_written(tiny_separator, tmp_path, waveform, problem):
    audio.write_audio(tmp_path / "in.wav", waveform, 8000)
    with pytest.raises(AudioError, match=f"in.wav: the recording {problem}"):
        tiny_separator.separate_file(tmp_path / "in.wav", tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tiny_separator, recording, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(AudioError, match=r"out: cannot be written to \((File exists|Not a directory)\)"):
        tiny_separator.separate_file(recording, tmp_path / "out")


def test_levels_beyond_full_scale_come_back_at_their_level(tiny_separator, conversation, short_pieces, tmp_path):
    audio.write_audio(tmp_path / "in.wav", 50 * conversation / np.abs(conversation).max(), 8000)
    done = tiny_separator.separate_file(tmp_path / "in.wav", tmp_path, name="loud")
    total = sum(audio.read_audio(path)[0] for path in done.voices)
    np.testing.assert_allclose(total, audio.read_audio(tmp_path / "in.wav")[0], atol=2e-4)
    clipped = tiny_separator.separate_file(tmp_path / "in.wav", tmp_path, name="clipped", subtype="PCM_16")
    assert clipped.clipped > 0 == done.clipped


def test_few_programs_are_compiled_for_many_lengths(tiny_separator, conversation, short_pieces):
    before = separation_steps._embed._cache_size()
    for seconds in (3, 3.3, 4, 5, 5.5):
        tiny_separator.separate(conversation[: int(8000 * seconds)], 8000)
    assert separation_steps._embed._cache_size() - before <= 1


@pytest.mark.parametrize("dim", [3, 40, 400])
def test_the_longest_piece_is_a_rung_of_less_than_a_minute_that_fits(tiny_config, dim):
    config = dataclasses.replace(tiny_config, network=dataclasses.replace(tiny_config.network, dim=dim))
    steps = Steps(config, DeepClusteringModel(config, rngs=nnx.Rngs(0)))
    features, seconds = config.features, steps.most_samples / config.features.sample_rate
    numbers = audio.num_frames(steps.most_samples, **features.stft) * features.bins * dim
    assert seconds <= 50 and numbers <= 2**25
    assert seconds > 50 / 2**0.51 or numbers > 2**25 / 2**0.51
    assert len(steps.padded(np.zeros(steps.most_samples, np.float32))) == steps.most_samples


@pytest.mark.parametrize("kept, times", [(2**27, 1), (0, 2)])
def test_few_pieces_are_embedded_once_and_many_twice(
    tiny_separator, conversation, short_pieces, monkeypatch, kept, times
):
    embedded = []
    embed = Steps.embed
    monkeypatch.setattr(separation_passes, "_LARGEST_KEPT", kept)
    monkeypatch.setattr(Steps, "embed", lambda steps, piece: embedded.append(len(piece)) or embed(steps, piece))
    with passes(tiny_separator, conversation) as found:
        found.sample(0)
        list(found.estimates(jnp.eye(3)[:2], "soft"))
        assert len(embedded) == times * len(found.pieces)
