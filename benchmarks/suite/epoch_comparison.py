# SPDX-License-Identifier: Apache-2.0
"""Compare an epoch with cached encoder states with one that reads and encodes every clip."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import PrinterCallback, TrainerCallback, WhisperConfig, WhisperFeatureExtractor

from benchmarks.suite.rounds import Comparison
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import noise
from modeling_mser import MSERForEmotionGeneration
from mser_llm.data.clips import Clip, index_clips
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.model_building import build_config
from mser_llm.training.objectives import build_objectives
from mser_llm.training.run_training import training_facts
from mser_llm.training.trainer import MSERTrainer
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import SAMPLING_RATE, MSERProcessor, label_set


class Stopwatch(TrainerCallback):
    """Total seconds of the wrapped function, or from reading the first batch to the last step of an epoch."""

    seconds = 0.0

    def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
        self.seconds -= time.perf_counter()

    def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds += time.perf_counter()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.on_epoch_begin()
            try:
                return function(*args, **kwargs)
            finally:
                self.on_epoch_end()

        return timed


class EpochBench:
    """A recipe's model with a random encoder, and clips of noise."""

    def __init__(
        self,
        sizes: BenchmarkSizes,
        model_arguments: ModelArguments,
        arguments: MSERTrainingArguments,
        folder: Path,
    ):
        torch.manual_seed(0)
        self.arguments, self.folder = arguments, folder
        self.labels = label_set("four")
        tokenizer = build_tokenizer()
        audio = WhisperConfig(**sizes.audio)
        self.processor = MSERProcessor(
            WhisperFeatureExtractor(feature_size=audio.num_mel_bins),
            tokenizer,
            num_query_tokens=model_arguments.num_query_tokens,
        )
        config = build_config(replace(model_arguments, audio_backbone=None, audio_config=audio.to_dict()), tokenizer)
        config.audio_token_id = self.processor.audio_token_id
        self.model = MSERForEmotionGeneration(config)
        self.clips = self._write_clips(sizes)
        self.cached = ClipFeatures(FeatureEncoder(self.model, self.processor), str(folder / "cache"), cache_gb=10.0)
        self.cached.prepare([(clip, 0) for clip in self.clips])
        encoder = FeatureEncoder(self.model, self.processor)
        encoder.encodes = False  # gives log-mel spectrograms, which the model encodes in its forward pass
        self.uncached = ClipFeatures(encoder, str(folder / "none"), cache_gb=0.0)

    def _write_clips(self, sizes: BenchmarkSizes) -> list[Clip]:
        rows = []
        for number, waveform in enumerate(noise(sizes.target_seconds, sizes.epoch_clips)):
            path = self.folder / f"{number}.wav"
            soundfile.write(path, waveform, SAMPLING_RATE)
            emotion, speaker = self.labels.words[number % 4], f"speaker-{number % 2}"
            audio = {"bytes": None, "path": str(path)}
            facts = {"id": path.stem, "corpus": "noise", "language": "en", "speaker": speaker}
            rows.append({"audio": audio, "emotion": emotion, **facts})
        return index_clips(rows, self.labels)[0]

    def epoch(self, features: ClipFeatures) -> tuple[float, float, float]:
        """Return the seconds of an epoch, of what the cache saves in it (encoder included), and of the encoder."""
        facts = training_facts(self.model.config.emotion_embedding_size, self.clips)
        lookup, encoder, total = Stopwatch(), Stopwatch(), Stopwatch()
        dataset = EmotionDataset(self.clips, features, self.labels, facts=facts)
        dataset.features = lookup.around(features)  # type: ignore[assignment]
        trainer = MSERTrainer(
            model=self.model,
            args=self.arguments,
            label_set=self.labels,
            objectives=build_objectives(self.arguments.objective_section, facts),
            processing_class=self.processor,
            train_dataset=dataset,
            data_collator=EmotionCollator(self.processor, encoded=features.encoder.encodes),  # type: ignore[attr-defined]
            callbacks=[total],
        )
        trainer.remove_callback(PrinterCallback)
        encode = self.model.encode_audio
        self.model.encode_audio = encoder.around(encode)  # type: ignore[method-assign]
        try:
            trainer.train()
        finally:
            self.model.encode_audio = encode  # type: ignore[method-assign]
        return total.seconds, lookup.seconds + encoder.seconds, encoder.seconds


def epochs(
    sizes: BenchmarkSizes, model_arguments: ModelArguments, arguments: MSERTrainingArguments
) -> Iterator[Comparison]:
    """Run the two epochs in turns, both on clips at their own length."""
    with TemporaryDirectory() as folder:
        bench = EpochBench(sizes, model_arguments, arguments, Path(folder))
        # The first pair warms up.
        pairs = [(bench.epoch(bench.cached), bench.epoch(bench.uncached)) for _ in range(sizes.slow_rounds + 1)][1:]
    (total, states, _), (slow_total, features, encoder) = np.array(pairs).transpose(1, 2, 0)
    rest = slow_total - features
    facts = {
        "encoder_seconds_without_cache": encoder.tolist(),
        "reading_and_log_mel_seconds_without_cache": (features - encoder).tolist(),
        "rest_seconds_without_cache": rest.tolist(),
        "clips": sizes.epoch_clips,
    }
    speed_up = "speed-up compared with (encoder + rest) / rest"
    for name, ours, other, *kind in (
        ("with the cache", total, slow_total, "s per epoch", "less", "", facts),
        (speed_up, slow_total / total, slow_total / rest, "times", "share", ">= 0.8"),
        ("share of encoder states with the cache", states, total, "s per epoch", "share", "<= 0.05"),
        ("share of the encoder without the cache", encoder, slow_total, "s per epoch", "share"),
    ):
        yield Comparison(f"epoch of base/joint, {name}", ours.tolist(), other.tolist(), *kind)
