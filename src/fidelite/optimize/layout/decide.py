"""Choose the labels: exact between two ways to store everything (a minimum cut), then improved step by step.

Proposals are spread from the operators that demand an order (convolutions, pools, resizes, outputs) to their
neighbours. Each proposal is fused with the best choice so far by a minimum cut, so that every region takes the better
of the two; afterwards single operators move where that is cheaper. Nothing is ever accepted that costs more than what
it replaces, so the result is never worse than the start. All orders are fixed: the same graph, the same answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from fidelite.optimize.layout.cut import Network
from fidelite.optimize.layout.permutation import Permutation, compose, identity, inverse, is_identity, same_bytes
from fidelite.optimize.layout.problem import Problem, Reader, start
from fidelite.optimize.layout.solve_labels import label_for_operand, label_for_result
from fidelite.tflite.graph import Operator, Tensor

Labels = dict[Operator, Permutation]
MAX_CANDIDATES = 6
MAX_SWEEPS = 4
MAX_WAVES = 4


def decide(problem: Problem) -> Labels:
    """The labels of all operators that may choose, at the least cost that was found."""
    best = start(problem)
    if not problem.views:
        return best
    candidates = _candidates(problem)
    if all(len(c) == 1 for c in candidates.values()):
        return best
    for k in range(1, MAX_CANDIDATES):
        proposal = {op: c[min(k, len(c) - 1)] for op, c in candidates.items()}
        if k > 1 and not any(len(c) > k for c in candidates.values()):
            break
        best = _fuse(problem, best, proposal)
    for wave in _waves(problem):
        best = _fuse(problem, best, {**best, **wave})
    for _ in range(MAX_SWEEPS):
        if not _improve(problem, best, candidates):
            break
    return best


def _candidates(problem: Problem) -> dict[Operator, list[Permutation]]:
    """For each operator its own order first, then those that the nearest demands suggest, nearest first."""
    found: dict[Operator, list[Permutation]] = {op: [identity(r.rank(op))] for op, r in problem.rules.items()}
    queue: deque[tuple[Operator, Permutation]] = deque()

    def suggest(operator: Operator, label: Permutation | None) -> None:
        if label is None or operator not in found:
            return
        labels = found[operator]
        if label in labels or len(labels) >= MAX_CANDIDATES or problem.binding(operator, label) is None:
            return
        labels.append(label)
        queue.append((operator, label))

    for operator, label in _demands(problem):
        suggest(operator, label)
    while queue:
        operator, label = queue.popleft()
        _spread(problem, operator, label, suggest)
    return found


def _demands(problem: Problem) -> Iterator[tuple[Operator, Permutation]]:
    """Labels that operators without a choice ask of their neighbours."""
    for root, readers in problem.readers.items():
        maker = root.producer
        for reader in readers:
            if reader.operator not in problem.rules and maker is not None:
                label = label_for_result(problem, maker, root, reader.permutation)
                if label is not None:
                    yield maker, label
            if maker not in problem.rules and reader.operator is not None:
                label = label_for_operand(problem, reader, inverse(reader.permutation))
                if label is not None:
                    yield reader.operator, label


def _waves(problem: Problem) -> Iterator[Labels]:
    """For each of the commonest demands: the label that it means for every operator that it reaches, so that a whole
    region can follow one demand, whatever else is nearer to some of it."""
    seeds: dict[Permutation, list[Operator]] = {}
    for operator, label in _demands(problem):
        if not is_identity(label):
            seeds.setdefault(label, []).append(operator)
    for label in sorted(seeds, key=lambda p: -len(seeds[p]))[:MAX_WAVES]:
        wave: Labels = {}
        queue: deque[tuple[Operator, Permutation]] = deque()

        def suggest(operator: Operator, label: Permutation | None, wave: Labels = wave,
                    queue: deque[tuple[Operator, Permutation]] = queue) -> None:
            if label is None or operator not in problem.rules or operator in wave or is_identity(label):
                return
            if problem.binding(operator, label) is not None:
                wave[operator] = label
                queue.append((operator, label))

        for operator in seeds[label]:
            suggest(operator, label)
        while queue:
            _spread(problem, *queue.popleft(), suggest)
        yield wave


def _spread(problem: Problem, operator: Operator, label: Permutation, suggest: object) -> None:
    """Suggest to the neighbours what spares a TRANSPOSE between them and `operator` under `label`."""
    binding = problem.binding(operator, label)
    assert binding is not None
    for position, root in enumerate(operator.outputs):
        have = binding.results[position]
        for reader in problem.readers.get(root, ()):
            if reader.operator is not None:
                want = compose(inverse(reader.permutation), have)
                suggest(reader.operator, label_for_operand(problem, reader, want))  # type: ignore[operator]
    for position, tensor in enumerate(operator.inputs):
        own = binding.operands[position] if position < len(binding.operands) else None
        if tensor is None or own is None:
            continue
        root, view = problem.view(tensor)
        if root.producer is not None:
            suggest(root.producer, label_for_result(  # type: ignore[operator]
                problem, root.producer, root, compose(view, own)))


# -- fusing two assignments

def _fuse(problem: Problem, a: Labels, b: Labels) -> Labels:
    """The best mixture of `a` and `b` that a cut finds; `a` itself where the mixture is not better."""
    undecided = [op for op in a if a[op] != b[op]]
    if not undecided:
        return a
    network = Network()
    nodes = {op: network.node() for op in undecided}
    roots = _roots(problem, undecided)
    for root in roots:
        _add_root(problem, network, nodes, root, a, b)
    side = network.source_side()  # nodes that stay with a
    mixture = {op: (a[op] if op not in nodes or nodes[op] in side else b[op]) for op in a}
    before = sum(problem.cost(r, a) for r in roots)
    choices = [(sum(problem.cost(r, c) for r in roots), i) for i, c in enumerate((mixture, b))]
    cost, index = min(choices)
    return (mixture, b)[index] if cost < before else a


def _roots(problem: Problem, operators: Iterable[Operator]) -> list[Tensor]:
    seen: dict[Tensor, None] = {}
    for operator in operators:
        for root in problem.roots_of.get(operator, ()):
            seen[root] = None
    return list(seen)


def _add_root(problem: Problem, network: Network, nodes: dict[Operator, int], root: Tensor, a: Labels,
              b: Labels) -> None:
    """Terms of one root: a node on the source side stands for choice `a`, on the sink side for `b`.

    Readers that want the same in both choices share: they pay once, through a node that is on the sink (source) side
    as soon as one of them is.
    """
    price = problem.price(root)
    maker = root.producer if root.producer in nodes else None
    have = (problem.stored(root, a), problem.stored(root, b))
    groups: dict[tuple[Permutation, Permutation], list[Reader]] = {}
    for reader in problem.readers.get(root, ()):
        groups.setdefault((problem.wanted(reader, a), problem.wanted(reader, b)), []).append(reader)
    for (want_a, want_b), readers in groups.items():
        def toll(stored: Permutation, want: Permutation) -> float:
            return 0.0 if same_bytes(stored, want, root.shape) else price

        if want_a == want_b:
            if maker is not None:  # pays by the maker's choice alone
                network.add(network.SOURCE, nodes[maker], toll(have[1], want_b))
                network.add(nodes[maker], network.SINK, toll(have[0], want_a))
            continue
        movers = [nodes[r.operator] for r in readers if r.operator is not None and r.operator in nodes]
        made = nodes[maker] if maker is not None else network.SOURCE
        any_b, all_b = network.node(), network.node()
        for mover in movers:
            network.add_infinite(any_b, mover)   # mover on b's side pulls any_b there
            network.add_infinite(mover, all_b)   # mover on a's side keeps all_b there
        to_b = (toll(have[0], want_b), toll(have[1], want_b))  # what some reader on b's side costs, by the maker's
        to_a = (toll(have[0], want_a), toll(have[1], want_a))
        if maker is None:
            network.add(network.SOURCE, any_b, to_b[0])
            network.add(all_b, network.SINK, to_a[0])
        else:
            network.add(network.SOURCE, any_b, min(to_b))  # whichever side the maker is on
            network.add(all_b, network.SINK, min(to_a))
            network.add(made, any_b, to_b[0] - min(to_b))  # maker a, some reader b
            network.add(all_b, made, to_a[1] - min(to_a))  # maker b, some reader a


# -- improving one at a time

def _improve(problem: Problem, labels: Labels, candidates: dict[Operator, list[Permutation]]) -> bool:
    changed = False
    for operator, choices in candidates.items():
        if len(choices) < 2:
            continue
        changed |= _move(problem, labels, operator, choices)
    return changed


def _move(problem: Problem, labels: Labels, operator: Operator, choices: list[Permutation]) -> bool:
    roots = problem.roots_of.get(operator, [])
    present = labels[operator]
    best, least = present, sum(problem.cost(r, labels) for r in roots)
    for label in choices:
        if label == present:
            continue
        labels[operator] = label
        cost = sum(problem.cost(r, labels) for r in roots)
        if cost < least:
            best, least = label, cost
    labels[operator] = best
    return best != present
