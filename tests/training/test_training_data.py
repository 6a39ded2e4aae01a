# SPDX-License-Identifier: Apache-2.0
"""Split rows into training and validation clips, and report what is left out."""

import json
import os
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mser_llm.data.clips import Rejection, index_clips
from mser_llm.data.read_corpus import read_corpus
from mser_llm.data.schema import new_row
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.hub.data_record import trained_files
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import DataArguments
from mser_llm.training.data.clip_selection import log_dataset_summary, prepare_data, stage_rows, without_rejected
from mser_llm.training.run_training import check_earlier_stages
from processing_mser import label_set


LABELS = label_set("neutral,happy,sad,angry")


def rejection(rows, arguments: DataArguments) -> InputError:
    with pytest.raises(InputError) as raised:
        prepare_data(rows, arguments)
    return raised.value


def test_prepare_data_selects_the_languages_of_each_stage():
    rows = [{"id": str(index), "language": language} for index, language in enumerate(["en", "pl", "en", None, "de"])]

    def ids(*arguments: str) -> str:
        return "".join(row["id"] for row in stage_rows(rows, *arguments))

    assert ids("1") == "02"
    assert ids("2", "add") == ids("joint") == "01234"
    assert ids("2", "replace") == "134"


def test_missing_languages_and_emotions_are_described(rows, recipe, capsys):
    for language, found in (("pl", "pl"), (None, "unknown")):
        others = [{**row, "language": language} for row in rows]
        error = rejection(others, recipe("--stage", "1")[1])
        assert error.source == "stage 1" and error.problem.endswith(f" {found}")
        assert "language" in error.fix and "--stage joint" in error.fix
    rows = [{**row, "emotion": None} if number % 6 == 0 else row for number, row in enumerate(others)]
    log_dataset_summary(prepare_data(rows, recipe()[1]), LABELS)
    out = capsys.readouterr().out
    assert f": (no emotion) {len(rows[::6])}\n" in out and "None" not in out


def test_unmatched_labels_list_the_emotions_found(rows, recipe):
    rows = [{**row, "emotion": word} for row, word in zip(rows, ("wütend", "froh", None))]
    error = rejection(rows, recipe()[1])
    assert error.source == "labels " + ", ".join(LABELS.words)
    assert "the 3 rows" in error.problem and error.problem.endswith(" froh, wütend")


def test_unused_language_removes_no_emotions(rows):
    kept = DataArguments(labels="neutral,happy,sad,angry", labelled_languages=["en", "pl"])
    assert {clip.emotion for clip in prepare_data(rows, kept).train} == set(LABELS.words)
    error = rejection(rows, replace(kept, labelled_languages=["en", "PL"]))
    assert error.source == "labelled_languages PL" and error.problem.endswith(" en, pl")


def test_single_speaker_raises_with_a_fix(rows, recipe):
    alone = [row for row in rows if row["speaker"] == rows[0]["speaker"]]
    error = rejection(alone, recipe()[1])
    assert error.source.startswith("validation_fraction ") and f"all {len(alone)} " in error.problem
    assert "validation_fraction 0, average_from 0.3" in error.fix
    flags = ["--validation_fraction", "0", "--average_from", "0.3"]
    assert len(prepare_data(alone, recipe(*flags)[1]).train) == len(alone)


def test_split_keeps_translations_with_their_source(rows, recipe):
    _, arguments, _ = recipe()
    # Translations of every second clip only, so that a split of translations alone would differ.
    m5ser_rows = [
        {**row, "id": f"folder/{row['id']}/fr", "corpus": "m5ser", "source_corpus": "folder", "source_id": row["id"]}
        for row in rows[::2]
    ]
    for speakers in (lambda row: row["speaker"], lambda row: None):
        human, synthetic = ([{**row, "speaker": speakers(row)} for row in side] for side in (rows, m5ser_rows))
        alone, together = prepare_data(human, arguments), prepare_data([*synthetic, *human], arguments)
        for part in ("train", "validation"):
            sources = {clip.row["id"] for clip in getattr(alone, part)}
            kept = [clip.row for clip in getattr(together, part)]
            assert {row["id"] for row in kept if row["corpus"] == "folder"} == sources
            translations = {row["source_id"] for row in kept if row["corpus"] == "m5ser"}
            assert translations == sources & {row["source_id"] for row in synthetic} != set()


def test_held_out_speakers_do_not_depend_on_other_corpora(rows, recipe):
    _, arguments, _ = recipe()
    other = [{**row, "corpus": "other", "speaker": f"other-{row['speaker']}"} for row in rows]
    alone, together = prepare_data(rows, arguments), prepare_data([*other, *rows], arguments)
    held = {clip.row["speaker"] for clip in alone.validation}
    assert held == {clip.row["speaker"] for clip in together.validation if clip.row["corpus"] == "folder"}
    assert not held & {clip.row["speaker"] for clip in together.train}
    # A corpus of one speaker is used for training if others can validate.
    one = [{**row, "corpus": "one", "speaker": "one"} for row in rows[:8]]
    with_one = prepare_data([*one, *rows], arguments)
    assert {clip.row["id"] for clip in with_one.train if clip.row["corpus"] == "one"} == {row["id"] for row in one}


