"""What was worked out before, bounded by its size: `functools.lru_cache` counts entries instead.

Python's garbage collector goes through every object that is kept, tens of milliseconds for some
hundred thousand of them. One large result must not weigh as little as a small one.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


class Kept(Generic[P, Result]):
    """A function of hashable arguments that remembers its results. Thread-safe.

    max_size: what all results together may weigh by `size_of`; the one longest not asked for goes
        first, the last one stays however large it is.
    Threads that ask for the same thing at once may both work it out. Errors are not kept.
    """

    def __init__(
        self, function: Callable[P, Result], max_size: int, size_of: Callable[[Result], int]
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._max_size = max_size
        self._size_of = size_of
        self._lock = threading.Lock()
        self._found: OrderedDict[object, tuple[Result, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._found)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result:
        key = (args, tuple(kwargs.items())) if kwargs else args
        with self._lock:
            known = self._found.get(key)
            if known is not None:
                self._found.move_to_end(key)
                return known[0]
        result = self._function(*args, **kwargs)
        size = self._size_of(result)
        with self._lock:
            _, before = self._found.pop(key, (result, 0))
            self._found[key] = result, size
            self.size += size - before
            while self.size > self._max_size and len(self._found) > 1:
                _, (_, gone) = self._found.popitem(last=False)
                self.size -= gone
        return result


def kept(
    max_size: int, size_of: Callable[[Any], int]
) -> Callable[[Callable[P, Result]], Kept[P, Result]]:
    """`Kept` as a decorator.

    >>> @kept(max_size=10, size_of=len)
    ... def letters(count: int) -> str:
    ...     return "x" * count
    >>> letters(7), letters(5), len(letters)
    ('xxxxxxx', 'xxxxx', 1)
    """
    return lambda function: Kept(function, max_size, size_of)
