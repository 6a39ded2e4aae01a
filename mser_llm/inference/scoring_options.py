# SPDX-License-Identifier: Apache-2.0
"""The options of a recognition that travel together from the command line to the recognition loop."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from mser_llm.io.errors import InputError


@dataclass(frozen=True)
class ScoringOptions:
    """
    How a model is run over clips and how it chooses among the candidate labels.

    Args:
        decode: "score" compares the log-probabilities of the candidate labels; "generate" lets the model write freely
            and parses one label from the text.
        length_normalize, prior_correction: as in `score_emotions`; without effect on "generate".
        batch_size: windows of at most 30 s per forward pass.
        compile: run the model through `torch.compile`, for `decode="score"`.
        allow_unlearned_labels: accept labels that a language model trained from scratch never learned, and report
            them in each result.

    Raises:
        InputError: `batch_size` is below 1, `decode` is unknown, or generation is to be compiled.
    """

    decode: Literal["score", "generate"] = "score"
    length_normalize: bool = False
    prior_correction: bool = False
    batch_size: int = 16
    compile: bool = False
    allow_unlearned_labels: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size {self.batch_size}", "must be at least 1", "pass a positive number")
        if self.decode not in ("score", "generate"):
            raise InputError(f"decode {self.decode!r}", "is unknown", "pass 'score' or 'generate'")
        if self.compile and self.decode == "generate":
            raise InputError(
                "compile", "generation changes its shape with every token", "leave it out, or pass decode 'score'"
            )

    @classmethod
    def from_arguments(cls, arguments: Any) -> "ScoringOptions":
        """Take the options from the arguments of a command; those it does not have keep their defaults."""
        names = [field.name for field in fields(cls) if hasattr(arguments, field.name)]
        return cls(**{name: getattr(arguments, name) for name in names})

    @property
    def scoring(self) -> dict[str, bool]:
        """The keyword arguments of `score_emotions`."""
        return {"length_normalize": self.length_normalize, "prior_correction": self.prior_correction}

    @property
    def settings(self) -> dict[str, Any]:
        """The options that change a prediction, as `results.json` records them."""
        return {"decode": self.decode, **self.scoring}
