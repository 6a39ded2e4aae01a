# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser push`: publish a built corpus on the Hugging Face Hub.

run-mser m5ser push runs/m5ser --repo_id me/m5ser --private
run-mser m5ser push runs/m5ser --repo_id me/m5ser-recipe --recipe_only
"""

from dataclasses import dataclass, field


HELP = "Publish a built M5SER on the Hugging Face Hub; after a failure, run again to send what is missing."


@dataclass
class PushArguments:
    folder: str = field(metadata={"positional": True, "metavar": "DIR", "help": "folder of a finished build"})
    repo_id: str = field(metadata={"help": "the data set on the Hub, NAMESPACE/NAME; created if missing"})
    private: bool = field(default=False, metadata={"help": "visible to you or your organization only"})
    gated: bool = field(
        default=False, metadata={"help": "visible to everyone, readable after accepting the conditions on the card"}
    )
    recipe_only: bool = field(default=False, metadata={"help": "send manifest, configuration and card, but no audio"})


ARGUMENTS = PushArguments


def run(args: PushArguments) -> None:
    """Push and print the URL."""
    from mser_llm.m5ser.push import push

    print(push(args.folder, args.repo_id, private=args.private, gated=args.gated, recipe_only=args.recipe_only))
