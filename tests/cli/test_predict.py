# SPDX-License-Identifier: Apache-2.0
"""`run-mser predict`, from arguments to printed lines."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling_mser import MSERForEmotionGeneration
from mser_llm.inference.recognition import recognize
from processing_mser import SAMPLING_RATE, label_set
from processing_mser.processing_mser import MSERProcessor
from run_mser import main


WORDS = label_set("seven").words


def noise(seconds: float, seed: int = 0, rate: int = SAMPLING_RATE) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


def break_audio(folder: Path) -> dict[str, str]:
    """Write broken audio; return each file name with a part of its expected error."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.mp3").write_text("this is no sound\n" * 50)
    soundfile.write(folder / "silence.flac", np.zeros(SAMPLING_RATE), SAMPLING_RATE)
    (folder / "dangling.wav").symlink_to(folder / "gone.wav")
    return {"empty.wav": "empty", "text.mp3": "not audio", "silence.flac": "silent", "dangling.wav": "missing"}


@pytest.fixture
def mixed_folder(tmp_path) -> tuple[Path, dict[str, str], list[str]]:
    folder = tmp_path / "recordings"
    (folder / "inner folder").mkdir(parents=True)
    broken = break_audio(folder)
    good = ["a.wav", "inner folder/ü b.flac", "stereo.ogg", "zz 48k.wav"]
    soundfile.write(folder / good[0], noise(0.6, 1), SAMPLING_RATE)
    soundfile.write(folder / good[1], noise(1.1, 2, 8000), 8000)
    soundfile.write(folder / good[2], np.stack([noise(1.3, 3), noise(1.3, 4)], axis=1), SAMPLING_RATE)
    soundfile.write(folder / good[3], noise(0.8, 5, 48000), 48000)
    return folder, broken, good


