# SPDX-License-Identifier: Apache-2.0
"""`run-mser demo`: all steps on synthetic speech, without downloads and without a GPU."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mser_llm.cli import m5ser_build as m5ser_build_command
from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import parse_training


@dataclass
class DemoArguments:
    size: Literal["small", "full"] = option("full", "small only shows that all parts work; full has useful results")
    output_dir: str = option("runs/demo", "folder of speech, models and report")
    seed: int = option(0, "of the speech and of the training")


ARGUMENTS = DemoArguments
HELP = "Build synthetic speech, train both stages, evaluate on languages never trained on, predict."
ENGLISH = "en"

# Clips in English, translated into each other training language, and in each test language; further flags of both
# stages.
SIZES = {
    "full": (560, 100, 105, []),
    "small": (70, 28, 14, ["--num_train_epochs", "2"]),
}
INTRODUCTION = (
    "Synthetic speech: espeak-ng voices with emotion added by published prosody rules. Trained on English (stage 1) "
    "and on English with its translations into French, German, Italian, Mandarin and Spanish (stage 2), which take "
    "the prosody over from the English sound, not from its label; all from random weights. Tested on Greek, Russian "
    "and Persian, spoken by voices that were not trained on. It shows that the parts work together. It says nothing "
    "of human speech."
)


def run(args: DemoArguments) -> int:
    """Create speech, train two stages, evaluate with a report, and predict one clip."""
    from mser_llm.data.synthesis.demo_speech import HELD_OUT_LANGUAGES
    from mser_llm.evaluation.evaluation import evaluate_corpora
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.evaluation.report import write_report
    from mser_llm.hub.model_card import write_model_card
    from mser_llm.inference.loading import load_model
    from mser_llm.io.disk_errors import explain_disk_full

    folder = Path(args.output_dir)
    print("1/5 Speech")
    *_, flags = SIZES[args.size]
    training, rows = demonstration_speech(folder, args.size, args.seed)

    flags = [*flags, "--seed", str(args.seed), "--cache_dir", str(folder / "features")]
    print("2/5 Stage 1: English")
    first = train_stage("tiny/stage1", training, folder / "stage1", flags)
    print("3/5 Stage 2: five more languages")
    second = train_stage("tiny/stage2", training, folder / "stage2", [*flags, "--init_from", str(folder / "stage1")])

    print("4/5 Evaluation on Greek, Russian and Persian, which were not trained on")
    model, processor = load_model(str(folder / "stage2"))
    with explain_disk_full(folder / "model"):
        model.save_pretrained(folder / "model")
        processor.save_pretrained(folder / "model")
    shutil.copyfile(folder / "stage2" / "train_results.json", folder / "model" / "train_results.json")
    write_model_card(folder / "model", second)
    corpora = {f"demo-{code}": [row for row in rows if row["language"] == code] for code in HELD_OUT_LANGUAGES}
    results = evaluate_corpora(model, processor, corpora, "seven", output_dir=folder, model_name=str(folder / "model"))
    for name, metrics in [*results["corpora"].items(), ("all three", results["pooled"])]:
        chance = f"chance {metrics['chance']:.3f}, n {metrics['n']}"
        print(f"    {name:<10} UA {metrics['UA']:.3f}  WA {metrics['WA']:.3f}  ({chance})")

    print("5/5 One prediction")
    tested = [row for rows_of_one in corpora.values() for row in rows_of_one]
    example = predict_one(model, processor, tested[args.seed % len(tested)], results["labels"])
    report = write_report(
        results,
        folder / "report.html",
        title="Demonstration on synthetic speech",
        introduction=INTRODUCTION,
        log_history={"stage 1": first["log_history"], "stage 2": second["log_history"]},
        embeddings=embedding_map(model, processor, tested),
        example=example,
        predictions=read_predictions(folder),
        configuration={"demo": asdict(args), "parameters": second["parameters"]},
    )
    print(f"\nModel    {folder / 'model'}\nResults  {folder / 'results.json'}\nReport   {report}")
    print(f"\nTry it:  run-mser predict {folder / 'speech' / 'audio' / 'el'} --model {folder / 'model'}")
    return 0


def demonstration_speech(folder: Path, size: str, seed: int) -> tuple[list[dict], list[dict]]:
    """Create or reuse the speech of a size of `SIZES`; return the training rows and those of the test languages."""
    from mser_llm.data.synthesis.demo_speech import HELD_OUT_LANGUAGES, write_demo_speech

    english, other, held_out, _ = SIZES[size]
    print(f"Speech in English -> {folder / 'english'}, in Greek, Russian and Persian -> {folder / 'speech'}")
    sources = write_demo_speech(folder / "english", languages=[ENGLISH], clips_per_language=english, seed=seed)
    rows = write_demo_speech(folder / "speech", languages=HELD_OUT_LANGUAGES, clips_per_language=held_out, seed=seed)
    print(f"Translations of the English into five languages -> {folder / 'm5ser'}")
    return translate(sources, folder / "m5ser", other, seed), rows


def translate(sources: Sequence[Mapping[str, Any]], output_dir: Path, sample: int, seed: int) -> list[dict]:
    """Build M5SER from clips with the recipe `m5ser/demo`; return the rows of all its languages."""
    from mser_llm.data.m5ser_reader import read_m5ser
    from mser_llm.m5ser.build import build

    parser = MSERArgumentParser(m5ser_build_command.ARGUMENTS, prog="run-mser demo")
    flags = ["--output_dir", str(output_dir), "--sample", str(sample), "--seed", str(seed)]
    (config,) = parser.parse_args_into_dataclasses(["m5ser/demo", *flags])
    manifest = build(config, sources)
    assert manifest is not None, "the recipe's executor is the local one"
    print(m5ser_build_command.summary(manifest))
    return read_m5ser(output_dir, cache_dir=output_dir / "logs" / "datasets").rows


def train_stage(recipe: str, rows: Sequence[Mapping[str, Any]], output_dir: Path, flags: Sequence[str]) -> dict:
    """Train a recipe on rows; return the content of `train_results.json`."""
    from mser_llm.training.run_training import train

    arguments = parse_training([recipe, "--output_dir", str(output_dir), *flags], prog="run-mser demo")
    return train(rows, *arguments)


def predict_one(model: Any, processor: Any, row: Mapping[str, Any], words: Sequence[str]) -> Any:
    """Recognize one clip, print its scores as bars, and return it for the report."""
    from mser_llm.evaluation.report import ExamplePrediction
    from mser_llm.inference.recognition import recognize

    path = row["audio"]["path"]
    (prediction,) = recognize(model, processor, [path], words)
    assert prediction.scores is not None and prediction.label is not None, "the demo's own clips can be read"
    print(f"    {path} ({row['language']}): {row['transcript']}")
    for word, probability in sorted(prediction.scores.items(), key=lambda item: -item[1]):
        print(f"    {word:<9}{probability:6.3f} {'█' * round(40 * probability)}")
    print(f"    predicted {prediction.label}, true {row['emotion']}")
    return ExamplePrediction(
        audio=path,
        label=prediction.label,
        scores=prediction.scores,
        truth=row["emotion"],
        caption=f"{row['transcript']} ({row['language']}, {row['speaker']})",
    )


def embedding_map(model: Any, processor: Any, rows: Sequence[Mapping[str, Any]], batch_size: int = 32) -> Any:
    """Compute the emotion embeddings of the clips, for the report's map."""
    import torch

    from mser_llm.evaluation.report import EmbeddingMap

    embeddings = []
    for start in range(0, len(rows), batch_size):
        inputs = processor(audio=[row["audio"]["path"] for row in rows[start : start + batch_size]]).to(model.device)
        with torch.inference_mode():
            audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
        embeddings.append(audio.emotion_embedding.cpu())
    return EmbeddingMap(
        torch.cat(embeddings).numpy(),
        [row["emotion"] for row in rows],
        [row["language"] for row in rows],
        [f"{row['emotion']}, {row['language']}: {row['id']}" for row in rows],
    )
