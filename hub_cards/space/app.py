# SPDX-License-Identifier: Apache-2.0
"""Gradio page of a model: record or upload speech, enter labels, and see their probabilities.

On the Hub it serves the model named in the metadata of its `README.md`; `run-mser space` calls `build`.
"""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import soundfile


Scores = dict[str, float]
Classify = Callable[[list[dict[str, Any]], list[str]], list[Scores]]
"""Takes sounds (`{"array", "sampling_rate"}`) and labels; returns the probability of each label, for each sound."""

MAX_SECONDS = 600
MAX_SAMPLES = MAX_SECONDS * 48_000
MAX_WORDS, MAX_WORD_LETTERS = 20, 40
# A longer recording gets a timeline.
SINGLE_WINDOW_SECONDS = 12.0
WINDOW_SECONDS, STEP_SECONDS = 8.0, 4.0
BATCH = 8
COLOURS = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#b07aa1",
    "#edc948",
    "#76b7b2",
    "#9c755f",
    "#ff9da7",
    "#79706e",
)

NOTE = """
**About this model.** This research model estimates which of the labels a voice sounds most like. {trained_on} It does
not know what a person feels. It makes mistakes, more often on speakers, languages and recordings that differ from its
training data. The probabilities always add up to 100 %, even if no label fits. Do not use it to judge people.
Recordings are deleted within twenty minutes.
"""
SYNTHETIC = "demo-speech"
"""Name of the synthetic corpus."""
CSS = """
.problem {border: 1px solid #b42318; border-left-width: 6px; border-radius: 6px; padding: .6rem .8rem; color: #b42318;
  background: #fef3f2}
/* hides the small meter that gradio draws in each bar */
.confidence-set meter.bar {height: .6rem; border-radius: 3px}
.confidence-set meter.bar::-webkit-meter-inner-element {display: none}
.timeline-title {font-size: .95rem}
.timeline {position: relative; height: 2.4rem; border-radius: 6px; overflow: hidden; margin: .4rem 0;
  background: rgba(128, 128, 128, .25)}
.timeline span {position: absolute; top: 0; bottom: 0; box-shadow: inset -1px 0 rgba(255, 255, 255, .5)}
.timeline-ends {display: flex; justify-content: space-between; font-size: .85rem}
.timeline-words {display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin-top: .4rem; font-size: .95rem}
.timeline-words i {display: inline-block; width: .9rem; height: .9rem; border-radius: 3px; margin-right: .35rem;
  vertical-align: -.1rem}
"""