def test_held_out_corpus_includes_its_translations(rows, recipe):
    english, polish = ([row for row in rows if row["language"] == language] for language in ("en", "pl"))
    polish = [{**row, "corpus": "other"} for row in polish]
    m5ser_rows = [
        {**row, "corpus": "m5ser", "source_corpus": row["corpus"], "source_id": row["id"], "id": f"{row['id']}/fr"}
        for row in (*english, *polish)
    ]
    for stage in ("1", "joint"):
        data = prepare_data(
            [*m5ser_rows, *polish, *english], recipe("--validation_corpora", "other", "--stage", stage)[1]
        )
        assert [clip.row["id"] for clip in data.validation] == [row["id"] for row in polish]
        assert {clip.row["corpus"] for clip in data.train} == {"folder", "m5ser"}
        assert not {clip.row["speaker"] for clip in data.train} & {row["speaker"] for row in polish}
        assert len(data.train) == 2 * len(english)
    for names in (["absent"], ["folder", "other"]):
        error = rejection([*polish, *english], recipe("--validation_corpora", *names)[1])
        assert error.source == f"validation_corpora {', '.join(names)}"
        assert error.problem.endswith(" other, folder")


def test_broken_clip_with_views_is_one_rejection(rows, recipe):
    data = prepare_data(rows, recipe()[1])
    row = data.train[0].row
    with pytest.raises(InputError) as raised:
        without_rejected(data, [Rejection(clip.row, f"{clip.row['id']}: silent") for clip in data.validation])
    assert raised.value.source == "validation clips" and f"{data.validation[0].row['id']}: " in raised.value.problem
    left = without_rejected(data, [Rejection(row, "silent")] * 3)
    assert len(left.rejections) == 1 and len(left.train) == len(data.train) - 1
    assert row["id"] not in {clip.row["id"] for clip in left.train}

    # The same id in another folder.
    clip = data.train[0]
    other = replace(clip, row={**clip.row, "audio": {**clip.row["audio"], "path": "/elsewhere/of/the/same/id.wav"}})
    left = without_rejected(replace(data, train=[*data.train, other]), [Rejection(clip.row, "silent")])
    assert left.train == [*data.train[1:], other]


def test_published_test_part_is_not_trained_on(rows, recipe, capsys):
    """Checked for corpora with published parts and for one without."""
    divided = [
        {**row, "corpus": "divided", "speaker": f"d-{row['speaker']}", "split": ("train", "test")[number % 3 == 0]}
        for number, row in enumerate(rows)
    ]
    sessions = [{**row, "corpus": "sessions", "split": "session1"} for row in rows]
    flags = ["--validation_fraction", "0", "--train_splits", "train"]
    with pytest.warns(UserWarning, match="^train_splits train: .*: sessions session1$"):
        data = prepare_data([*rows, *divided, *sessions], recipe(*flags)[1])
    corpus_counts = Counter(clip.row["corpus"] for clip in data.train)
    assert corpus_counts == {"folder": 72, "sessions": 72, "divided": 48} and data.other_splits == {"divided test": 24}
    assert {clip.row["split"] for clip in data.train if clip.row["corpus"] == "divided"} == {"train"}
    log_dataset_summary(data, LABELS)
    assert ": {'divided test': 24}" in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare_data([*rows, *divided], recipe(*flags)[1]).other_splits == data.other_splits
        assert len(prepare_data([*rows, *divided], recipe(*flags[:2])[1]).train) == 144, "all by default"
    assert without_rejected(data, [Rejection(data.train[0].row, "silent")]).other_splits == data.other_splits


def _published(rows, corpus: str, parts) -> list[dict]:
    """Return rows of a corpus with every speaker in each published part, and their translations."""
    own = [{**row, "corpus": corpus, "language": "en", "split": parts[n % len(parts)]} for n, row in enumerate(rows)]
    return own + [
        {**row, "id": f"{corpus}/{row['id']}/fr", "corpus": "m5ser", "language": "fr", "split": "train"}
        | {"source_corpus": corpus, "source_id": row["id"], "source_split": row["split"]}
        for row in own
    ]


