"""Whether a grammar derives a text, against trying ever deeper derivations; deep ones too."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.lang import grammar_ir as ir
from sestina.lang.grammar_check import is_productive

NAMES = ("r0", "r1", "r2")
LEAVES = st.sampled_from([ir.Literal(b"a"), ir.NOTHING, *(ir.Rule(name) for name in NAMES)])


def compound(inner: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
    some = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return (
        some.map(ir.Concat)
        | some.map(ir.Alt)
        | st.builds(ir.Repeat, inner, st.integers(0, 1), st.none())
    )


BODIES = st.recursive(LEAVES, compound, max_leaves=6)


def derives(node: ir.Expr, rules: dict[str, ir.Expr], depth: int) -> bool:
    """Whether there is a derivation in which rules are nested at most `depth` deep."""
    if isinstance(node, ir.Rule):
        return depth > 0 and derives(rules[node.name], rules, depth - 1)
    if isinstance(node, ir.Concat):
        return all(derives(item, rules, depth) for item in node.items)
    if isinstance(node, ir.Alt):
        return any(derives(item, rules, depth) for item in node.items)
    if isinstance(node, ir.Repeat):
        return node.lo == 0 or derives(node.item, rules, depth)
    return True


@settings(deadline=None, max_examples=300)
@given(BODIES, st.tuples(BODIES, BODIES, BODIES))
def test_productive_where_some_derivation_ends(start: ir.Expr, bodies: tuple[ir.Expr, ...]) -> None:
    rules = dict(zip(NAMES, bodies, strict=True))
    wanted = derives(start, rules, depth=len(NAMES))  # a shortest one repeats no rule on a path
    assert is_productive(ir.Grammar(start, rules)) == wanted


def test_depth_is_no_recursion() -> None:
    node: ir.Expr = ir.Rule("r0")
    for _ in range(5000):
        node = ir.Alt((ir.Concat((ir.Literal(b"a"), node)),))
    assert not is_productive(ir.Grammar(node, {"r0": ir.Rule("r0")}))
    assert is_productive(ir.Grammar(node, {"r0": ir.Literal(b"b")}))
