"""Build a graph in TensorFlow and save it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fidelite.errors import InternalError
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.types import ElementType
from fidelite.write.saved_model.table import Call, makers

SIGNATURE = "serving_default"
_ALLOWED = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_TAKEN_BY_TENSORFLOW = frozenset({"self"})


def port_names(names: Sequence[str]) -> list[str]:
    """Names for a signature's inputs: the given ones where TensorFlow takes them, else with `_` in place of what it
    does not take. They stay apart as identifiers, too, which TensorFlow makes of them in Python."""
    found: list[str] = []
    identifiers: set[str] = set()
    for name in names:
        fits = _ALLOWED.fullmatch(name) and name not in _TAKEN_BY_TENSORFLOW
        plain = name if fits else re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "input"
        unique, count = plain if plain not in _TAKEN_BY_TENSORFLOW else f"{plain}_", 1
        while _identifier(unique) in identifiers:
            unique, count = f"{plain}_{count}", count + 1
        identifiers.add(_identifier(unique))
        found.append(unique)
    return found


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def save(tf: Any, model: Model, folder: Path) -> dict[str, Any]:
    """Write `model`'s main graph to `folder`. All its operators must be in the table (`refusals.refusals`).

    Returns the signature: `inputs` and `outputs` as pairs of the model's name and the SavedModel's; `variables`, how
    many there are, and `parameters`, how many numbers they hold.
    """
    signature = model.signatures[0] if model.signatures else None
    main = model.main if signature is None else signature.graph
    ins = [(t.name, t) for t in main.inputs] if signature is None else signature.inputs
    outs = [(t.name, t) for t in main.outputs] if signature is None else signature.outputs
    names = port_names([name for name, _ in ins])
    program = _Program(tf)

    def network(*values: Any) -> dict[str, Any]:
        found = program.values(main, dict(zip((t for _, t in ins), values, strict=True)))
        return {name: tf.identity(found[t]) for name, t in outs}

    specs = [tf.TensorSpec(_shape(t), tf.as_dtype(t.element.dtype.name), name=name)
             for name, (_, t) in zip(names, ins, strict=True)]
    module = tf.Module()
    module.network = tf.function(network, input_signature=specs)
    concrete = module.network.get_concrete_function()
    module.weights = program.variables
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: concrete})
    return {"inputs": [[own, name] for (own, _), name in zip(ins, names, strict=True)],
            "outputs": [[name, name] for name, _ in outs], "variables": len(program.variables),
            "parameters": sum(int(np.prod(v.shape)) for v in program.variables)}


def _shape(tensor: Tensor) -> list[int | None]:
    return [d if isinstance(d, int) else None for d in tensor.shape]


class _Program:
    """Makes graphs' operators, and the variables that they read. One weight read in one order is one variable."""

    def __init__(self, tf: Any) -> None:
        self.tf = tf
        self.variables: list[Any] = []
        self._known: dict[Any, Any] = {}
        self._names: set[str] = set()

    def values(self, graph: Graph, values: dict[Tensor, Any]) -> dict[Tensor, Any]:
        """All tensors that the graph computes, its inputs' `values` among them."""
        for operator in graph.operators:
            results = makers()[operator.op](self._call(operator, values))
            several = list(results) if isinstance(results, list | tuple) else [results]
            if len(several) != len(operator.outputs):
                raise InternalError(f"{operator.op} gave {len(several)} results")
            for tensor, value in zip(operator.outputs, several, strict=True):
                values[tensor] = self._checked(operator, tensor, value)
        return {t: self._read(t, values) for t in graph.outputs} | values

    def _checked(self, operator: Operator, tensor: Tensor, value: Any) -> Any:
        if value.dtype != self.tf.as_dtype(tensor.element.dtype.name):
            raise InternalError(f"{operator.op} gave {value.dtype.name} for {tensor}")
        value.set_shape(_shape(tensor))
        return value

    def _call(self, operator: Operator, values: dict[Tensor, Any]) -> Call:
        def weight(index: int, order: Sequence[int]) -> Any:
            tensor = operator.inputs[index]
            assert tensor is not None
            return self._read(tensor, values, tuple(order))

        operands = _Operands([None if t is None else (lambda t=t: self._read(t, values)) for t in operator.inputs])
        return Call(self.tf, operator, operands, weight, self.run)

    def run(self, graph: Graph, operands: Sequence[Any]) -> list[Any]:
        found = self.values(graph, dict(zip(graph.inputs, operands, strict=True)))
        return [self.tf.identity(found[t]) for t in graph.outputs]

    def _read(self, tensor: Tensor, values: dict[Tensor, Any], order: tuple[int, ...] = ()) -> Any:
        if order == tuple(range(tensor.rank)):
            order = ()
        if tensor.constant is None:
            return self.tf.transpose(values[tensor], order) if order else values[tensor]
        if not tensor.element.is_float or tensor.rank == 0:
            array = tensor.constant.numpy()
            return self._constant(array.transpose(order) if order else array, tensor.element)
        key = (tensor.constant.identity, order)
        if key not in self._known:
            with self.tf.init_scope():  # a variable belongs to the model, not to the graph that is being traced
                self._known[key] = self._variable(tensor, order)
        return self.tf.convert_to_tensor(self._known[key])

    def _constant(self, array: np.ndarray, element: ElementType) -> Any:
        if element.bits < 8:
            return self.tf.constant(array.astype(np.int8))
        return self.tf.constant(array)

    def _variable(self, tensor: Tensor, order: tuple[int, ...]) -> Any:
        assert tensor.constant is not None
        array = tensor.constant.numpy()
        plain = re.sub(r"[^A-Za-z0-9_./-]", "_", tensor.name).strip("_/") or "weight"
        name, count = plain, 1
        while name in self._names:
            name, count = f"{plain}_{count}", count + 1
        self._names.add(name)
        variable = self.tf.Variable(np.ascontiguousarray(array.transpose(order)) if order else array, trainable=True,
                                    name=name)
        self.variables.append(variable)
        return variable


class _Operands(Sequence[Any]):
    """Operands, read when they are asked for: a weight that is asked for in another order needs no second variable."""

    def __init__(self, readers: Sequence[Any]) -> None:
        self._readers = readers

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [None if r is None else r() for r in self._readers[index]]
        reader = self._readers[index]
        return None if reader is None else reader()
