"""Two questions about a constraint IR that are answered before any automaton is built."""

from __future__ import annotations

from collections.abc import Iterator

from sestina.lang.grammar_ir import Alt, And, Concat, Expr, Grammar, Not, Repeat, Rule


def is_productive(grammar: Grammar) -> bool:
    """Whether some text is derivable, taking every And and Not to match something.

    The least fixpoint over rules (Hopcroft and Ullman 1979, lemma 4.1). Cost: one pass over the
    grammar per round, at most one round more than the longest chain of rules.
    """
    productive: set[str] = set()
    while True:
        found = {
            name
            for name, body in grammar.rules.items()
            if name not in productive and _derives(body, productive)
        }
        if not found:
            return _derives(grammar.start, productive)
        productive |= found


def left_recursion(grammar: Grammar) -> str | None:
    """The name of a rule that can begin with itself, or None.

    Only the first item of a sequence is followed, which is exact where no rule matches the empty
    text, as with JSON values.
    """
    first = {name: set(_first_rules(body)) for name, body in grammar.rules.items()}
    done: set[str] = set()
    for root in first:
        path: dict[str, Iterator[str]] = {root: iter(first[root])} if root not in done else {}
        while path:
            name, pending = next(reversed(path.items()))
            following = next(pending, None)
            if following is None:
                done.add(name)
                del path[name]
            elif following in path:
                return following
            elif following not in done:
                path[following] = iter(first.get(following, ()))
    return None


def _derives(expr: Expr, productive: set[str]) -> bool:
    if isinstance(expr, Rule):
        return expr.name in productive
    if isinstance(expr, Concat):
        return all(_derives(item, productive) for item in expr.items)
    if isinstance(expr, Alt):
        return any(_derives(item, productive) for item in expr.items)
    if isinstance(expr, Repeat):
        return expr.lo == 0 or _derives(expr.item, productive)
    return True


def _first_rules(expr: Expr) -> Iterator[str]:
    if isinstance(expr, Rule):
        yield expr.name
    elif isinstance(expr, Concat) and expr.items:
        yield from _first_rules(expr.items[0])
    elif isinstance(expr, (Alt, And)):
        for item in expr.items:
            yield from _first_rules(item)
    elif isinstance(expr, (Repeat, Not)):
        yield from _first_rules(expr.item)
