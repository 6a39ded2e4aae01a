# SPDX-License-Identifier: Apache-2.0
"""Every recipe passes the real parser; the paper's has the published size."""

import dataclasses
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from protocol_rows import rows_for, translated

from modeling_mser import MSERForEmotionGeneration
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.data.splits import published_part
from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.data import clip_selection
from mser_llm.training.model_building import build_config, parameter_counts
from processing_mser import label_set


ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("tiny", "base", "llama", "paper", "paper_literal")
# Methods that MSER is compared with, in their published form; small forms are in "base".
NEIGHBOURS = ("lowresource", "emotion_discriminative")
RECIPES = [path for family in (*FAMILIES, *NEIGHBOURS) for path in sorted((ROOT / "configs" / family).glob("*.yaml"))]
# Keys that a checkpoint determines; recipes that start from one omit them.
SHAPE = {f"{part}_{kind}" for part in ("audio", "text", "qformer") for kind in ("backbone", "config")}
SHAPE |= {"num_query_tokens", "encoder_layers"}
# Keys in which the stages differ.
STAGE = {"stage", "stage2_mix", "init_from", "output_dir"}
# The two readings of "a query embedding size of 256", in the columns' order of docs/paper.md.
WIDE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
READINGS: list[dict[str, Any]] = [
    {},
    {"num_query_tokens": 256, "qformer_config": WIDE | {"cross_attention_frequency": 2}},
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    """Fail the test on any connection, even if the error is caught."""
    asked = []

    def reject(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError(f"this test must not connect to {address}")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", reject)
    yield
    assert asked == []


def identify(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def content(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))


def rest(name: str, without: set[str]) -> dict[str, Any]:
    """Return a recipe without some keys."""
    return {key: value for key, value in content(name).items() if key not in without}


def parsed(path: Path) -> tuple[Any, ...]:
    return MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([str(path)])


def on_meta(arguments: ModelArguments, tokenizer: Any = None) -> MSERForEmotionGeneration:
    with torch.device("meta"):
        return MSERForEmotionGeneration(build_config(arguments, tokenizer))


@pytest.mark.parametrize("path", RECIPES, ids=identify)
def test_recipe_values_reach_the_training(path: Path):
    arguments = parsed(path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert given
    for key, value in given.items():
        (holder,) = [one for one in arguments if key in {field.name for field in dataclasses.fields(one)}]
        found = getattr(holder, key)
        assert getattr(found, "value", found) == value, key
    _, _, data, _ = arguments
    assert len(label_set(data.labels)) >= 2
    assert data.corpora == [], "users pass the location of speech"


@pytest.mark.parametrize("family", FAMILIES)
def test_recipe_of_stage_2_starts_from_stage_1(family: str):
    first, second = content(f"{family}/stage1"), content(f"{family}/stage2")
    assert (first["stage"], second["stage"]) == ("1", "2")
    assert second["init_from"] == first["output_dir"]
    assert "init_from" not in first
    assert not SHAPE & set(second)
    # Frozen parts are not stored in a checkpoint, so both recipes set them equally.
    for name in ("labels", "freeze_audio", "freeze_text"):
        assert first[name] == second[name]
    assert set(first) - SHAPE == (set(second) - {"init_from", "stage2_mix"})


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_one_stage_and_two_stages_differ_in_the_stage_only(family: str):
    """Table II compares them; only stage 1, which has one language, may balance differently."""
    own = STAGE | ({"balance"} if family.startswith("paper") else set())
    joint, first, second = (f"{family}/{name}" for name in ("joint", "stage1", "stage2"))
    assert rest(first, own) == rest(joint, own)
    assert rest(second, STAGE) == rest(joint, STAGE | SHAPE)
    assert content(joint)["balance"] == content(second)["balance"] == "emotion_language"
    assert content(second)["stage2_mix"] == ("replace" if family == "paper_literal" else "add")
    assert len({content(name)["output_dir"] for name in (joint, first, second)}) == 3


# arXiv:2503.21806, Sec. V-B.
PAPER = {"learning_rate": 1e-5, "weight_decay": 1e-6, "optim": "adamw_torch_fused", "labels": "seven"}
PAPER |= {"freeze_audio": True, "freeze_text": True}
# Gong et al. 2025, "Learning More with Less", Sec. 2.2, 2.3, 3.2 and 3.3; `None` if absent: all layers are trained.
GONG = {"learning_rate": 1e-5, "epoch_batches": 100, "optim": "adamw_torch_fused", "trained_layers": None}
ENCODER = {"audio_backbone": "openai/whisper-small.en", "max_seconds": 4.0, "augmentation": "low_resource", "views": 8}
LABELLED = {"per_device_train_batch_size": 64, "balance": "emotion", "clean_views": False, "objectives": None}
SPEAKERS = {"balance": "speaker", "speakers_per_batch": 16, "clips_per_speaker": 4, "unlabelled": True, "ce_weight": 0}
SPEAKERS |= {"speaker_contrast": {"denominator": "negatives"}}
# Views are drawn from the features. The small form differs only in size.
BYOL = {"labels": "four", "labelled_languages": ["en"], "balance": "source", "views": None}
BYOL |= {"byol": {"lambda_start": 0.8, "lambda_end": 0.2}}
LARGE_BYOL = {"audio_backbone": "openai/whisper-small.en", "max_seconds": 3.0, "per_device_train_batch_size": 64}
PUBLISHED_VALUES = {
    **{f"{family}/{name}": PAPER for family in FAMILIES[3:] for name in ("stage1", "stage2", "joint")},
    "lowresource/baseline": GONG | ENCODER | LABELLED,
    "lowresource/speaker_contrast_stage1": GONG | ENCODER | SPEAKERS,
    "lowresource/speaker_contrast_stage2": GONG | LABELLED | {"augmentation": "low_resource", "views": 8},
    "lowresource/byol": GONG | BYOL | LARGE_BYOL | {"early_stopping_patience": 5},
    "base/byol": BYOL,
}


@pytest.mark.parametrize("name", PUBLISHED_VALUES)
def test_recipe_has_the_published_values(name: str):
    recipe = content(name)
    recipe |= recipe.get("objectives") or {}
    for key, value in PUBLISHED_VALUES[name].items():
        found = recipe.get(key)
        assert value.items() <= found.items() if isinstance(value, dict) else found == value, key


def test_literal_recipes_have_the_printed_loss_and_stages():
    """Eq. (1) is a sum over the pairs, and stage 2 is synthetic speech alone (Sec. IV-B.3)."""
    for name in ("stage1", "stage2", "joint"):
        printed, ours = content(f"paper_literal/{name}"), content(f"paper/{name}")
        assert (printed["contrast_reduction"], ours["contrast_reduction"]) == ("sum", "mean")
        # The sum over b x b pairs is b x b times the mean, so lambda and the gradient limit are scaled too.
        pairs = printed["per_device_train_batch_size"] ** 2
        assert printed["ce_weight"] == pairs * ours["ce_weight"] and printed["max_grad_norm"] == pairs


@pytest.mark.parametrize("name", ["stage1", "stage2", "joint"])
def test_paper_recipes_omit_the_test_corpora(name: str, monkeypatch):
    """Omit MELD's test and one session of IEMOCAP, and their translations; MELD's dev validates."""
    iemocap, meld = (rows_for(PROTOCOLS[protocol]) for protocol in ("iemocap-7", "meld-7"))
    rows = [*iemocap, *meld, *(translated(one, source_split=one["split"]) for one in (*iemocap, *meld))]
    _, _, data, _ = parsed(ROOT / "configs" / "paper" / f"{name}.yaml")
    seen = []
    # The recordings of these corpora are not needed.
    monkeypatch.setattr(clip_selection, "index_clips", lambda rows, *_, **__: (seen.append(rows) or rows, []))
    monkeypatch.setattr(clip_selection, "_without_copies", lambda train, _: (train, []))
    clip_selection.prepare_data(rows, data)
    training, validation = ({published_part(one) for one in part} for part in seen)
    sessions = {("iemocap", f"session{n}") for n in range(1, 5)}
    assert training | validation == {("meld", "train"), ("meld", "dev"), *sessions}
    assert ("meld", "dev") in validation - training and ("meld", "train") in training - validation


@pytest.mark.parametrize(
    ("baseline", "stage_1", "stage_2"),
    [
        ("lowresource/baseline", "lowresource/speaker_contrast_stage1", "lowresource/speaker_contrast_stage2"),
        ("base/lowresource_baseline", "base/speaker_contrast_stage1", "base/speaker_contrast_stage2"),
    ],
)
def test_second_stage_differs_from_the_baseline_in_its_start(baseline, stage_1, stage_2):
    first, second = map(content, (stage_1, stage_2))
    assert second["init_from"] == first["output_dir"]
    brought = {"init_from", "output_dir", "audio_backbone", "max_seconds", "head_size", "head_dropout"}
    assert rest(stage_2, brought) == rest(baseline, brought)
    assert first.get("trained_layers") == second.get("trained_layers")


def test_tiny_recipe_builds():
    _, arguments, *_ = parsed(ROOT / "configs" / "tiny" / "stage1.yaml")
    model = on_meta(arguments, build_tokenizer())
    trained = parameter_counts(model)["total"]["trained"]
    # All weights are trained except Whisper's table of sinusoids.
    assert trained == sum(parameter.numel() for parameter in model.parameters()) - 1500 * 128
    assert trained < 2e6


@pytest.mark.parametrize("name", ["joint", "stage1"])
def test_base_recipes_build_on_the_real_encoder(name: str, backbones_dir: Path):
    _, arguments, *_ = parsed(ROOT / "configs" / "base" / f"{name}.yaml")
    counts = parameter_counts(on_meta(arguments, build_tokenizer()))
    assert counts["audio_tower"] == {"parameters": whisper_encoder(512, 6, 2048, 80), "trained": 0}
    for part in ("emotion_qformer", "projection", "language_model"):
        assert counts[part]["trained"] == counts[part]["parameters"] > 0


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + bias * outputs


def whisper_encoder(width: int, layers: int, inner: int, mels: int, positions: int = 1500) -> int:
    """Parameters of Whisper's encoder (Radford et al. 2022). The key projection has no bias."""
    norm = 2 * width
    convolutions = 3 * mels * width + width + 3 * width * width + width
    attention = 3 * linear(width, width) + linear(width, width, bias=False)
    feed_forward = linear(width, inner) + linear(inner, width)
    return convolutions + positions * width + layers * (attention + feed_forward + 2 * norm) + norm


def llama(width: int, layers: int, inner: int, heads: int, key_heads: int, vocabulary: int) -> int:
    """Parameters of LLaMA 3 (Grattafiori et al. 2024): no biases, grouped keys and values, untied embeddings."""
    attention = 2 * width * width + 2 * width * (width // heads * key_heads)
    return 2 * vocabulary * width + layers * (attention + 3 * width * inner + 2 * width) + width


def bert_layer(width: int, inner: int) -> int:
    """Parameters of a BERT layer (Devlin et al. 2019)."""
    return 4 * linear(width, width) + linear(width, inner) + linear(inner, width) + 4 * width


def qformer(width: int, layers: int, inner: int, encoder_width: int, queries: int, every: int = 2) -> int:
    """Parameters of a Q-Former (Li et al. 2023): cross-attention in every second layer, one encoder layer weight."""
    cross = 2 * linear(width, width) + 2 * linear(encoder_width, width) + 2 * width
    return queries * width + 1 + 2 * width + layers * bert_layer(width, inner) + -(-layers // every) * cross


def published(queries: int, width: int, layers: int, inner: int) -> dict[str, int]:
    """Return the published number of parameters of each part."""
    parts = {
        "audio_tower": whisper_encoder(1280, 32, 5120, 80),
        "emotion_qformer": qformer(width, layers, inner, encoder_width=1280, queries=queries),
        "projection": linear(width, 4096),
        "language_model": llama(4096, 32, 14336, heads=32, key_heads=8, vocabulary=128256),
    }
    trained = parts["emotion_qformer"] + parts["projection"]
    return parts | {"total": sum(parts.values()), "trained": trained}


SHAPES = [(32, 256, 4, 1024), (256, 768, 12, 3072)]
PUBLISHED = [published(*shape) for shape in SHAPES]


def test_parameter_formulas_give_the_published_totals():
    assert PUBLISHED[0]["language_model"] == 8_030_261_248  # the model card's 8.03B
    assert round(PUBLISHED[0]["audio_tower"], -5) == 636_800_000
    # BERT-base has 109,482,240, including embeddings (23,837,184) and pooler (590,592).
    assert 12 * bert_layer(768, 3072) == 109_482_240 - 23_837_184 - 590_592


@pytest.mark.parametrize("reading", [0, 1])
def test_paper_recipe_has_the_published_size(reading: int):
    """Its parameters, and the shapes of three seconds of two clips."""
    _, arguments, *_ = parsed(ROOT / "configs" / "paper" / "stage1.yaml")
    model = on_meta(dataclasses.replace(arguments, **READINGS[reading]))
    counts = parameter_counts(model)
    found = {part: count["parameters"] for part, count in counts.items()} | {"trained": counts["total"]["trained"]}
    assert found == PUBLISHED[reading]
    for part in ("audio_tower", "emotion_qformer", "projection", "language_model"):
        trained = part in ("emotion_qformer", "projection")
        assert counts[part]["trained"] == trained * counts[part]["parameters"]
    queries, width, *_ = SHAPES[reading]
    with torch.device("meta"):
        states, _ = model.encode_audio(torch.empty(2, 80, 300))
        audio = model.get_audio_features(encoder_states=states)
        logits = model(inputs_embeds=audio.pooler_output).logits
    assert states.shape == (2, 1, 150, 1280)
    assert audio.last_hidden_state.shape == (2, queries, width)
    assert audio.emotion_embedding.shape == (2, width)
    assert audio.pooler_output.shape == (2, queries, 4096)
    assert logits.shape == (2, queries, 128256)


def test_paper_page_states_the_same_parameters():
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(\w+)`[^|]*\| *([\d,]+) *\| *([\d,]+) *\|", page, re.MULTILINE)
    for reading in (0, 1):
        documented = {part: int(numbers[reading].replace(",", "")) for part, *numbers in lines}
        assert documented == PUBLISHED[reading]
