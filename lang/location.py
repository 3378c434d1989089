"""Which line of the user's source is running."""

from __future__ import annotations

import sys
from types import TracebackType

Place = tuple[str, int]

_RUNNERS = frozenset({"asyncio", "concurrent", "threading"})


def user_place() -> Place | None:
    """File and line of the nearest caller outside sestina; None when there is none.

    None also where a pool of threads calls us: its line says nothing to the user. Costs well under
    a microsecond per frame; formatting is left to whoever needs it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in _RUNNERS:
            return None
        if not _is_ours(module):
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
