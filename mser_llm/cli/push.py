# SPDX-License-Identifier: Apache-2.0
"""`run-mser push`: publish a trained model on the Hugging Face Hub with its code and card, and verify that it loads.

run-mser push --model runs/mine --repo_id me/mser --private --verify
run-mser push --model runs/mine --repo_id me/mser --results runs/mine/emodb/results.json --space
"""

from dataclasses import dataclass

from mser_llm.cli.dataclass_arguments import option


HELP = "Publish a trained model on the Hugging Face Hub; run again after a failure, it sends only what is missing."


@dataclass
class PushArguments:
    model: str = option(help="folder of a trained model")
    repo_id: str = option(help="the model on the Hub, NAMESPACE/NAME; made if need be")
    private: bool = option(False, "only you, or your organisation, can see it")
    results: list[str] = option([], "results.json files of run-mser evaluate, for the card")
    include_backbones: bool = option(
        False, "send the frozen encoder and language model along, if their terms allow it"
    )
    adapter_only: bool = option(False, "send the adapters of --lora alone, for peft, and not the model")
    verify: bool = option(False, "load it from the Hub into an empty cache, and compare the answers")
    space: bool = option(False, "push a Space of the same name that shows it")


ARGUMENTS = PushArguments


def run(args: PushArguments) -> None:
    """Push the model and print its address."""
    from mser_llm.hub.push import push

    print(push(**vars(args)))
