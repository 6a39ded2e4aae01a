# SPDX-License-Identifier: Apache-2.0
"""Corpora whose file names contain the labels."""

from collections.abc import Callable
from pathlib import Path

from .files import Clip, named, touch


def mead(root: Path) -> dict[str, Clip]:
    clips: dict[str, Clip] = {
        "M003/audio/angry/level_1/001": ("angry", "M003", "male", None),
        "M003/audio/contempt/level_3/030": ("contempt", "M003", "male", None),
        "M003/audio/disgusted/level_2/002": ("disgust", "M003", "male", None),
        "M003/audio/fear/level_1/001": ("fear", "M003", "male", None),
        "W009/audio/happy/level_1/001": ("happy", "W009", "female", None),
        "W009/audio/neutral/level_1/001": ("neutral", "W009", "female", None),
        "W009/audio/sad/level_1/001": ("sad", "W009", "female", None),
        "W009/audio/surprised/level_1/001": ("surprise", "W009", "female", None),
    }
    touch(root, *(f"{clip}.wav" for clip in clips))
    touch(root, "M003/video/front/angry/level_1/001.mp4")
    return clips


def savee(root: Path) -> dict[str, Clip]:
    names = {"a01": "angry", "d02": "disgust", "f03": "fear", "h04": "happy", "n30": "neutral"}
    names |= {"sa05": "sad", "su06": "surprise"}
    touch(root, *(f"AudioData/{speaker}/{name}.wav" for speaker in ("DC", "KL") for name in names))
    return {
        f"{speaker}_{name}": (word, speaker, "male", None) for speaker in ("DC", "KL") for name, word in names.items()
    }


def casia(root: Path) -> dict[str, Clip]:
    """Both layouts."""
    words = ("angry", "fear", "happy", "neutral", "sad", "surprise")
    touch(root, *(f"liuchanhg/{word}/201.wav" for word in words), "angry/250-angry-ZhaoZuoxiang.wav")
    clips = {f"liuchanhg-{word}-201": (word, "liuchanhg", None, None) for word in words}
    return {"ZhaoZuoxiang-angry-250": ("angry", "ZhaoZuoxiang", None, None), **clips}


def oreau(root: Path) -> dict[str, Clip]:
    build = named(
        {
            "OréauFR_02/f/sessc/10a01Ca.wav": ("angry", "10", "female", None),
            "OréauFR_02/f/sessd/10a01Da.wav": ("disgust", "10", "female", None),
            "OréauFR_02/f/sessj/10a02Ja.wav": ("happy", "10", "female", None),
            "OréauFR_02/f/sessn/10a01Na.wav": ("neutral", "10", "female", None),
            "OréauFR_02/m/sessp/07a01Pa.wav": ("fear", "07", "male", None),
            "OréauFR_02/m/sesss/07z03Sa.wav": ("surprise", "07", "male", None),
            "OréauFR_02/m/sesst/07a01Ta.wav": ("sad", "07", "male", None),
        }
    )
    touch(root, "OréauFR_01/f/sessc/10a01Ca.wav")
    return build(root)


