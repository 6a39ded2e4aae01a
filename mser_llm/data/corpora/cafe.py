# SPDX-License-Identifier: Apache-2.0
"""CaFE, Canadian French emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="cafe",
    title="CaFE, Canadian French emotional speech",
    language="fr",
    pattern=r"(?P<speaker>0[1-9]|1[0-2])-(?P<emotion>[CDJNPST])-(?P<intensity>[12])-(?P<sentence>[1-6])",
    example="01-C-1-1",
    labels={"C": "angry", "D": "disgust", "J": "happy", "N": "neutral", "P": "fear", "S": "surprise", "T": "sad"},
    # Odd speakers are male.
    gender=Rule("{speaker}", {f"{actor:02d}": "male" if actor % 2 else "female" for actor in range(1, 13)}),
    transcript=Rule(
        "{sentence}",
        {
            "1": "Un cheval fou dans mon jardin",
            "2": "Deux ânes aigris au pelage brun",
            "3": "Trois cygnes aveugles au bord du lac",
            "4": "Quatre vieilles truies éléphantesques",
            "5": "Cinq pumas fiers et passionnés",
            "6": "Six ours aimants domestiqués",
        },
    ),
    expected=dict.fromkeys(("angry", "disgust", "happy", "fear", "surprise", "sad"), 144) | {"neutral": 72},
    speakers=12,
    license="CC BY-NC-SA 4.0",
    redistribution=True,
    non_commercial=True,
    how_to_get="https://zenodo.org/records/1478765",
    citation="Gournay, Lahaie and Lefebvre, A Canadian French Emotional Speech Dataset, MMSys 2018",
)
