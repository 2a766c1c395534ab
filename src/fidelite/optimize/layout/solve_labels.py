"""From the order wanted of one operand or result back to the label of the operator: what a neighbour may suggest."""

from __future__ import annotations

from fidelite.optimize.layout.permutation import Permutation
from fidelite.optimize.layout.problem import Problem, Reader
from fidelite.optimize.layout.reshape import reshape_label
from fidelite.tflite.graph import Operator, Tensor


def label_for_operand(problem: Problem, reader: Reader, want: Permutation) -> Permutation | None:
    """A label under which `reader`'s operand, as the operator sees it, is stored in the order `want`."""
    operator = reader.operator
    rule = problem.rules.get(operator) if operator is not None else None
    if operator is None or rule is None:
        return None
    rank = rule.rank(operator)
    if len(want) == rank:
        return want
    if len(want) < rank and rule.main == 0 and operator.outputs[0].rank == rank:  # a broadcast operand
        lead = rank - len(want)
        return (*range(lead), *(a + lead for a in want))
    return None


def label_for_result(problem: Problem, operator: Operator, root: Tensor, want: Permutation) -> Permutation | None:
    """A label under which the result `root` is stored in the order `want`."""
    rule = problem.rules.get(operator)
    if rule is None:
        return None
    rank = rule.rank(operator)
    if operator.op == "RESHAPE":
        source = operator.inputs[0]
        assert source is not None
        return reshape_label(root.shape, source.shape, want)
    if len(want) == rank:
        return want
    if len(want) < rank:
        return _with_dropped_axes(problem, operator, rank, want)
    return None


def _with_dropped_axes(problem: Problem, operator: Operator, rank: int, want: Permutation) -> Permutation | None:
    """For an operator that drops axes: the kept ones in the order `want`, the dropped ones before the last of them."""
    source = operator.inputs[0]
    if source is None:
        return None
    for gone in range(rank):
        kept = [a for a in range(rank) if a != gone]
        if len(kept) == len(want):
            order = [kept[a] for a in want]
            label = (*order[:-1], gone, *order[-1:])
            binding = problem.binding(operator, label)
            if binding is not None and binding.results[0] == want:
                return label
    return None