def test_predict_reports_broken_files_and_predicts_the_rest(mixed_folder, tiny_model_dir, capsys):
    folder, broken, good = mixed_folder

    status = main(["predict", str(folder), "--model", str(tiny_model_dir), "--json", "--device", "cpu"])

    assert status == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == sorted(str(folder / name) for name in (*broken, *good))
    outputs = {str(Path(line["file"]).relative_to(folder)): line for line in lines}
    for name, speaks_of in broken.items():
        assert set(outputs[name]) == {"file", "error"}
        problem, _, cure = outputs[name]["error"].partition("; ")
        assert name in problem
        assert re.search(speaks_of, problem), problem
        assert cure
    for name in good:
        output = outputs[name]
        assert set(output) == {"file", "label", "scores"} | ({"bandwidth_hz"} if "ü" in name else set())
        assert list(output["scores"]) == list(WORDS)
        assert output["label"] == max(output["scores"], key=output["scores"].get)
        assert sum(output["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_text_lines_start_with_the_label(mixed_folder, tiny_model_dir, capsys):
    folder, broken, good = mixed_folder
    assert main(["predict", str(folder), "--model", str(tiny_model_dir), "--batch_size", "2", "--device", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    files = sorted(str(folder / name) for name in (*broken, *good))
    start = lines[0].index(str(folder))
    model = MSERForEmotionGeneration.from_pretrained(tiny_model_dir)
    processor = MSERProcessor.from_pretrained(tiny_model_dir)
    for file, line in zip(files, lines, strict=True):
        assert line[start:].startswith(file)
        if str(Path(file).relative_to(folder)) in broken:
            assert line.split()[0] == "error" and line.split(";")[0].count(str(folder)) == 1
            continue
        (expected,) = recognize(model, processor, [file], WORDS)
        assert line[:start].split() == [expected.label, f"{expected.scores[expected.label]:.2f}"]
        pairs = line[start + max(map(len, files)) :].split()
        assert pairs[::2] == [f"*{word}" if word == expected.label else word for word in WORDS]
        assert [float(value) for value in pairs[1::2]] == pytest.approx(list(expected.scores.values()), abs=0.006)


def test_file_name_with_line_break_is_one_line(tiny_model_dir, tmp_path, capsys):
    for name in ("a\nb.wav", "c\r\x1b[31m.wav"):
        soundfile.write(tmp_path / name, noise(0.5), SAMPLING_RATE)
    (tmp_path / "e\nf.wav").touch()
    arguments = ["predict", str(tmp_path), "--model", str(tiny_model_dir), "--device", "cpu"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\r" not in out
    lines = out.split("\n")
    assert len(lines) == 4
    assert "a\\nb.wav" in lines[0] and "c\\r\\x1b[31m.wav" in lines[1]
    assert lines[2].startswith("error") and lines[2].count("f.wav") == 1
    assert main([*arguments, "--json"]) == 1
    names = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    assert names == sorted(str(tmp_path / name) for name in ("a\nb.wav", "c\r\x1b[31m.wav", "e\nf.wav"))


@pytest.fixture
def good_file(tmp_path) -> Path:
    path = tmp_path / "good.wav"
    soundfile.write(path, noise(0.7), SAMPLING_RATE)
    return path


def test_predict_succeeds_with_the_labels_of_the_model(good_file, tiny_model_dir, capsys):
    assert main(["predict", str(good_file), str(good_file), "--model", str(tiny_model_dir), "--json"]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert "warning" not in captured.err


def test_predict_rejects_unlearned_labels_unless_allowed(good_file, tiny_model_dir, capsys):
    arguments = ["predict", str(good_file), "--model", str(tiny_model_dir), "--labels"]
    assert main([*arguments, "happy,tired,bored", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert all(word in captured.err for word in ("tired", "bored", *WORDS, "allow_unlearned_labels"))
    allowed = [*arguments, "happy,tired,bored", "--allow_unlearned_labels"]
    assert main([*allowed, "--json"]) == 0
    captured = capsys.readouterr()
    line = json.loads(captured.out)
    assert list(line["scores"]) == ["happy", "tired", "bored"]
    assert line["unlearned_labels"] == ["tired", "bored"] and "tired, bored" in captured.err
    assert main(allowed) == 0
    assert re.search(r"happy [01].*tired\? [01].*bored\? [01]", capsys.readouterr().out)
    assert main([*arguments, "happy,sad", "--json"]) == 0
    captured = capsys.readouterr()
    assert "unlearned_labels" not in json.loads(captured.out) and "warning" not in captured.err


def test_pretrained_language_model_has_no_label_warning(good_file, tiny, tmp_path, capsys):
    model, processor = tiny
    model.config.emotion_words = model.config.learned_words = None
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    assert main(["predict", str(good_file), "--model", str(tmp_path / "model"), "--json", "--labels", "joy,rage"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["predict", str(good_file), "--model", str(tmp_path / "model"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) == list(WORDS)


def test_free_generation_shows_the_text(good_file, tiny_model_dir, capsys):
    arguments = ["predict", str(good_file), "--model", str(tiny_model_dir), "--decode", "generate"]
    assert main([*arguments, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["label"], line["scores"]) == ("unparsed", None)
    assert main(arguments) == 0
    label, file, text = re.split(r"  +", capsys.readouterr().out.strip(), maxsplit=2)
    assert (file, label, json.loads(text)) == (str(good_file), "unparsed", line["text"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["EMPTY"], "nothing: no audio found"),
        (["FILE", "--labels", "happy"], "label set 'happy'"),
        (["FILE", "--model", "EMPTY"], "no config.json"),
        (["FILE", "--model", "no/such/folder"], "no/such/folder: no such folder"),
        (["FILE", "--device", "warp"], "device 'warp'"),
        ([], "files"),
    ],
)
def test_predict_errors_are_one_line_and_status_2(arguments, message, good_file, tiny_model_dir, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    places = {"EMPTY": str(tmp_path / "nothing"), "FILE": str(good_file)}
    words = [places.get(word, word) for word in arguments]
    if "--model" not in words:
        words += ["--model", str(tiny_model_dir)]
    try:
        status = main(["predict", *words])
    except SystemExit as leaving:
        status = leaving.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_wrong_model_folder_suggests_the_nearest(good_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs" / "demo" / "model").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "model" / "config.json").write_text('{"model_type": "mser"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for wrong in ("runs/demo/modle", "runs/dmo/model", "runs/demo", "./runs/demo/models", "runs/model"):
        assert main(["predict", str(good_file), "--model", wrong]) == 2
        error = capsys.readouterr().err
        assert wrong.removeprefix("./") in error
        assert "did you mean runs/demo/model?" in error


def test_misspelled_label_suggests_the_nearest(good_file, tmp_path, capsys):
    for labels, near in (("hapy,sad", "happy"), ("neutral,anrgy", "angry"), ("suprised,sad", "surprised")):
        main(["predict", str(good_file), "--model", str(tmp_path / "none"), "--labels", labels])
        assert f"did you mean {near}?" in capsys.readouterr().err
    main(["predict", str(good_file), "--model", str(tmp_path / "none"), "--labels", "mad,content,Freude,happy"])
    assert "warning" not in capsys.readouterr().err


def test_folder_without_audio_is_reported_in_its_own_line(good_file, tiny_model_dir, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    status = main(["predict", str(tmp_path / "nothing"), str(good_file), "--model", str(tiny_model_dir), "--json"])
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert status == 1
    assert "folder" in first["error"]
    assert second["label"] in WORDS


def test_predict_survives_a_closed_pipe_and_unusual_names(tiny_model_dir, tmp_path):
    """Through a real pipe: `head` closes it after one line, and a name that is not UTF-8 gives valid JSON."""
    folder = os.fsencode(tmp_path / "many")
    os.mkdir(folder)
    soundfile.write(tmp_path / "one.wav", noise(0.3), SAMPLING_RATE)
    names = [b"\xff first.wav", *(b"%03d.wav" % number for number in range(40))]
    for name in names:
        os.link(tmp_path / "one.wav", os.path.join(folder, name))
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "run_mser.py"), "predict", os.path.join(folder, names[0]), folder]
    command += ["--model", str(tiny_model_dir), "--json", "--batch_size", "1", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    first = process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(timeout=240) == 1
    assert os.fsencode(json.loads(first)["file"]) == os.path.join(folder, names[0])
    assert "Traceback" not in errors
    assert "Broken" not in errors
