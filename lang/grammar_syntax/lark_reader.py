"""Reads Lark's grammar notation, with what llguidance adds to it.

Statements: rules and terminals with priorities (`rule.2`, which only choose between parses) and
modifiers (`?`, `!`, which only shape trees), templates `name{x, y}`, `%ignore`, `%import common.X`.
Bodies: "text" "text"i "a".."z" /regex/flags ( ) [ ] | ? * + ~n ~n..m {n} {n,} {n,m} `-> alias`,
control tokens <|name|>, `%json {schema}`, and in terminals `&` and `~` (both, and complement).
"""

from __future__ import annotations

import re

from sestina.lang.grammar_syntax.common_terminals import common_terminal
from sestina.lang.grammar_syntax.lark_body import BLANK, SPACE, read_body, read_json, read_name
from sestina.lang.grammar_syntax.source import Cursor, Definition, Source

_MODIFIERS = re.compile(r"[?!]{1,2}")
_DIRECTIVE = re.compile("%[a-z_]*")
_ATTRIBUTE = re.compile("[a-z_]*")
_PRIORITY = re.compile(r"\.[ \t]*[+-]?[0-9]+")
_ARROW = re.compile("->")


def read(text: str) -> Source:
    """The definitions of a Lark source; raises a ConstraintError that points into it."""
    source = Source(text)
    cursor = Cursor(text)
    cursor.match(BLANK)
    while cursor.peek():
        if cursor.peek() == "%":
            _read_directive(cursor, source)
        else:
            _read_definition(cursor, source)
        cursor.match(SPACE)
        if cursor.peek() not in ("", "\r", "\n"):
            cursor.fail("expected the end of the line", cursor.at)
        cursor.match(BLANK)
    return source


def _read_definition(cursor: Cursor, source: Source) -> None:
    modifiers = cursor.match(_MODIFIERS)
    start = cursor.at
    name, is_terminal = read_name(cursor, "the name of a rule or a terminal")
    if modifiers and is_terminal:
        cursor.fail("? and ! are for rules", start - 1)
    params: tuple[str, ...] = ()
    if cursor.peek() == "{":
        params = _read_params(cursor)
    cursor.match(SPACE)
    if cursor.peek() == "[":
        start = cursor.at
        cursor.at += 1
        attribute = cursor.match(_ATTRIBUTE) or ""
        cursor.refuse(attribute, f"the attribute [{attribute}]", start)
    cursor.match(_PRIORITY)
    cursor.match(SPACE)
    cursor.expect(":", f"expected a colon after {name}")
    body = read_body(cursor, source, in_terminal=is_terminal)
    source.define(name, Definition(body, start, is_terminal, params))


def _read_params(cursor: Cursor) -> tuple[str, ...]:
    params: list[str] = []
    separator = "{"
    while separator in ("{", ","):
        cursor.at += 1
        cursor.match(SPACE)
        name, is_terminal = read_name(cursor, "the name of a parameter")
        if is_terminal or name in params:
            cursor.fail("parameters are different lower case names", cursor.at - len(name))
        params.append(name)
        cursor.match(SPACE)
        separator = cursor.peek()
    cursor.expect("}", "missing } after the parameters of a template")
    return tuple(params)


def _read_directive(cursor: Cursor, source: Source) -> None:
    start = cursor.at
    directive = cursor.match(_DIRECTIVE) or ""
    cursor.match(SPACE)
    if directive == "%ignore":
        body = read_body(cursor, source, in_terminal=True)
        source.ignored.append(Definition(body, start, is_terminal=True))
    elif directive == "%import":
        _read_import(cursor, source)
    elif directive == "%llguidance":
        if read_json(cursor) != {}:
            cursor.refuse(directive, "options of %llguidance", start)
    elif directive in ("%declare", "%override", "%extend"):
        cursor.refuse(directive, directive, start)
    else:
        cursor.fail(f"unknown directive {directive}", start)


def _read_import(cursor: Cursor, source: Source) -> None:
    """`%import common.NAME`, with `-> OWN_NAME`, or `%import common (NAME, NAME)`."""
    start = cursor.at
    if cursor.peek() == ".":
        cursor.refuse("%import", "an import from a file", start)
    library, _ = read_name(cursor, "what to import")
    if library != "common":
        cursor.refuse("%import", f"an import from {library} (common is understood)", start)
    cursor.match(SPACE)
    if cursor.peek() == "(":
        separator = "("
        while separator in ("(", ","):
            cursor.at += 1
            cursor.match(BLANK)
            _import_one(cursor, source, rename=False)
            cursor.match(BLANK)
            separator = cursor.peek()
        cursor.expect(")", "missing ) after imported names")
        return
    cursor.expect(".", "expected common.NAME or common (NAME, ...)")
    _import_one(cursor, source, rename=True)


def _import_one(cursor: Cursor, source: Source, *, rename: bool) -> None:
    start = cursor.at
    name, _ = read_name(cursor, "the name of a terminal")
    body = common_terminal(name)
    if body is None:
        cursor.fail(f"common has no terminal {name}", start)
    cursor.match(SPACE)
    if rename and cursor.match(_ARROW) is not None:
        cursor.match(SPACE)
        start = cursor.at
        name, is_terminal = read_name(cursor, "the terminal's own name")
        if not is_terminal:
            cursor.fail("a terminal needs an upper case name", start)
    source.define(name, Definition(body, start, is_terminal=True))
