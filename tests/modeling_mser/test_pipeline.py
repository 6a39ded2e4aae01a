# SPDX-License-Identifier: Apache-2.0
"""The pipeline: forms of audio, batches, abstaining, timelines, generated text, embeddings, limits."""

import functools
import http.server
import json
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import torch
from processes import peak_memory, reset_peak_memory

from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import AudioError


@pytest.fixture(scope="module")
def pipe(make_tiny) -> MSERPipeline:
    model, processor = make_tiny()
    return MSERPipeline(model, processor=processor, device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Noise of 1.5, 2.5 and 71 s, the second in stereo at 22.05 kHz."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for name, seconds, shape in (("a", 1.5, ()), ("b", 2.5, (2,)), ("long", 71, ())):
        rate = 22050 if shape else 16000
        samples = int(seconds * rate)
        noise = rng.standard_normal((samples, *shape)) * np.linspace(0.01, 0.3, samples).reshape(-1, *[1] * len(shape))
        soundfile.write(folder / f"{name}.wav", noise, rate)
    return [folder / f"{name}.wav" for name in ("a", "b", "long")]


def as_scores(ranked):
    return {entry["label"]: entry["score"] for entry in ranked}


def expected_scores(pipe, source, words):
    (result,) = recognize(pipe.model, pipe.processor, [source], words)
    return result.scores


def test_every_form_of_audio_gives_the_same_scores(pipe, clips):
    samples, rate = soundfile.read(clips[1], dtype="float32")
    expected = expected_scores(pipe, clips[1], pipe.model.config.emotion_words)
    for form in (str(clips[1]), clips[1].read_bytes(), {"raw": samples, "sampling_rate": rate}):
        ranked = pipe(form)
        assert as_scores(ranked) == pytest.approx(expected, abs=1e-6)
        assert [entry["score"] for entry in ranked] == sorted(expected.values(), reverse=True)
    mono = torch.from_numpy(soundfile.read(clips[0], dtype="float32")[0])
    assert pipe(mono) == pipe(mono.numpy()) == pipe(clips[0])
    with pytest.raises(AudioError, match="missing\\.wav"):
        pipe("missing.wav")
    with pytest.raises(AudioError):
        pipe(np.zeros(16000, np.float32))


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; `/endless` exceeds any limit, `/short` ends before its stated length, `/slow` is slow."""

    def do_GET(self):
        if self.path not in ("/endless", "/short", "/slow"):
            super().do_GET()
            return
        self.send_response(200)
        if self.path == "/short":
            self.send_header("Content-Length", "200000")
        self.end_headers()
        for _ in range(1 if self.path == "/short" else 100):
            try:
                self.wfile.write(bytes(1 << 16))
            except OSError:  # the client closed the connection
                return
            time.sleep(0.05 if self.path == "/slow" else 0)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(clips):
    """Serve the folder of the clips; return its URL."""
    handler = functools.partial(Files, directory=str(clips[0].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pipeline_downloads_urls_and_names_broken_ones(pipe, clips, address):
    assert pipe(f"{address}/a.wav") == pipe(clips[0])
    with pytest.raises(ValueError, match=rf"{address}/no\.wav: .*File not found"):
        pipe(f"{address}/no.wav")
    (clips[0].parent / "text.txt").write_text("not audio")
    with pytest.raises(ValueError, match=rf"{address}/text\.txt: "):
        pipe(f"{address}/text.txt")


def test_pipeline_limits_downloads(pipe, clips, address, monkeypatch):
    monkeypatch.setattr(MSERPipeline, "max_download_bytes", 1 << 20)
    for place in ("long.wav", "endless"):  # one states its size, the other does not
        with pytest.raises(ValueError, match=rf"{address}/{place}: .*1 MiB.*max_download_bytes"):
            pipe(f"{address}/{place}")
    assert pipe(f"{address}/a.wav") == pipe(clips[0])
    with pytest.raises(ValueError, match=r"/short: .*65536 of 200000 bytes"):
        pipe(f"{address}/short")
    monkeypatch.setattr(pipe, "max_download_bytes", None)
    monkeypatch.setattr(pipe, "max_download_seconds", 0.2)
    with pytest.raises(ValueError, match=r"/slow: .*0\.2 s.*max_download_seconds"):
        pipe(f"{address}/slow")


def test_pipeline_limits_length_of_recordings(pipe, clips, monkeypatch):
    samples, _ = soundfile.read(clips[2], dtype="float32")
    monkeypatch.setattr(pipe, "max_seconds", 70.0)
    monkeypatch.setattr(pipe.model, "encode_audio", lambda *_: pytest.fail("a window was encoded"))
    for form in (clips[2], samples, {"array": samples, "sampling_rate": 16000}):
        for timeline in (None, True, False):
            with pytest.raises(ValueError, match=r"71\.0 s.*70 s"):
                pipe(form, timeline=timeline)
    monkeypatch.undo()
    assert len(pipe(clips[2])) == 18


def test_pipeline_limits_tokens_of_candidates(make_tiny, clips):
    model, processor = make_tiny(learned_words=None)
    pipe = MSERPipeline(model, processor=processor, device="cpu")
    emoji = ["a" + chr(0x1F600 + number) * 60 for number in range(64)]
    tokens = sum(map(len, processor.candidate_ids(emoji)))
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"64 .*{tokens}"):
        pipe(clips[0], candidate_labels=emoji)
    assert time.monotonic() - start < 2
    pipe.max_candidate_tokens = tokens
    pipe._check_labels({"labels": emoji})
    assert len(pipe(clips[0], candidate_labels=[f"label {number}" for number in range(64)])) == 64


def test_lists_generators_and_batches_equal_single_calls(pipe, clips):
    single = [pipe(clip) for clip in clips]
    sources = [*clips, clips[0], clips[2]]
    for batch_size in (2, 50):
        together = pipe(sources, batch_size=batch_size)
        for result, alone in zip(together, [*single, single[0], single[2]], strict=True):
            assert [entry["label"] for entry in result] == [entry["label"] for entry in alone]
            np.testing.assert_allclose(
                [entry["score"] for entry in result], [entry["score"] for entry in alone], atol=1e-6
            )
    streamed = list(pipe((clip for clip in sources[:2]), batch_size=2))
    assert [entry["label"] for entry in streamed[1]] == [entry["label"] for entry in single[1]]


def test_data_set_columns_stream_and_empty_lists_return_nothing(pipe, clips):
    paths = [str(clip) for clip in clips[:2]]
    table = datasets.Dataset.from_dict({"audio": paths}).cast_column("audio", datasets.Audio(decode=False))
    expected = pipe(paths, top_k=1)
    for column in (table["audio"], table.to_iterable_dataset()["audio"], map(str, paths)):
        assert list(pipe(column, top_k=1)) == expected
    assert pipe([]) == []


def test_candidate_labels_top_k_and_invalid_arguments(pipe, clips):
    ranked = pipe(clips[0], candidate_labels=["sad", "fear", "happy"], top_k=2)
    expected = expected_scores(pipe, clips[0], ["sad", "fear", "happy"])
    assert len(ranked) == 2 and ranked[0]["score"] >= ranked[1]["score"]
    assert all(entry["score"] == pytest.approx(expected[entry["label"]], abs=1e-6) for entry in ranked)
    assert len(pipe(clips[0], candidate_labels="four")) == 4
    with pytest.raises(ValueError, match="label"):
        pipe(clips[0], candidate_labels=["one"])
    for name, value in (
        ("top_k", 0), ("top_k", "2"), ("min_score", 2), ("mode", "guess"), ("topk", 1), ("timeline", "no"),
        ("timeline", 0), ("return_embedding", "false"), ("prior_correction", "no"), ("window_seconds", 31),
        ("window_seconds", "5"), ("overlap_seconds", "1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            pipe(clips[2], **{name: value})
    with pytest.raises(ValueError, match="overlap_seconds"):
        pipe(clips[2], overlap_seconds=5)
    for given in ({}, {"candidate_labels": "four"}, {"tokenizer": pipe.processor.tokenizer}):
        with pytest.raises(ValueError, match="processor"):
            MSERPipeline(pipe.model, **given)


def test_none_in_a_call_means_the_default(pipe, clips):
    built = MSERPipeline(
        pipe.model, processor=pipe.processor, device="cpu", top_k=1, min_score=1.0, candidate_labels="four"
    )
    assert [entry["label"] for entry in built(clips[0])] == ["abstained"]
    assert built(clips[0], top_k=None, min_score=None, candidate_labels=None, mode=None) == pipe(clips[0])
    assert len(built(clips[0], min_score=None)) == 1 and len(built(clips[0], min_score=None, top_k=None)) == 4


def test_silent_windows_are_left_out(pipe, clips):
    rng = np.random.default_rng(1)
    first, last = (0.1 * rng.standard_normal(16_000 * seconds).astype(np.float32) for seconds in (31, 30))
    silent = np.concatenate([first, np.zeros(16_000 * 59, np.float32), last])
    spans = [(entry["start"], entry["end"]) for entry in pipe(silent, overlap_seconds=0.0, batch_size=4)]
    assert [start for start, _ in spans] == [*range(0, 35, 5), *range(90, 120, 5)]
    # One window with sound is still a timeline.
    (entry,) = pipe(np.concatenate([first[: 16_000 * 4], np.zeros(16_000 * 40, np.float32)]))
    assert (entry["start"], entry["end"]) == (0.0, 5.0)
    words = pipe.model.config.emotion_words
    mean = as_scores(pipe(silent, timeline=False))
    audible = np.concatenate([silent[: 16_000 * 60], last])
    assert mean == pytest.approx(as_scores(pipe(audible, timeline=False)), abs=1e-6)
    assert mean == pytest.approx(expected_scores(pipe, silent, words), abs=1e-6)


def test_pipeline_abstains_below_min_score(pipe, clips):
    ranked = pipe(clips[0])
    best = ranked[0]["score"]
    (result,) = pipe(clips[0], min_score=best + 0.01)
    assert result["label"] == "abstained" and result["score"] == best
    assert ranked[0]["label"] in result["reason"]
    assert pipe(clips[0], min_score=best - 0.01) == ranked
    timeline = pipe(clips[2], min_score=1.0)
    assert {entry["label"] for entry in timeline} == {"abstained"} and len(timeline[0]["scores"]) == 7


def test_timeline_scores_each_window(pipe, clips):
    samples, _ = soundfile.read(clips[2], dtype="float32")
    words = pipe.model.config.emotion_words
    timeline = pipe(clips[2], window_seconds=10.0, overlap_seconds=2.5, batch_size=3)
    starts = [7.5 * index for index in range(9)] + [61.0]
    assert [(entry["start"], entry["end"]) for entry in timeline] == [(start, start + 10) for start in starts]
    for entry in timeline:
        piece = samples[int(entry["start"] * 16000) : int(entry["end"] * 16000)]
        assert as_scores(entry["scores"]) == pytest.approx(expected_scores(pipe, piece, words), abs=1e-6)
        assert entry["label"] == entry["scores"][0]["label"] and entry["score"] == entry["scores"][0]["score"]
    mean = pipe(clips[2], timeline=False, batch_size=2)
    assert as_scores(mean) == pytest.approx(expected_scores(pipe, clips[2], words), abs=1e-6)
    (entry,) = pipe(clips[0], timeline=True)
    assert (entry["start"], entry["end"]) == (0.0, 1.5)
    assert as_scores(entry["scores"]) == pytest.approx(as_scores(pipe(clips[0])), abs=1e-6)
    result = pipe(clips[0], return_embedding=True)
    inputs = pipe.processor(audio=[clips[0]])
    features = pipe.model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    np.testing.assert_allclose(result["embedding"], features.emotion_embedding[0].detach().numpy(), atol=1e-5)
    assert result["scores"] == pipe(clips[0])
    assert json.dumps(result)


def test_generate_mode_parses_the_text(pipe, clips):
    (result,) = pipe(clips[0], mode="generate")
    (loop,) = recognize(
        pipe.model, pipe.processor, [clips[0]], pipe.model.config.emotion_words, ScoringOptions(decode="generate")
    )
    assert (result["label"], result["text"]) == (loop.label, loop.text)
    inputs = pipe.processor(audio=[clips[0]])
    tokens = pipe.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    audio = pipe.model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    embeds = pipe.model.merge_audio(inputs["input_ids"], audio.pooler_output)
    embeds = torch.cat([embeds, pipe.model.get_input_embeddings()(tokens)], 1)
    logits = pipe.model(inputs_embeds=embeds).logits[0, -tokens.shape[1] - 1 : -1].double().log_softmax(-1)
    expected = logits.gather(-1, tokens[0][:, None]).sum().exp().item()
    assert result["score"] == pytest.approx(expected, rel=1e-3)
    for entry in pipe(clips[2], return_embedding=True, mode="generate", batch_size=4):
        assert set(entry) == {"start", "end", "label", "score", "text", "embedding"}
        assert len(entry["embedding"]) == 32


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_recording(pipe, tmp_path):
    minute = (8000 * np.random.default_rng(0).standard_normal(60 * 16000)).clip(-32768, 32767).astype(np.int16)
    grown = []
    for minutes in (1, 30):
        with soundfile.SoundFile(tmp_path / "long.wav", "w", 16000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        before = reset_peak_memory()
        timeline = pipe(tmp_path / "long.wav", batch_size=8)
        assert timeline[-1]["end"] == 60 * minutes and len(timeline) == 15 * minutes
        grown.append(peak_memory() - before)
    assert grown[1] < 50_000, "30 minutes take 115 MB as float32"
