r"""Reads GBNF, the grammar notation of llama.cpp, in the superset that xgrammar and SGLang read.

    # comment
    root  ::= item ("," item)* | [^"\\\n]+ .
    item  ::= "text\n" | [a-zA-Z_\x41\u00e9\U0001F600-] | <|im_end|>    ? * + {n} {n,} {n,m}

Line ends mean nothing: a rule ends where the next `name ::=` begins. A character set or `.` matches
one character, line ends included. `<name>` is a control token of the vocabulary. Refused:
look-ahead `(= ...)`, `TagDispatch(...)` and other calls, tokens by number `<[1]>` and excluded ones
`!<...>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import char
from sestina.lang.grammar_syntax.groups import Groups, read_braces, read_short_quantifier
from sestina.lang.grammar_syntax.source import Cursor, Definition, Source, read_escape

NAME = re.compile(r"[A-Za-z0-9_-]+")
HEAD = re.compile(r"([A-Za-z0-9_-]+)[ \t]*::=")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_CONTROL_TOKEN = re.compile(r"<[^<>\s]+>")

_STRING_ESCAPES: Mapping[str, str] = {
    **{letter: letter for letter in "\"'\\[]?"},
    **{"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"},
    "0": "\0",
}
_CLASS_ESCAPES: Mapping[str, str] = {**_STRING_ESCAPES, "-": "-", "^": "^"}


def read(text: str) -> Source:
    """The rules of a GBNF source; raises a ConstraintError that points into it."""
    source = Source(text)
    cursor = Cursor(text)
    cursor.match(_BLANK)
    while cursor.peek():
        start = cursor.at
        head = cursor.match(HEAD)
        if head is None:
            cursor.fail("expected a rule: name ::= ...", start)
        name = head[: -len("::=")].rstrip()
        source.define(name, Definition(_read_body(cursor, source), start))
    return source


def _read_body(cursor: Cursor, source: Source) -> ir.Expr:
    groups = Groups(cursor)
    while True:
        cursor.match(_BLANK)
        letter = cursor.peek()
        if not letter or HEAD.match(cursor.text, cursor.at):
            return groups.finish()
        reader = _READERS.get(letter)
        if reader is not None:
            cursor.at += 1
            reader(groups)
        else:
            groups.add(_read_name(cursor, source))


def _read_name(cursor: Cursor, source: Source) -> ir.Expr:
    start = cursor.at
    name = cursor.match(NAME)
    if name is None:
        cursor.fail(f"unexpected {cursor.peek()!r}", start)
    if cursor.peek() == "(":
        cursor.refuse(name, f"the call {name}(...) (put a space before a group)", start)
    if cursor.peek() == "." and NAME.match(cursor.text, cursor.at + 1):
        cursor.refuse(".", "a dot in a name (put spaces around it for any character)", cursor.at)
    source.uses.setdefault(name, start)
    return ir.Rule(name)


def _read_string(groups: Groups) -> None:
    cursor = groups.cursor
    start = cursor.at - 1
    out = []
    while (letter := cursor.peek()) != '"':
        if not letter:
            cursor.fail("unterminated string", start)
        cursor.at += 1
        out.append(read_escape(cursor, _STRING_ESCAPES) if letter == "\\" else letter)
    cursor.at += 1
    groups.add(ir.literal("".join(out)))


def _read_class(groups: Groups) -> None:
    cursor = groups.cursor
    start = cursor.at - 1
    inverted = cursor.peek() == "^"
    cursor.at += inverted
    ranges = []
    while cursor.peek() != "]":
        low = high = _class_char(cursor, start)
        if cursor.peek() == "-" and cursor.text[cursor.at + 1 : cursor.at + 2] != "]":
            dash = cursor.at
            cursor.at += 1
            high = _class_char(cursor, start)
            if high < low:
                cursor.fail("bad character range", dash)
        ranges.append((ord(low), ord(high)))
    cursor.at += 1
    groups.add(char(ir.complement(ranges) if inverted else ir.normalise(ranges)))


def _class_char(cursor: Cursor, start: int) -> str:
    letter = cursor.peek()
    if not letter:
        cursor.fail("unterminated character set", start)
    cursor.at += 1
    return read_escape(cursor, _CLASS_ESCAPES) if letter == "\\" else letter


def _read_open(groups: Groups) -> None:
    cursor = groups.cursor
    if cursor.peek() == "=":
        cursor.refuse("look-ahead", "look-ahead (= ...)", cursor.at - 1)
    groups.open("(")


def _read_control_token(groups: Groups) -> None:
    cursor = groups.cursor
    cursor.at -= 1
    start = cursor.at
    if cursor.text.startswith("<[", start):
        cursor.refuse("<[", "a token by its number", start)
    name = cursor.match(_CONTROL_TOKEN)
    if name is None:
        cursor.fail("a control token is written <name>", start)
    groups.add(ir.Special(name))


def _refuse_exclusion(groups: Groups) -> None:
    groups.cursor.refuse("!", "excluded tokens", groups.cursor.at - 1)


_READERS: Mapping[str, Callable[[Groups], None]] = {
    '"': _read_string,
    "[": _read_class,
    "(": _read_open,
    ")": lambda groups: groups.close(")"),
    "|": Groups.bar,
    ".": lambda groups: groups.add(char(ir.ANY_CHAR)),
    "?": read_short_quantifier,
    "*": read_short_quantifier,
    "+": read_short_quantifier,
    "{": read_braces,
    "<": _read_control_token,
    "!": _refuse_exclusion,
}
