# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned model inherits from its parent, and what its own stage decides."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from loopback_hub.cards import front_matter
from transformers import WhisperConfig

from modeling_mser import MSERConfig, WhisperClassifierConfig, WhisperForEmotionClassification
from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.data.clips import Clip
from mser_llm.data.corpora import CORPORA
from mser_llm.data.lineage import record_stage
from mser_llm.data.schema import new_row
from mser_llm.hub.data_record import data_record
from mser_llm.hub.model_card import render_model_card
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import build_model, continue_classifier
from mser_llm.training.run_training import train
from processing_mser import label_set
from run_mser import main


FOUR, SEVEN = (list(label_set(name).words) for name in ("four", "seven"))


@pytest.fixture(scope="module")
def on_four(tiny_model_dir: Path, tmp_path_factory) -> Path:
    """Save a model set up for four labels, whose parent learned seven."""
    place = tmp_path_factory.mktemp("fine-tuned")
    arguments = ModelArguments(init_from=str(tiny_model_dir), freeze_audio=False, freeze_text=False)
    model, processor = build_model(arguments, FOUR)
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place


def test_predict_defaults_to_labels_of_last_stage(on_four: Path, tmp_path: Path, capsys):
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    assert main(["predict", str(clip), "--model", str(on_four), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) == FOUR
    # The parent's labels are still known.
    assert main(["predict", str(clip), "--model", str(on_four), "--json", "--labels", "fear,disgust"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_labels_of_the_last_stage_are_the_default(on_four: Path, make_tiny, tmp_path: Path):
    model, processor = build_model(ModelArguments(init_from=str(on_four), freeze_audio=False), FOUR)
    assert list(MSERPipeline(model, processor=processor, device="cpu").default_labels) == FOUR
    assert model.config.learned_words == SEVEN
    model, _ = build_model(ModelArguments(init_from=str(on_four), freeze_audio=False), ["calm", "sad"])
    assert model.config.emotion_words == ["calm", "sad"]
    assert model.config.learned_words == [*SEVEN, "calm"]
    # A pretrained language model has learned any word.
    for part in make_tiny(emotion_words=SEVEN, learned_words=None):
        part.save_pretrained(tmp_path)
    model, _ = build_model(ModelArguments(init_from=str(tmp_path), freeze_audio=False, freeze_text=False), FOUR)
    assert (model.config.emotion_words, model.config.learned_words) == (FOUR, None)


def test_classifier_keeps_its_classes_and_defaults_to_last_stage(tmp_path: Path):
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    audio = WhisperConfig(**sizes, num_mel_bins=20)
    config = WhisperClassifierConfig(audio_config=audio, emotion_words=SEVEN, trained_layers=0)
    model = WhisperForEmotionClassification(config)
    continue_classifier(model, ModelArguments(model_type="whisper_classifier", trained_layers=0), "parent", FOUR)
    model.save_pretrained(tmp_path)
    again = WhisperForEmotionClassification.from_pretrained(tmp_path)
    assert (again.config.emotion_words, again.config.learned_words) == (FOUR, SEVEN)
    assert list(again.config.id2label.values()) == SEVEN
    assert again.classifier[-1].out_features == 7


def speech(*corpora: str, language: str = "en", **more) -> list[Clip]:
    """Create one clip of each corpus."""
    rows = [new_row(id=name, path="a.wav", corpus=name, emotion="sad", language=language) | more for name in corpora]
    return [Clip(row, "sad", row["id"], 3.0) for row in rows]


def card_of(config: MSERConfig, clips: list[Clip], folder: Path) -> tuple[dict, str]:
    """Return metadata and text of the card of a model whose last stage used these clips."""
    (folder / "config.json").write_text(config.to_json_string(), encoding="utf-8")
    data = data_record(clips, [], label_set("four"))
    card = render_model_card(folder, {"clips": {"train": len(clips), "validation": 0}, "data": data}, "org/mser")
    return front_matter(card), card


def test_card_lists_every_stage(tmp_path: Path):
    """Licence, languages, data sets, citations and base models of parent and grandparent."""
    config = MSERConfig(text_backbone="org/llama")
    # Non-commercial speech, then permissive, then the user's own.
    french = speech("m5ser", source_corpus="crema-d", translator="seamless_m4t_v2", language="fr")
    for parent, clips in ((None, speech("ravdess")), ("org/parent", french), ("org/child", speech("folder"))):
        record_stage(config, clips, FOUR, parent)
        config = MSERConfig.from_dict(json.loads(config.to_json_string()))
    metadata, card = card_of(config, clips, tmp_path)
    assert metadata["license"] == "other" and metadata["license_name"] == "non-commercial-by-source"
    assert metadata["language"] == ["en", "fr"]
    assert metadata["datasets"] == ["crema-d", "m5ser", "ravdess"]
    assert metadata["base_model"] == ["org/child", "org/parent", "org/llama"]
    assert "Livingstone" in card and CORPORA["crema-d"].citation in card
    assert "| 1 | RAVDESS" in card and "seamless_m4t_v2 | 1 |" in card and "| 3 | own recordings | 1 |" in card
    assert "Not for commercial use, because of" in card
    # The strictest terms apply to all later stages.
    config.training_stages = config.training_stages[::-1]
    assert card_of(config, clips, tmp_path)[0]["license_name"] == "non-commercial-by-source"


def test_licence_is_the_strictest_of_all_stages(tmp_path: Path):
    config = MSERConfig()
    record_stage(config, speech("ravdess"), FOUR)
    record_stage(config, speech("demo-speech"), FOUR, str(tmp_path))
    metadata, card = card_of(config, speech("demo-speech"), tmp_path)
    assert metadata["license"] == CORPORA["ravdess"].license.lower().replace(" ", "-")
    assert str(tmp_path) not in card and "base_model" not in metadata
    assert "synthetic speech only" not in card


@pytest.mark.parametrize("parent", ["org/unknown", None])
def test_parent_without_record_has_unknown_terms(parent: str | None, tmp_path: Path):
    config = MSERConfig()
    record_stage(config, speech("demo-speech"), FOUR, parent or str(tmp_path))
    metadata, card = card_of(config, speech("demo-speech"), tmp_path)
    assert metadata["license_name"] == "non-commercial-by-source"
    assert metadata.get("base_model") == ([parent] if parent else None)
    assert f"the training of {parent or 'an earlier model'}, which is not recorded" in card


def test_checkpoint_contains_the_record_of_its_parent(rows, recipe, tmp_path: Path):
    """The record is passed on in the saved configuration, without the parent's other files."""
    short = ["--max_steps", "1", "--num_train_epochs", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    train([{**row, "corpus": "ravdess"} for row in rows], *recipe("--output_dir", str(first), *short))
    (first / "README.md").unlink()
    train(rows, *recipe("--output_dir", str(second), *short, "--init_from", str(first), "--labels", "happy,sad"))
    metadata = front_matter((second / "README.md").read_text(encoding="utf-8"))
    assert metadata["license_name"] == "non-commercial-by-source" and metadata["datasets"] == ["ravdess"]
    stages = json.loads((second / "config.json").read_text(encoding="utf-8"))["training_stages"]
    assert [stage["labels"] for stage in stages] == [FOUR, ["happy", "sad"]]
    assert str(tmp_path) not in json.dumps(stages)
    # Every checkpoint has the record too.
    (checkpoint,) = second.glob("checkpoint-*")
    assert json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["training_stages"] == stages


def test_card_of_fine_tuned_model_names_both_label_sets(on_four: Path):
    _, card = card_of(MSERConfig.from_pretrained(on_four), speech("folder"), on_four)
    assert f"trained to recognize {', '.join(FOUR)}." in card
    assert "stages, surprise, disgust, fear" in card
