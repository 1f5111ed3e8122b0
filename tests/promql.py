"""Which labels an expression's result has, by the labels of the series in it; what cannot match is an error.

Prometheus itself answers with nothing where a label does not exist: a typing error is an empty panel, or an alert that
never fires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as p

TARGET = frozenset({"job", "instance"})
"""Labels that the scrape adds."""
KEPT_BY = frozenset({"topk", "bottomk"})
SETS = frozenset({"and", "or", "unless"})

Labels = frozenset[str] | None
"""None: a number without labels, and no vector."""


class LabelError(AssertionError):
    """An expression that can have no result, whatever is measured."""


def selectors(expression: p.Expr) -> Iterator[p.VectorSelector]:
    """Every selector in it."""
    found: list[p.VectorSelector] = []

    def look(node: Any) -> bool:
        if isinstance(node, p.VectorSelector):
            found.append(node)
        return True

    p.walk(expression, look)
    yield from found


def labels_of(node: Any, known: Mapping[str, frozenset[str]]) -> Labels:  # noqa: PLR0911  one for each kind of node
    """The labels of the result. `known` has those of every series, by the name that queries use."""
    match node:
        case p.NumberLiteral() | p.StringLiteral():
            return None
        case p.ParenExpr() | p.UnaryExpr() | p.SubqueryExpr():
            return labels_of(node.expr, known)
        case p.VectorSelector():
            return _selected(node, known)
        case p.MatrixSelector():
            return _selected(node.vector_selector, known)
        case p.Call():
            return _called(node, known)
        case p.AggregateExpr():
            return _aggregated(node, known)
        case p.BinaryExpr():
            return _combined(node, known)
        case _:
            raise LabelError(f"no rule for {type(node).__name__}")


def _selected(node: p.VectorSelector, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if node.name is None or node.name not in known:
        raise LabelError(f"{node.name} is no series")
    labels = known[node.name]
    strange = {matcher.name for matcher in node.matchers.matchers} - labels
    if strange:
        raise LabelError(f"{node.name} has no label {', '.join(sorted(strange))}")
    return labels


def _called(node: p.Call, known: Mapping[str, frozenset[str]]) -> Labels:
    arguments = [labels_of(argument, known) for argument in node.args]
    vectors = [labels for labels in arguments if labels is not None]
    if node.func.name == "vector":
        return frozenset()
    if node.func.name == "histogram_quantile":
        if "le" not in vectors[0]:
            raise LabelError(f"no le is left to histogram_quantile in {node}")
        return vectors[0] - {"le"}
    return vectors[0] if vectors else None


def _aggregated(node: p.AggregateExpr, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    inner = labels_of(node.expr, known)
    if inner is None:
        raise LabelError(f"a number is aggregated in {node}")
    if str(node.op) in KEPT_BY:
        return inner
    wanted = frozenset(node.modifier.labels) if node.modifier else frozenset()
    if wanted - inner:
        raise LabelError(f"by a label that is not there: {', '.join(sorted(wanted - inner))}")
    return wanted


def _combined(node: p.BinaryExpr, known: Mapping[str, frozenset[str]]) -> Labels:
    left, right = labels_of(node.lhs, known), labels_of(node.rhs, known)
    if left is None or right is None:
        return right if left is None else left
    matching = node.modifier.matching if node.modifier else None
    operator = str(node.op)
    if matching is not None:
        on = frozenset(matching.labels)
        if on - left or on - right:
            raise LabelError(f"on a label that one side has not: {', '.join(sorted((on - left) | (on - right)))}")
        many = node.modifier is not None and node.modifier.card == p.VectorMatchCardinality.ManyToOne
        return left if operator in SETS or many else on
    if operator != "or" and left != right:
        raise LabelError(f"sides that never match: {sorted(left)} and {sorted(right)} in {operator}")
    return left & right if operator == "or" else left
