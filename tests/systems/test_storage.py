import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ModelError
from jaxspk.systems import load_model, save_model

WEIGHTS = {"layer.kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.ones(3, np.float16)}


@pytest.fixture
def folder(tmp_path):
    return save_model(tmp_path / "model", system="test", config={"units": 3}, weights=WEIGHTS, card="# Card\n")


def test_what_was_saved_comes_back(folder):
    stored = load_model(folder, system="test")
    assert stored.config == {"units": 3}
    assert stored.num_parameters == 15
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(stored.weights[name], array)
        assert stored.weights[name].dtype == array.dtype
    assert (folder / "MODEL_CARD.md").read_text() == "# Card\n"


def test_saving_replaces_a_model_and_leaves_nothing_beside(folder):
    save_model(folder, system="test", config={"units": 4}, weights=WEIGHTS, card="")
    assert load_model(folder).config == {"units": 4}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="exists and is no model directory"):
        save_model(tmp_path, system="test", config={}, weights=WEIGHTS, card="")
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_failed_write_leaves_the_old_model(folder, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ModelError, match="cannot be written \\(No space left on device\\)"):
        save_model(folder, system="test", config={"units": 5}, weights=WEIGHTS, card="")
    monkeypatch.undo()
    assert load_model(folder).config == {"units": 3}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@given(st.data())
def test_every_flipped_bit_is_detected(tmp_path_factory, data):
    folder = save_model(
        tmp_path_factory.mktemp("flip") / "model",
        system="test",
        config={"units": 3},
        weights=WEIGHTS,
        card="",
    )
    file = folder / data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    content[position // 8] ^= 1 << position % 8
    file.write_bytes(content)
    try:
        stored = load_model(folder)
    except ModelError as error:
        assert str(folder) in str(error)
        assert "\n" not in str(error)
    else:
        # Only the layout of the JSON, such as a space turned into another, may change unnoticed.
        assert file.name == "config.json"
        assert stored.config == {"units": 3}


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_truncated_file_is_refused(folder, name, keep):
    file = folder / name
    file.write_bytes(file.read_bytes()[:keep].rstrip() if keep >= 0 else file.read_bytes()[:-2])
    with pytest.raises(ModelError, match=name):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"holds no {name}"):
        load_model(folder)


def test_foreign_and_newer_models_are_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="no such model directory"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a model for 'test', expected one for 'deep_clustering'"):
        load_model(folder, system="deep_clustering")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(ModelError, match="format version 99"):
        load_model(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="not written by jaxspk"):
        load_model(folder)


def test_a_config_edited_by_hand_is_refused(folder):
    text = (folder / "config.json").read_text().replace('"units": 3', '"units": 9')
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match="does not match its checksum"):
        load_model(folder)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    folder = save_model(
        tmp_path / "model",
        system="test",
        config={},
        weights={"a": np.array([1.0, np.nan], np.float32)},
        card="",
    )
    with pytest.raises(ModelError, match="not finite"):
        load_model(folder)
