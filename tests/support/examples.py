"""The examples of a page: commands, and what it shows below them."""

import re
from dataclasses import dataclass

WILDCARD = "…"


@dataclass(frozen=True)
class Example:
    """A command, and what a page shows below it."""

    command: str
    output: str

    def matches(self, output: str) -> bool:
        """Whether this is what was shown; `…` stands for anything, whole lines too."""
        pattern = ".*".join(re.escape(part) for part in self.output.split(WILDCARD))
        return re.fullmatch(pattern, output, re.DOTALL) is not None


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples(text: str) -> list[Example]:
    """The commands of all `console` blocks, in order: `$ command`, then its output."""
    found = []
    for block in blocks(text, "console"):
        before, *commands = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert before == "", f"output without a command: {before}"
        for example in commands:
            command, _, output = example.partition("\n")
            found.append(Example(command, output.rstrip("\n")))
    return found
