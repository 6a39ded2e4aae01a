# SPDX-License-Identifier: Apache-2.0
"""Corpora whose labels, genders or transcripts are in tables."""

import json
from collections.abc import Callable
from pathlib import Path

from .files import Clip, touch, write


def iemocap(root: Path) -> dict[str, Clip]:
    turns = {
        # In Ses01F the woman wears the markers, and the man speaks too.
        "Ses01F_impro01_F000": ("neu", "Excuse me."),
        "Ses01F_impro01_M000": ("ang", "Do you have your forms?"),
        "Ses01M_impro01_F000": ("xxx", "Yeah."),
        "Ses02F_script01_1_M001": ("exc", "Wow!"),
        "Ses05M_script03_2b_F023": ("fru", "Why?"),
        "Ses05M_impro05a_MXX0": ("hap", "Ha."),
        "Ses05M_impro05a_M001": ("oth", "Hm."),
    }
    for turn, (label, words) in turns.items():
        session, dialogue = f"Session{turn[4]}", turn.rpartition("_")[0]
        touch(root, f"{session}/sentences/wav/{dialogue}/{turn}.wav", f"{session}/dialog/wav/{dialogue}.wav")
        folder = root / session / "dialog"
        for name, line in {
            f"EmoEvaluation/{dialogue}.txt": f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]",
            f"transcriptions/{dialogue}.txt": f"{turn} [006.2901-008.2357]: {words}",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with open(folder / name, "a", encoding="utf-8") as file:
                if file.tell() == 0:
                    file.write("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n")
                file.write(line + "\nC-E1:\tNeutral;\t()\n")
        # The label of a single listener and a file of macOS: neither counts.
        write(folder, f"EmoEvaluation/Categorical/e1_{dialogue}_cat.txt", f"[6.2901 - 8.2357]\t{turn}\tsad\t[1, 1, 1]")
        write(folder, f"EmoEvaluation/._{dialogue}.txt", f"[6.2901 - 8.2357]\t{turn}\tsad\t[1, 1, 1]")
        touch(root, f"{session}/sentences/wav/{dialogue}/._{turn}.wav")
    return {
        "Ses01F_impro01_F000": ("neutral", "Ses01F", "female", "session1"),
        "Ses01F_impro01_M000": ("angry", "Ses01M", "male", "session1"),
        "Ses02F_script01_1_M001": ("excited", "Ses02M", "male", "session2"),
        "Ses05M_impro05a_M001": ("other", "Ses05M", "male", "session5"),
        "Ses05M_impro05a_MXX0": ("happy", "Ses05M", "male", "session5"),
        "Ses05M_script03_2b_F023": ("frustrated", "Ses05F", "female", "session5"),
    }


MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


def meld(root: Path, extension: str = ".wav") -> dict[str, Clip]:
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    tail = '8,21,"00:16:16,059","00:16:21,731"'
    # Dialogue 0 exists in every split.
    write(
        root,
        "train_sent_emo.csv",
        header,
        f'1,"also I was, the point person",Chandler,neutral,neutral,0,0,{tail}',
        f"2,You must\u2019ve had your hands full.,The Interviewer,surprise,positive,0,1,{tail}",
        f"3,Broken,Joey,joy,positive,125,3,{tail}",
    )
    write(root, "dev_sent_emo.csv", header, f"1,Oh my God!,Phoebe,sadness,negative,0,0,{tail}")
    write(
        root,
        "test_sent_emo.csv",
        header,
        f"1,Why do all you're coffee mugs have numbers?,Mark,fear,negative,0,0,{tail}",
        f"2,Oh.,Rachel,disgust,negative,10,0,{tail}",
    )
    clips = ["train/dia0_utt0", "train/dia0_utt1", "dev/dia0_utt0", "test/dia0_utt0", "test/dia10_utt0"]
    for clip in clips:
        split, name = clip.split("/")
        touch(root, f"{MELD_FOLDERS[split]}/{name}{extension}")
    touch(root, f"output_repeated_splits_test/final_videos_testdia10_utt0{extension}")
    return {
        "dev/dia0_utt0": ("sad", "Phoebe", "female", "dev"),
        "test/dia0_utt0": ("fear", "Mark", None, "test"),
        "test/dia10_utt0": ("disgust", "Rachel", "female", "test"),
        "train/dia0_utt0": ("neutral", "Chandler", "male", "train"),
        "train/dia0_utt1": ("surprise", "The Interviewer", None, "train"),
    }


