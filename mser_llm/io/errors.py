# SPDX-License-Identifier: Apache-2.0
"""The error for what a user can fix."""


class InputError(ValueError):
    """
    An input cannot be used. The message is one line: `SOURCE: PROBLEM; FIX`.

    Attributes:
        source: the file, folder or argument, with its value if that helps.
        problem: what is wrong with it.
        fix: what to do, as an imperative; may be empty.
    """

    def __init__(self, source: object, problem: str, fix: str = ""):
        self.source, self.problem, self.fix = str(source), problem, fix
        super().__init__(f"{source}: {problem}" + (f"; {fix}" if fix else ""))

    def __reduce__(self) -> tuple:
        return type(self), (self.source, self.problem, self.fix)
