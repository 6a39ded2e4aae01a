# SPDX-License-Identifier: Apache-2.0
"""CMU-MOSEI, monologues on YouTube; its labels are published as HDF5."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mser_llm.data.corpora.spec import ClipTable, CorpusSpec, Rule
from mser_llm.io.errors import InputError


_EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
_FIX = "use CMU_MOSEI_Labels.csd as published"


@dataclass(frozen=True)
class SegmentRatings(ClipTable):
    """
    A computational sequence of the CMU Multimodal SDK: under `data` a group per video with the array `features`.

    `features` is `(num_segments, 7)`: sentiment, then six emotions from 0 to 3. Segment i of a video is its clip i.
    The label of a segment is its strongest emotion; ties and all-zero segments have none.
    """

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(f"{path}: reading it needs h5py; pip install 'mser-llm[mosei]'") from error
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise InputError(path, f"is not an HDF5 file ({error})", "download it again") from error
        with file:
            for video, ratings in self._videos(file, path):
                for index, values in enumerate(ratings):
                    yield {"segment": f"{video}_{index}", **_strongest(values)}

    @staticmethod
    def _videos(file: Any, path: Path) -> Iterator[tuple[str, np.ndarray]]:
        data = next((group["data"] for group in file.values() if "data" in getattr(group, "keys", dict)()), None)
        if data is None:
            raise InputError(path, "has no group with `data`", _FIX)
        for video, group in data.items():
            ratings = np.asarray(group["features"], dtype=float)
            if ratings.ndim != 2 or ratings.shape[1] != 1 + len(_EMOTIONS):
                shape = f"video {video} has ratings of shape {ratings.shape}, not (segments, 7)"
                raise InputError(path, shape, _FIX)
            yield video, ratings[:, 1:]


def _strongest(ratings: np.ndarray) -> dict[str, str]:
    strongest = np.flatnonzero(ratings == ratings.max())
    if not ratings.max() > 0:
        return {"label": "none"}
    return {"label": "tie" if len(strongest) > 1 else _EMOTIONS[strongest[0]]}


CORPUS = CorpusSpec(
    name="cmu-mosei",
    title="CMU-MOSEI, monologues on YouTube",
    language="en",
    pattern=r"(?P<video>[^/]+)_(?P<index>\d+)",
    example="Segmented_Audio/train/--qXJuDtHPw_5",
    labels={
        "happy": "happy",
        "sad": "sad",
        "anger": "angry",
        "surprise": "surprise",
        "disgust": "disgust",
        "fear": "fear",
    },
    emotion=Rule("{label}"),
    # The published files do not name the speakers; all clips of a video count as one speaker.
    speaker=Rule("{video}"),
    split=Rule("{split}"),
    folders={
        "split": {
            **dict.fromkeys(("train", "train_modified"), "train"),
            **dict.fromkeys(("dev", "val", "valid", "validation", "val_modified", "valid_modified"), "dev"),
            **dict.fromkeys(("test", "test_modified"), "test"),
        }
    },
    skip={"label": {"none": "no emotion is rated above zero", "tie": "two or more emotions are rated strongest"}},
    skip_folders={"full": "whole videos"},
    tables=(SegmentRatings({"CMU_MOSEI_Labels.csd": {}}, key=Rule("{segment}"), contents="emotions", required=True),),
    expected_total=23_453,
    license="for research; the videos belong to their authors",
    redistribution=False,
    non_commercial=True,
    how_to_get="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/, the audio of its segments and the labels",
    citation=(
        "Zadeh, Liang, Poria, Cambria and Morency, Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and "
        "Interpretable Dynamic Fusion Graph, ACL 2018"
    ),
    note=(
        "Its labels rate several emotions at once: the strongest is used; ties and all-zero clips are left out. A "
        "speaker is a video; some of its 1,000 people are in several videos."
    ),
)
