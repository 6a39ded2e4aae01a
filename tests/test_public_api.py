# SPDX-License-Identifier: Apache-2.0
"""The public API of `mser_llm`, as docs/stability.md promises it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import mser_llm
from modeling_mser.labels_mser import UnlearnedLabelError
from mser_llm.io.errors import InputError
from run_mser import main


ROOT = Path(__file__).parents[1]
FIRST_IMPORT = """
import sys, time
began = time.process_time()
import mser_llm
assert set(mser_llm.__all__) <= set(dir(mser_llm))
seconds = time.process_time() - began
heavy = {"torch", "transformers", "numpy", "soundfile"} & set(sys.modules)
print(seconds, sorted(heavy), mser_llm.__version__)
"""


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.2 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    return path


@pytest.fixture(scope="module")
def recognizer(tiny_model_dir):
    return mser_llm.load(str(tiny_model_dir), "cpu")


def test_import_is_fast_and_loads_no_torch():
    done = subprocess.run([sys.executable, "-c", FIRST_IMPORT], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, heavy, version = done.stdout.split(maxsplit=2)
    assert float(seconds) < 0.3
    assert (heavy, version.strip()) == ("[]", mser_llm.__version__)


def test_module_has_the_public_names_and_no_others():
    assert sorted(mser_llm.__all__) == ["EmotionRecognizer", "Recognition", "__version__", "label_set", "load"]
    assert all(hasattr(mser_llm, name) for name in mser_llm.__all__)
    with pytest.raises(AttributeError, match="lode"):
        mser_llm.lode  # noqa: B018


def test_results_equal_those_of_the_predict_command(recognizer, tiny_model_dir, clip, tmp_path, capsys):
    broken = tmp_path / "empty.wav"
    broken.write_bytes(b"")
    files = [str(clip), str(broken)]
    for flags, options in (([], {}), (["--labels", "four"], {"labels": "four"})):
        assert main(["predict", *files, "--model", str(tiny_model_dir), "--device", "cpu", "--json", *flags]) == 1
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        first, second = recognizer(files, **options)
        assert (printed[0]["label"], printed[1]["error"]) == (first.label, second.error)
        assert printed[0]["scores"] == pytest.approx(first.scores, abs=1e-6)
        assert second.label is None


def test_recognizer_takes_every_form_of_audio(recognizer, clip):
    expected = recognizer(clip)
    assert isinstance(expected, mser_llm.Recognition) and expected.source == clip
    samples, rate = soundfile.read(clip, dtype="float32")
    forms = [
        str(clip),
        io.BytesIO(clip.read_bytes()),
        torch.tensor(samples),
        {"array": samples, "sampling_rate": rate},
    ]
    for form in forms:
        assert recognizer(form).scores == pytest.approx(expected.scores, abs=1e-6)
    assert [one.label for one in recognizer.stream(path for path in [clip, clip])] == [expected.label] * 2
    assert recognizer([]) == []


def test_recognizer_options_reach_the_model(tiny_model_dir, clip):
    recognizer = mser_llm.load(str(tiny_model_dir), "cpu", labels=["happy", "tired"], allow_unlearned_labels=True)
    result = recognizer(clip)
    assert list(result.scores) == ["happy", "tired"] and result.unlearned_labels == ("tired",)
    with pytest.raises(UnlearnedLabelError):
        mser_llm.load(str(tiny_model_dir), "cpu", labels="happy,tired")(clip)
    written = mser_llm.load(str(tiny_model_dir), "cpu", decode="generate")(clip)
    assert written.scores is None and written.text is not None


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"decode": "x"}])
def test_load_rejects_bad_options_before_the_model(options):
    with pytest.raises(InputError):
        mser_llm.load("no/such/model", **options)
