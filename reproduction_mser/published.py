# SPDX-License-Identifier: Apache-2.0
"""The numbers that the papers print, by table, and what is to be known when they are read."""

from evaluation_mser.protocols import PROTOCOLS, Published


MSER = "arXiv 2503.21806"
LOW_RESOURCE = "Gong et al., Learning More with Less"
# What the paper's tables have, under the names of `emotion_metrics`.
METRICS = ("WA", "UA", "WF1", "precision")
# The paper names families and no sizes (docs/paper.md).
BACKBONES = "Whisper, LLaMA 3, sizes not stated"

TABLE_1A = ("iemocap-4", "iemocap-7", "meld-4", "meld-7")
TABLE_1B = ("shemo", "aesdd", "ravdess-7", "resd")
TABLE_2_PROTOCOL = "iemocap-7"
TABLE_2_NOTES = (
    "Table II of the paper is on IEMOCAP with seven classes. It states neither the division of the corpus nor the "
    "number of runs, so its rows have no interval.",
    "Sec. VI-A of the paper gives its full system WA 68.5 on seven classes; Tables I and II have WA 69.0 and WF1 "
    "68.5, and Sec. VI-B repeats 69.0. The text seems to quote WF1; the tables stand here.",
    "The paper trains on M5SER, translated from IEMOCAP and MELD, and tests on both; it does not say whether "
    "translations of tested clips were left out.",
)
FIGURE_4_NOTE = (
    "Figure 4 of the paper is a t-SNE of AESDD (its text says AEDSS) without and with the contrast, judged by eye: it "
    "gives no figure."
)
# The second paper's Table 2 as printed, rows the truth. It names no unit: read as clips of EMO-DB it gives the
# differences of accuracy and UAR that its Table 1 has (0.130 and 0.138), read as percentage points it does not (0.118
# and 0.110).
CONFUSION_DIFFERENCE_WORDS = ("angry", "happy", "neutral", "sad")
CONFUSION_DIFFERENCE = (
    (20, -16, -4, 0),
    (0, -1, -1, 1),
    (0, -1, -1, 2),
    (0, 0, -26, 26),
)
CONFUSION_DIFFERENCE_CLIPS = (127, 71, 79, 62)
CONFUSION_DIFFERENCE_PLACE = (
    f"{LOW_RESOURCE}, Table 2: EMO-DB, contrastive less baseline, its entries taken for clips of 127, 71, 79 and 62"
)


def published_rows(protocol: str, where: str) -> dict[str, list[Published]]:
    """The numbers of a protocol that stand in one table of its paper, by system, in the paper's order."""
    rows: dict[str, list[Published]] = {}
    for number in PROTOCOLS[protocol].published:
        if number.where == where and number.group is None:
            rows.setdefault(number.system, []).append(number)
    return rows


def is_own(system: str) -> bool:
    """Whether a system of Table I is the paper's own, and not one that it cites."""
    return system.startswith("Zou et al.")
