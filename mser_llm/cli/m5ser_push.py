# SPDX-License-Identifier: Apache-2.0
"""`run-mser m5ser push`: publish a built corpus on the Hugging Face Hub.

run-mser m5ser push runs/m5ser --repo_id me/m5ser --private
run-mser m5ser push runs/m5ser --repo_id me/m5ser-recipe --recipe_only
"""

from dataclasses import dataclass

from mser_llm.cli.dataclass_arguments import option


HELP = "Publish a built M5SER on the Hugging Face Hub; after a failure, run again to send what is missing."


@dataclass
class PushArguments:
    folder: str = option(help="folder of a finished build", positional=True, metavar="DIR")
    repo_id: str = option(help="the data set on the Hub, NAMESPACE/NAME; created if missing")
    private: bool = option(False, "visible to you or your organization only")
    gated: bool = option(False, "visible to everyone, readable after accepting the conditions on the card")
    recipe_only: bool = option(False, "send manifest, configuration and card, but no audio")


ARGUMENTS = PushArguments


def run(args: PushArguments) -> None:
    """Push and print the URL."""
    from mser_llm.m5ser.push import push

    print(push(args.folder, args.repo_id, private=args.private, gated=args.gated, recipe_only=args.recipe_only))