def msp_podcast(root: Path) -> dict[str, Clip]:
    root = root / "MSP-PODCAST-Publish-1.11"
    lines = {
        "MSP-PODCAST_0001_0008": ("N", "30", "Male", "Train"),
        "MSP-PODCAST_0001_0019": ("A", "Spkr_30", "Male", "Train"),
        "MSP-PODCAST_0153_0064_0001": ("C", "Spkr_7", "Female", "Development"),
        "MSP-PODCAST_0200_0001": ("O", "Unknown", "Unknown", "Test1"),
        "MSP-PODCAST_0200_0002": ("X", "8", "Female", "Test2"),
        "MSP-PODCAST_0200_0003": ("U", "8", "Female", "Test2"),
    }
    write(
        root,
        "Labels/labels_consensus.csv",
        "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set",
        *(f"{clip}.wav,{label},4.0,3.2,4.1,{','.join(rest)}" for clip, (label, *rest) in lines.items()),
    )
    # The hidden test set has recordings and no labels.
    hidden = ["MSP-PODCAST_test3_0001", "MSP-PODCAST_0900_0001"]
    write(
        root,
        "Partition.txt",
        *(f"{values[3]}; {clip}.wav" for clip, values in lines.items()),
        *(f"Test3; {clip}.wav" for clip in hidden),
    )
    touch(root, *(f"Audios/{clip}.wav" for clip in [*lines, *hidden]))
    return {
        "MSP-PODCAST_0001_0008": ("neutral", "30", "male", "train"),
        "MSP-PODCAST_0001_0019": ("angry", "30", "male", "train"),
        "MSP-PODCAST_0153_0064_0001": ("contempt", "7", "female", "development"),
        "MSP-PODCAST_0200_0001": ("other", None, None, "test1"),
        "MSP-PODCAST_0200_0003": ("surprise", "8", "female", "test2"),
    }


MOSEI_RATINGS = {
    # Sentiment, happy, sad, anger, surprise, disgust, fear.
    "--qXJuDtHPw": [
        [1.0, 0.67, 0, 0, 0, 0, 0],
        [-2.0, 0, 0, 0, 0, 0, 0],
        [0.0, 1.0, 1.0, 0, 0, 0.33, 0],
        [-1.0, 0, 0.33, 1.33, 0, 1.0, 0],
    ],
    "a_b_12": [[0.0, 0, 0, 0, 0, 0, 0.33]],
    "100499": [[3.0, 0, 0, 0, 2.0, 0, 0], [0.0, 0, 0, 0, 0, 3.0, 0]],
}


def cmu_mosei(root: Path) -> dict[str, Clip]:
    import h5py
    import numpy as np

    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "CMU_MOSEI_Labels.csd", "w") as file:
        for video, ratings in MOSEI_RATINGS.items():
            group = file.create_group(f"All Labels/data/{video}")
            group["features"] = np.array(ratings, dtype=np.float32)
            group["intervals"] = np.array([[i, i + 1] for i in range(len(ratings))], dtype=np.float32)
        file["All Labels"].create_group("metadata")
    audio = "Audio/Segmented_Audio"
    touch(root, *(f"{audio}/train/--qXJuDtHPw_{index}.wav" for index in range(4)))
    touch(root, f"{audio}/dev/a_b_12_0.wav", f"{audio}/test/100499_0.wav", f"{audio}/test/100499_1.wav")
    touch(root, *(f"Audio/Full/WAV_16000/{video}.wav" for video in MOSEI_RATINGS))
    return {
        "--qXJuDtHPw_0": ("happy", "--qXJuDtHPw", None, "train"),
        "--qXJuDtHPw_3": ("angry", "--qXJuDtHPw", None, "train"),
        "100499_0": ("surprise", "100499", None, "test"),
        "100499_1": ("disgust", "100499", None, "test"),
        "a_b_12_0": ("fear", "a_b_12", None, "dev"),
    }