def build(
    classify: Classify,
    words: Sequence[str],
    name: str,
    examples: Sequence[str] = (),
    stages: Sequence[dict[str, Any]] | None = None,
) -> gr.Blocks:
    """Build the page.

    Args:
        classify, name: the model and its name.
        words: initial candidate labels.
        examples: audio files to try.
        stages: `training_stages` of the model's configuration, for the note.
    """

    def analyse(file: str | None, text: str) -> tuple[Scores | None, str]:
        try:
            chosen = read_words(text)
            samples, rate = read_sound(file)
            windows, spans = cut(samples, rate)
            scores = [one for i in range(0, len(windows), BATCH) for one in classify(windows[i : i + BATCH], chosen)]
        except ValueError as error:
            sentence = " ".join(str(error).replace("<array>:", "The recording", 1).split())
            return None, f'<p role="alert" class="problem">{html.escape(sentence)}</p>'
        # The keys of the scores, because the model changes `Happy` (typed on a phone) to `happy`.
        mean = {word: float(np.mean([one[word] for one in scores])) for word in scores[0]}
        seconds = len(samples) / rate
        return mean, timeline(spans, scores, seconds) if seconds > SINGLE_WINDOW_SECONDS else ""

    with gr.Blocks(title=f"{name}: emotion in speech", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown(f"# Emotion in speech\nRecord or upload speech in any language. Model: `{name}`.")
        with gr.Row():
            with gr.Column():
                # No share button: it would publish the recording on the Hub.
                sources, buttons = ["upload", "microphone"], ["download"]
                sound = gr.Audio(label="Voice", sources=sources, type="filepath", buttons=buttons)
                plain = gr.InputHTMLAttributes(autocapitalize="none", autocorrect="off", spellcheck=False)
                text = gr.Textbox(
                    ", ".join(words), label="Candidate labels", info="Separated by commas.", html_attributes=plain
                )
                button = gr.Button("Analyze", variant="primary")
                if examples:
                    # Static paths are not copied; gradio deletes copies together with the recordings.
                    gr.set_static_paths(examples)
                    gr.Examples([[str(file)] for file in examples], [sound], label="Synthetic speech examples")
            with gr.Column():
                bars = gr.Label(label="Sounds like")
                line = gr.HTML()
        gr.Markdown(NOTE.format(trained_on=training_note(stages)))
        # A new recording clears the old result, in the browser: a reply of the server could arrive after the new
        # result. `null` instead of `{}` breaks gradio's label.
        sound.change(None, None, [bars, line], js="() => [{}, '']", api_name=False)
        gr.on([button.click, text.submit], analyse, [sound, text], [bars, line], api_name="analyse")
    return page


def training_note(stages: Sequence[dict[str, Any]] | None) -> str:
    """Describe the training data in one or two sentences; `stages` as in `build`."""
    sources = [source for stage in stages or () for source in stage["sources"] or ()]
    if not sources:
        return "Its training data is not recorded."
    corpora = sorted({source["corpus"] for source in sources} - {SYNTHETIC})
    names = ["recordings of its author" if name == "folder" else name for name in corpora]
    if {source["corpus"] for source in sources} - set(corpora):
        names.append("synthetic speech")
    if any(source["corpus"] != SYNTHETIC and source["translator"] for source in sources):
        names.append("synthetic translations of these")
    note = f"It was trained on {', '.join(names)}."
    if any(stage["sources"] is None for stage in stages or ()):
        return f"{note} The training data of the model it started from is not recorded."
    return note if corpora else "It was trained on synthetic speech only, not on recordings of people."


def read_words(text: str) -> list[str]:
    """Split a list with commas."""
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not 2 <= len(words) <= MAX_WORDS:
        raise ValueError(f"There are {len(words)} labels; enter 2 to {MAX_WORDS}, separated by commas.")
    if max(map(len, words)) > MAX_WORD_LETTERS:
        raise ValueError(f"A label has more than {MAX_WORD_LETTERS} letters; enter shorter ones.")
    return words


def read_sound(file: str | None) -> tuple[np.ndarray, int]:
    """Read a recording block by block as mono samples, up to the limits, and return them with their rate in Hz."""
    if file is None:
        raise ValueError("There is no recording yet; record or upload one.")
    blocks, count = [], 0
    try:
        with soundfile.SoundFile(file) as opened:
            rate = opened.samplerate
            while len(block := opened.read(1 << 16, "float32", always_2d=True)):
                count += len(block)
                if count > min(MAX_SECONDS * rate, MAX_SAMPLES):
                    raise ValueError(f"The recording is longer than {MAX_SECONDS} s; upload a shorter one.")
                blocks.append(block.mean(axis=1))
    except soundfile.LibsndfileError:
        raise ValueError("This file is not readable audio; upload WAV, FLAC, OGG, Opus or MP3.") from None
    if not count:
        raise ValueError("The recording is empty; record or upload another.")
    return np.concatenate(blocks), rate


def cut(samples: np.ndarray, rate: int) -> tuple[list[dict[str, Any]], list[tuple[float, float]]]:
    """
    Cut a long recording into overlapping windows, without silent ones.

    Return the windows, and for each the start and end in seconds of its part of the timeline.
    """
    seconds = len(samples) / rate
    if seconds <= SINGLE_WINDOW_SECONDS:
        return [{"array": samples, "sampling_rate": rate}], [(0.0, seconds)]
    count = int(np.ceil((seconds - WINDOW_SECONDS) / STEP_SECONDS)) + 1
    starts = np.linspace(0, seconds - WINDOW_SECONDS, count)
    windows = [samples[int(start * rate) : int((start + WINDOW_SECONDS) * rate)] for start in starts]
    # Each window covers its half of an overlap.
    edges = [0.0, *((starts[1:] + starts[:-1] + WINDOW_SECONDS) / 2), seconds]
    audible = [index for index, window in enumerate(windows) if window.any()]
    if not audible:
        raise ValueError("The recording is silent; record it again.")
    sounds = [{"array": windows[index], "sampling_rate": rate} for index in audible]
    return sounds, [(float(edges[index]), float(edges[index + 1])) for index in audible]


def timeline(spans: Sequence[tuple[float, float]], scores: Sequence[Scores], total: float) -> str:
    """Draw the most likely label over a recording of `total` seconds, as HTML."""
    colours = {word: COLOURS[index % len(COLOURS)] for index, word in enumerate(scores[0])}
    strip, shares = "", dict.fromkeys(colours, 0.0)
    for (start, end), one in zip(spans, scores):
        label = max(one, key=one.__getitem__)
        shares[label] += end - start
        title = html.escape(f"{clock(start)} to {clock(end)}: {label}, {one[label]:.2f}", quote=True)
        place = f"left: {100 * start / total:.3f}%; width: {100 * (end - start) / total:.3f}%"
        strip += f'<span style="{place}; background: {colours[label]}" title="{title}"></span>'
    legend = "".join(
        f'<span><i style="background: {colours[word]}"></i>{html.escape(word)} {shares[word] / total:.0%}</span>'
        for word in sorted(shares, key=shares.__getitem__, reverse=True)
        if shares[word]
    )
    return (
        '<div class="timeline-title">Most likely label over time</div>'
        f'<div role="img" aria-label="most likely label over time" class="timeline">{strip}</div>'
        f'<div class="timeline-ends"><span>0:00</span><span>{clock(total)}</span></div>'
        f'<div class="timeline-words">{legend}</div>'
    )


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def serve(page: gr.Blocks, **options: Any) -> None:
    """Serve the page until it is stopped; options as in `gr.Blocks.launch`."""
    page.launch(css=CSS, max_file_size="32mb", show_error=False, footer_links=[], **options)


def main() -> None:
    """Serve the model named in `README.md`, on the Hub."""
    from huggingface_hub import metadata_load
    from transformers import pipeline

    here = Path(__file__).resolve().parent
    (model,) = metadata_load(here / "README.md")["models"]
    recognizer = pipeline("audio-classification", model=model, trust_remote_code=True)

    def classify(sounds: list[dict[str, Any]], words: list[str]) -> list[Scores]:
        results = recognizer(sounds, candidate_labels=words, top_k=None)
        return [{one["label"]: one["score"] for one in result} for result in results]

    config = recognizer.model.config
    words = config.emotion_words or ["neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"]
    examples = sorted(map(str, (here / "examples").glob("*.flac")))
    serve(build(classify, words, model, examples, getattr(config, "training_stages", None)))


if __name__ == "__main__":
    main()
