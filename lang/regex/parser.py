"""Regular expression source to syntax tree, with errors that point at the place.

One pass with a stack of its own: `parse` is the loop, each `_read_*` reads one construct and is
called with the cursor behind the character, at `start`, that announced it. Cost: linear.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.regex import nodes
from sestina.lang.regex.atomic import atomic
from sestina.lang.regex.casing import Folding
from sestina.lang.regex.escapes import read_escape, read_set
from sestina.lang.regex.nodes import Look, Node, char_of, fixed_width, loop_of, or_of, seq_of
from sestina.lang.regex.source import NO_FLAGS, Cursor, Flags

MAX_NESTING = 100
MAX_REPEAT = 1_000_000

NOTHING_TO_REPEAT = "nothing to repeat"
MULTIPLE_REPEAT = "multiple repeat"


def parse(pattern: str, *, ecma: bool) -> Node:
    """The tree of a pattern; raises a ConstraintError with the position."""
    return _Parser(Cursor(pattern, ecma=ecma)).parse()


@dataclass(slots=True)
class _Group:
    """A group being read: its finished alternatives, and the items of the current one.

    opening is what follows its `(`; flags are those to restore behind it. no_repeat says why the
    last item cannot take a quantifier; "" means that it can.
    """

    opened_at: int
    opening: str = ""
    flags: Flags = NO_FLAGS
    alternatives: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    no_repeat: str = NOTHING_TO_REPEAT


class _Parser:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.group = _Group(0)
        self.outer: list[_Group] = []
        self.names: set[str] = set()

    def parse(self) -> Node:
        cursor = self.cursor
        pattern = cursor.pattern
        while cursor.at < len(pattern):
            start = cursor.at
            letter = pattern[start]
            cursor.at += 1
            reader = _READERS.get(letter)
            if reader is not None:
                reader(self, start)
            elif not cursor.flags.verbose or not self._skip(letter):
                self._add(char_of(ord(letter), cursor.flags.folding))
        if self.outer:
            cursor.fail("missing ), unterminated group", self.group.opened_at)
        return self._finished()

    def _add(self, node: Node, no_repeat: str = "") -> None:
        self.group.items.append(node)
        self.group.no_repeat = no_repeat

    def _add_edge(self, node: Node) -> None:
        """An anchor or word boundary; twice in a row is the same as once."""
        if not (self.group.items and self.group.items[-1] is node):
            self.group.items.append(node)
        self.group.no_repeat = NOTHING_TO_REPEAT

    def _finished(self) -> Node:
        last = seq_of(self.group.items)
        return or_of([*self.group.alternatives, last]) if self.group.alternatives else last

    def _skip(self, letter: str) -> bool:
        """Where (?x) holds: whether this is white space, or a comment up to the line's end."""
        if letter == "#":
            end = self.cursor.pattern.find("\n", self.cursor.at)
            self.cursor.at = end + 1 if end >= 0 else len(self.cursor.pattern)
        return letter in " \t\n\r\v\f#"

    # ---- what stands for one character, or for a place between two

    def _read_dot(self, start: int) -> None:
        if self.cursor.flags.dot_all:
            self._add(nodes.ANY)
        else:
            self._add(nodes.ECMA_DOT if self.cursor.ecma else nodes.DOT)

    def _read_set(self, start: int) -> None:
        self._add(read_set(self.cursor, start))

    def _read_start(self, start: int) -> None:
        if not self.cursor.flags.multi_line:
            self._add_edge(nodes.TEXT_START)
        else:
            ecma = self.cursor.ecma
            self._add_edge(nodes.ECMA_LINE_START if ecma else nodes.LINE_START)

    def _read_end(self, start: int) -> None:
        ecma = self.cursor.ecma
        if not self.cursor.flags.multi_line:
            self._add_edge(nodes.ECMA_TEXT_END if ecma else nodes.LAST_LINE_END)
        else:
            self._add_edge(nodes.ECMA_LINE_END if ecma else nodes.LINE_END)

    def _read_escape(self, start: int) -> None:
        cursor = self.cursor
        letter = cursor.peek()
        if letter in ("b", "B"):
            cursor.at += 1
            boundary = nodes.word_boundary(
                is_inside=letter == "B",
                is_ascii=cursor.flags.is_ascii,
                needs_text=not cursor.ecma and sys.version_info < (3, 14),
            )
            self._add_edge(boundary)
        elif not cursor.ecma and letter in _PYTHON_EDGES:
            cursor.at += 1
            self._add_edge(_PYTHON_EDGES[letter])
        elif letter == "k" or (letter in "123456789" and letter and not self._is_octal()):
            cursor.refuse("back-reference", "back-references", start)
        else:
            self._add(read_escape(cursor, start))

    def _is_octal(self) -> bool:
        cursor = self.cursor
        return not cursor.ecma and bool(re.match("[0-7]{3}", cursor.pattern[cursor.at :][:3]))

    # ---- groups

    def _read_bar(self, start: int) -> None:
        group = self.group
        group.alternatives.append(seq_of(group.items))
        group.items = []
        group.no_repeat = NOTHING_TO_REPEAT

    def _read_open(self, start: int) -> None:
        cursor = self.cursor
        flags = cursor.flags
        opening = ""
        if cursor.peek() == "?":
            if cursor.pattern.startswith("?#", cursor.at) and not cursor.ecma:
                self._skip_comment(start)
                return
            found = self._read_kind(start)
            if found is None:
                return
            opening = found
        if len(self.outer) >= MAX_NESTING:
            raise ConstraintLimitExceeded(
                f"groups nested deeper than {MAX_NESTING}", source=cursor.pattern, position=start
            )
        self.outer.append(self.group)
        self.group = _Group(start, opening, flags)

    def _read_close(self, start: int) -> None:
        if not self.outer:
            self.cursor.fail("unbalanced parenthesis", start)
        group, node = self.group, self._finished()
        self.group = self.outer.pop()
        self.cursor.flags = group.flags
        if group.opening == "?>":
            self._add(self._atomic(node, "atomic group", group.opened_at))
        elif group.opening in _LOOKS:
            is_ahead, is_negative = _LOOKS[group.opening]
            if not is_ahead and not self.cursor.ecma and fixed_width(node) is None:
                self.cursor.fail("look-behind requires fixed-width pattern", group.opened_at)
            # ECMA-262 has no quantifiers behind these.
            look = Look(node, is_ahead, is_negative, group.opened_at)
            self._add(look, NOTHING_TO_REPEAT if self.cursor.ecma else "")
        else:
            self._add(node)

    def _read_kind(self, start: int) -> str | None:
        """Read what follows the `(` up to where the group's content begins; None: it has none."""
        cursor = self.cursor
        found = _OPENING.match(cursor.pattern, cursor.at)
        opening = found[0] if found else ""
        if opening in ("?<", "?P<") and not (opening == "?P<" and cursor.ecma):
            cursor.at += len(opening)
            self._read_name(cursor.at)
        elif opening in ("?(", "?P=") and not cursor.ecma:
            what = "conditional group" if opening == "?(" else "back-reference"
            cursor.refuse(what, f"{what}s", start)
        elif opening in _LOOKS or opening == "?:" or (opening == "?>" and not cursor.ecma):
            cursor.at += len(opening)
        else:
            return self._read_flags(start)
        return opening

    def _skip_comment(self, start: int) -> None:
        end = self.cursor.pattern.find(")", start)
        if end < 0:
            self.cursor.fail("missing ), unterminated comment", start)
        self.cursor.at = end + 1

    def _read_name(self, begin: int) -> None:
        cursor = self.cursor
        end = cursor.pattern.find(">", begin)
        name = cursor.pattern[begin:end] if end > 0 else ""
        if not (name.replace("$", "_") if cursor.ecma else name).isidentifier():
            cursor.fail("bad group name", begin)
        if name in self.names:
            cursor.fail(f"the group name {name!r} is used twice", begin)
        self.names.add(name)
        cursor.at = end + 1

    def _read_flags(self, start: int) -> str | None:
        """`(?i)` for all that follows, which must be all, or `(?i-s:` for one group."""
        cursor = self.cursor
        found = _FLAGS.match(cursor.pattern, cursor.at)
        if found is None or not (found[1] or found[2]):
            cursor.fail("unknown extension after (?", start)
        on, off, end = found[1], (found[2] or "")[1:], found[3]
        for offset, letter in enumerate(found[0][1:-1], cursor.at + 1):
            if letter == "L" or letter not in ("ims-" if cursor.ecma else "aimsux-"):
                cursor.fail(f"the flag {letter!r} is not for text or not known", offset)
        if (
            set(on) & set(off)
            or set(off) & set("au")
            or (found[2] == "-")
            or len({*on} & {*"au"}) > 1
        ):
            cursor.fail("bad inline flags", start)
        is_global = end == ")"
        if is_global and (off or cursor.ecma):
            cursor.fail("flags without the group that they are for", start)
        if is_global and (self.outer or self.group.alternatives or self.group.items):
            cursor.fail("global flags not at the start of the expression", start)
        cursor.at = found.end()
        cursor.flags = self._changed(on, off, start, is_global=is_global)
        return None if is_global else "?:"

    def _changed(self, on: str, off: str, start: int, *, is_global: bool) -> Flags:
        flags = self.cursor.flags
        is_ascii = True if "a" in on else False if "u" in on else flags.is_ascii
        if is_global and None not in (flags.is_ascii, is_ascii) and flags.is_ascii != is_ascii:
            self.cursor.fail("ASCII and UNICODE flags are incompatible", start)
        ignores_case = ("i" in on or flags.folding is not None) and "i" not in off
        return dataclasses.replace(
            flags,
            folding=self._folding(is_ascii) if ignores_case else None,
            multi_line=("m" in on or flags.multi_line) and "m" not in off,
            dot_all=("s" in on or flags.dot_all) and "s" not in off,
            verbose=("x" in on or flags.verbose) and "x" not in off,
            is_ascii=is_ascii,
        )

    def _folding(self, is_ascii: bool | None) -> Folding:
        if self.cursor.ecma:
            return Folding.ECMA
        if is_ascii is None:
            return Folding.ANY_PYTHON
        return Folding.ASCII if is_ascii else Folding.PYTHON

    # ---- quantifiers

    def _read_quantifier(self, start: int) -> None:
        cursor = self.cursor
        bounds = self._bounds(start)
        if bounds is None:  # a brace that is no quantifier stands for itself
            self._add(char_of(0x7B, cursor.flags.folding))
            return
        group = self.group
        if group.no_repeat:
            cursor.fail(group.no_repeat, start)
        lazy = cursor.peek() == "?"
        possessive = cursor.peek() == "+" and not cursor.ecma
        cursor.at += lazy or possessive
        node = loop_of(group.items[-1], *bounds, is_lazy=lazy)
        if possessive:
            node = self._atomic(node, "possessive quantifier", start)
        group.items[-1] = node
        group.no_repeat = MULTIPLE_REPEAT

    def _atomic(self, node: Node, what: str, start: int) -> Node:
        found = atomic(node)
        if found is None:
            self.cursor.refuse(what, f"{what}s, but for simple ones", start)
        return found

    def _bounds(self, start: int) -> tuple[int, int | None] | None:
        """What the quantifier at `start` says; None for a `{` that is no quantifier."""
        cursor = self.cursor
        if cursor.pattern[start] in _SHORT_BOUNDS:
            return _SHORT_BOUNDS[cursor.pattern[start]]
        found = _BRACES.match(cursor.pattern, start)
        if found is None or found[0] == "{}":
            return None
        low, comma, high = found.groups()
        if cursor.ecma and not low:
            cursor.refuse("quantifier", "{,n}, which engines read differently (write {0,n})", start)
        cursor.at = found.end()
        lo = self._count(low or "0", start)
        hi = self._count(high, start) if high else None if comma else lo
        if hi is not None and hi < lo:
            cursor.fail("min repeat greater than max repeat", start)
        return lo, hi

    def _count(self, digits: str, start: int) -> int:
        if len(digits) > 12 or int(digits) > MAX_REPEAT:
            raise ConstraintLimitExceeded(
                f"a repeat count above {MAX_REPEAT}", source=self.cursor.pattern, position=start
            )
        return int(digits)


