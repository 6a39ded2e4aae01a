# SPDX-License-Identifier: Apache-2.0
"""Use the Hub's repositories in a clean environment without this project."""

import configparser
import json
import os
import subprocess
from pathlib import Path

import pytest
from clean_environment import build_clean_environment, requirements_of
from m5ser_folder import corpus_rows, write_m5ser
from packaging.requirements import Requirement

from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from mser_llm.m5ser.card import write_card
from processing_mser import label_set


pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ("transformers", "torch", "soundfile", "soxr", "datasets")
STRANGER = """
import importlib.metadata, importlib.util, json, sys
from datasets import load_dataset
from transformers import AutoModel, AutoProcessor, pipeline

model_id, dataset_id, *clips = sys.argv[1:]
output = {"distributions": sorted(one.name for one in importlib.metadata.distributions())}
packages = ("processing_mser", "modeling_mser", "mser_llm", "run_mser")
output["importable"] = [name for name in packages if importlib.util.find_spec(name)]

classify = pipeline(model=model_id, trust_remote_code=True)
output["task"] = classify.task
output["pipeline"] = [{one["label"]: one["score"] for one in classify(clip)} for clip in clips]

model = AutoModel.from_pretrained(model_id, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(model_id, trust_remote_code=True)
words = model.config.emotion_words
scores = model.score_emotions(**processor(audio=clips), candidate_ids=processor.candidate_ids(words))
output["classes"] = [dict(zip(words, row)) for row in scores.softmax(-1).tolist()]

rows = list(load_dataset(dataset_id, "fr", split="train", streaming=True))
output["rows"] = {row["id"]: [row["emotion"], row["language"]] for row in rows}
output["of rows"] = [{one["label"]: one["score"] for one in classify(row["audio"])} for row in rows[:4]]
output["first rows"] = [row["id"] for row in rows[:4]]
print(json.dumps(output))
"""


@pytest.fixture(scope="module")
def mser(hub_python):
    """Return a function that runs `run-mser` with the token of the repositories' owner."""

    def run(*words):
        done = hub_python.run(ROOT / "run_mser.py", *words)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"

    return run


@pytest.fixture(scope="module")
def french(tmp_path_factory):
    """Rows of M5SER and their folder."""
    rows = {language: corpus_rows(language, "folder") for language in ("en", "fr")}
    folder = write_m5ser(tmp_path_factory.mktemp("built") / "m5ser", rows)
    write_card(folder)
    return rows["fr"], folder


@pytest.fixture(scope="module")
def output(mser, tiny_model_dir, french, tones, loopback_hub, tmp_path_factory):
    """The output of a process that has only the libraries and the ids."""
    mser("push", "--model", tiny_model_dir, "--repo_id", "org/tones")
    mser("m5ser", "push", french[1], "--repo_id", "org/m5ser-demo")
    python = build_clean_environment(tmp_path_factory.mktemp("clean") / "venv", INSTALLED)
    home = tmp_path_factory.mktemp("home")
    anybody = {**os.environ, **loopback_hub.environment(home / "anybody")}
    command = [python, "-I", "-c", STRANGER, "org/tones", "org/m5ser-demo", *clips(tones)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=anybody, cwd=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def clips(tones):
    return sorted(map(str, tones.rglob("*.wav")))[:6]


def test_environment_has_libraries_but_not_the_project(output):
    assert set(output["distributions"]) == {one.name for one in requirements_of(INSTALLED).values()}
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = {Requirement(line).name for line in settings["options.extras_require"]["all"].strip().splitlines()}
    assert "audiomentations" in extras and not extras & set(output["distributions"])
    assert output["importable"] == []


def test_pushed_model_predicts_like_the_local_one(output, tiny_model_dir, tones):
    assert output["task"] == "audio-classification"
    network, processor = load_model(str(tiny_model_dir), "cpu")
    words = label_set("seven").words
    expected = [one.scores for one in recognize(network, processor, clips(tones), words)]
    assert len({tuple(scores.values()) for scores in expected}) == len(expected) == 6
    for how in ("pipeline", "classes"):
        assert len(output[how]) == 6
        for found, scores in zip(output[how], expected):
            assert found == pytest.approx(scores, abs=1e-5), how


def test_pushed_data_set_streams_into_the_model(output, french, tiny_model_dir):
    rows = {row["id"]: row for row in french[0]}
    assert output["rows"] == {key: [row["emotion"], "fr"] for key, row in rows.items()}
    network, processor = load_model(str(tiny_model_dir), "cpu")
    sounds = [rows[key]["audio"]["bytes"] for key in output["first rows"]]
    for found, prediction in zip(output["of rows"], recognize(network, processor, sounds, label_set("seven").words)):
        assert found == pytest.approx(prediction.scores, abs=1e-5)
