# SPDX-License-Identifier: Apache-2.0
"""The trainer: its loss is Eq. (2), evaluation sees no label, and accumulation multiplies nothing."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from mser_llm.data.clips import index_clips
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import DataArguments
from mser_llm.training.data.batch_features import BatchFeatures
from mser_llm.training.data.clip_selection import prepare_data
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.model_building import build_model
from mser_llm.training.objectives import UNKNOWN, MarginContrast, ObjectiveBatch, build_objectives
from mser_llm.training.run_training import check_earlier_stages, train, training_facts
from mser_llm.training.trainer import MSERTrainer
from processing_mser import label_set


LABELS = label_set("neutral,happy,sad,angry")


@pytest.fixture
def parts(rows, recipe):
    """Return a function that builds a trainer over the tones and returns it with one batch."""

    def build(*flags: str, later: bool = False) -> tuple[MSERTrainer, dict[str, torch.Tensor]]:
        model_arguments, data_arguments, arguments = recipe(*flags)
        torch.manual_seed(0)
        model, processor = build_model(model_arguments, LABELS.words)
        clips, _ = index_clips(rows, LABELS)
        features = ClipFeatures(FeatureEncoder(model, processor), data_arguments.cache_dir, data_arguments.cache_gb)
        features.prepare([(clip, 0) for clip in clips])
        facts = training_facts(model.config.emotion_embedding_size, clips)
        dataset = EmotionDataset(clips, features, LABELS, facts=facts)
        trainer = MSERTrainer(
            **({"model_init": lambda: model} if later else {"model": model}),
            args=arguments,
            label_set=LABELS,
            objectives=build_objectives(arguments.objective_section, facts),
            processing_class=processor,
            train_dataset=dataset,
            eval_dataset=dataset,
            data_collator=EmotionCollator(processor, encoded=features.encoder.encodes),
        )
        return trainer, trainer.data_collator([dataset[index] for index in (0, 5, 20, 40, 41, 70)])

    return build


def test_compute_loss_is_contrast_plus_lambda_times_ce(parts):
    flags = ["--contrast_weight", "0.5", "--ce_weight", "2", "--contrast_margin", "0.1", "--time_masks", "0"]
    trainer, batch = parts(*flags, "--channel_masks", "0")
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
        labels = ObjectiveBatch(*(batch.pop(f"{kind}_labels") for kind in ("emotion", "language", "speaker")))
        output = trainer.model(**batch)
        contrast = MarginContrast(margin=0.1)(output.emotion_embedding, labels)
    torch.testing.assert_close(loss, 0.5 * contrast + 2 * output.loss)
    trainer.log({"loss": float(loss)})
    logged = trainer.state.log_history[-1]
    assert logged["loss_margin_contrast"] == pytest.approx(contrast.item(), abs=1e-5)
    assert logged["loss_ce"] == pytest.approx(output.loss.item(), abs=1e-5)
    trainer, batch = parts("--contrast_weight", "0")
    trainer.compute_loss(trainer.model, batch)
    assert trainer.objectives == {} and set(trainer._metrics) == {"loss_ce"}


def test_trainer_rejects_model_init_with_shadow_weights(parts):
    assert parts(later=True)[0].model is not None
    with pytest.raises(ValueError, match="model_init"):
        parts("--average_from", "0.5", later=True)


def test_collator_numbers_emotions_languages_and_speakers(parts):
    trainer, batch = parts()
    rows = [trainer.train_dataset.clips[index].row for index in (0, 5, 20, 40, 41, 70)]
    assert batch["emotion_labels"].tolist() == [LABELS.words.index(row["emotion"]) for row in rows]
    assert batch["language_labels"].tolist() == [["en", "pl"].index(row["language"]) for row in rows]
    speakers = sorted({clip.row["speaker"] for clip in trainer.train_dataset.clips})
    assert batch["speaker_labels"].tolist() == [speakers.index(row["speaker"]) for row in rows]
    # Validation clips have no training labels.
    validation = EmotionDataset(trainer.train_dataset.clips, trainer.train_dataset.features, LABELS)
    assert (validation[0]["language_label"], validation[0]["speaker_label"]) == (UNKNOWN, UNKNOWN)


def test_gradient_accumulation_averages_micro_batches(parts):
    """The number of accumulation steps must scale neither the added term nor the label tokens."""
    trainer, batch = parts("--gradient_accumulation_steps", "3", "--time_masks", "0", "--channel_masks", "0")
    model = trainer.model.eval()
    micro = [{name: tensor[start : start + 2] for name, tensor in batch.items()} for start in (0, 2, 4)]
    losses = [trainer.compute_loss(model, dict(part)) for part in micro]
    expected = torch.autograd.grad(torch.stack(losses).mean(), model.projection.weight)[0]
    trainer.current_gradient_accumulation_steps = 3
    model.train = lambda mode=True: model
    items = trainer._get_num_items_in_batch(micro, model.device)
    for part in micro:
        trainer.training_step(model, dict(part), items)
    torch.testing.assert_close(model.projection.weight.grad, expected, atol=1e-6, rtol=1e-4)


def test_masking_changes_only_training_features_and_no_padding(parts):
    trainer, batch = parts("--time_masks", "2", "--time_width", "30", "--channel_masks", "0")
    torch.manual_seed(1)
    masked = BatchFeatures.of(batch).masked(trainer.masking).inputs()["input_features"]
    changed = (masked != batch["input_features"]).any(1)
    assert changed.any() and not (changed & ~batch["input_features_mask"]).any()
    assert (masked[changed[:, None].expand_as(masked)] == 0).all()
    scores = [trainer.prediction_step(trainer.model.eval(), dict(batch), False)[1] for _ in range(2)]
    assert torch.equal(*scores)


def test_masking_leaves_the_clip_of_a_clip_and_view_pair(parts):
    batches = ["--balance", "speaker", "--speakers_per_batch", "2", "--clips_per_speaker", "2"]
    for flags, spared in ((batches, True), ([], False)):
        trainer, batch = parts("--time_masks", "2", "--time_width", "30", *flags)
        trainer.train_dataset.views = 2
        batch["views"] = torch.tensor([0, 1, 0, 1, 0, 1])
        inputs_seen: list[torch.Tensor] = []

        def record(_, args, inputs, inputs_seen=inputs_seen):
            inputs_seen.append(inputs["input_features"])

        trainer.model.register_forward_pre_hook(record, with_kwargs=True)
        trainer.compute_loss(trainer.model, batch)
        changed = (inputs_seen[0] != batch["input_features"]).flatten(1).any(1)
        assert changed[1::2].all() and changed[::2].any() == (not spared)


def test_prediction_step_scores_the_prompt_alone(parts):
    trainer, batch = parts()
    model = trainer.model.eval()
    loss, scores, targets = trainer.prediction_step(model, dict(batch), False)
    processor = trainer.processing_class
    text = processor.encode_text(6)
    audio = {name: batch[name] for name in ("input_features", "input_features_mask")}
    expected = model.score_emotions(**text, **audio, candidate_ids=processor.candidate_ids(LABELS.words))
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(expected, targets))
    # Other labels in the batch have no effect.
    other = trainer.data_collator(
        [{**trainer.eval_dataset[index], "emotion": "angry"} for index in (0, 5, 20, 40, 41, 70)]
    )
    torch.testing.assert_close(trainer.prediction_step(model, other, False)[1], expected)


def test_two_stages_learn_and_share_held_out_speakers(rows, recipe, tmp_path: Path):
    first_dir = str(tmp_path / "first")
    learn = ["--num_train_epochs", "8"]
    first = train(rows, *recipe("--stage", "1", "--output_dir", first_dir, *learn))
    second = train(rows, *recipe("--stage", "2", "--init_from", first_dir, *learn))
    assert first["clips"]["train"] + first["clips"]["validation"] == 36
    assert second["clips"]["train"] + second["clips"]["validation"] == 72
    assert first["clips"]["validation"] > 0
    assert second["validation"]["eval_UA"] >= 0.5, "four tones an octave apart should be distinguished"

    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.language == ["en", "pl"] and card.data.pipeline_tag == "audio-classification"
    assert f"UA {second['validation']['eval_UA']:.3f}" in card.text
    assert f"{second['clips']['train']} clips in en, pl; {second['clips']['validation']} clips of other" in card.text


def test_training_evaluates_on_another_language(rows, recipe, tmp_path: Path):
    rows = [{**row, "corpus": "held" if row["language"] == "pl" else "folder"} for row in rows]
    flags = ["--validation_corpora", "held", "--validation_fraction", "0", "--num_train_epochs", "2"]
    results = train(rows, *recipe(*flags))
    assert results["clips"] == {"train": 36, "validation": 36} and results["validation"]["eval_UA"] > 0
    assert len([entry for entry in results["log_history"] if "eval_UA" in entry]) == 3, "two epochs and the best"
    assert results["data"]["languages"].keys() == {"en"}
    assert "36 clips in en; 36 clips of other speakers were held out" in (tmp_path / "run" / "README.md").read_text()


def test_stage_rejects_validation_on_earlier_speakers(rows, recipe, tmp_path: Path, first_stage: Path):
    first, short = str(first_stage), ["--max_steps", "1", "--num_train_epochs", "1"]
    trained_on = set(json.loads((first_stage / "train_results.json").read_text())["speakers"])
    for seed in range(1, 20):
        _, arguments, _ = recipe("--split_seed", str(seed))
        if {clip.row["speaker"] for clip in prepare_data(rows, arguments).validation} & trained_on:
            break
    with pytest.raises(SpeakerLeakError, match="first"):
        train(rows, *recipe("--init_from", first, "--split_seed", str(seed)))
    # Speakers of the stage before the last are rejected too, even if the last stage did not use them.
    others = [row for row in rows if row["speaker"] not in trained_on]
    last = [*short, "--validation_fraction", "0", "--average_from", "0.3", "--output_dir", str(tmp_path / "second")]
    assert train(others, *recipe("--init_from", first, *last))["clips"]["train"] == len(others) > 0
    with pytest.raises(SpeakerLeakError, match="second"):
        train(rows, *recipe("--init_from", str(tmp_path / "second"), "--split_seed", str(seed)))


@pytest.mark.filterwarnings("ignore:.*have no speaker")
def test_stage_rejects_validation_on_earlier_clips(rows, recipe, tmp_path: Path):
    rows = [{**row, "speaker": None} for row in rows]
    first, short = str(tmp_path / "first"), ["--max_steps", "1", "--num_train_epochs", "1"]
    train(rows[::3], *recipe("--output_dir", first, *short))
    _, arguments, _ = recipe()
    check_earlier_stages(first, prepare_data(rows[::3], arguments).validation)
    # With more clips other ones are selected for validation; no speaker shows that they were trained on.
    with pytest.raises(SpeakerLeakError, match=r"first.*\.wav"):
        train(rows, *recipe("--init_from", first))


@pytest.mark.parametrize(
    ("section", "source", "named"),
    [
        ({"encoder_fnn_dim": 128}, "audio_config: encoder_fnn_dim", "encoder_ffn_dim"),
        ({"d_model": "big"}, "audio_config, qformer_config, text_config", "d_model"),
        ({"model_type": "whispering"}, "audio_config: model_type", "'whispering'"),
    ],
)
def test_invalid_setting_names_its_section(recipe, section, source, named):
    model, *_ = recipe()
    model.audio_config = model.audio_config | section
    with pytest.raises(InputError) as raised:
        build_model(model, ["happy", "sad"])
    assert raised.value.source == source and named in raised.value.problem + raised.value.fix


def test_validation_fraction_0_trains_on_every_speaker(rows, recipe, tmp_path: Path):
    flags = ["--validation_fraction", "0", "--num_train_epochs", "1"]
    with pytest.raises(ValueError, match="validation_fraction"):
        train(rows, *recipe(*flags))
    results = train(rows, *recipe(*flags, "--average_from", "0.3"))
    assert results["clips"] == {"train": 72, "validation": 0} and results["validation"] is None
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"validation_fraction is {wrong}"):
            DataArguments(validation_fraction=wrong)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "72 clips in en, pl." in card and "held out for" not in card
    assert not [entry for entry in results["log_history"] if "eval_loss" in entry]


def test_best_checkpoint_has_the_lowest_loss(rows, recipe):
    results = train(rows, *recipe("--metric_for_best_model", "loss"))
    losses = [entry["eval_loss"] for entry in results["log_history"] if "eval_loss" in entry]
    assert len(set(losses)) > 1 and results["validation"]["eval_loss"] == pytest.approx(min(losses))
    assert recipe("--metric_for_best_model", "WA")[2].greater_is_better
