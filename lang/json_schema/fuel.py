"""What counting the members and items of one schema may cost."""

from __future__ import annotations

from dataclasses import dataclass

from sestina.lang.errors import ConstraintLimitExceeded

MAX_BRANCHES = 150_000


@dataclass(slots=True)
class Fuel:
    """How many more branches one schema may take, wherever parts of a text are counted."""

    left: int = MAX_BRANCHES

    def burn(self, count: int, keyword: str) -> None:
        """Take some; raises ConstraintLimitExceeded, naming the keyword that is too large."""
        self.left -= count
        if self.left < 0:
            raise ConstraintLimitExceeded(
                f"sets and counts of parts, with more than {MAX_BRANCHES} branches", keyword=keyword
            )
