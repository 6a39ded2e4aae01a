# SPDX-License-Identifier: Apache-2.0
"""Compare scoring all labels from one prefix with one pass per label, and measure the cost of a label."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from benchmarks.suite.flops import recognition_flops
from benchmarks.suite.rounds import Comparison, alternate
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import Inputs, OwnModel, build_packed_model


FEW, MANY = 4, 50
# Fifty passes over sixteen clips would take a minute per round.
LOOP_BATCH = 4


@torch.inference_mode()
def one_pass_per_word(own: OwnModel, inputs: Inputs, candidates: Sequence[Sequence[int]]) -> torch.Tensor:
    """
    Compute the result of `score_emotions`, `(batch_size, num_labels)`, with one pass of the language model over the
    full input per label; the audio is encoded once.
    """
    model = own.model
    audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"]).pooler_output
    prefix = model.merge_audio(inputs["input_ids"], audio)
    embed = model.get_input_embeddings()
    scores = []
    for ids in candidates:
        word = torch.tensor(ids).expand(len(prefix), -1)
        embeds = torch.cat([prefix, embed(word[:, :-1])], dim=1)
        logits = model.language_model(inputs_embeds=embeds, logits_to_keep=len(ids)).logits
        scores.append(logits.float().log_softmax(-1).gather(-1, word[..., None])[..., 0].sum(-1))
    return torch.stack(scores, dim=1)


@torch.inference_mode()
def word_scoring(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """Compare one pass with many; then 50 labels with 4, and an added token with one of the prefix."""
    model = own.model
    batch_size = min(LOOP_BATCH, sizes.batch_size)
    inputs = own.inputs(sizes.target_seconds, batch_size)
    for count in sizes.word_counts:
        words = own.candidates(count)
        taken = alternate(
            {
                "ours": lambda words=words: model.score_emotions(**inputs, candidate_ids=words),
                "loop": lambda words=words: one_pass_per_word(own, inputs, words),
            },
            sizes.slow_rounds,
            f"{count} labels",
        )
        name = f"one pass per label, {count} labels, batch {batch_size}"
        yield Comparison(name, taken["ours"], taken["loop"], "s per batch", "less")
    yield from _slope(sizes, own, "<= 1.5")
    fewer = replace(sizes, num_query_tokens=sizes.fewer_query_tokens)
    yield from _slope(fewer, build_packed_model(fewer))


def _slope(sizes: BenchmarkSizes, own: OwnModel, target: str = "") -> Iterator[Comparison]:
    model, batch_size = own.model, sizes.batch_size
    inputs = own.inputs(sizes.target_seconds, batch_size)
    few, many = own.candidates(FEW), own.candidates(MANY)
    audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"]).pooler_output
    prefix = model.merge_audio(inputs["input_ids"], audio)
    taken = alternate(
        {
            "few": lambda: model.score_emotions(**inputs, candidate_ids=few),
            "many": lambda: model.score_emotions(**inputs, candidate_ids=many),
            "prefix": lambda: model.language_model(inputs_embeds=prefix, logits_to_keep=1, use_cache=False),
        },
        sizes.rounds,
        f"{FEW} and {MANY} labels, {sizes.num_query_tokens} queries",
    )
    tokens = {count: sum(len(ids) - 1 for ids in own.candidates(count)) for count in (FEW, MANY)}
    flops = {
        count: sum(recognition_flops(own, sizes.target_seconds, own.candidates(count)).values()) for count in tokens
    }
    facts = {"prefix_tokens": prefix.shape[1], "word_tokens": tokens}
    place = f"{MANY} labels compared with {FEW}, {sizes.num_query_tokens} queries"
    seconds = taken["many"], taken["few"]
    yield Comparison(f"{place}, batch {batch_size}", *seconds, "s per batch", "share", target, facts)
    yield Comparison(f"{place}, operations", [flops[MANY] / 1e9], [flops[FEW] / 1e9], "GFLOP per clip", "share")
    added = (tokens[MANY] - tokens[FEW]) * batch_size
    yield Comparison(
        f"token of an added label compared with one of the prefix, {sizes.num_query_tokens} queries",
        [1e3 * (many - few) / added for many, few in zip(*seconds, strict=True)],
        [1e3 * each / (prefix.shape[1] * batch_size) for each in taken["prefix"]],
        "ms per token",
        "share",
        facts=facts,
    )
