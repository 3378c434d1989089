"""Reads what stands right of the colon in a Lark definition."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sestina.lang import grammar_ir as ir
from sestina.lang import json_schema, json_text
from sestina.lang.errors import ConstraintError
from sestina.lang.expr import char, either, seq
from sestina.lang.grammar_syntax import terminal_regex
from sestina.lang.grammar_syntax.groups import Groups, count, read_braces, read_short_quantifier
from sestina.lang.grammar_syntax.references import renamed
from sestina.lang.grammar_syntax.source import (
    Cursor,
    Definition,
    Source,
    TemplateUse,
    read_escape,
)

RULE_NAME = re.compile("_?[a-z][_a-z0-9]*")
TERMINAL_NAME = re.compile("_?[A-Z][_A-Z0-9]*")
NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
NUMBER = re.compile("[0-9]+")
SPACE = re.compile(r"(?:[ \t]+|//[^\n]*|#[^\n]*|\\[ \t]*\r?\n)+")
BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|#[^\n]*|\\[ \t]*\r?\n)+")

_LINE_END = re.compile(r"\r?\n")
_FLAGS = re.compile("[imslux]*")
_CONTROL_TOKEN = re.compile(r"<[^<>\s\"']+>")
_ARROW = re.compile("->")
_ARGUMENTS = re.compile(r"\{(?![ \t]*[0-9])")
_EMBEDDED = re.compile("%(json|regex|lark)")
_COUNT_FROM = re.compile(r"[ \t]*([0-9]+)(?:[ \t]*\.\.[ \t]*([0-9]+))?")
_STRING_ESCAPES: Mapping[str, str] = {
    **{'"': '"', "\\": "\\"},
    **{"n": "\n", "r": "\r", "t": "\t", "f": "\f"},
}


def read_body(cursor: Cursor, source: Source, *, in_terminal: bool) -> ir.Expr:
    """A body up to its end: a line end outside of groups that no line with `|` follows."""
    return _BodyReader(cursor, source, in_terminal).read()


def read_name(cursor: Cursor, what: str) -> tuple[str, bool]:
    """A name, and whether it is a terminal's."""
    start = cursor.at
    name = cursor.match(NAME)
    if name is None:
        cursor.fail(f"expected {what}", start)
    if name.startswith("__"):
        cursor.fail("names that begin with two underscores are reserved", start)
    is_terminal = TERMINAL_NAME.fullmatch(name) is not None
    if not is_terminal and not RULE_NAME.fullmatch(name):
        cursor.fail(f"{name} is neither lower case (a rule) nor upper case (a terminal)", start)
    return name, is_terminal


