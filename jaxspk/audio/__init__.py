"""Waveforms and features; knows no corpus.

Recordings are read into NumPy arrays on the host; what computes on arrays is JAX, pure and jittable. The
names of the second half are loaded when first used, so that who only reads files does not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxspk.audio._compressed import COMPRESSED_BYTES as COMPRESSED_BYTES
from jaxspk.audio._compressed import COMPRESSED_RATE as COMPRESSED_RATE
from jaxspk.audio._compressed import compressed as compressed
from jaxspk.audio._files import AudioInfo as AudioInfo
from jaxspk.audio._files import AudioStream as AudioStream
from jaxspk.audio._files import audio_info as audio_info
from jaxspk.audio._files import check_sound as check_sound
from jaxspk.audio._files import open_audio as open_audio
from jaxspk.audio._files import read_audio as read_audio
from jaxspk.audio._files import resample as resample
from jaxspk.audio._folders import AUDIO_SUFFIXES as AUDIO_SUFFIXES
from jaxspk.audio._folders import find_recordings as find_recordings
from jaxspk.audio._isolated import read_audio_isolated as read_audio_isolated
from jaxspk.audio._streams import AudioWriter as AudioWriter
from jaxspk.audio._streams import resample_blocks as resample_blocks
from jaxspk.audio._writing import write_audio as write_audio

if TYPE_CHECKING:
    from jaxspk.audio._activity import SpeechLevel as SpeechLevel
    from jaxspk.audio._activity import active_intervals as active_intervals
    from jaxspk.audio._activity import active_level as active_level
    from jaxspk.audio._activity import speech_level as speech_level
    from jaxspk.audio._activity import voice_activity as voice_activity
    from jaxspk.audio._features import MelConfig as MelConfig
    from jaxspk.audio._features import log_magnitude as log_magnitude
    from jaxspk.audio._features import log_mel as log_mel
    from jaxspk.audio._features import mel_filterbank as mel_filterbank
    from jaxspk.audio._features import mel_spectrogram as mel_spectrogram
    from jaxspk.audio._features import mfcc as mfcc
    from jaxspk.audio._features import pre_emphasis as pre_emphasis
    from jaxspk.audio._features import spectrogram as spectrogram
    from jaxspk.audio._frame_features import FrameFeatureConfig as FrameFeatureConfig
    from jaxspk.audio._frame_features import clean_frame_features as clean_frame_features
    from jaxspk.audio._frame_features import frame_features as frame_features
    from jaxspk.audio._frame_features import linear_to_mel_filters as linear_to_mel_filters
    from jaxspk.audio._frame_features import paper_frame_features as paper_frame_features
    from jaxspk.audio._frame_features import released_frame_features as released_frame_features
    from jaxspk.audio._masks import active_bins as active_bins
    from jaxspk.audio._masks import apply_masks as apply_masks
    from jaxspk.audio._masks import ideal_binary_mask as ideal_binary_mask
    from jaxspk.audio._masks import ideal_ratio_mask as ideal_ratio_mask
    from jaxspk.audio._masks import phase_sensitive_mask as phase_sensitive_mask
    from jaxspk.audio._normalization import Normalization as Normalization
    from jaxspk.audio._normalization import normalize_bands as normalize_bands
    from jaxspk.audio._normalization import normalize_utterance as normalize_utterance
    from jaxspk.audio._quality import RecordingQuality as RecordingQuality
    from jaxspk.audio._quality import recording_quality as recording_quality
    from jaxspk.audio._spec_augment import spec_augment as spec_augment
    from jaxspk.audio._speech_frames import CepstraConfig as CepstraConfig
    from jaxspk.audio._speech_frames import SpeechFrames as SpeechFrames
    from jaxspk.audio._speech_frames import speech_frames as speech_frames
    from jaxspk.audio._stft import istft as istft
    from jaxspk.audio._stft import num_frames as num_frames
    from jaxspk.audio._stft import stft as stft

_HOMES = {
    "SpeechLevel": "_activity",
    "active_intervals": "_activity",
    "active_level": "_activity",
    "speech_level": "_activity",
    "voice_activity": "_activity",
    "MelConfig": "_features",
    "log_magnitude": "_features",
    "log_mel": "_features",
    "mel_filterbank": "_features",
    "mel_spectrogram": "_features",
    "mfcc": "_features",
    "pre_emphasis": "_features",
    "spectrogram": "_features",
    "FrameFeatureConfig": "_frame_features",
    "clean_frame_features": "_frame_features",
    "frame_features": "_frame_features",
    "linear_to_mel_filters": "_frame_features",
    "paper_frame_features": "_frame_features",
    "released_frame_features": "_frame_features",
    "active_bins": "_masks",
    "apply_masks": "_masks",
    "ideal_binary_mask": "_masks",
    "ideal_ratio_mask": "_masks",
    "phase_sensitive_mask": "_masks",
    "Normalization": "_normalization",
    "normalize_bands": "_normalization",
    "normalize_utterance": "_normalization",
    "spec_augment": "_spec_augment",
    "CepstraConfig": "_speech_frames",
    "SpeechFrames": "_speech_frames",
    "speech_frames": "_speech_frames",
    "RecordingQuality": "_quality",
    "recording_quality": "_quality",
    "istft": "_stft",
    "num_frames": "_stft",
    "stft": "_stft",
}

__all__ = [
    "AUDIO_SUFFIXES",
    "COMPRESSED_BYTES",
    "COMPRESSED_RATE",
    "AudioInfo",
    "AudioStream",
    "AudioWriter",
    "CepstraConfig",
    "FrameFeatureConfig",
    "MelConfig",
    "Normalization",
    "RecordingQuality",
    "SpeechFrames",
    "SpeechLevel",
    "active_bins",
    "active_intervals",
    "active_level",
    "apply_masks",
    "audio_info",
    "check_sound",
    "clean_frame_features",
    "compressed",
    "find_recordings",
    "frame_features",
    "ideal_binary_mask",
    "ideal_ratio_mask",
    "istft",
    "linear_to_mel_filters",
    "log_magnitude",
    "log_mel",
    "mel_filterbank",
    "mel_spectrogram",
    "mfcc",
    "normalize_bands",
    "normalize_utterance",
    "num_frames",
    "open_audio",
    "paper_frame_features",
    "phase_sensitive_mask",
    "pre_emphasis",
    "read_audio",
    "read_audio_isolated",
    "recording_quality",
    "released_frame_features",
    "resample",
    "resample_blocks",
    "spec_augment",
    "spectrogram",
    "speech_frames",
    "speech_level",
    "stft",
    "voice_activity",
    "write_audio",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxspk.audio' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxspk.audio.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
