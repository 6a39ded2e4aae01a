# SPDX-License-Identifier: Apache-2.0
"""`run-mser corpora`: compare corpora on disk with what their publishers state.

run-mser corpora
run-mser corpora ravdess=/data/ravdess folder=my_recordings
"""

import sys
import textwrap
from dataclasses import dataclass

from mser_llm.cli.dataclass_arguments import option


HELP = "Compare the contents of corpora with what is expected; without arguments, list the known corpora."
_WIDTH = 100


@dataclass
class CorporaArguments:
    corpora: list[str] = option([], "corpora to read; no recording is opened", positional=True, metavar="NAME=PATH")


ARGUMENTS = CorporaArguments


def run(args: CorporaArguments) -> int:
    """Print one table per corpus; return 1 if some of several cannot be read."""
    if not args.corpora:
        print(known_corpora())
        return 0
    from mser_llm.data.loaded_corpus import CorpusError
    from mser_llm.data.read_corpus import parse_corpora, read_corpus

    corpora = parse_corpora(args.corpora)
    unread = 0
    for name, path in corpora.values():
        try:
            print(read_corpus(name, path), flush=True)
        except CorpusError as error:
            if len(corpora) == 1:
                raise
            print(f"{name}: not found, {path}", flush=True)
            print(f"run-mser: error: {error}", file=sys.stderr)
            unread += 1
    return 1 if unread else 0


def known_corpora() -> str:
    """List all corpora with their counts, license, source and note, at most 100 columns wide."""
    from mser_llm.data.corpora import CORPORA
    from processing_mser.emotions_mser import EMOTIONS

    lines = [_row("corpus", "lang", "clips", "speakers") + "emotions"]
    for name, spec in CORPORA.items():
        words = set(spec.labels.values())
        counts = [f"{word} {spec.expected[word]}" if spec.expected else word for word in EMOTIONS if word in words]
        lines += _wrapped(
            _row(name, spec.language, str(spec.clips or "?"), str(spec.speakers or "?")),
            ", ".join(counts) or "no emotions",
        )
        passed_on = "may be passed on" if spec.redistribution else "not to be passed on"
        use = "not for commercial use" if spec.non_commercial else "commercial use allowed"
        details = {"license": f"{spec.license}; {passed_on}; {use}", "from": spec.how_to_get, "note": spec.note}
        for title, text in details.items():
            lines += _wrapped(f"{'':14}{title:<9}", text)
    lines += _wrapped(
        _row("folder", "any", "", ""),
        "your own data: folders named after their emotions, or a CSV file with the columns path and emotion and, "
        "where known, speaker, language, gender, transcript, split; aliases such as file_name, label, speaker_id work",
    )
    lines += _wrapped(_row("m5ser", "many", "", ""), "what run-mser m5ser build wrote")
    return "\n".join(lines)


def _row(name: str, language: str, clips: str, speakers: str) -> str:
    return f"{name:<13} {language:<4} {clips:>6} {speakers:>8}  "


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=title,
        subsequent_indent=" " * len(title),
        break_long_words=False,  # URLs
        break_on_hyphens=False,
    )