def test_validation_splits_uses_the_published_parts(rows, recipe, capsys):
    polish, other = ([row for row in rows if row["language"] == language] for language in ("pl", "en"))
    meld = _published(polish, "meld", ("train", "dev", "test"))
    other = [{**row, "corpus": "other"} for row in other]
    flags = ["--train_splits", "train", "--validation_splits", "dev", "--stage", "joint"]
    data = prepare_data([*meld, *other], recipe(*flags)[1])
    for part, own in (("train", data.train), ("dev", data.validation)):
        of_meld = [clip.row for clip in own if clip.row["corpus"] != "other"]
        assert Counter(row["corpus"] for row in of_meld) == {"meld": 12, "m5ser": 12}
        assert {row.get("source_split", row["split"]) for row in of_meld} == {part}
    assert data.other_splits == {"meld test": 24}
    # A corpus without such a part is split by speaker.
    sides = [
        {clip.row["speaker"] for clip in own if clip.row["corpus"] == "other"} for own in (data.train, data.validation)
    ]
    assert sides[1] and not sides[0] & sides[1]
    log_dataset_summary(data, LABELS)
    assert "3 speakers are in training and in validation" in capsys.readouterr().out
    by_part = prepare_data([*meld, *other], recipe(*flags, "--validation_fraction", "0")[1])
    assert {clip.row["corpus"] for clip in by_part.validation} == {"meld", "m5ser"}
    error = rejection(other, recipe(*flags, "--validation_fraction", "0")[1])
    assert error.source == "validation_splits dev"
    for bad in ({"train_splits": ["dev"]}, {"validation_corpora": ["meld"]}):
        with pytest.raises(ValueError, match="validation_splits"):
            DataArguments(validation_splits=["dev"], **bad)


def test_second_stage_shares_speakers_of_published_parts_only(rows, recipe, tmp_path: Path):
    """MELD has the same speakers in training and dev, but clips must differ."""
    meld = _published(rows, "meld", ("train", "dev"))
    data = prepare_data(meld, recipe("--train_splits", "train", "--validation_splits", "dev")[1])
    record = {"speakers": [clip.row["speaker"] for clip in data.train], "files": sorted(trained_files(data.train))}
    (tmp_path / "train_results.json").write_text(json.dumps(record), encoding="utf-8")
    check_earlier_stages(str(tmp_path), data.validation, ["dev"])
    with pytest.raises(SpeakerLeakError):
        check_earlier_stages(str(tmp_path), data.validation)
    record["files"] = sorted(trained_files(data.validation))
    (tmp_path / "train_results.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(SpeakerLeakError, match=str(data.validation[0].row["audio"]["path"])):
        check_earlier_stages(str(tmp_path), data.validation, ["dev"])


def test_prepare_data_selects_clips_by_duration(rows, recipe):
    seconds = sorted(clip.seconds for clip in index_clips(rows, LABELS)[0])
    least, most = seconds[10], seconds[-11]
    flags = ["--validation_fraction", "0", "--min_clip_seconds", str(least), "--max_clip_seconds", str(most)]
    data = prepare_data(rows, recipe(*flags)[1])
    assert sorted(clip.seconds for clip in data.train) == seconds[10:-10]
    reasons = sorted(rejection.reason.split(": ", 1)[1] for rejection in data.rejections)
    assert len(reasons) == 20 and "longer than 0.4" in reasons[0] and "shorter than 0.3" in reasons[-1]
    for least, most in ((2, 1), (-1, 5), (0, 31)):
        with pytest.raises(ValueError, match="min_clip_seconds"):
            DataArguments(min_clip_seconds=least, max_clip_seconds=most)


def test_copies_of_training_clips_are_not_validated_on(tones: Path, rows, recipe, tmp_path: Path):
    shutil.copytree(tones, tmp_path / "again")
    # The copies have other speakers, so that only their content identifies them.
    copies = [
        {**row, "corpus": "other", "speaker": f"another-{row['speaker']}"}
        for row in read_corpus("folder", tmp_path / "again").rows
    ]
    arguments = recipe("--validation_corpora", "other")[1]
    error = rejection([*rows, *copies], arguments)
    assert str(tones) in error.source and str(tmp_path / "again") in error.problem
    data = prepare_data([*rows, *copies[:5]], arguments)
    assert len(data.validation) == 5 and len(data.train) == len(rows) - 5
    assert not {clip.key for clip in data.train} & {clip.key for clip in data.validation}
    assert sorted(rejection.row["id"] for rejection in data.rejections) == sorted(row["id"] for row in copies[:5])
    assert "the same file as the validation clip" in data.rejections[0].reason
    assert str(tones) in data.rejections[0].reason and "again" in data.rejections[0].reason


def test_unreadable_file_has_the_reason_of_prediction(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "empty.wav").touch()
    rows = [
        new_row(id=name, path=tmp_path / name, corpus="folder", emotion="sad")
        for name in ("pipe.wav", "empty.wav", "none.wav")
    ]
    clips, rejections = index_clips(rows, label_set("four"))
    assert not clips
    reasons = [rejection.reason for rejection in rejections]
    assert "is a device or a pipe, not a file" in reasons[0]
    assert "is empty (0 bytes); copy or record it again" in reasons[1]
    assert "is missing (no such file)" in reasons[2]
