# SPDX-License-Identifier: Apache-2.0
"""The pipeline of `pipeline(model=…, trust_remote_code=True)`, from recordings to emotions."""

import http.client
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from transformers.pipelines.base import ChunkPipeline
from transformers.pipelines.pt_utils import PipelineChunkIterator, PipelineIterator, PipelinePackIterator
from transformers.utils import logging

from .labels_mser import check_labels, unlearned_labels
from .recognition_mser import generate_texts, label_probabilities, majority, mean_over_time


logger = logging.get_logger(__name__)

_DEFAULTS: dict[str, Any] = {
    "candidate_labels": None,
    "top_k": None,
    "min_score": None,
    "mode": "score",
    "return_embedding": False,
    "timeline": None,
    "window_seconds": 5.0,
    "overlap_seconds": 1.0,
    "length_normalize": False,
    "prior_correction": False,
    "allow_unlearned_labels": False,
}
_FORWARD_SWITCHES = ("length_normalize", "prior_correction", "allow_unlearned_labels")


class MSERPipeline(ChunkPipeline):
    """
    Pipeline for speech emotion recognition, with the task `audio-classification`.

        >>> recognize = pipeline(model="…/mser", trust_remote_code=True)
        >>> recognize("clip.wav")
        [{"label": "happy", "score": 0.93}, {"label": "surprise", "score": 0.04}, …]

    For a recording over 30 s, which is longer than the model's input, it returns a timeline: a list of
    `{"start", "end", "label", "score", "scores"}`. Silent windows are left out of timelines and means.

    Inputs are a path, an http(s) URL, the bytes of a file, `{"array" or "raw", "sampling_rate"}`, `{"bytes", "path"}`,
    a numpy array or a torch tensor at 16 kHz, or a list, a generator or a data set of these.

    If a recording has no sound above 4 kHz, as on a telephone, each entry has `bandwidth_hz`, the frequency at which
    its sound ends: predictions are less reliable then.

    Args (of the pipeline, or of a call, where `None` means the default):
        candidate_labels: a list, labels separated by commas, `four` or `seven`; by default the labels of the model's
            last training stage.
        top_k: number of labels to return; all by default.
        min_score: minimum probability of the most probable label. Below it the pipeline abstains and returns only
            `{"label": "abstained", "score": that probability, "reason": …}`.
        mode: `"score"` compares the candidates; `"generate"` generates a text and returns the candidate that it names,
            or `unparsed`, with the `text` and its probability.
        return_embedding: return `{"scores": the list, "embedding": emotion embedding as a list of floats}`. In a
            timeline each entry has an `embedding`.
        timeline: `True` for a timeline of any recording, `False` for one result: the mean over windows.
        window_seconds, overlap_seconds: of a timeline.
        length_normalize, prior_correction: as in `score_emotions`.
        allow_unlearned_labels: accept candidate labels that a language model trained from scratch never learned. Their
            entries are marked `"unlearned": True`, because their scores mean nothing.

    Attributes (limits, set on the class or the pipeline; `None` for no limit):
        max_candidate_tokens: tokens of all candidate labels together.
        max_seconds: length of a recording, in seconds.
        max_download_bytes: size of a download, in bytes.
        max_download_seconds: duration of a download, in seconds.

    Raises:
        UnlearnedLabelError: a candidate label was never learned and is not allowed.
        ValueError: there is no processor, an argument is invalid, a limit is exceeded, or a recording cannot be read
            (`AudioError`, one line).
    """

    max_candidate_tokens: int | None = 1024
    max_seconds: float | None = 4 * 3600.0
    max_download_bytes: int | None = 256 << 20
    max_download_seconds: float | None = 600.0

    _built_with: dict[str, Any] | None = None
    # Read by transformers
    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _pipeline_calls_generate = False

    def _sanitize_parameters(self, **given: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if self.processor is None:
            raise ValueError(
                "processor is missing; pass processor=MSERProcessor.from_pretrained(…), or use "
                "pipeline(model=…, trust_remote_code=True), which loads it"
            )
        unknown = sorted(set(given) - set(_DEFAULTS))
        if unknown:
            raise ValueError(f"unknown arguments {', '.join(unknown)}; pass {', '.join(_DEFAULTS)}")
        # None in a call means the default, not the value that the pipeline was built with.
        given = {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}
        mode, top_k, min_score = (given.get(name, _DEFAULTS[name]) for name in ("mode", "top_k", "min_score"))
        if mode not in ("score", "generate"):
            raise ValueError(f'mode is {mode!r}; pass "score" or "generate"')
        if top_k is not None and not (isinstance(top_k, int) and top_k >= 1):
            raise ValueError(f"top_k is {top_k!r}; pass an integer of at least 1, or leave it out for all")
        if min_score is not None and not (isinstance(min_score, (int, float)) and 0 <= min_score <= 1):
            raise ValueError(f"min_score is {min_score!r}; pass a probability from 0 to 1")
        for name in sorted({"return_embedding", "timeline", *_FORWARD_SWITCHES} & set(given)):
            # Any string is true, even "no" and "false".
            if not isinstance(given[name], bool) and given[name] is not _DEFAULTS[name]:
                raise ValueError(f"{name} is {given[name]!r}; pass True or False")
        if "candidate_labels" in given:
            labels = given.pop("candidate_labels")
            given["labels"] = None if labels is None else self.processor.words(labels)
        self._check_labels(given)
        return tuple(  # type: ignore[return-value]
            {name: given[name] for name in names if name in given}
            for names in (
                ("timeline", "window_seconds", "overlap_seconds"),
                ("labels", "mode", "return_embedding", *_FORWARD_SWITCHES),
                ("labels", "top_k", "min_score", "timeline"),
            )
        )

    def _check_labels(self, given: dict[str, Any]) -> None:
        """Reject candidate labels before a recording is read. The first call gets the arguments of the pipeline."""
        if self._built_with is None:
            self._built_with = given
        settings = {"mode": "score", **self._built_with, **given}
        labels = settings.get("labels") or self.default_labels
        check_labels(self.model.config, labels, settings.get("allow_unlearned_labels", False))
        if settings["mode"] == "score":
            tokens = sum(map(len, self.processor.candidate_ids(labels)))
            if self.max_candidate_tokens is not None and tokens > self.max_candidate_tokens:
                raise ValueError(
                    f"the {len(labels)} candidate labels have {tokens} tokens together, the limit is "
                    f"{self.max_candidate_tokens}; pass fewer or shorter labels"
                )

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # transformers looks at the first item of a list, and streams only generators and torch's data sets.
        if isinstance(inputs, list) and not inputs:
            return []
        if _is_stream(inputs):
            inputs = (source for source in inputs)
        return super().__call__(inputs, *args, **kwargs)

    @property
    def default_labels(self) -> tuple[str, ...]:
        own = self.model.config.emotion_words
        return tuple(own) if own else self.processor.words()

    def preprocess(self, inputs: Any, **windowing: Any) -> Iterator[dict[str, Any]]:
        with _downloaded(inputs, self.max_download_bytes, self.max_download_seconds) as source:
            windows = self.processor.windows(source, max_recording_seconds=self.max_seconds, **windowing)
            window = next(windows)
            for upcoming in windows:
                yield {"window": window, "is_last": False}
                window = upcoming
            yield {"window": window, "is_last": True}

    def _collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Build the tensors of several windows. Each spectrogram is computed alone and then padded."""
        windows = [item["window"] for item in items]
        inputs = self.processor.extract_features([window.waveform for window in windows])
        inputs.update(self.processor.encode_text(len(windows)))
        spans = [
            (window.start, window.end, window.part, *self.processor.band_powers(window.waveform).tolist())
            for window in windows
        ]
        return {"spans": spans, "inputs": inputs, "is_last": [item["is_last"] for item in items]}

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[Any]:
        windows = PipelineChunkIterator(inputs, self.preprocess, preprocess_params)
        # At most one worker, because each would read all recordings.
        batches = DataLoader(windows, batch_size, num_workers=min(num_workers, 1), collate_fn=self._collate)
        # transformers splits the outputs of a batch, unless its size is 1.
        forward_params = forward_params | {"is_split": batch_size > 1}
        outputs = PipelinePackIterator(batches, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)

    def _forward(
        self,
        model_inputs: dict[str, Any],
        labels: Sequence[str] | None = None,
        mode: str = "score",
        return_embedding: bool = False,
        is_split: bool = True,
        allow_unlearned_labels: bool = False,
        **scoring: bool,
    ) -> dict[str, Any]:
        inputs = model_inputs["inputs"]
        outputs: dict[str, Any] = {"spans": model_inputs["spans"]}
        if mode == "generate":
            tokens, outputs["scores"] = generate_texts(self.model, inputs)
            outputs["text"] = self.processor.batch_decode(tokens)
        if return_embedding or mode == "score":
            features, mask = inputs.pop("input_features"), inputs.pop("input_features_mask")
            states, mask = self.model.encode_audio(features, mask)
            audio = {"encoder_states": states, "encoder_mask": mask}
        if mode == "score":
            candidates = self.processor.candidate_ids(labels or self.default_labels)
            outputs["scores"] = label_probabilities(self.model, inputs | audio, candidates, **scoring)
        if return_embedding:
            outputs["embedding"] = self.model.get_audio_features(**audio).emotion_embedding
        last = model_inputs["is_last"]
        return outputs | {"is_last": last if is_split else last[0]}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        timeline: bool | None = None,
    ) -> Any:
        labels = labels or self.default_labels
        windows = [_WindowResult(output) for output in model_outputs]
        if timeline or (timeline is None and windows[0].is_part):
            return [self._timeline_entry(window, labels, top_k, min_score) for window in windows]
        seconds = [window.end - window.start for window in windows]
        scores = mean_over_time(seconds, np.stack([window.scores for window in windows]))
        if windows[0].text is None:
            ranked = _rank(labels, scores)
        else:
            named = self.processor.parse_emotions([window.text for window in windows], labels)
            label = majority(seconds, named, self.processor.unparsed)
            text = " | ".join(str(window.text) for window in windows)
            ranked = [{"label": label, "score": float(scores[0]), "text": text}]
        ranked = _abstain(self._mark_unlearned(ranked, labels), min_score)[:top_k]
        bandwidth = self._bandwidth(windows)
        ranked = [entry | bandwidth for entry in ranked]
        if windows[0].embedding is None:
            return ranked
        mean = mean_over_time(seconds, np.stack([window.embedding for window in windows]))
        return {"scores": ranked, "embedding": mean.tolist()}

    def _timeline_entry(
        self, window: "_WindowResult", labels: Sequence[str], top_k: int | None, min_score: float | None
    ) -> dict[str, Any]:
        if window.text is None:
            ranked = self._mark_unlearned(_rank(labels, window.scores), labels)
            entry = _abstain(ranked, min_score)[0] | {"scores": ranked[:top_k]}
        else:
            (label,) = self.processor.parse_emotions([window.text], labels)
            named = [{"label": label, "score": float(window.scores[0]), "text": window.text}]
            entry = _abstain(self._mark_unlearned(named, labels), min_score)[0]
        entry |= self._bandwidth([window])
        if window.embedding is not None:
            entry["embedding"] = window.embedding.tolist()
        return {"start": round(window.start, 3), "end": round(window.end, 3)} | entry

    def _mark_unlearned(self, ranked: list[dict[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
        """Mark the entries of labels that the model never learned."""
        unlearned = unlearned_labels(self.model.config, labels)
        return [entry | {"unlearned": True} if entry["label"] in unlearned else entry for entry in ranked]

    def _bandwidth(self, windows: "Sequence[_WindowResult]") -> dict[str, float]:
        """Return `bandwidth_hz` of narrow-band sound, with a warning; an empty dictionary for other sound."""
        hertz = self.processor.narrow_bandwidth(sum(window.powers for window in windows))
        if hertz is None:
            return {}
        logger.warning_once(
            f"a recording has no sound above {hertz / 1000:.1f} kHz (telephone quality), so its prediction is "
            "less reliable; see bandwidth_hz in the results"
        )
        return {"bandwidth_hz": hertz}

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Save the model, the processor and their code. Arguments as in the model's `save_pretrained`."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


def _is_stream(inputs: Any) -> bool:
    """Return whether inputs are a stream of recordings, such as a column of `datasets`, and not one recording."""
    recording = (str, bytes, bytearray, memoryview, Mapping, np.ndarray, list, tuple)
    opened = any(hasattr(inputs, name) for name in ("read", "detach", "get_all_samples", "__fspath__"))
    return hasattr(inputs, "__iter__") and not isinstance(inputs, (*recording, Dataset)) and not opened


class _WindowResult:
    """Output of the model for one window: `scores` `(num_labels,)`, or `(1,)` for a generated text."""

    def __init__(self, output: Mapping[str, Any]):
        # Tensors keep their batch axis; lists keep theirs only in a batch of one.
        self.start, self.end, self.is_part, *powers = np.ravel(output["spans"]).tolist()
        self.powers = np.array(powers)
        self.scores = output["scores"].flatten().numpy()
        text = output.get("text")
        self.text = text[0] if isinstance(text, list) else text
        embedding = output.get("embedding")
        self.embedding: Any = None if embedding is None else embedding.flatten().float().numpy()


def _rank(labels: Sequence[str], probabilities: np.ndarray) -> list[dict[str, Any]]:
    if not np.isfinite(probabilities).all():
        raise ValueError("the model's scores are NaN; load it in float32")
    order = sorted(zip(labels, map(float, probabilities), strict=True), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in order]


def _abstain(ranked: list[dict[str, Any]], min_score: float | None) -> list[dict[str, Any]]:
    best = ranked[0]
    if min_score is None or best["score"] >= min_score:
        return ranked
    reason = f"{best['label']} is the most probable label, and its probability is below {min_score:g}"
    return [best | {"label": "abstained", "reason": reason}]


class DownloadLimitError(ValueError):
    """A download is larger or takes longer than its limit."""


@contextmanager
def _downloaded(source: Any, max_bytes: int | None, max_seconds: float | None) -> Iterator[Any]:
    """Download an http(s) URL into a temporary file for the block. Yield other sources unchanged."""
    if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
        yield source
        return
    with tempfile.NamedTemporaryFile() as file:
        try:
            with urllib.request.urlopen(source, timeout=30.0) as response:
                _download(source, response, file, max_bytes, max_seconds)
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            if isinstance(error, DownloadLimitError):
                raise
            reason = getattr(error, "reason", None) or error
            raise ValueError(f"{source}: cannot be downloaded ({reason}); check the address and the network") from None
        file.flush()
        try:
            yield file.name
        except ValueError as error:
            raise ValueError(str(error).replace(file.name, source)) from None


def _download(source: str, response: Any, file: Any, max_bytes: int | None, max_seconds: float | None) -> None:
    """Copy a response into a file, never more than the limit, whatever size the server states."""
    stated, end = response.headers.get("Content-Length"), time.monotonic() + (max_seconds or float("inf"))
    count = int(stated) if stated is not None and stated.isdecimal() else 0
    received = 0
    while True:
        if max_bytes is not None and max(count, received) > max_bytes:
            raise DownloadLimitError(
                f"{source}: is larger than {max_bytes / (1 << 20):g} MiB; pass a shorter recording, or raise the "
                "pipeline's max_download_bytes"
            )
        if time.monotonic() > end:
            raise DownloadLimitError(
                f"{source}: takes longer than {max_seconds:g} s to download; pass a file, or raise the pipeline's "
                "max_download_seconds"
            )
        if not (block := response.read1(1 << 20)):
            break
        received += len(block)
        file.write(block)
    if received < count:
        raise ValueError(f"the connection ended after {received} of {count} bytes")
