"""Rebuild a graph under chosen labels: every value stored in its maker's order, TRANSPOSEs where readers differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fidelite.optimize.layout.permutation import (
    Permutation,
    compose,
    identity,
    inverse,
    is_identity,
    same_bytes,
)
from fidelite.optimize.layout.problem import Problem
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Graph, Operator, Origin, Tensor

Labels = Mapping[Operator, Permutation]


def apply(problem: Problem, labels: Labels) -> int:
    """Change the graph; returns the number of TRANSPOSEs and relabelled operators that changed."""
    return _Rewrite(problem, labels).run()


class _Rewrite:
    def __init__(self, problem: Problem, labels: Labels) -> None:
        self.problem = problem
        self.graph: Graph = problem.graph
        self.labels = labels
        self.b = Builder(self.graph)
        self.b.made_by = "layout"
        self.moved: dict[tuple[Tensor, tuple[Dim, ...], Permutation], Tensor] = {}
        self.orders = {root: problem.stored(root, labels) for root in problem.readers}
        self.shapes: dict[Tensor, tuple[Dim, ...]] = {root: root.shape for root in problem.readers}
        self.grids = {tensor: tensor.quantization for tensor in self.graph.outputs}
        self.replaced: dict[Tensor, Tensor] = {}
        """Roots that became an output, or ceased to be one: what now holds their value."""
        self.origins: dict[Tensor, Origin | None] = {}

    def run(self) -> int:
        outputs = list(self.graph.outputs)
        self.origins = {tensor: tensor.origin for tensor in outputs}
        owners = {tensor: self.problem.view(tensor) for tensor in outputs}
        removed = {t.producer: None for t in self.problem.views if t.producer is not None}
        reads = {op: [(i, t) for i, t in enumerate(op.inputs) if t is not None and not t.is_constant]
                 for op in self.graph.operators if op not in removed}
        self._move_origins()
        for root, order in self.orders.items():
            _permute(root, order)
        for operator in self.problem.rules:
            for position, tensor in enumerate(operator.outputs):
                if tensor not in self.orders:  # nobody reads it, but it has its shape all the same
                    binding = self.problem.binding(operator, self.labels[operator])
                    assert binding is not None
                    self.shapes[tensor] = tensor.shape
                    _permute(tensor, binding.results[position])
        for operator, operands in reads.items():
            self._rewire(operator, operands)
        for operator in removed:
            self._detach(operator)
        for tensor in outputs:
            self._restore_output(tensor, *owners[tensor])
        return len(removed)

    def _move_origins(self) -> None:
        """A value that was a view is now found in its root, in the root's order."""
        adopted: dict[Tensor, Origin] = {}
        for view, (root, permutation) in self.problem.views.items():
            if root in self.orders and root.origin is None and view.origin is not None and root not in adopted:
                of_view = view.origin.permutation or identity(view.rank)
                adopted[root] = Origin(view.origin.value, compose(of_view, inverse(permutation)))
        for root, order in self.orders.items():
            origin = root.origin or adopted.get(root)
            if origin is not None:
                moved = compose(origin.permutation or identity(root.rank), order)
                root.origin = Origin(origin.value, () if is_identity(moved) else moved)

    def _rewire(self, operator: Operator, operands: list[tuple[int, Tensor]]) -> None:
        """Give `operator` its operands in the orders it wants, and its parameters."""
        inputs = list(operator.inputs)
        rule = self.problem.rules.get(operator)
        label = self.labels.get(operator)
        self.b.nodes = operator.nodes
        if rule is not None and label is not None and not is_identity(label):
            binding = self.problem.binding(operator, label)
            assert binding is not None
            restored = self._with_lowered_shapes(operator)
            changes = rule.remap(operator, label, self.b)
            for tensor, shape in restored:
                tensor.shape = shape
            for position, tensor in changes.operands.items():
                inputs[position] = tensor
            operator.options.update(changes.options)
            for position, tensor in operands:
                own = binding.operands[position]
                root, view = self.problem.view(tensor)
                if own is None:
                    inputs[position] = self._in_order(root, view)
                else:
                    moved = self._in_order(root, compose(view, own))
                    inputs[position] = self._full_rank(moved, label) if rule.broadcasts else moved
        else:
            for position, tensor in operands:
                inputs[position] = self._in_order(*self.problem.view(tensor))
        self.graph.set_inputs(operator, inputs)

    def _with_lowered_shapes(self, operator: Operator) -> list[tuple[Tensor, tuple[Dim, ...]]]:
        """Rules speak of lowered shapes: put them back for a moment. Returns what to put back afterwards."""
        present: list[tuple[Tensor, tuple[Dim, ...]]] = []
        for tensor in dict.fromkeys((*operator.inputs, *operator.outputs)):
            if tensor is not None and tensor in self.shapes:
                present.append((tensor, tensor.shape))
                tensor.shape = self.shapes[tensor]
        return present

    def _in_order(self, root: Tensor, want: Permutation) -> Tensor:
        """`root` in the order `want` of its lowered axes."""
        root = self.replaced.get(root, root)
        have = self.orders.get(root, identity(root.rank))
        if have == want:
            return root
        lowered = self.shapes.get(root, root.shape)
        target = tuple(lowered[a] for a in want)
        key = (root, target, want)
        if key not in self.moved:
            if same_bytes(have, want, lowered) and _symbols(target) <= 1:
                result = self._reshaped(root, target)
            else:
                result = self.b.transpose(root, compose(inverse(have), want))
            if result is not root and root.origin is not None:
                of_root = root.origin.permutation or identity(root.rank)
                order = compose(of_root, compose(inverse(have), want))
                result.origin = Origin(root.origin.value, () if is_identity(order) else order)
            self.moved[key] = result
        return self.moved[key]

    def _reshaped(self, tensor: Tensor, shape: tuple[Dim, ...]) -> Tensor:
        """A RESHAPE of `tensor` itself: what it was made from may not have its new order yet."""
        if shape == tensor.shape:
            return tensor
        sizes = [d if isinstance(d, int) else -1 for d in shape]
        return self.b.one("RESHAPE", [tensor, self.b.int32(sizes)], tensor.element, shape, newShape=sizes)

    def _full_rank(self, tensor: Tensor, label: Permutation) -> Tensor:
        """A broadcast operand of lower rank, with the unit axes that `label` puts between its own."""
        rank = len(label)
        if tensor.rank in (0, rank):
            return tensor
        lead = rank - tensor.rank
        dims = iter(tensor.shape)
        shape = tuple(next(dims) if axis >= lead else 1 for axis in label)
        while shape and shape[0] == 1 and len(shape) > tensor.rank:
            shape = shape[1:]
        if _symbols(shape) <= 1:
            return self._reshaped(tensor, shape)
        for axis in [i for i, a in enumerate(label[rank - len(shape):]) if a < lead]:  # sizes need not be known
            grown = (*tensor.shape[:axis], 1, *tensor.shape[axis:])
            tensor = self.b.one("EXPAND_DIMS", [tensor, self.b.int32(axis)], tensor.element, grown)
        return tensor

    def _detach(self, operator: Operator) -> None:
        self.graph.remove(operator)

    def _restore_output(self, tensor: Tensor, root: Tensor, view: Permutation) -> None:
        """A graph output keeps its tensor object, name and lowered shape, whoever makes it now."""
        have = self.orders.get(root, identity(root.rank))
        if tensor is root and have == view:
            return
        if tensor is root:
            self._split_output(tensor, view)
            return
        moved = self._in_order(root, view)
        self._take_over(moved, tensor, root)

    def _split_output(self, tensor: Tensor, view: Permutation) -> None:
        """The output was stored in another order: its maker gets a tensor of its own, a TRANSPOSE makes the output."""
        maker = tensor.producer
        assert maker is not None
        inner = Tensor(self.b.fresh_name("stored"), tensor.element, tensor.shape, origin=tensor.origin,
                       quantization=tensor.quantization)
        self.graph.set_outputs(maker, [inner if t is tensor else t for t in maker.outputs])
        self.graph.replace_uses(tensor, inner)
        self.orders[inner], self.shapes[inner] = self.orders[tensor], self.shapes[tensor]
        self._forget(tensor, inner)
        self.replaced[tensor] = inner
        tensor.shape = self.shapes[tensor]
        tensor.quantization = self.grids.get(tensor)
        tensor.origin = self.origins[tensor]
        self._take_over(self._in_order(inner, view), tensor, inner)

    def _forget(self, old: Tensor, new: Tensor) -> None:
        for key in [k for k in self.moved if k[0] is old]:
            self.moved[new, key[1], key[2]] = self.moved.pop(key)

    def _take_over(self, made: Tensor, output: Tensor, root: Tensor) -> None:
        """Let the operator that makes `made` make `output` instead (a copy where `made` must stay itself)."""
        maker = made.producer
        own = made is not root and maker is not None and made not in self.graph.output_set()
        if not own or maker is None:
            self.b.nodes = maker.nodes if maker is not None else ()
            if made is root and maker is not None and root not in self.graph.output_set() and root not in \
                    self.graph.inputs:
                self._rename(maker, root, output)
                return
            made = self._copy(made)
            maker = made.producer
            assert maker is not None
        self._rename(maker, made, output)

    def _copy(self, tensor: Tensor) -> Tensor:
        if _symbols(tensor.shape) <= 1:
            sizes = [d if isinstance(d, int) else -1 for d in tensor.shape]
            return self.b.one("RESHAPE", [tensor, self.b.int32(sizes)], tensor.element, tensor.shape, newShape=sizes)
        whole = [self.b.int32([value] * tensor.rank) for value in (0, -1)]
        return self.b.one("SLICE", [tensor, *whole], tensor.element, tensor.shape)

    def _rename(self, maker: Operator, made: Tensor, output: Tensor) -> None:
        output.shape, output.quantization = made.shape, made.quantization
        output.producer = None
        self.graph.set_outputs(maker, [output if t is made else t for t in maker.outputs])
        self.graph.replace_uses(made, output)
        for key in [k for k, value in self.moved.items() if value is made]:
            self.moved[key] = output
        if made in self.orders:
            self.orders[output], self.shapes[output] = self.orders[made], self.shapes[made]
            self._forget(made, output)
            self.replaced[made] = output


def _symbols(shape: tuple[Dim, ...]) -> int:
    return sum(not isinstance(d, int) for d in shape)


def _permute(tensor: Tensor, order: Permutation) -> None:
    """Store `tensor` in the order `order` of its axes; the axis of its scales moves along."""
    tensor.shape = tuple(tensor.shape[a] for a in order)
    facts = tensor.quantization
    if facts is not None and len(facts.scale) > 1:
        tensor.quantization = replace(facts, axis=order.index(facts.axis))
