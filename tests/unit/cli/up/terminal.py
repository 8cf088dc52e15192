"""A terminal whose user's answers are known."""

from __future__ import annotations


class FakeTerminal:
    """A `Terminal`; without answers, one that isn't interactive.

    Args:
        answers: to its questions, in their order.
        agrees: the answer to each yes-or-no question.
    """

    def __init__(self, *answers: str, agrees: bool | None = None) -> None:
        self._answers = list(answers)
        self._agrees = agrees
        self.said: list[str] = []
        self.asked: list[str] = []

    @property
    def is_interactive(self) -> bool:
        return bool(self._answers or self.asked) or self._agrees is not None

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, question: str, default: str = "", *, is_hidden: bool = False) -> str:
        self.asked.append(question)
        return (self._answers.pop(0) if self._answers else "") or default

    def confirm(self, question: str) -> bool:
        self.asked.append(question)
        return bool(self._agrees)