def common_voice(root: Path) -> dict[str, Clip]:
    root = root / "cv-corpus-22.0-2025-06-20"
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment"

    def line(client: str, clip: str, sentence: str, gender: str, locale: str) -> str:
        return f"{client}\t{clip}.mp3\t{sentence}\t2\t0\ttwenties\t{gender}\t\t\t{locale}\t"

    train = line("aa1", "common_voice_fr_17", '"Bonjour, dit-il.', "female_feminine", "fr")
    other = line("aa1", "common_voice_fr_18", "Bonsoir.", "female_feminine", "fr")
    bad = line("bb2", "common_voice_fr_19", "Euh.", "male", "fr")
    write(root, "fr/train.tsv", header, train)
    write(root, "fr/validated.tsv", header, train, other)
    write(root, "fr/invalidated.tsv", header, bad)
    write(root, "fr/reported.tsv", "sentence\tsentence_id\tlocale\treason", "Euh.\t1\tfr\tother")
    write(root, "zh-CN/test.tsv", header, line("cc3", "common_voice_zh-CN_20", "你好", "", "zh-CN"))
    write(root, "zh-HK/dev.tsv", header, line("dd4", "common_voice_zh-HK_21", "你好", "male_masculine", "zh-HK"))
    touch(root, *(f"fr/clips/common_voice_fr_{number}.mp3" for number in (17, 18, 19)))
    touch(root, "zh-CN/clips/common_voice_zh-CN_20.mp3", "zh-HK/clips/common_voice_zh-HK_21.mp3")
    return {
        "common_voice_fr_17": (None, "aa1", "female", "train"),
        "common_voice_fr_18": (None, "aa1", "female", "validated"),
        "common_voice_zh-CN_20": (None, "cc3", None, "test"),
        "common_voice_zh-HK_21": (None, "dd4", "male", "dev"),
    }


def crema_d(root: Path) -> dict[str, Clip]:
    write(root, "VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity", "1001,51,Male,C,N", "1040,42,Female,A,N")
    clips = ["1001_DFA_ANG_XX", "1001_IEO_SAD_HI", "1001_IEO_NEU_XX", "1040_ITH_SAD_X", "1040_TSI_DIS_XX"]
    clips += ["1040_TSI_FEA_XX", "1040_TSI_HAP_XX"]
    touch(root, *(f"AudioWAV/{clip}.wav" for clip in clips))
    # The same clips as published, compressed, and with video.
    touch(root, *(f"AudioMP3/{clip}.mp3" for clip in clips), *(f"VideoFlash/{clip}.flv" for clip in clips))
    words = {"ANG": "angry", "SAD": "sad", "NEU": "neutral", "DIS": "disgust", "FEA": "fear", "HAP": "happy"}
    genders = {"1001": "male", "1040": "female"}
    return {clip: (words[clip[9:12]], clip[:4], genders[clip[:4]], None) for clip in clips}


def nemo(root: Path) -> dict[str, Clip]:
    write(
        root,
        "data.tsv",
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage",
        "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23",
        "SK0_anger_1.wav\tanger\tLubię czytać.\tlubię czytać\tSK0\tfemale\t30",
    )
    touch(root, "samples/SK0_anger_1.wav", "samples/WR0_surprised_64.wav")
    return {
        "SK0_anger_1": ("angry", "SK0", "female", None),
        "WR0_surprised_64": ("surprise", "WR0", "male", None),
    }


RESD_SPLITS = {
    "train": ["32_happiness_enthusiasm_h_120", "32_happiness_enthusiasm e_121", "1_anger_fear_a_010"],
    "test": ["1_anger_fear f_011", "1_anger_fear_n_012", "10_disgust_sadness_d_1", "10_disgust_sadness_s_2"],
}
_RESD_CLIPS: dict[str, Clip] = {
    "1_anger_fear f_011": ("fear", None, None, "test"),
    "1_anger_fear_a_010": ("angry", None, None, "train"),
    "1_anger_fear_n_012": ("neutral", None, None, "test"),
    "10_disgust_sadness_d_1": ("disgust", None, None, "test"),
    "10_disgust_sadness_s_2": ("sad", None, None, "test"),
    "32_happiness_enthusiasm e_121": ("enthusiasm", None, None, "train"),
    "32_happiness_enthusiasm_h_120": ("happy", None, None, "train"),
}


def resd(root: Path) -> dict[str, Clip]:
    for split, clips in RESD_SPLITS.items():
        touch(root, *(f"{split}/{clip.split('_')[0]}/{clip}.wav" for clip in clips))
    return _RESD_CLIPS


def resd_parquet(root: Path, recording: bytes = b"") -> dict[str, Clip]:
    """The copy on the Hub: recordings inside Parquet files."""
    import pyarrow as pa
    from pyarrow import parquet

    (root / "data").mkdir(parents=True)
    for split, clips in RESD_SPLITS.items():
        table = pa.table(
            {
                "name": clips,
                "path": [f"{clip.rpartition('_')[0]}/{clip}.wav" for clip in clips],
                "emotion": ["happiness"] * len(clips),
                "speech": [{"bytes": recording + clip.encode(), "path": f"{clip}.wav"} for clip in clips],
            }
        )
        parquet.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")
    return _RESD_CLIPS


