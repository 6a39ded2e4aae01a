# SPDX-License-Identifier: Apache-2.0
"""`run-mser corpora`: what the readers find in corpora on disk, beside what their publishers state.

run-mser corpora
run-mser corpora ravdess=/data/ravdess folder=my_recordings
"""

from dataclasses import dataclass, field


HELP = "Show what a reader finds in a corpus beside what was expected; without arguments, the corpora that are known."


@dataclass
class CorporaArguments:
    corpora: list[str] = field(
        default_factory=list,
        metadata={"positional": True, "metavar": "NAME=PATH", "help": "corpora to read; no recording is opened"},
    )


ARGUMENTS = CorporaArguments


def run(args: CorporaArguments) -> None:
    """Prints one table a corpus."""
    if not args.corpora:
        print(known_corpora())
        return
    from data_mser.reading import parse_corpora, read_corpus

    for name, path in parse_corpora(args.corpora).values():
        print(read_corpus(name, path), flush=True)


def known_corpora() -> str:
    """A paragraph for each corpus: name, language, clips, emotions, licence, where to get it."""
    from data_mser.corpora import CORPORA

    paragraphs = []
    for name, spec in CORPORA.items():
        counts = ", ".join(f"{emotion} {count}" for emotion, count in spec.expected.items())
        paragraphs.append(
            f"{name}: {spec.title}\n"
            f"  language {spec.language}; {sum(spec.expected.values())} clips: {counts}\n"
            f"  licence {spec.licence}\n"
            f"  from {spec.how_to_get}"
        )
    paragraphs.append(
        "folder: your own data\n"
        "  folders named after their emotions, or a CSV file with the columns path and emotion\n"
        "  (and, where you know them, speaker, language, gender, transcript, split)"
    )
    return "\n".join(paragraphs)