_OPENING = re.compile(r"\?(?:<[=!]|P[<=]|[:=!><(])")
_FLAGS = re.compile(r"\?([A-Za-z]*)(-[A-Za-z]*)?([:)])")
_BRACES = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")

_PYTHON_EDGES: Mapping[str, Look] = MappingProxyType(
    {"A": nodes.TEXT_START, "Z": nodes.TEXT_END, "z": nodes.TEXT_END}
)

# Whether a look is ahead, and whether it is negative.
_LOOKS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"?=": (True, False), "?!": (True, True), "?<=": (False, False), "?<!": (False, True)}
)

_SHORT_BOUNDS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {"*": (0, None), "+": (1, None), "?": (0, 1)}
)

_READERS: Mapping[str, Callable[[_Parser, int], None]] = MappingProxyType(
    {
        ".": _Parser._read_dot,
        "[": _Parser._read_set,
        "\\": _Parser._read_escape,
        "^": _Parser._read_start,
        "$": _Parser._read_end,
        "|": _Parser._read_bar,
        "(": _Parser._read_open,
        ")": _Parser._read_close,
        "*": _Parser._read_quantifier,
        "+": _Parser._read_quantifier,
        "?": _Parser._read_quantifier,
        "{": _Parser._read_quantifier,
    }
)
