# SPDX-License-Identifier: Apache-2.0
"""The numbers that the papers print, by table, and notes on how to read them."""

from mser_llm.evaluation.protocols import PROTOCOLS, Published


MSER = "arXiv 2503.21806"
LOW_RESOURCE = "Gong et al., Learning More with Less"
# The metrics of the paper's tables, by their names in `emotion_metrics`.
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
    "68.5, and Sec. VI-B repeats 69.0. The text seems to quote WF1; the numbers here are those of the tables.",
    "The paper trains on M5SER, translated from IEMOCAP and MELD, and tests on both; it does not say whether "
    "translations of tested clips were left out.",
)
# The second paper's Table 1: its numbers are in the protocols of these corpora. What each system trains on is in
# Secs. 3.1, 3.2 and 4.3; the paper does not state which of two kinds of speech BYOL's row is about.
LOW_RESOURCE_TABLE_1 = ("urdu", "emodb", "subesco", "ravdess")
LOW_RESOURCE_BACKBONE = "Whisper small.en"
LOW_RESOURCE_TABLE_1_SPEECH = {
    "Baseline": "MSP-Podcast + IEMOCAP",
    "Contrastive": "Common Voice, unlabelled; MSP-Podcast + IEMOCAP",
    "BYOL": "MSP-Podcast + IEMOCAP; the test or Common Voice, unlabelled",
}
LOW_RESOURCE_TABLE_1_NOTES = (
    "The paper averages five runs and prints their standard deviation; accuracy is WA here and UAR is UA.",
    "Ours: every system is tested on the left-out fold of each corpus by the model of the same fold, so that all "
    "answer the same clips; the paper evaluates its contrastive model on all data (Sec. 3.1) and does not say how its "
    "five runs and five folds make one row.",
    "BYOL trains on other speakers of the tested corpus without their emotions, RAVDESS included (ours: Sec. 3.1 does "
    "not say so of it): this test is not zero-shot in the strict sense.",
    "Sec. 4.3 compares the speech that is trained on without emotions and prints no number: the contrast is better "
    "with Common Voice, BYOL with the target corpus.",
)
FIGURE_4_NOTE = (
    "Figure 4 of the paper is a t-SNE of AESDD (its text says AEDSS) without and with the contrast, evaluated by eye: "
    "it gives no number."
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
    """Return the numbers of a protocol in one table of its paper, by system, in the paper's order."""
    rows: dict[str, list[Published]] = {}
    for number in PROTOCOLS[protocol].published:
        if number.where == where and number.group is None:
            rows.setdefault(number.system, []).append(number)
    return rows


def is_own(system: str) -> bool:
    """Return whether a system of Table I is the paper's own and not cited."""
    return system.startswith("Zou et al.")
