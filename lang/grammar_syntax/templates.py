"""Templates: rules with parameters, each use of which becomes a rule of its own."""

from __future__ import annotations

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsupportedConstraint,
)
from sestina.lang.grammar_syntax.references import mentions, substitute
from sestina.lang.grammar_syntax.source import Definition, Source, TemplateUse

MAX_INSTANCES = 10_000


def instantiate(source: Source) -> dict[str, Definition]:
    """The definitions without templates, and one more for each template with each arguments.

    Arguments are names, so a template that uses itself with the same ones is an ordinary recursive
    rule, and there are only so many instances.
    """
    plain = {name: d for name, d in source.definitions.items() if not d.params}
    instances: dict[tuple[str, tuple[str, ...]], str] = {}
    todo: list[tuple[str, Definition, dict[str, str]]] = [(n, d, {}) for n, d in plain.items()]
    while todo:
        name, definition, arguments = todo.pop()
        replaced: dict[str, ir.Expr] = {each: ir.Rule(arg) for each, arg in arguments.items()}
        for mention in mentions(definition.body):
            use = source.template_uses.get(mention)
            if use is None:
                continue
            template = _template(source, use)
            args = tuple(arguments.get(arg, arg) for arg in use.args)
            key = (use.template, args)
            if key not in instances:
                if len(instances) == MAX_INSTANCES:
                    raise ConstraintLimitExceeded(
                        f"more than {MAX_INSTANCES} uses of templates",
                        source=source.text,
                        position=use.position,
                    )
                instances[key] = f"{use.template}{{{','.join(args)}}}"
                pairs = dict(zip(template.params, args, strict=True))
                todo.append((instances[key], template, pairs))
            replaced[mention] = ir.Rule(instances[key])
        body = substitute(definition.body, replaced.get)
        plain[name] = Definition(body, definition.position, definition.is_terminal)
    return plain


def _template(source: Source, use: TemplateUse) -> Definition:
    name = use.template
    template = source.definitions.get(name)
    kind: type[ConstraintError] = InvalidConstraint
    if template is not None and len(template.params) == len(use.args):
        return template
    if template is not None:
        problem = f"{name} takes {len(template.params)} arguments, not {len(use.args)}"
    elif any(name in d.params for d in source.definitions.values()):
        kind = UnsupportedConstraint
        problem = f"the parameter {name} is used as a template"
    else:
        problem = f"the template {name} is not defined"
    raise kind(problem, keyword=name, source=source.text, position=use.position)
