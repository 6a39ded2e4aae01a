# SPDX-License-Identifier: Apache-2.0
"""MSER as `AutoModelForAudioClassification`: logits over the labels in `id2label`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForAudioClassification

from modeling_mser import MSERConfig, MSERForAudioClassification, MSERForEmotionGeneration
from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import build_model
from processing_mser import label_set
from processing_mser.processing_mser import MSERProcessor


SEVEN = list(label_set("seven").words)
CLIPS = [0.1 * np.random.default_rng(seed).standard_normal(9000 + 999 * seed).astype(np.float32) for seed in range(3)]


@pytest.fixture(scope="module")
def classifier(tiny_model_dir: Path) -> MSERForAudioClassification:
    return AutoModelForAudioClassification.from_pretrained(tiny_model_dir)


@pytest.fixture(scope="module")
def processor(tiny_model_dir: Path) -> MSERProcessor:
    return MSERProcessor.from_pretrained(tiny_model_dir)


def test_audio_classifier_gives_scores_of_generation_model(classifier, processor, tiny_model_dir):
    assert classifier.config.id2label == dict(enumerate(SEVEN))
    assert classifier.config.label2id == {word: index for index, word in enumerate(SEVEN)}
    assert classifier.config.num_labels == 7
    inputs = processor(audio=CLIPS)
    output = classifier(**inputs)
    model = AutoModel.from_pretrained(tiny_model_dir)
    assert type(model) is MSERForEmotionGeneration
    expected = model.score_emotions(**inputs, candidate_ids=processor.candidate_ids(SEVEN))
    assert output.loss is None and output.logits.shape == (3, 7)
    torch.testing.assert_close(output.logits, expected)
    pipe = MSERPipeline(classifier, processor=processor, device="cpu")
    for clip, logits in zip(CLIPS, output.logits, strict=True):
        assert pipe(clip)[0]["label"] == classifier.config.id2label[int(logits.argmax())]
    texts = [processor.batch_decode(one.generate(**inputs, max_new_tokens=4)) for one in (classifier, model)]
    assert texts[0] == texts[1]


def test_audio_classifier_trains_on_label_ids(classifier, processor):
    inputs = processor(audio=CLIPS)
    output = classifier(**inputs, labels=torch.tensor([3, -100, 0]))
    log_probabilities = output.logits.log_softmax(-1)
    expected = -(log_probabilities[0, 3] + log_probabilities[2, 0]) / 2
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert classifier.emotion_qformer.query_tokens.grad.abs().sum() > 0
    classifier.zero_grad()
    with pytest.raises(ValueError, match=r"shape \(3, "):
        classifier(**processor(audio=CLIPS, emotion=["sad"] * 3, padding_side="left"))


def test_audio_classifier_rejects_other_labels(tiny_model_dir):
    with pytest.raises(ValueError, match="set_labels"):
        AutoModelForAudioClassification.from_pretrained(tiny_model_dir, num_labels=3)
    with pytest.raises(ValueError, match="set_labels"):
        MSERForAudioClassification(MSERConfig())


def test_config_labels_follow_the_last_stage(tiny_model_dir, processor, tmp_path):
    arguments = ModelArguments(init_from=str(tiny_model_dir), freeze_audio=False, freeze_text=False)
    model, _ = build_model(arguments, ["sad", "calm"])
    model.save_pretrained(tmp_path)
    again = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert again.config.id2label == {0: "sad", 1: "calm"}
    expected = model.score_emotions(
        **processor(audio=CLIPS[:1]), candidate_ids=processor.candidate_ids(["sad", "calm"])
    )
    torch.testing.assert_close(again(**processor(audio=CLIPS[:1])).logits, expected)
    assert MSERConfig(emotion_words=["sad", "calm"]).id2label == {0: "sad", 1: "calm"}
