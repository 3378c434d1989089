"""What a program is written with: `gen`, `select`, roles, `var`, `function`.

These make expressions (`sestina.lang.expression`); nothing runs until one is appended to a state.
Every mistake in the arguments raises here, on the user's own line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from sestina.lang import constraint as constraints
from sestina.lang import typed
from sestina.lang.choices import method_named, token_length_normalized
from sestina.lang.constraint import Constraint
from sestina.lang.errors import InvalidParams
from sestina.lang.expression import Expr, Part, Step, expression
from sestina.lang.ir import ChoicesMethod, Gen, RoleBegin, RoleEnd, Select, Text, Var
from sestina.lang.params import SamplingOptions, SamplingParams
from sestina.lang.program import Program

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def function(fn: Callable[..., Any]) -> Program: ...
@overload
def function(fn: None = None) -> Callable[[Callable[..., Any]], Program]: ...
def function(fn: Callable[..., Any] | None = None) -> Any:
    """Make a program of a function whose first parameter is the state: `@function`."""
    return Program.of if fn is None else Program.of(fn)


class _Form(NamedTuple):
    """What a gen must look like, and how its text becomes a value."""

    constraint: Constraint
    parse: Callable[[str], Any] | None = None


def gen(
    name: str | None = None,
    *limit: int,
    regex: str | None = None,
    schema: Any = None,
    json_schema: Any = None,
    grammar: str | None = None,
    dtype: type | None = None,
    constraint: Constraint | None = None,
    choices: Sequence[str] | None = None,
    choices_method: ChoicesMethod | None = None,
    **options: Unpack[SamplingOptions],
) -> Expr:
    """Let the model continue; the text becomes variable `name`.

    `gen("x", 40)` is `gen("x", max_tokens=40)`; the other sampling parameters are those of
    SamplingParams. At most one form may be asked for:

    regex: the whole text matches it. grammar: it is derived by a Lark grammar.
    schema: a Python type (pydantic model, dataclass, TypedDict, `list[int]`, Literal, Enum, ...);
        the variable is a value of that type.
    json_schema: a JSON Schema as dict or JSON text, or a type; the variable is the JSON text.
    dtype: int, float, str or bool, generated as SGLang does ("str" is a double-quoted run of
        letters, digits and spaces); the variable is a value of that type, where SGLang gives text.
    choices: one of these, the most likely (see `select`).
    constraint: anything `sestina.regex(...)` and its siblings make, and what they are combined to
        (`a | b`, `a & b`, `~a`, `"text" + a`, `a.repeat(1, 3)`, `tool_calls(...)`, ...).

    >>> gen("n", 8, regex="[0-9]+").steps[0].op.params.max_tokens
    8
    """
    if len(limit) > 1:
        raise TypeError("gen takes a name and max_tokens by position; name the other arguments")
    said: dict[str, Any] = dict(options)
    if limit:
        if "max_tokens" in said:
            raise TypeError("gen got max_tokens twice")
        said["max_tokens"] = limit[0]
    forms = {
        "regex": regex,
        "schema": schema,
        "json_schema": json_schema,
        "grammar": grammar,
        "dtype": dtype,
        "constraint": constraint,
        "choices": choices,
    }
    given = [key for key, value in forms.items() if value is not None]
    if len(given) > 1:
        raise InvalidParams(f"gen takes at most one of {given[0]} and {given[1]}")
    if choices is not None:
        return _select_from_gen(name, choices, choices_method, said)
    if choices_method is not None:
        raise InvalidParams("choices_method needs choices")
    form = _FORMS[given[0]](forms[given[0]]) if given else None
    params = SamplingParams.of(said)
    for pattern in params.stop_regex or ():
        constraints.regex(pattern)  # raises here if it is not understood
    if form is None:
        return Expr((Step(Gen(_checked_name(name), params)),))
    return Expr((Step(Gen(_checked_name(name), params, form.constraint), form.parse),))


def _select_from_gen(
    name: str | None, choices: Sequence[str], method: ChoicesMethod | None, said: dict[str, Any]
) -> Expr:
    temperature = said.pop("temperature", None)
    ignored = sorted(key for key, value in said.items() if value is not None)
    if ignored:
        raise InvalidParams(f"{ignored[0]} has no meaning with choices: options are scored whole")
    return select(name, choices, temperature or 0.0, method or token_length_normalized)


def gen_int(name: str | None = None, *limit: int, **options: Unpack[SamplingOptions]) -> Expr:
    """`gen(dtype=int)`: the variable is an int."""
    return gen(name, *limit, dtype=int, **options)


def gen_string(name: str | None = None, *limit: int, **options: Unpack[SamplingOptions]) -> Expr:
    """`gen(dtype=str)`: a double-quoted string; the variable is what is between the quotes."""
    return gen(name, *limit, dtype=str, **options)


def select(
    name: str | None = None,
    choices: Sequence[str] | None = None,
    temperature: float = 0.0,
    choices_method: ChoicesMethod = token_length_normalized,
) -> Expr:
    """Append the most likely of `choices`; it becomes variable `name`.

    `state.get_meta_info(name).choices` has every option's log-probability and the posterior. The
    choice is not random: a temperature above 1e-5 is refused. Methods: `sestina.lang.choices`.
    """
    if temperature > 1e-5:
        raise InvalidParams(f"select is not random; temperature must be 0, got {temperature!r}")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
        raise InvalidParams(f"select needs a list of options, got {choices!r}")
    seen: set[str] = set()
    for i, option in enumerate(choices):
        if not isinstance(option, str) or not option:
            raise InvalidParams(f"choices[{i}] must be a non-empty string, got {option!r}")
        if option in seen:
            raise InvalidParams(f"choices[{i}] repeats {option!r}")
        seen.add(option)
    method_named(choices_method)
    return Expr((Step(Select(_checked_name(name), tuple(choices), choices_method)),))


def var(name: str) -> Expr:
    """The text of a variable, pasted where it stands without coming back to Python for it."""
    return Expr((Step(Text((Var(name),))),))


def role(name: str, expr: Part = ()) -> Expr:
    """One turn of the conversation, in the model's own chat template.

    >>> [type(step.op).__name__ for step in role("user", "Hello").steps]
    ['RoleBegin', 'Text', 'RoleEnd']
    """
    return Expr((Step(RoleBegin(name)), *expression(expr).steps, Step(RoleEnd(name))))


def system(expr: Part = ()) -> Expr:
    """`role("system", expr)`."""
    return role("system", expr)


def user(expr: Part = ()) -> Expr:
    """`role("user", expr)`."""
    return role("user", expr)


def assistant(expr: Part = ()) -> Expr:
    """`role("assistant", expr)`."""
    return role("assistant", expr)


def role_begin(name: str) -> Expr:
    """Open a turn; `role_end` of the same name must follow."""
    return Expr((Step(RoleBegin(name)),))


def role_end(name: str) -> Expr:
    """Close the open turn."""
    return Expr((Step(RoleEnd(name)),))


def system_begin() -> Expr:
    """`role_begin("system")`."""
    return role_begin("system")


def system_end() -> Expr:
    """`role_end("system")`."""
    return role_end("system")


def user_begin() -> Expr:
    """`role_begin("user")`."""
    return role_begin("user")


def user_end() -> Expr:
    """`role_end("user")`."""
    return role_end("user")


def assistant_begin() -> Expr:
    """`role_begin("assistant")`."""
    return role_begin("assistant")


def assistant_end() -> Expr:
    """`role_end("assistant")`."""
    return role_end("assistant")


def _checked_name(name: object) -> str | None:
    if name is None or (isinstance(name, str) and name):
        return name
    raise InvalidParams(f"the name of a variable must be a non-empty string, got {name!r}")


def _regex_form(pattern: str) -> _Form:
    return _Form(constraints.regex(pattern))


def _grammar_form(source: str) -> _Form:
    return _Form(constraints.grammar(source))


def _json_schema_form(schema: Any) -> _Form:
    return _Form(constraints.json_schema(schema))


def _schema_form(schema: Any) -> _Form:
    if isinstance(schema, (str, Mapping)):
        raise InvalidParams("schema= takes a Python type; give a JSON Schema as json_schema=")
    return _Form(constraints.json_schema(schema), lambda text: typed.parse(schema, text))


def _constraint_form(constraint: Any) -> _Form:
    if not isinstance(constraint, Constraint):
        raise InvalidParams(f"constraint must be a Constraint, got {type(constraint).__name__}")
    constraint.to_grammar()  # raises here what only shows when its parts are put together
    return _Form(constraint)


def _dtype_form(dtype: Any) -> _Form:
    known = _DTYPES.get(dtype) if isinstance(dtype, type) else None
    if known is None:
        raise InvalidParams(
            f"dtype must be int, float, str or bool, got {dtype!r}; other types go into schema="
        )
    pattern, parse = known
    return _Form(constraints.regex(pattern), parse)


# SGLang's patterns (sglang/lang/ir.py): the white space at the end lets a model without an
# end-of-text habit move on.
_DTYPES: Mapping[type, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        int: (r"[-+]?[0-9]+[ \n]*", int),
        float: (r"[-+]?[0-9]*\.?[0-9]+[ \n]*", float),
        bool: (r"(True|False)", lambda text: text == "True"),
        str: (r'"[\w\d\s]*"', lambda text: text[1:-1]),
    }
)

_FORMS: Mapping[str, Callable[[Any], _Form]] = MappingProxyType(
    {
        "regex": _regex_form,
        "grammar": _grammar_form,
        "schema": _schema_form,
        "json_schema": _json_schema_form,
        "dtype": _dtype_form,
        "constraint": _constraint_form,
    }
)