def librispeech(root: Path) -> dict[str, Clip]:
    for chapter, words in {"dev-clean/84/121123": "GO DO YOU HEAR", "train-other-500/20/205": "INTRODUCTION"}.items():
        clip = "-".join(chapter.split("/")[1:])
        touch(root, f"{chapter}/{clip}-0000.flac")
        write(root, f"{chapter}/{clip}.trans.txt", f"{clip}-0000 {words}")
    lines = ("; ID  |SEX| SUBSET           |MINUTES| NAME", "20   | F | train-other-500  | 30.07 | A B")
    write(root, "SPEAKERS.TXT", *lines, "84   | M | dev-clean        |  8.02 | C D")
    return {"84-121123-0000": (None, "84", "male", None), "20-205-0000": (None, "20", "female", None)}


EMOZIONALMENTE = ("anger", "disgust", "fear", "joy", "neutrality", "sadness", "surprise")


def emozionalmente(root: Path) -> dict[str, Clip]:
    names = [f"161365836645{number}" for number in range(7)]
    touch(root, *(f"audio/{name}.wav" for name in names))
    rows = [f'{name}.wav,ada,"Io, tu",{label}' for name, label in zip(names, EMOZIONALMENTE)]
    write(root, "metadata/samples.csv", "file_name,actor,sentence,emotion_expressed", *rows)
    write(root, "metadata/users.csv", "username,age,gender", "ada,36,female", "ugo,36,male")
    words = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    return {name: (word, "ada", "female", None) for name, word in zip(names, words)}


DUSHA = ("angry", "sad", "neutral", "positive", "other")


def dusha(root: Path) -> dict[str, Clip]:
    for split, words in {"train": DUSHA, "test": DUSHA[:1]}.items():
        records = [
            {"hash_id": f"{split}{word}", "emotion": word, "speaker_text": "да", "source_id": ""} for word in words
        ]
        touch(root, *(f"crowd_{split}/wavs/{split}{word}.wav" for word in words))
        folder = "processed_dataset_090/aggregated_dataset"
        write(root, f"{folder}/crowd_{split}.jsonl", *map(json.dumps, records))
    names = {"positive": "happy"}
    train = {f"train{word}": (names.get(word, word), None, None, "train") for word in DUSHA}
    return {"testangry": ("angry", None, None, "test"), **train}


def thai_ser(root: Path) -> dict[str, Clip]:
    votes = {
        "s001_1": [["Neutral"], ["Neutral"], ["Neutral"], ["Sad"]],
        "s001_2": [["Angry"], ["Angry", "Frustrated"]],  # 0.75 angry
        "s001_3": [["Happy"]],
        "s002_1": [["Sad"], ["Sad", "Other"]],
        "z001_1": [["Frustrated"]],
    }
    labels = {f"{name}.wav": [{"annotated": chosen}] for name, chosen in votes.items()}
    write(root, "emotion_label_v1.json", json.dumps(labels))
    places = {"s": ("studio", "con"), "z": ("zoom", "mic")}
    for name in votes:
        place, microphone = places[name[0]]
        touch(root, f"{place}{name[1:4]}/{microphone}/{name}.flac")
    touch(root, "studio001/clip/s001_1.flac")
    words = ("neutral", "angry", "happy", "sad", "frustrated")
    sessions = ("studio001", "studio001", "studio001", "studio002", "zoom001")
    return {name: (word, session, None, None) for name, word, session in zip(votes, words, sessions)}


def unlabeled(root: Path) -> dict[str, Clip]:
    clips = ["calls/monday/1", "calls/tuesday/1", "voice memo"]
    touch(root, *(f"{clip}.ogg" for clip in clips))
    return dict.fromkeys(clips, (None, None, None, None))


LABELS_IN_TABLES: dict[str, Callable[[Path], dict[str, Clip]]] = {
    "iemocap": iemocap,
    "meld": meld,
    "msp-podcast": msp_podcast,
    "cmu-mosei": cmu_mosei,
    "crema-d": crema_d,
    "resd": resd,
    "nemo": nemo,
    "common-voice": common_voice,
    "emozionalmente": emozionalmente,
    "dusha": dusha,
    "thai-ser": thai_ser,
    "librispeech": librispeech,
    "unlabeled": unlabeled,
}
