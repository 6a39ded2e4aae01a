# SPDX-License-Identifier: Apache-2.0
"""`pipeline(model=…, trust_remote_code=True)`: recordings in, emotions out."""

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

from .labels_mser import check_candidate_size, check_labels, unlearned_labels
from .recognition_mser import generate_texts, label_probabilities, majority, mean_over_time


logger = logging.get_logger(__name__)

ABSTAINED = "abstained"
SECONDS_TO_ANSWER = 30.0
"""Time that a server may be silent before a download is given up."""
_BLOCK_BYTES = 1 << 20


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
_SWITCHES = {"return_embedding", "timeline", "length_normalize", "prior_correction", "allow_unlearned_labels"}


class MSERPipeline(ChunkPipeline):
    """
    Speech emotion recognition, as the task `audio-classification`.

        >>> recognise = pipeline(model="…/mser", trust_remote_code=True)
        >>> recognise("clip.wav")
        [{"label": "happy", "score": 0.93}, {"label": "surprise", "score": 0.04}, …]

    A recording that the model cannot hear in one piece (over 30 s) comes back as a timeline, a list of
    `{"start", "end", "label", "score", "scores"}`.

    Inputs are a path, an http(s) URL, the bytes of a file, `{"array" or "raw", "sampling_rate"}`, `{"bytes", "path"}`,
    a numpy array or a torch tensor at 16 kHz, or a list, a generator or a data set of these.

    Windows without any sound have no place in a timeline nor a part in a mean.

    Where a recording has no sound above 4 kHz, as on a telephone, each answer has the frequency at which it ends,
    `bandwidth_hz`: the model is less reliable there.

    Args (on making the pipeline or on calling it, where `None` is the default):
        candidate_labels: the words that compete, as a list or separated by commas, or `four` or `seven`; by default
            those of the model's last training stage.
        top_k: how many of them to return; all by default.
        min_score: below this probability of the likeliest word the pipeline abstains: the answer is
            `{"label": "abstained", "score": that probability, "reason": …}` alone.
        mode: `"score"` compares the candidates; `"generate"` lets the model write freely and answers with the
            candidate that the text names, or `unparsed`, with the `text` and its probability.
        return_embedding: answer with `{"scores": the list, "embedding": emotion embedding as a list of floats}`; in a
            timeline each entry has an `embedding`.
        timeline: `True` for a timeline of any recording, `False` for one answer to any: the mean over windows.
        window_seconds, overlap_seconds: of a timeline.
        length_normalize, prior_correction: as in `score_emotions`.
        allow_unlearned_labels: accept candidate labels that a language model trained from scratch never learned. Their
            entries are marked `"unlearned": True`, for their scores mean nothing.

    Attributes (limits, to be changed on the class or the pipeline; `None` for no limit):
        max_candidate_tokens: tokens of all candidate labels together.
        max_seconds: length of a recording, in seconds.
        max_download_bytes: size of what a URL leads to, in bytes.
        max_download_seconds: time for one download, in seconds.

    Raises:
        UnlearnedLabelError: a candidate label was never learned and is not allowed.
        ValueError: there is no processor, an argument is not as above, a limit is exceeded, or a recording cannot be
            read (`AudioError`, one line).
    """

    max_candidate_tokens: int | None = 1024
    max_seconds: float | None = 4 * 3600.0
    max_download_bytes: int | None = 256 << 20
    max_download_seconds: float | None = 600.0

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _pipeline_calls_generate = False

    def _sanitize_parameters(self, **given: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if self.processor is None:
            raise ValueError(
                "the pipeline needs the model's processor; give processor=MSERProcessor.from_pretrained(…), or make "
                "it by pipeline(model=…, trust_remote_code=True), which loads both"
            )
        unknown = sorted(set(given) - set(_DEFAULTS))
        if unknown:
            raise ValueError(f"the pipeline does not take {', '.join(unknown)}")
        # None on calling is the default, whatever the pipeline was made with.
        given = {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}
        mode, top_k, min_score = (given.get(name, _DEFAULTS[name]) for name in ("mode", "top_k", "min_score"))
        if mode not in ("score", "generate"):
            raise ValueError(f'mode is {mode!r}; give "score" or "generate"')
        if top_k is not None and not (isinstance(top_k, int) and top_k >= 1):
            raise ValueError(f"top_k is {top_k!r}; give a whole number of at least 1, or leave it out for all")
        if min_score is not None and not (isinstance(min_score, (int, float)) and 0 <= min_score <= 1):
            raise ValueError(f"min_score is {min_score!r}; give a probability from 0 to 1")
        for name in sorted(_SWITCHES & set(given)):
            # A text would count as True, "no" and "false" too.
            if not isinstance(given[name], bool) and given[name] is not _DEFAULTS[name]:
                raise ValueError(f"{name} is {given[name]!r}; give True or False")
        if "candidate_labels" in given:
            labels = given.pop("candidate_labels")
            given["words"] = None if labels is None else self.processor.words(labels)
        self._check_words(given)
        return tuple(  # type: ignore[return-value]
            {name: given[name] for name in names if name in given}
            for names in (
                ("timeline", "window_seconds", "overlap_seconds"),
                (
                    "words",
                    "mode",
                    "return_embedding",
                    "length_normalize",
                    "prior_correction",
                    "allow_unlearned_labels",
                ),
                ("words", "top_k", "min_score", "timeline"),
            )
        )

    def _check_words(self, given: Mapping[str, Any]) -> None:
        """Reject candidate labels here, before a recording is read. What is not given is as the pipeline was made."""
        settings = {"mode": "score", **getattr(self, "_forward_params", {}), **given}
        words = settings.get("words") or self.default_words
        check_labels(self.model.config, words, settings.get("allow_unlearned_labels", False))
        if settings["mode"] == "score":
            check_candidate_size(self.processor.candidate_ids(words), self.max_candidate_tokens)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # The library looks at the first of a list, and streams generators and torch's data sets alone.
        if isinstance(inputs, list) and not inputs:
            return []
        if _is_stream(inputs):
            inputs = (source for source in inputs)
        return super().__call__(inputs, *args, **kwargs)

    @property
    def default_words(self) -> tuple[str, ...]:
        own = self.model.config.emotion_words
        return tuple(own) if own else self.processor.words()

    def preprocess(self, inputs: Any, **windowing: Any) -> Iterator[dict[str, Any]]:
        with _fetched(inputs, self.max_download_bytes, self.max_download_seconds) as source:
            windows = self.processor.windows(source, max_recording_seconds=self.max_seconds, **windowing)
            window = next(windows)
            for upcoming in windows:
                yield {"window": window, "is_last": False}
                window = upcoming
            yield {"window": window, "is_last": True}

    def _collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of several windows, each of whose spectrograms is computed alone and then padded."""
        windows = [item["window"] for item in items]
        inputs = self.processor.extract_features([window.waveform for window in windows])
        inputs.update(self.processor.encode_text(len(windows)))
        places = [
            (window.start, window.end, window.part, *self.processor.band_powers(window.waveform).tolist())
            for window in windows
        ]
        return {"places": places, "inputs": inputs, "is_last": [item["is_last"] for item in items]}

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
        # One worker at most: several would each read all of the recordings.
        batches = DataLoader(windows, batch_size, num_workers=min(num_workers, 1), collate_fn=self._collate)
        # A batch is taken apart again by the library, unless batches are of one.
        forward_params = forward_params | {"apart": batch_size > 1}
        answers = PipelinePackIterator(batches, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(answers, self.postprocess, postprocess_params)

    def _forward(
        self,
        model_inputs: dict[str, Any],
        words: Sequence[str] | None = None,
        mode: str = "score",
        return_embedding: bool = False,
        apart: bool = True,
        allow_unlearned_labels: bool = False,
        **scoring: bool,
    ) -> dict[str, Any]:
        inputs = model_inputs["inputs"]
        outputs: dict[str, Any] = {"places": model_inputs["places"]}
        if mode == "generate":
            tokens, outputs["scores"] = generate_texts(self.model, inputs)
            outputs["text"] = self.processor.batch_decode(tokens)
        if return_embedding or mode == "score":
            features, mask = inputs.pop("input_features"), inputs.pop("input_features_mask")
            states, mask = self.model.encode_audio(features, mask)  # once for both
            audio = {"encoder_states": states, "encoder_mask": mask}
        if mode == "score":
            candidates = self.processor.candidate_ids(words or self.default_words)
            outputs["scores"] = label_probabilities(self.model, inputs | audio, candidates, **scoring)
        if return_embedding:
            outputs["embedding"] = self.model.get_audio_features(**audio).emotion_embedding
        last = model_inputs["is_last"]
        return outputs | {"is_last": last if apart else last[0]}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        words: Sequence[str] | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        timeline: bool | None = None,
    ) -> Any:
        words = words or self.default_words
        pieces = [_Piece(output) for output in model_outputs]
        if timeline or (timeline is None and pieces[0].part):
            return [self._entry(piece, words, top_k, min_score) for piece in pieces]
        seconds = [piece.end - piece.start for piece in pieces]
        if pieces[0].text is None:
            answer = _ranked(words, mean_over_time(seconds, np.stack([piece.scores for piece in pieces])))
        else:
            named = self.processor.parse_emotions([piece.text for piece in pieces], words)
            score = float(mean_over_time(seconds, np.stack([piece.scores for piece in pieces]))[0])
            label = majority(seconds, named, self.processor.unparsed)
            answer = [{"label": label, "score": score, "text": " | ".join(str(piece.text) for piece in pieces)}]
        answer = _abstaining(self._marked(answer, words), min_score)[:top_k]
        bandwidth = self._bandwidth(pieces)
        answer = [entry | bandwidth for entry in answer]
        if pieces[0].embedding is None:
            return answer
        mean = mean_over_time(seconds, np.stack([piece.embedding for piece in pieces]))
        return {"scores": answer, "embedding": mean.tolist()}

    def _entry(
        self, piece: "_Piece", words: Sequence[str], top_k: int | None, min_score: float | None
    ) -> dict[str, Any]:
        if piece.text is None:
            ranked = self._marked(_ranked(words, piece.scores), words)
            entry = _abstaining(ranked, min_score)[0] | {"scores": ranked[:top_k]}
        else:
            (label,) = self.processor.parse_emotions([piece.text], words)
            named = self._marked([{"label": label, "score": float(piece.scores[0]), "text": piece.text}], words)
            entry = _abstaining(named, min_score)[0]
        entry |= self._bandwidth([piece])
        if piece.embedding is not None:
            entry["embedding"] = piece.embedding.tolist()
        return {"start": round(piece.start, 3), "end": round(piece.end, 3)} | entry

    def _marked(self, ranked: list[dict[str, Any]], words: Sequence[str]) -> list[dict[str, Any]]:
        """The entries, those of labels that were never learned with a mark."""
        unlearned = unlearned_labels(self.model.config, words)
        return [entry | {"unlearned": True} if entry["label"] in unlearned else entry for entry in ranked]

    def _bandwidth(self, pieces: "Sequence[_Piece]") -> dict[str, float]:
        """`bandwidth_hz` of narrow-band sound, with a warning; nothing of any other."""
        hertz = self.processor.narrow_bandwidth(sum(piece.powers for piece in pieces))
        if hertz is None:
            return {}
        logger.warning_once(
            f"a recording has no sound above {hertz / 1000:.1f} kHz (telephone quality), which makes its answer less "
            "reliable; see bandwidth_hz in the answers"
        )
        return {"bandwidth_hz": hertz}

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Writes the model, the processor and their code. Arguments as in the model's `save_pretrained`."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


def _is_stream(inputs: Any) -> bool:
    """Whether these are recordings one after another, such as a column of `datasets`, and none of a form of audio."""
    sound = (str, bytes, bytearray, memoryview, Mapping, np.ndarray, list, tuple)
    opened = any(hasattr(inputs, name) for name in ("read", "detach", "get_all_samples", "__fspath__"))
    return hasattr(inputs, "__iter__") and not isinstance(inputs, (*sound, Dataset)) and not opened


class _Piece:
    """What the model answered to one window: `scores` `(num_words,)`, or of a written text `(1,)`."""

    def __init__(self, output: Mapping[str, Any]):
        # Tensors keep the axis of the batch that they were taken out of; lists keep theirs only in a batch of one.
        self.start, self.end, self.part, *powers = np.ravel(output["places"]).tolist()
        self.powers = np.array(powers)
        self.scores = output["scores"].flatten().numpy()
        text = output.get("text")
        self.text = text[0] if isinstance(text, list) else text
        embedding = output.get("embedding")
        self.embedding: Any = None if embedding is None else embedding.flatten().float().numpy()


def _ranked(words: Sequence[str], probabilities: np.ndarray) -> list[dict[str, Any]]:
    if not np.isfinite(probabilities).all():
        raise ValueError("the model's scores are not numbers (NaN); load it in float32")
    order = sorted(zip(words, map(float, probabilities), strict=True), key=lambda pair: -pair[1])
    return [{"label": word, "score": score} for word, score in order]


def _abstaining(ranked: list[dict[str, Any]], min_score: float | None) -> list[dict[str, Any]]:
    best = ranked[0]
    if min_score is None or best["score"] >= min_score:
        return ranked
    reason = f"{best['label']} is the likeliest, and its probability is below {min_score:g}"
    return [best | {"label": ABSTAINED, "reason": reason}]


class DownloadLimitError(ValueError):
    """A URL leads to more bytes than the limit, or takes longer."""


@contextmanager
def _fetched(source: Any, max_bytes: int | None, max_seconds: float | None) -> Iterator[Any]:
    """What an http(s) URL leads to, as a file for the duration of the block; any other source as it is."""
    if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
        yield source
        return
    with tempfile.NamedTemporaryFile() as file:
        try:
            with urllib.request.urlopen(source, timeout=SECONDS_TO_ANSWER) as answer:
                _download(source, answer, file, max_bytes, max_seconds)
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


def _download(source: str, answer: Any, file: Any, max_bytes: int | None, max_seconds: float | None) -> None:
    """Copies an answer of a server into a file, never more than the limit, whatever the server states."""
    stated, end = answer.headers.get("Content-Length"), time.monotonic() + (max_seconds or float("inf"))
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
        if not (block := answer.read1(_BLOCK_BYTES)):
            break
        received += len(block)
        file.write(block)
    if received < count:
        raise ValueError(f"the connection ended after {received} of {count} bytes")


__all__ = ["MSERPipeline"]
