# SPDX-License-Identifier: Apache-2.0
"""Acted speech in languages other than English."""

from mser_llm.data.corpora.rule import NULL, Rule
from mser_llm.data.corpora.spec import CorpusSpec, ParquetClips
from mser_llm.data.corpora.tables import DelimitedTable


_FEMALE_MALE = {"F": "female", "M": "male", "f": "female", "m": "male"}

ACTED_LANGUAGES = (
    CorpusSpec(
        name="aesdd",
        title="AESDD, acted emotional speech dynamic database",
        language="el",
        # Five names write (01) where others write (1).
        pattern=r"(?P<emotion>[adfhs])(?P<utterance>\d{2}) \(0*(?P<speaker>\d+)\)(?P<take>[a-z]?)",
        example="a03 (4)b",
        expected={"happy": 119, "sad": 122, "angry": 121, "disgust": 122, "fear": 120},
        speakers=6,
        license="not stated",
        redistribution=False,
        non_commercial=True,
        how_to_get="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
        citation=(
            "Vryzas, Kotsakis, Liatsou, Dimoulas and Kalliris, Speech Emotion Recognition for Performance "
            "Interaction, Journal of the Audio Engineering Society 66(6), 2018"
        ),
        note="The names tell six speakers apart, its README five.",
    ),
    CorpusSpec(
        name="resd",
        title="RESD, Russian emotional speech dialogs",
        language="ru",
        pattern=(r"(?P<dialogue>\d+)_(?P<first>[a-z]+)_(?P<second>[a-z]+)[_ ](?P<emotion>[adefhns])_(?P<number>\d+)"),
        example="32_happiness_enthusiasm_h_120",
        # Nobody says who spoke; every one of the 50 dialogues is in both splits.
        speaker=NULL,
        split=Rule("{split}"),
        folders={"split": {"train": "train", "test": "test"}},
        parquet=ParquetClips(name="name", audio="speech"),
        expected={
            "neutral": 191,
            "happy": 218,
            "sad": 162,
            "angry": 219,
            "disgust": 185,
            "fear": 223,
            "enthusiasm": 198,
        },
        expected_splits={"train": 1116, "test": 280},
        license="MIT",
        redistribution=True,
        non_commercial=False,
        how_to_get="https://huggingface.co/datasets/Aniemore/resd, the folder data with its Parquet files",
        citation="Aniemore, Russian Emotional Speech Dialogs, 2022, doi:10.57967/hf/1273",
        note="No speakers are named, and every dialogue is in both splits: its own split is not speaker-independent.",
    ),
    CorpusSpec(
        name="shemo",
        title="ShEMO, Sharif emotional speech",
        language="fa",
        pattern=r"(?P<speaker>(?P<gender>[FM])\d{2})(?P<emotion>[AFHNSW])(?P<number>\d{2,3})",
        example="F01A01",
        gender=Rule("{gender}", _FEMALE_MALE),
        expected={"neutral": 1160, "happy": 203, "sad": 362, "angry": 1042, "surprise": 201, "fear": 32},
        speakers=87,
        license="for research",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://github.com/mansourehk/ShEMO",
        citation=(
            "Nezami, Lou and Karami, ShEMO: a large-scale validated database for Persian speech emotion detection, "
            "Language Resources and Evaluation 53, 2019"
        ),
        note="Its transcripts name 3000 clips; a common benchmark keeps 2838 of them.",
    ),
    CorpusSpec(
        name="emodb",
        title="EMO-DB, the Berlin database of emotional speech",
        language="de",
        pattern=r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])?",
        example="03a01Fa",
        gender=Rule(
            "{speaker}",
            dict.fromkeys(("03", "10", "11", "12", "15"), "male")
            | dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
        ),
        transcript=Rule(
            "{text}",
            {
                "a01": "Der Lappen liegt auf dem Eisschrank.",
                "a02": "Das will sie am Mittwoch abgeben.",
                "a04": "Heute abend könnte ich es ihm sagen.",
                "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
                "a07": "In sieben Stunden wird es soweit sein.",
                "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
                "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
                "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
                "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
                "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
            },
        ),
        expected={
            "angry": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happy": 71,
            "sad": 62,
            "neutral": 79,
        },
        speakers=10,
        license="free for research",
        redistribution=False,
        non_commercial=True,
        how_to_get="http://emodb.bilderbar.info, Download",
        citation=(
            "Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, A database of German emotional speech, "
            "Interspeech 2005"
        ),
    ),
    CorpusSpec(
        name="urdu",
        title="URDU",
        language="ur",
        pattern=r"S(?P<speaker>(?P<gender>[MF])\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])(?P<number>\d+)",
        example="SM1_F1_A1",
        gender=Rule("{gender}", _FEMALE_MALE),
        expected=dict.fromkeys(("neutral", "happy", "sad", "angry"), 100),
        speakers=29,
        license="for research",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://github.com/siddiquelatif/URDU-Dataset",
        citation=(
            "Latif, Qayyum, Usman and Qadir, Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, "
            "FIT 2018"
        ),
        note="The names tell 29 speakers apart, its README 38; 86 % of the clips are male.",
    ),
    CorpusSpec(
        name="subesco",
        title="SUBESCO",
        language="bn",
        # One published name has a stray bracket at its end.
        pattern=(
            r"(?P<gender>[FM])_(?P<speaker>\d{2})_(?P<actor>[A-Z]+)_S_(?P<sentence>\d{1,2})_"
            r"(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_(?P<take>\d)\]?"
        ),
        example="F_01_OISHI_S_10_ANGRY_1",
        speaker=Rule("{gender}{speaker}"),
        gender=Rule("{gender}", _FEMALE_MALE),
        expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 1000),
        speakers=20,
        license="CC BY 4.0",
        redistribution=True,
        non_commercial=False,
        how_to_get="https://zenodo.org/records/4526477",
        citation=(
            "Sultana, Rahman, Selim and Iqbal, SUST Bangla Emotional Speech Corpus (SUBESCO), "
            "PLoS ONE 16(4), 2021, e0250173"
        ),
    ),
    CorpusSpec(
        name="ased",
        title="ASED, Amharic speech emotion dataset",
        language="am",
        pattern=(
            r"(?P<emotion>[nfhsaS])(?P<level>[1-5])-(?P<sentence>0[1-7])-(?P<take>0[12])-(?P<gender>0[12])-"
            r"(?P<speaker>\d{2})"
        ),
        example="n1-01-01-02-15",
        gender=Rule("{gender}", {"01": "female", "02": "male"}),
        expected={"neutral": 522, "happy": 486, "sad": 470, "angry": 486, "fear": 510},
        speakers=65,
        license="not stated",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://github.com/Ethio2021/ASED_V1",
        citation=(
            "Retta, Almekhlafi, Sutcliffe, Mhamed, Ali and Feng, A New Amharic Speech Emotion Dataset and "
            "Classification Benchmark, ACM TALLIP 22(1), 2023"
        ),
        note="Five speakers are given both genders, which are read as null.",
    ),
    CorpusSpec(
        name="nemo",
        title="nEMO, Polish emotional speech",
        language="pl",
        pattern=r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<number>\d+)",
        example="SK0_anger_12",
        gender=Rule("{gender}", {"female": "female", "male": "male"}),
        transcript=Rule("{raw_text}"),
        tables=(
            DelimitedTable({"data.tsv": {}}, key=Rule("{file_id}"), holds="genders and transcripts", delimiter="\t"),
        ),
        expected={"angry": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669},
        speakers=9,
        license="CC BY-NC-SA 4.0",
        redistribution=True,
        non_commercial=True,
        how_to_get="https://github.com/amu-cai/nEMO, the folder samples and data.tsv",
        citation="Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
    ),
    CorpusSpec(
        name="turev-db",
        title="TurEV-DB, Turkish emotion voice database",
        language="tr",
        pattern=r"(?P<speaker>\d+)_(?P<emotion>kz|sk|mt|hl)_(?P<word>[^/]+)",
        example="1157_kz_acik",
        expected={"happy": 357, "sad": 483, "angry": 487, "calm": 408},
        speakers=6,
        license="not stated",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://github.com/Xeonen/TurEV-DB",
        citation="Canpolat, Ormanoğlu and Zeyrek, Turkish Emotion Voice Database (TurEV-DB), SLTU-CCURL 2020",
        note="Single words, not sentences.",
    ),
    CorpusSpec(
        name="emovo",
        title="EMOVO",
        language="it",
        pattern=r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>(?P<gender>[fm])\d)-(?P<sentence>[a-z]\d)",
        example="dis-f1-b1",
        gender=Rule("{gender}", _FEMALE_MALE),
        expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 84),
        speakers=6,
        license="for research",
        redistribution=False,
        non_commercial=True,
        how_to_get="http://voice.fub.it/activities/corpora/emovo/index.html",
        citation=(
            "Costantini, Iaderola, Paoloni and Todisco, EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014"
        ),
    ),
)
