# SPDX-License-Identifier: Apache-2.0
"""The settings of each training of `run-mser reproduce`, from a family of recipes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mser_llm.cli.recipes import RecipeError, find_recipe, read_recipe
from mser_llm.cli.train import parse_training
from mser_llm.io.errors import InputError


if TYPE_CHECKING:
    from mser_llm.training.arguments import DataArguments, ModelArguments
    from mser_llm.training.training_arguments import MSERTrainingArguments

    Settings = tuple[ModelArguments, DataArguments, MSERTrainingArguments]
    # Step, seed, the folder of the run, the folder of the earlier step.
    Recipe = Callable[[Any, int, Path, Path | None], Settings]


@dataclass(frozen=True)
class RecipeFamily:
    """
    A folder of recipes, with settings that apply to all of them.

    Attributes:
        folder: such as `tiny`, or a path.
        labels: label set of the trainings.
        settings: `KEY=VALUE` each.
        cache_dir: of the features; None leaves it to the recipe.
    """

    folder: str
    labels: str
    settings: Sequence[str] = ()
    cache_dir: str | None = None

    def of_systems(self, labels: str | None = None) -> "Recipe":
        """
        The settings of the systems of Tables I and II: the recipe of the stage, with and without the contrast.

        A family without `joint.yaml` trains jointly by its `stage1.yaml`, with the `balance` of its `stage2.yaml`:
        one stage and two must not differ in how batches are balanced.
        """

        def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> "Settings":
            stage = "joint" if step.stage == "joint" else f"stage{step.stage}"
            flags = ["--stage", step.stage]
            try:
                recipe = find_recipe(f"{self.folder}/{stage}.yaml")
            except RecipeError:
                if stage != "joint":
                    raise
                recipe = find_recipe(f"{self.folder}/stage1.yaml")
                balance = read_recipe(find_recipe(f"{self.folder}/stage2.yaml")).get("balance")
                flags += [] if balance is None else ["--balance", balance]
            # After the settings of the command, which apply to both systems.
            last = [] if step.contrast else ["--contrast_weight", "0"]
            model, data, training = self._parse(recipe, labels or self.labels, seed, folder, earlier, flags, last)
            weight = (training.objective_section.get("margin_contrast") or {}).get("weight", 0)
            if step.contrast and weight == 0:
                raise InputError(recipe, "contrast_weight is 0, so there is no contrast to compare", "pass a weight")
            return model, data, training

        return settings

    def of_peers(self, budget: int, validation_fraction: float) -> "Recipe":
        """The settings of `peers`: the recipe of the step, for as many steps as the budget has batches."""

        def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> "Settings":
            recipe = find_recipe(f"{self.folder}/{step.recipe}.yaml")
            flags = [*step.flags, "--validation_fraction", str(validation_fraction)]
            model, data, training = self._parse(recipe, self.labels, seed, folder, earlier, flags)
            # Batches of speakers contain each clip twice, with and without augmentation.
            views = 2 if training.balance == "speaker" and data.views > 1 else 1
            training.max_steps = max(1, round(budget * step.share / (training.train_batch_size // views)))
            return model, data, training

        return settings

    def of_low_resource(self) -> "Recipe":
        """The settings of `lowresource-table1`. The baseline of `base` is `lowresource_baseline.yaml`."""

        def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> "Settings":
            try:
                recipe = find_recipe(f"{self.folder}/lowresource_{step.recipe}.yaml")
            except RecipeError:
                recipe = find_recipe(f"{self.folder}/{step.recipe}.yaml")
            return self._parse(recipe, "four", seed, folder, earlier, step.flags)

        return settings

    def _parse(
        self,
        recipe: Path,
        labels: str,
        seed: int,
        folder: Path,
        earlier: Path | None,
        flags: Sequence[str],
        last: Sequence[str] = (),
    ) -> "Settings":
        words = [str(recipe), "--labels", labels, "--seed", str(seed), *flags]
        words += [word for setting in self.settings for word in as_flag(setting)]
        if self.cache_dir is not None:
            words += ["--cache_dir", self.cache_dir]
        words += ["--output_dir", str(folder)]
        if earlier is not None:
            words += ["--init_from", str(earlier)]
        return parse_training([*words, *last], prog="run-mser reproduce")


def as_flag(setting: str) -> tuple[str, str]:
    """Convert `KEY=VALUE` to a flag of `run-mser train` and its value."""
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise InputError(f"--settings {setting}", "is not KEY=VALUE", "pass for example --settings num_train_epochs=1")
    return f"--{key}", value