LABELS_IN_NAMES: dict[str, Callable[[Path], dict[str, Clip]]] = {
    "mead": mead,
    "ravdess": named(
        {
            "Actor_01/03-01-01-01-01-01-01.wav": ("neutral", "01", "male", None),
            "Actor_01/03-01-02-01-01-01-01.wav": ("calm", "01", "male", None),
            "Actor_24/03-01-06-02-02-02-24.wav": ("fear", "24", "female", None),
        }
    ),
    "tess": named(
        {
            "OAF_angry/OAF_back_angry.wav": ("angry", "OA", "female", None),
            "OAF_angry/OA_bite_neutral.wav": ("neutral", "OA", "female", None),
            "OAF_Pleasant_surprise/OAF_back_ps.wav": ("surprise", "OA", "female", None),
            "YAF_disgust/copy of YAF_germ_disgust (1).wav": ("disgust", "YA", "female", None),
            "YAF_sad/YAF_youth_sad.wav": ("sad", "YA", "female", None),
            "YAF_happy/YAF_kite_happy.wav": ("happy", "YA", "female", None),
            "YAF_fear/YAF_kite_fear.wav": ("fear", "YA", "female", None),
        }
    ),
    "savee": savee,
    "aesdd": named(
        {
            "anger/a01 (1).wav": ("angry", "1", None, None),
            "anger/a03 (4)b.wav": ("angry", "4", None, None),
            "anger/a07 (01).wav": ("angry", "1", None, None),
            "disgust/d01 (2).wav": ("disgust", "2", None, None),
            "fear/f10 (3).wav": ("fear", "3", None, None),
            "happiness/h20 (6).wav": ("happy", "6", None, None),
            "sadness/s01 (5).wav": ("sad", "5", None, None),
        }
    ),
    "shemo": named(
        {
            "female/F01A01.wav": ("angry", "F01", "female", None),
            "female/F01N105.wav": ("neutral", "F01", "female", None),
            "female/F31S02.wav": ("sad", "F31", "female", None),
            "male/M01H01.wav": ("happy", "M01", "male", None),
            "male/M56W01.wav": ("surprise", "M56", "male", None),
            "male/M56F01.wav": ("fear", "M56", "male", None),
        }
    ),
    "emodb": named(
        {
            "wav/03a01Fa.wav": ("happy", "03", "male", None),
            "wav/08b02Tc.wav": ("sad", "08", "female", None),
            "wav/16b10Lb.wav": ("boredom", "16", "female", None),
            "wav/11b03E.wav": ("disgust", "11", "male", None),
        }
    ),
    "urdu": named(
        {
            "Angry/SM1_F1_A1.wav": ("angry", "M1", "male", None),
            "Happy/SM27_F10_H024.wav": ("happy", "M27", "male", None),
            "Neutral/SF1_F1_N1.wav": ("neutral", "F1", "female", None),
            "Sad/SF1_F2_S2.wav": ("sad", "F1", "female", None),
        }
    ),
    "subesco": named(
        {
            "F_01_OISHI_S_10_ANGRY_1.wav": ("angry", "F01", "female", None),
            "F_01_OISHI_S_1_DISGUST_5.wav": ("disgust", "F01", "female", None),
            "M_01_TITAS_S_2_FEAR_1.wav": ("fear", "M01", "male", None),
            "M_10_RASHED_S_3_HAPPY_2.wav": ("happy", "M10", "male", None),
            "M_10_RASHED_S_3_NEUTRAL_2].wav": ("neutral", "M10", "male", None),
            "M_10_RASHED_S_3_SAD_2.wav": ("sad", "M10", "male", None),
            "M_10_RASHED_S_3_SURPRISE_2.wav": ("surprise", "M10", "male", None),
        }
    ),
    "ased": named(
        {
            "neutral/n1-01-01-01-15.wav": ("neutral", "15", "female", None),
            "fear/f2-02-01-02-16.wav": ("fear", "16", "male", None),
            "happy/h3-03-02-02-16.wav": ("happy", "16", "male", None),
            "sad/s4-04-02-01-15.wav": ("sad", "15", "female", None),
            "sad/S4-05-02-01-15.wav": ("sad", "15", "female", None),
            # Speaker 17 is once a woman and once a man.
            "angry/a5-06-01-01-17.wav": ("angry", "17", None, None),
            "angry/a5-07-01-02-17.wav": ("angry", "17", None, None),
        }
    ),
    "turev-db": named(
        {
            "Angry/1157_kz_acik.wav": ("angry", "1157", None, None),
            "Calm/1157_sk_ak.sam.wav": ("calm", "1157", None, None),
            "Happy/6783_mt_altın kız.wav": ("happy", "6783", None, None),
            "Sad/6783_hl_aşk_2.wav": ("sad", "6783", None, None),
        }
    ),
    "emovo": named(
        {
            "f1/dis-f1-b1.wav": ("disgust", "f1", "female", None),
            "f1/gio-f1-b1.wav": ("happy", "f1", "female", None),
            "f1/neu-f1-d2.wav": ("neutral", "f1", "female", None),
            "m3/pau-m3-l4.wav": ("fear", "m3", "male", None),
            "m3/rab-m3-n5.wav": ("angry", "m3", "male", None),
            "m3/sor-m3-b3.wav": ("surprise", "m3", "male", None),
            "m3/tri-m3-l1.wav": ("sad", "m3", "male", None),
        }
    ),
    "banglaser": named(
        {
            "Actor_01/03-01-01-01-01-01-01.wav": ("happy", "01", None, None),
            "Actor_01/03-01-02-01-02-03-01.wav": ("sad", "01", None, None),
            "Actor_15/01-01-04-02-03-01-15.wav": ("surprise", "15", None, None),
            "Actor_34/03-01-03-02-02-02-34.wav": ("angry", "34", None, None),
            "Actor_34/03-01-05-01-02-02-34.wav": ("neutral", "34", None, None),
        }
    ),
    "spanish": named(
        {
            "data/0/Alegria_1.wav": ("happy", "0", None, None),
            "data/0/Ira__7.wav": ("angry", "0", None, None),
            "data/11/Neutro.wav": ("neutral", "11", None, None),
            "data/12/Asco_12.wav": ("disgust", "12", None, None),
            "tests/Test1/Miedo_3.wav": ("fear", "Test1", None, None),
            "tests/Test2/Alegria_1.wav": ("happy", "Test2", None, None),
            "tests/Test2/Sorpresa_1.wav": ("surprise", "Test2", None, None),
            "tests/Test2/Tristeza_1.wav": ("sad", "Test2", None, None),
        },
        folders=True,
    ),
    "emogator": named(
        {
            "data/mp3/000001-01-1.mp3": ("other", "000001", None, None),
            "data/mp3/000001-03-1.mp3": ("angry", "000001", None, None),
            "data/mp3/000001-13-3.mp3": ("happy", "000001", None, None),
            "data/mp3/000357-25-2.mp3": ("calm", "000357", None, None),
            "data/mp3/000357-27-2.mp3": ("surprise", "000357", None, None),
            "data/mp3/000357-30-2.mp3": ("other", "000357", None, None),
        }
    ),
    "casia": casia,
    "eyase": named(
        {
            "fm01_ang (1).wav": ("angry", "fm01", None, None),
            "fm01_hap (12).wav": ("happy", "fm01", None, None),
            "mm02_neu (3).wav": ("neutral", "mm02", None, None),
            "mm02_sad (4).wav": ("sad", "mm02", None, None),
        }
    ),
    "esd": named(
        {
            "0001/Neutral/0001_000001.wav": ("neutral", "0001", "female", None),
            "0010/Surprise/test/0010_001421.wav": ("surprise", "0010", "male", "test"),
            "0011/Angry/evaluation/0011_000351.wav": ("angry", "0011", "male", "evaluation"),
            "0011/Happy/train/0011_000721.wav": ("happy", "0011", "male", "train"),
            "0019/Sad/0019_001051.wav": ("sad", "0019", "female", None),
        }
    ),
    "jl-corpus": named(
        {
            "JL(wav+txt)/female1_angry_10a_1.wav": ("angry", "female1", "female", None),
            "JL(wav+txt)/female1_concerned_1a_2.wav": ("other", "female1", "female", None),
            "JL(wav+txt)/male2_excited_15b_2.wav": ("excited", "male2", "male", None),
            "JL(wav+txt)/male2_happy_4b_1.wav": ("happy", "male2", "male", None),
            "JL(wav+txt)/male2_neutral_4b_1.wav": ("neutral", "male2", "male", None),
            "JL(wav+txt)/male2_sad_4b_1.wav": ("sad", "male2", "male", None),
        }
    ),
    "emov-db": named(
        {
            "bea/Amused/amused_1-28_0011.wav": ("happy", "bea", "female", None),
            "jenie_Angry/anger_1-28_0011.wav": ("angry", "jenie", "female", None),
            "josh_Neutral/neutral_1-28_0011.wav": ("neutral", "josh", "male", None),
            "sam/Disgusted/disgust_1-28_0011.wav": ("disgust", "sam", "male", None),
            "sam/Sleepy/sleepiness_1-28_0011.wav": ("other", "sam", "male", None),
        },
        folders=True,
    ),
    "cafe": named(
        {
            "Colère/Faible/01-C-1-1.wav": ("angry", "01", "male", None),
            "Dégoût/Fort/02-D-2-2.aiff": ("disgust", "02", "female", None),
            "Joie/Fort/02-J-2-3.wav": ("happy", "02", "female", None),
            "Neutre/11-N-1-4.wav": ("neutral", "11", "male", None),
            "Peur/Fort/12-P-2-5.wav": ("fear", "12", "female", None),
            "Surprise/Fort/12-S-2-6.wav": ("surprise", "12", "female", None),
            "Tristesse/Fort/12-T-2-6.wav": ("sad", "12", "female", None),
        }
    ),
    "oreau": oreau,
    "mesd": named(
        {
            "Anger_F_A_tarde.wav": ("angry", None, "female", None),
            "Disgust_M_A_rapido.wav": ("disgust", None, "male", None),
            "Fear_M_A_basta_ya.wav": ("fear", None, "male", None),
            "Happiness_C_B_bebe.wav": ("happy", None, None, None),
            "Neutral_F_B_hondo.wav": ("neutral", None, "female", None),
            "Sadness_C_A_si.wav": ("sad", None, None, None),
        }
    ),
    "kannada": named(
        {
            "01-01-01.wav": ("angry", "01", None, None),
            "01-02-06.wav": ("sad", "01", None, None),
            "02-03-01.wav": ("surprise", "02", None, None),
            "12-04-01.wav": ("happy", "12", None, None),
            "13-05-01.wav": ("fear", "13", None, None),
            "13-06-01.wav": ("neutral", "13", None, None),
        }
    ),
    "baved": named(
        {
            "0/12-m-21-0-0-345.wav": (None, "12", "male", None),
            "2/7-F-33-6-2-1.wav": (None, "7", "female", None),
        }
    ),
}