class _BodyReader:
    """`read` is the loop; each `read_*` reads one construct, called behind its first character."""

    def __init__(self, cursor: Cursor, source: Source, in_terminal: bool) -> None:
        self.cursor = cursor
        self.source = source
        self.in_terminal = in_terminal
        self.groups = Groups(cursor)

    def read(self) -> ir.Expr:
        cursor = self.cursor
        while not self.at_end():
            start = cursor.at
            letter = cursor.peek()
            reader = _READERS.get(letter)
            if reader is not None:
                cursor.at += 1
                reader(self, start)
            elif letter.isalpha() or letter == "_":
                self.read_reference(start)
            else:
                cursor.fail(f"unexpected {letter!r}", start)
        return self.groups.finish()

    def at_end(self) -> bool:
        """Skip what means nothing; whether the definition ends here."""
        cursor = self.cursor
        cursor.match(BLANK if self.groups.depth else SPACE)
        if not cursor.peek():
            return True
        if self.groups.depth or not _LINE_END.match(cursor.text, cursor.at):
            return False
        before = cursor.at
        cursor.match(BLANK)
        if cursor.peek() == "|":
            return False
        cursor.at = before
        return True

    # ---- atoms

    def add_token(self, spelling: str, expr: ir.Expr, start: int) -> None:
        """What a string, regex or the like matches; in a rule it is a terminal of its own."""
        if self.in_terminal:
            self.groups.add(expr)
            return
        if spelling not in self.source.definitions:
            self.source.define(spelling, Definition(expr, start, is_terminal=True))
        self.groups.add(ir.Rule(spelling))

    def read_string(self, start: int) -> None:
        cursor = self.cursor
        text = self.string_content(start)
        if cursor.text.startswith("..", cursor.at):
            cursor.at += 2
            second = cursor.at
            cursor.expect('"', 'a range is written "a".."z"')
            last = self.string_content(second)
            if len(text) != 1 or len(last) != 1 or last < text:
                cursor.fail("a range goes from one character to a later one", start)
            expr = char(ir.normalise([(ord(text), ord(last))]))
        elif cursor.peek() == "i":
            cursor.at += 1
            expr = seq(*map(either_case, text))
        else:
            expr = ir.literal(text)
        self.add_token(cursor.text[start : cursor.at], expr, start)

    def string_content(self, start: int) -> str:
        """Up to the closing quote; the opening one was read."""
        cursor = self.cursor
        out = []
        while (letter := cursor.peek()) != '"':
            if not letter or letter == "\n":
                cursor.fail("unterminated string", start)
            cursor.at += 1
            out.append(read_escape(cursor, _STRING_ESCAPES) if letter == "\\" else letter)
        cursor.at += 1
        return "".join(out)

    def read_regex(self, start: int) -> None:
        cursor = self.cursor
        while cursor.peek() != "/":
            if not cursor.peek():
                cursor.fail("unterminated regex", start)
            cursor.at += 2 if cursor.peek() == "\\" else 1
        pattern = cursor.text[start + 1 : cursor.at]
        cursor.at += 1
        flags = cursor.match(_FLAGS) or ""
        if "\n" in pattern and "x" not in flags:
            cursor.fail("unterminated regex (a line end needs the flag x)", start)
        expr = terminal_regex.lower(cursor, pattern, flags, start + 1)
        self.add_token(cursor.text[start : cursor.at], expr, start)

    def read_control_token(self, start: int) -> None:
        cursor = self.cursor
        cursor.at = start
        if cursor.text.startswith("<[", start):
            cursor.refuse("<[", "a token by its number", start)
        name = cursor.match(_CONTROL_TOKEN)
        if name is None:
            cursor.fail("a control token is written <name>", start)
        if self.in_terminal:
            cursor.fail("control tokens stand in rules, not in terminals", start)
        self.add_token(name, ir.Special(name), start)

    def read_reference(self, start: int) -> None:
        """The name of a rule, a terminal or a template with its arguments."""
        cursor = self.cursor
        name, is_terminal = read_name(cursor, "a name")
        if _ARGUMENTS.match(cursor.text, cursor.at):
            cursor.at += 1
            self.read_template_use(name, start)
            return
        if self.in_terminal and not is_terminal:
            cursor.fail(f"the rule {name} stands in a terminal", start)
        self.source.uses.setdefault(name, start)
        self.groups.add(ir.Rule(name))

    def read_template_use(self, name: str, start: int) -> None:
        cursor = self.cursor
        if self.in_terminal:
            cursor.fail(f"the template {name} stands in a terminal", start)
        args: list[str] = []
        # An argument is one atom, so it is read as a body of one atom and must come out as a name.
        while True:
            cursor.match(BLANK)
            argument = _BodyReader(cursor, self.source, in_terminal=False)
            args.append(argument.read_argument())
            cursor.match(BLANK)
            if cursor.peek() != ",":
                break
            cursor.at += 1
        cursor.expect("}", "missing } after the arguments of a template")
        spelling = f"%use {start}"
        self.source.template_uses[spelling] = TemplateUse(name, tuple(args), start)
        self.groups.add(ir.Rule(spelling))

    def read_argument(self) -> str:
        cursor = self.cursor
        start = cursor.at
        if cursor.peek() in ('"', "/", "<"):
            cursor.at += 1
            _READERS[cursor.text[start]](self, start)
        else:
            name, _ = read_name(cursor, "a name, a string or a regex as argument")
            if cursor.peek() == "{":
                cursor.refuse("template", "a template inside the arguments of another", start)
            self.source.uses.setdefault(name, start)
            return name
        token = self.groups.finish()
        assert isinstance(token, ir.Rule)
        return token.name

    def read_embedded(self, start: int) -> None:
        cursor = self.cursor
        cursor.at = start
        kind = cursor.match(_EMBEDDED)
        if kind is None:
            cursor.fail("unexpected %", start)
        if kind != "%json":
            cursor.refuse(kind, f"an embedded {kind}", start)
        if self.in_terminal:
            cursor.fail("%json stands in rules, not in terminals", start)
        cursor.match(BLANK)
        schema = read_json(cursor)
        try:
            grammar = json_schema.lower(json_schema.Source(json_text.dumps(schema))).grammar
        except ConstraintError as error:
            raise type(error)(
                error.reason,
                pointer=error.pointer,
                keyword=error.keyword,
                source=cursor.text,
                position=start,
            ) from error
        prefix = f"%json {start} "
        for name, body in grammar.rules.items():
            self.source.merged[prefix + name] = renamed(body, prefix)
        self.source.merged[prefix] = renamed(grammar.start, prefix)
        self.add_token(f"%json {start}", ir.Rule(prefix), start)

    # ---- around atoms

    def read_quantifier(self, start: int) -> None:
        read_short_quantifier(self.groups)

    def read_brace(self, start: int) -> None:
        read_braces(self.groups)

    def read_tilde(self, start: int) -> None:
        """`x~2` and `x~2..3` are counts; before an item `~` is the complement."""
        cursor = self.cursor
        found = _COUNT_FROM.match(cursor.text, cursor.at)
        if found is None:
            self.require_terminal("~", start)
            self.groups.negate()
            return
        cursor.at = found.end()
        lo = count(cursor, found[1], start)
        hi = count(cursor, found[2], start) if found[2] else lo
        self.groups.quantify(lo, hi, start)

    def read_ampersand(self, start: int) -> None:
        self.require_terminal("&", start)
        self.groups.ampersand()

    def require_terminal(self, operator: str, start: int) -> None:
        if not self.in_terminal:
            self.cursor.refuse(
                operator, f"{operator} in a rule (in a terminal it is understood)", start
            )

    def read_open(self, start: int) -> None:
        self.groups.open(self.cursor.text[start])

    def read_close(self, start: int) -> None:
        self.groups.close(self.cursor.text[start])

    def read_bar(self, start: int) -> None:
        self.groups.bar()

    def read_alias(self, start: int) -> None:
        """`-> name` names a tree node; it must end its alternative."""
        cursor = self.cursor
        cursor.at = start
        if cursor.match(_ARROW) is None:
            cursor.fail("unexpected '-'", start)
        if self.in_terminal:
            cursor.fail("an alias stands in rules, not in terminals", start)
        cursor.match(SPACE)
        read_name(cursor, "the name of an alias")
        if not self.at_end() and cursor.peek() not in ("|", ")", "]"):
            cursor.fail("an alias ends its alternative", cursor.at)

    def refuse_subgrammar(self, start: int) -> None:
        self.cursor.refuse("@", "a reference to another grammar", start)


