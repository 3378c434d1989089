"""Which line of the user's source is running."""

from __future__ import annotations

import sys
from types import TracebackType

Place = tuple[str, int]


def user_place() -> Place | None:
    """File and line of the nearest caller outside sestina; None when there is none.

    Costs well under a microsecond per frame; formatting is left to whoever needs it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if not _is_ours(frame.f_globals.get("__name__", "")):
            return frame.f_code.co_filename, frame.f_lineno
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


def raised_at(traceback: TracebackType | None) -> Place | None:
    """The innermost place outside sestina that an exception passed through."""
    place = None
    while traceback is not None:
        if not _is_ours(traceback.tb_frame.f_globals.get("__name__", "")):
            place = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return place


def render_place(place: Place | None) -> str | None:
    """`file:line`, which terminals and editors make clickable."""
    return None if place is None else f"{place[0]}:{place[1]}"


def _is_ours(module: str) -> bool:
    return module == "sestina" or module.startswith("sestina.")
