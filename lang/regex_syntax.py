"""Regular expression source to constraint IR, with errors that point at the place.

Two dialects. PYTHON is the syntax of `re`, ECMA that of ECMA-262 with the u flag (what JSON
Schema's `pattern` asks for) plus the harmless parts of its annex B. What both understand here:

    literals  .  [a-z] [^a-z]  \\d \\w \\s \\D \\W \\S  \\n \\r \\t \\f \\v \\0 \\xhh \\uhhhh
    \\Uhhhhhhhh \\a (Python)  \\u{h..} \\cX (ECMA)
    |  (...)  (?:...)  (?P<name>...) (?<name>...)  ^ $  \\A \\Z (Python)  * + ? {m} {m,} {m,n}
    lazy *? +? ?? {m,n}? (the same language)  (?a) and (?s) at the very beginning (Python)

`\\d`, `\\w` and `\\s` are explained in `sestina.lang.regex_classes`. Anchors are exact: `$` in
Python also matches before a final newline. Refused with UnsupportedConstraint, never approximated:
look-around, back-references, conditionals, `\\b` and `\\B`, possessive and atomic groups,
`\\p{..}`, other flags, an anchor under a quantifier other than `?`, and a Python `$` that something
able to match a newline follows.

Cost: linear in the pattern. The parser keeps its own stack; nesting beyond MAX_NESTING and
patterns beyond MAX_PATTERN_LEN raise ConstraintLimitExceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from sestina.lang import grammar_ir as ir
from sestina.lang import regex_lower as rl
from sestina.lang.errors import ConstraintLimitExceeded, UnsatisfiableConstraint
from sestina.lang.expr import char, is_nothing
from sestina.lang.regex_chars import Cursor, read_class, read_escape
from sestina.lang.regex_classes import LINE_ENDS
from sestina.lang.regex_lower import Fragment, Spell

MAX_NESTING = 100
MAX_PATTERN_LEN = 100_000
MAX_REPEAT = 1_000_000

NOTHING_TO_REPEAT = "nothing to repeat"


class Dialect(Enum):
    PYTHON = "python"
    ECMA = "ecma"


def lower(
    pattern: str,
    *,
    dialect: Dialect = Dialect.PYTHON,
    search: bool = False,
    spell: Spell = char,
    widest: bool = False,
) -> ir.Expr:
    """The language of `pattern`: whole texts, or with `search` texts with a match somewhere.

    `spell` says how a character of a set is written (JSON writes `"` as `\\"`). Where engines
    differ (class letters, dot, `$`) the language is what all of them match; with `widest` what any
    of them does, which is what a negation has to leave out. Raises
    InvalidConstraint, UnsupportedConstraint, ConstraintLimitExceeded with the position, and
    UnsatisfiableConstraint when the pattern's structure leaves no text at all.

    >>> lower("a|b") == ir.chars([(0x61, 0x62)])
    True
    """
    if len(pattern) > MAX_PATTERN_LEN:
        raise ConstraintLimitExceeded(
            f"a pattern of {len(pattern)} characters; at most {MAX_PATTERN_LEN}"
        )
    cursor = Cursor(pattern, ecma=dialect is Dialect.ECMA, widest=widest)
    fragment = _Parser(cursor, spell).parse()
    expr = rl.anywhere(fragment, spell) if search else rl.whole_text(fragment)
    if is_nothing(expr):
        raise UnsatisfiableConstraint("no text matches this pattern", source=pattern, position=0)
    return expr


@dataclass(slots=True)
class _Group:
    """A group being read: its finished alternatives, and the items of the current one.

    no_repeat says why the last item cannot take a quantifier; "" means that it can.
    """

    opened_at: int
    alternatives: list[Fragment] = field(default_factory=list)
    items: list[Fragment] = field(default_factory=list)
    no_repeat: str = NOTHING_TO_REPEAT


class _Parser:
    """One pass over the pattern: `parse` is the loop, each `read_*` reads one construct.

    A reader is called with the cursor behind the character, at `start`, that announced it.
    """

    def __init__(self, cursor: Cursor, spell: Spell) -> None:
        self.cursor = cursor
        self.spell = spell
        # Python's view is the wider one of both the dot and `$`.
        self.is_python_wide = cursor.widest or not cursor.ecma
        self.dot = ir.complement(((0x0A, 0x0A),) if self.is_python_wide else LINE_ENDS)
        self.stack = [_Group(0)]
        self.names: set[str] = set()

    def parse(self) -> Fragment:
        cursor = self.cursor
        self.read_leading_flags()
        while letter := cursor.peek():
            start = cursor.at
            cursor.at += 1
            reader = _READERS.get(letter)
            if reader is None:
                self.add_chars(((ord(letter), ord(letter)),))
            else:
                reader(self, start)
        if len(self.stack) > 1:
            cursor.fail("missing ), unterminated group", self.stack[-1].opened_at)
        return self.finished(self.stack[0])

    def read_dot(self, start: int) -> None:
        self.add_chars(self.dot)

    def read_class(self, start: int) -> None:
        self.add_chars(read_class(self.cursor, start))

    def read_escape(self, start: int) -> None:
        cursor = self.cursor
        letter = cursor.peek()
        if letter in ("A", "Z") and not cursor.ecma:
            cursor.at += 1
            self.add_anchor((1, rl.FREE) if letter == "A" else (0, rl.TEXT_END))
        elif letter in ("b", "B"):
            cursor.refuse("word boundary", "word boundaries", start)
        elif letter == "k" or (letter.isdigit() and letter != "0"):
            cursor.refuse("back-reference", "back-references", start)
        else:
            self.add_chars(read_escape(cursor, start))

    def read_start(self, start: int) -> None:
        self.add_anchor((1, rl.FREE))

    def read_end(self, start: int) -> None:
        self.add_anchor((0, rl.LINE_END if self.is_python_wide else rl.TEXT_END))

    def read_bar(self, start: int) -> None:
        group = self.stack[-1]
        group.alternatives.append(self.sequence(group))
        group.items = []
        group.no_repeat = NOTHING_TO_REPEAT

    def read_open(self, start: int) -> None:
        if len(self.stack) > MAX_NESTING:
            raise ConstraintLimitExceeded(
                f"groups nested deeper than {MAX_NESTING}",
                source=self.cursor.pattern,
                position=start,
            )
        if self.cursor.peek() == "?":
            self.read_group_kind(start)
        self.stack.append(_Group(start))

    def read_close(self, start: int) -> None:
        if len(self.stack) == 1:
            self.cursor.fail("unbalanced parenthesis", start)
        self.add(self.finished(self.stack.pop()))

    def read_quantifier(self, start: int) -> None:
        cursor = self.cursor
        bounds = self.bounds(start)
        if bounds is None:  # a brace that is no quantifier stands for itself
            self.add_chars(((0x7B, 0x7B),))
            return
        group = self.stack[-1]
        if group.no_repeat:
            cursor.fail(group.no_repeat, start)
        if cursor.peek() == "?":
            cursor.at += 1
        elif cursor.peek() == "+" and not cursor.ecma:
            cursor.refuse("possessive quantifier", "possessive quantifiers", start)
        item = group.items[-1]
        if item.is_anchored and bounds not in ((0, 0), (0, 1), (1, 1)):
            cursor.refuse("anchor", "an anchor inside a repeated group", start)
        group.items[-1] = rl.repeat(item, *bounds)
        group.no_repeat = "multiple repeat"

    def read_leading_flags(self) -> None:
        """`(?as)` at the very beginning: a is what we do anyway, s lets the dot match newlines."""
        cursor = self.cursor
        while not cursor.ecma and cursor.pattern.startswith("(?", cursor.at):
            end = cursor.pattern.find(")", cursor.at)
            flags = cursor.pattern[cursor.at + 2 : end] if end > 0 else ""
            if not flags.isalpha():
                return
            for offset, flag in enumerate(flags):
                if flag not in "as":
                    cursor.refuse("flag", f"the flag {flag!r}", cursor.at + 2 + offset)
            if "s" in flags:
                self.dot = ir.ANY_CHAR
            cursor.at = end + 1

    def read_group_kind(self, start: int) -> None:
        """Read what follows the `(` up to where the group's content begins."""
        cursor = self.cursor
        rest = cursor.pattern[cursor.at : cursor.at + 3]
        for opening, construct in _REFUSED_GROUPS.items():
            if rest.startswith(opening):
                cursor.refuse(construct, f"{construct}s", start)
        if rest.startswith("?:"):
            cursor.at += 2
        elif rest.startswith("?<") or (rest == "?P<" and not cursor.ecma):
            self.read_name(cursor.at + rest.index("<") + 1)
        elif rest[1:2] == "-" or rest[1:2] in "aiLmsux":
            cursor.refuse("flag", "flags inside a pattern", start)
        else:
            cursor.fail("unknown extension after (?", start)

    def read_name(self, begin: int) -> None:
        cursor = self.cursor
        end = cursor.pattern.find(">", begin)
        name = cursor.pattern[begin:end] if end > 0 else ""
        if not name.isidentifier():
            cursor.fail("bad group name", begin)
        if name in self.names:
            cursor.fail(f"the group name {name!r} is used twice", begin)
        self.names.add(name)
        cursor.at = end + 1

    def bounds(self, start: int) -> tuple[int, int | None] | None:
        """What the quantifier at `start` says; None for a `{` that is no quantifier."""
        cursor = self.cursor
        if cursor.pattern[start] in _SHORT_BOUNDS:
            return _SHORT_BOUNDS[cursor.pattern[start]]
        end = cursor.pattern.find("}", start)
        low, comma, high = cursor.pattern[start + 1 : max(end, start + 1)].partition(",")
        is_number = (low + high).isascii() and (low + high).isdigit()
        if end < 0 or not (is_number or (comma and not low + high)):
            return None
        if not low:
            cursor.refuse("quantifier", "{,n}, which engines read differently (write {0,n})", start)
        cursor.at = end + 1
        lo, hi = self.count(low, start), self.count(high or "0", start)
        if comma and not high:
            return lo, None
        if comma and hi < lo:
            cursor.fail("min repeat greater than max repeat", start)
        return lo, hi if comma else lo

    def count(self, digits: str, start: int) -> int:
        if len(digits) > 12 or int(digits) > MAX_REPEAT:
            raise ConstraintLimitExceeded(
                f"a repeat count above {MAX_REPEAT}", source=self.cursor.pattern, position=start
            )
        return int(digits)

    def finished(self, group: _Group) -> Fragment:
        last = self.sequence(group)
        return rl.union([*group.alternatives, last]) if group.alternatives else last

    def sequence(self, group: _Group) -> Fragment:
        try:
            return rl.sequence(group.items)
        except rl.NewlineAfterDollar:
            self.cursor.refuse(
                "$",
                "a $ that something able to match a newline follows",
                self.cursor.pattern.find("$", group.opened_at),
            )

    def add_chars(self, ranges: ir.Ranges) -> None:
        self.add(rl.char_set(ranges, self.spell))

    def add_anchor(self, case: rl.Case) -> None:
        self.stack[-1].items.append(rl.anchor(case))
        self.stack[-1].no_repeat = NOTHING_TO_REPEAT

    def add(self, fragment: Fragment) -> None:
        self.stack[-1].items.append(fragment)
        self.stack[-1].no_repeat = ""


_SHORT_BOUNDS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {"*": (0, None), "+": (1, None), "?": (0, 1)}
)

_REFUSED_GROUPS = MappingProxyType(
    {
        "?=": "look-ahead",
        "?!": "look-ahead",
        "?<=": "look-behind",
        "?<!": "look-behind",
        "?>": "atomic group",
        "?(": "conditional group",
        "?P=": "back-reference",
        "?#": "comment",
    }
)

_READERS: Mapping[str, Callable[[_Parser, int], None]] = MappingProxyType(
    {
        ".": _Parser.read_dot,
        "[": _Parser.read_class,
        "\\": _Parser.read_escape,
        "^": _Parser.read_start,
        "$": _Parser.read_end,
        "|": _Parser.read_bar,
        "(": _Parser.read_open,
        ")": _Parser.read_close,
        "*": _Parser.read_quantifier,
        "+": _Parser.read_quantifier,
        "?": _Parser.read_quantifier,
        "{": _Parser.read_quantifier,
    }
)