def read_json(cursor: Cursor) -> object:
    """The JSON object at the cursor, found by its braces."""
    start = cursor.at
    if cursor.peek() != "{":
        cursor.fail("expected a JSON object", start)
    depth = 0
    for found in _JSON_MARKS.finditer(cursor.text, start):
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            cursor.at = found.end()
            break
    else:
        cursor.fail("unterminated JSON object", start)
    try:
        return json_text.loads(cursor.text[start : cursor.at])
    except ConstraintError as error:
        raise type(error)(
            error.reason, source=cursor.text, position=start + (error.position or 0)
        ) from error


def either_case(letter: str) -> ir.Expr:
    """A character or its other case, as far as every engine agrees.

    Engines that fold by all of Unicode also let U+212A match "k"; we never write that.
    """
    forms = {letter, *(form for form in (letter.lower(), letter.upper()) if len(form) == 1)}
    return either(char(((ord(form), ord(form)),)) for form in sorted(forms))


_JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)

_READERS: Mapping[str, Callable[[_BodyReader, int], None]] = {
    '"': _BodyReader.read_string,
    "/": _BodyReader.read_regex,
    "<": _BodyReader.read_control_token,
    "%": _BodyReader.read_embedded,
    "@": _BodyReader.refuse_subgrammar,
    "?": _BodyReader.read_quantifier,
    "*": _BodyReader.read_quantifier,
    "+": _BodyReader.read_quantifier,
    "{": _BodyReader.read_brace,
    "~": _BodyReader.read_tilde,
    "&": _BodyReader.read_ampersand,
    "(": _BodyReader.read_open,
    ")": _BodyReader.read_close,
    "[": _BodyReader.read_open,
    "]": _BodyReader.read_close,
    "|": _BodyReader.read_bar,
    "-": _BodyReader.read_alias,
}
