"""Whose fault is it: keeping what goes wrong with the one it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sestina.backend.scheduler.sequence import Task
from sestina.lang.errors import InternalError, SestinaError


@contextmanager
def failing(task: Task) -> Iterator[None]:
    """What goes wrong inside a task is that task's failure, never the batch's."""
    try:
        yield
    except Exception as error:
        task.on_error(as_sestina_error(error))


def as_sestina_error(error: Exception) -> SestinaError:
    """The error itself if it is one of ours, else an InternalError that it caused."""
    if isinstance(error, SestinaError):
        return error
    return caused_by(InternalError(f"{type(error).__name__}: {error}"), error)


def caused_by(error: SestinaError, cause: Exception) -> SestinaError:
    """`error`, with `cause` on record unless they are the same."""
    if error is not cause:
        error.__cause__ = cause
    return error
