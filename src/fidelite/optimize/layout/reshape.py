"""How a RESHAPE commutes with a permutation: axes that it merges or splits must stay together, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from fidelite.optimize.layout.permutation import Permutation
from fidelite.tflite.dims import Dim

Group = tuple[tuple[int, ...], tuple[int, ...]]


def factor_groups(before: Sequence[Dim], after: Sequence[Dim]) -> list[Group] | None:
    """The finest pairs (axes before, axes after) of equal products, in order; unit axes form groups of their own.

    None where no such pairing is found (symbolic sizes that do not match one to one).
    """
    groups: list[Group] = []
    i = j = 0
    while i < len(before) or j < len(after):
        if i < len(before) and before[i] == 1 and not (j < len(after) and after[j] == 1):
            groups.append(((i,), ()))
            i += 1
            continue
        if j < len(after) and after[j] == 1 and not (i < len(before) and before[i] == 1):
            groups.append(((), (j,)))
            j += 1
            continue
        if i >= len(before) or j >= len(after):
            return None
        if before[i] == after[j]:
            groups.append(((i,), (j,)))
            i, j = i + 1, j + 1
            continue
        group = _merge(before, after, i, j)
        if group is None:
            return None
        groups.append(group)
        i, j = group[0][-1] + 1, group[1][-1] + 1
    return groups


def _merge(before: Sequence[Dim], after: Sequence[Dim], i: int, j: int) -> Group | None:
    """The smallest group from i and j on with equal products (ints only)."""
    left, right = before[i], after[j]
    first, second = [i], [j]
    while True:
        if not isinstance(left, int) or not isinstance(right, int) or left == 0 or right == 0:
            return None
        if left == right:
            return tuple(first), tuple(second)
        if left < right:
            if first[-1] + 1 >= len(before):
                return None
            first.append(first[-1] + 1)
            size = before[first[-1]]
            if not isinstance(size, int):
                return None
            left *= size
        else:
            if second[-1] + 1 >= len(after):
                return None
            second.append(second[-1] + 1)
            size = after[second[-1]]
            if not isinstance(size, int):
                return None
            right *= size


def reshape_label(before: Sequence[Dim], after: Sequence[Dim], label: Permutation) -> Permutation | None:
    """The label of the result if the operand has `label`; None where the RESHAPE does not commute with it.

    Unit axes of the operand may lie anywhere; unit axes that the result gains stay beside the axis before them.
    """
    groups = factor_groups(before, after)
    if groups is None:
        return None
    of_axis = {axis: k for k, (axes, _) in enumerate(groups) for axis in axes}
    order: list[int] = []
    position = 0
    while position < len(label):
        k = of_axis[label[position]]
        axes = _without_units(groups[k][0], before)
        if len(axes) <= 1:
            position += 1
        else:
            run = [a for a in label[position:] if before[a] != 1][:len(axes)]
            if tuple(run) != axes:
                return None
            last = label.index(axes[-1])
            between = label[position:last + 1]
            position = last + 1
            order += [of_axis[a] for a in between if of_axis[a] != k]
        if k not in order:
            order.append(k)
    return _result_order(groups, order)


def _without_units(axes: Sequence[int], shape: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(a for a in axes if shape[a] != 1)


def _result_order(groups: Sequence[Group], order: Sequence[int]) -> Permutation:
    """Result axes in the groups' order; groups without operand axes follow the group before them."""
    placed: list[int] = []
    gained = {k for k, (axes, _) in enumerate(groups) if not axes}

    def place(k: int) -> None:
        placed.extend(groups[k][1])
        if k + 1 in gained:
            place(k + 1)

    lead = 0
    while lead in gained:
        lead += 1
    if lead:
        place(0)
    for k in order:
        place(k)
    return tuple(placed)
