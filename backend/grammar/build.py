"""From the constraint IR to expressions: resolves rules, refuses what cannot be enforced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sestina.backend.grammar import analysis
from sestina.backend.grammar.derivative import Derivatives
from sestina.backend.grammar.expr import (
    EMPTY,
    EPSILON,
    EVERY_BYTE,
    NUM_BYTES,
    Arena,
    resolve,
)
from sestina.backend.grammar.limits import Limits
from sestina.backend.grammar.liveness import Liveness
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What texts are made of: the bytes of a vocabulary, and its control tokens by name.

    control_ids None: there is no vocabulary, so `Special` is refused. Tokens in `eos_ids` cannot be
    named in a grammar, since they end the text.
    """

    byte_mask: int = EVERY_BYTE
    control_ids: Mapping[str, int] | None = None
    eos_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A grammar ready to be walked. special_ids[k] is the token behind symbol 256 + k."""

    arena: Arena
    derivatives: Derivatives
    liveness: Liveness
    start: int
    classes: tuple[int, ...]  # disjoint symbol masks that cover every symbol; byte classes first
    special_ids: tuple[int, ...]


def build(grammar: ir.Grammar, alphabet: Alphabet, limits: Limits) -> Built:
    """Build and check a grammar; raises a ConstraintError. Linear in the IR but for `And`/`Not`."""
    bodies = analysis.reach(grammar, limits)
    builder = _Builder(alphabet, limits, bodies)
    start = builder.run()
    if start == EMPTY:
        raise UnsatisfiableConstraint("no text matches the constraint")
    nodes = (node for body in bodies.nodes.values() for node in body)
    classes = _classes(nodes, alphabet.byte_mask, len(builder.special_ids))
    special_ids = tuple(builder.special_ids)
    return Built(builder.arena, builder.derivatives, builder.liveness, start, classes, special_ids)


def _classes(nodes: Iterable[ir.Expr], byte_mask: int, num_specials: int) -> tuple[int, ...]:
    """The coarsest partition of the symbols such that every byte set of the IR is a union."""
    masks: set[int] = {byte_mask}
    literal_bytes: set[int] = set()
    for node in nodes:
        if type(node) is ir.ByteSet:
            masks.add(node.mask & EVERY_BYTE)
        elif type(node) is ir.Literal:
            literal_bytes.update(node.data)
    masks.update(1 << byte for byte in literal_bytes)
    classes = [EVERY_BYTE]
    for mask in sorted(masks):
        classes = [part for old in classes for part in (old & mask, old & ~mask) if part]
    return (*classes, *(1 << (NUM_BYTES + k) for k in range(num_specials)))


@dataclass(slots=True)
class _Builder:
    alphabet: Alphabet
    limits: Limits
    bodies: analysis.Bodies
    arena: Arena = field(init=False)
    derivatives: Derivatives = field(init=False)
    liveness: Liveness = field(init=False)
    special_ids: list[int] = field(default_factory=list)
    _inlined: dict[int, int] = field(default_factory=dict)
    _node: dict[int, ir.Expr] = field(default_factory=dict)
    _recursive: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.arena = Arena(self.limits, self.alphabet.byte_mask)
        self.derivatives = Derivatives(self.arena)
        self.liveness = Liveness(self.arena, self.derivatives)
        self._recursive = analysis.recursive_rules(self.bodies)
        for body in self.bodies.nodes.values():
            self._node.update((id(node), node) for node in body)

    def run(self) -> int:
        values = analysis.fixpoint(self.bodies, self._leaf_value)
        of: dict[int, int] = {}
        for body in self.bodies.nodes.values():
            of.update(analysis.node_values(body, values, self._leaf_value))
        analysis.refuse_left_recursion(
            self.bodies, lambda node: of[id(node)] == analysis.EMPTY_TEXT
        )
        rules = {
            name: self.arena.rule(name, value == analysis.EMPTY_TEXT) if value else EMPTY
            for name, value in values.items()
        }
        start = EMPTY
        for name, body in self.bodies.nodes.items():
            made = self._build_body(body, rules)
            if name is None:
                start = made
            elif rules[name] != EMPTY:
                self.arena.rule_body[rules[name]] = made
        return start

    def _leaf_value(self, node: ir.Expr) -> int | None:
        if type(node) is ir.Special:
            return analysis.SOME_TEXT
        if type(node) in (ir.And, ir.Not):
            made = self._inline(node)
        elif type(node) in (ir.ByteSet, ir.Literal):
            made = self._leaf(node)
        else:
            return None
        if made == EMPTY:
            return analysis.NO_TEXT
        return analysis.EMPTY_TEXT if self.arena.nullable[made] else analysis.SOME_TEXT

    # ---- outside of And and Not: a rule is a node of its own

    def _build_body(self, nodes: list[ir.Expr], rules: Mapping[str, int]) -> int:
        made: dict[int, int] = {}
        for node in nodes:
            if type(node) is ir.Rule:
                made[id(node)] = rules[node.name]
            elif type(node) is ir.Special:
                made[id(node)] = self._special(node.token)
            elif type(node) in (ir.And, ir.Not):
                made[id(node)] = self._inline(node)
            else:
                made[id(node)] = self._combine(node, made)
        return made[id(nodes[-1])]

    def _special(self, token: str) -> int:
        known = self.alphabet.control_ids
        if known is None:
            raise UnsupportedConstraint(
                f"control token {token!r} needs a vocabulary; here the grammar is over bytes only",
                keyword=token,
            )
        if token not in known:
            raise InvalidConstraint(f"the vocabulary has no control token {token!r}", keyword=token)
        token_id = known[token]
        if token_id in self.alphabet.eos_ids:
            raise UnsupportedConstraint(
                f"control token {token!r} ends the text, so a grammar cannot contain it",
                keyword=token,
            )
        if token_id not in self.special_ids:
            self.special_ids.append(token_id)
        return self.arena.symbol_set(1 << (NUM_BYTES + self.special_ids.index(token_id)))

    # ---- inside And and Not: rules are expanded, so that what is left is regular

    def _inline(self, node: ir.Expr) -> int:
        return resolve(id(node), self._inlined, self._inline_operands, self._inline_combine)

    def _inline_operands(self, key: int) -> Iterable[int]:
        node = self._node[key]
        if type(node) is ir.Rule:
            if node.name in self._recursive:
                raise UnsupportedConstraint(
                    f"rule {node.name!r} is recursive and stands inside an intersection or a "
                    "complement, which cannot be enforced exactly",
                    keyword=node.name,
                )
            return (id(self.bodies.nodes[node.name][-1]),)
        return map(id, analysis.children(node))

    def _inline_combine(self, key: int) -> int:
        node = self._node[key]
        if type(node) is ir.Special:
            raise UnsupportedConstraint(
                f"control token {node.token!r} stands inside an intersection or a complement, "
                "which are over bytes",
                keyword=node.token,
            )
        if type(node) is ir.Rule:
            return self._inlined[id(self.bodies.nodes[node.name][-1])]
        if type(node) is ir.And:
            return self.liveness.live(self.arena.both(self._inlined[id(x)] for x in node.items))
        if type(node) is ir.Not:
            return self.liveness.live(self.arena.complement(self._inlined[id(node.item)]))
        return self._combine(node, self._inlined)

    # ---- both

    def _combine(self, node: ir.Expr, made: Mapping[int, int]) -> int:
        if type(node) is ir.Concat:
            return self._concat(node.items, made)
        if type(node) is ir.Alt:
            return self.arena.alt(made[id(item)] for item in node.items)
        if type(node) is ir.Repeat:
            if node.lo < 0 or (node.hi is not None and node.hi < node.lo):
                raise InvalidConstraint(f"repeat {node.lo} to {node.hi} times")
            return self.arena.repeat(made[id(node.item)], node.lo, node.hi)
        return self._leaf(node)

    def _leaf(self, node: ir.Expr) -> int:
        if type(node) is ir.ByteSet:
            return self.arena.symbol_set(node.mask & EVERY_BYTE)
        if type(node) is ir.Literal:
            return self._literal(node.data)
        raise InvalidConstraint(f"{type(node).__name__} is not a node of a grammar")

    def _literal(self, data: bytes) -> int:
        missing = any(not self.alphabet.byte_mask >> byte & 1 for byte in set(data))
        return EMPTY if missing else self.arena.literal(data)

    def _concat(self, items: tuple[ir.Expr, ...], made: Mapping[int, int]) -> int:
        """A sequence from its end, runs of literals joined."""
        out = EPSILON
        run: list[bytes] = []
        for item in reversed(items):
            if type(item) is ir.Literal:
                run.append(item.data)
                continue
            if run:
                out = self.arena.cat(self._literal(b"".join(reversed(run))), out)
                run = []
            out = self.arena.cat(made[id(item)], out)
        return self.arena.cat(self._literal(b"".join(reversed(run))), out)
