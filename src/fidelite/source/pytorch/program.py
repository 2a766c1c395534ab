"""`program_of`: whatever the user gave becomes a `Program`: a network, example inputs, and names for all of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from fidelite.errors import Notice, UsageError
from fidelite.options import ExportOptions
from fidelite.source import checkpoints
from fidelite.source.pytorch import contents_of, dynamic, factory, files, is_factory, networks, structure
from fidelite.source.pytorch.checkpoint import load_into, read_state, without_prefixes
from fidelite.source.text import nearest

Tensor = Any
Kind = Literal["module", "exported program", "TorchScript"]
Shapes = Mapping[str, Sequence[int | str]]


@dataclass
class Program:
    """A PyTorch network with example inputs, ready to be exported and to be asked."""

    network: Any
    """What is called: a module, or an exported program's."""
    kind: Kind
    label: str
    """Where it comes from: `package.module:factory`, a file's name, or a class's."""
    call: structure.Call
    examples: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dims: tuple[dynamic.Dims, ...] = ()
    """Per input, its dynamic dimensions."""
    exported: Any = None
    """The torch.export.ExportedProgram, where there is one already."""
    files: tuple[Path, ...] = ()
    notices: list[Notice] = field(default_factory=list[Notice])

    def ask(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The network's outputs, in order, in evaluation mode and without gradients. The tensors stay as they are."""
        arguments, keywords = self.call.filled([t.clone() for t in tensors])
        with evaluating(self.network), torch.no_grad():
            found = self.network(*arguments, **keywords)
        return tuple(tensor for _, tensor in structure.results(found))


@dataclass
class _Given:
    """What was found behind the user's word."""

    network: Any
    kind: Kind
    label: str
    examples: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """Positional and keyword arguments that came with it."""
    parameters: tuple[str, ...] | None = None
    exported: Any = None
    files: tuple[Path, ...] = ()
    shapes: Shapes = field(default_factory=dict[str, Sequence[int | str]])
    notices: list[Notice] = field(default_factory=list[Notice])


def program_of(model: Any, options: ExportOptions, shapes: Shapes | None = None) -> Program:
    """Whatever of PyTorch's the user gave, as a program.

    Args:
        model: A module, an ExportedProgram, `package.module:factory`, a `.pt2`, TorchScript or checkpoint file.
        options: Example inputs, checkpoint, names.
        shapes: Input name -> shape, where there are no example inputs.

    Raises:
        UsageError: F251 to F260, see docs/errors.md.
        LoadError: F362 to F369. NotAModel: F351 a checkpoint of a network that fidelite does not ship, F357.
    """
    given = _given(model, options)
    if options.checkpoint is not None:
        if given.kind != "module" or given.files:
            raise UsageError(f"{given.label} has its weights already: a checkpoint is for PACKAGE.MODULE:FACTORY",
                             code="F257", remedy="leave --checkpoint out")
        load_into(given.network, read_state(options.checkpoint), f"the checkpoint '{options.checkpoint}'")
        given.files = (options.checkpoint,)
    wanted = {**given.shapes, **(shapes or {})}
    with evaluating(given.network), torch.random.fork_rng(devices=[]):
        return _assembled(given, options, wanted)


def _assembled(given: _Given, options: ExportOptions, shapes: Shapes) -> Program:
    examples = given.examples if options.example_inputs is None else _split(options.example_inputs)
    of_shapes = examples is None
    arguments, keywords = examples if examples is not None else _made_up(given, shapes, options.dtypes)
    call, tensors = structure.call_of(given.network, arguments, keywords, given.parameters)
    answer = structure.asked(given.network, call, tensors)
    outputs = [name for name, _ in structure.results(answer)]
    if options.dynamic_shapes is not None:
        dims = dynamic.of_specification(call, tensors, options.dynamic_shapes)
    else:
        dims = dynamic.of_shapes(call.names, shapes if of_shapes else {})
    if given.kind == "exported program" and any(dims):
        raise UsageError("an exported program has its dynamic dimensions already", code="F259",
                         remedy="export it anew with dynamic_shapes, or give the module itself")
    if given.exported is not None:
        dims = tuple(files.exported_dims(given.exported))
    notices = list(given.notices)
    if call.constants:
        notices.append(Notice("N362", f"fixed in the graph, for they are no tensors: {', '.join(call.constants)}"))
    return Program(given.network, given.kind, given.label, call, tensors,
                   _named(options.input_names, call.names, "input"), _named(options.output_names, outputs, "output"),
                   dims, given.exported, given.files, notices)


def _given(model: Any, options: ExportOptions) -> _Given:
    if isinstance(model, str | Path):
        return _of_word(str(model)) if is_factory(model) else _of_file(Path(model), options)
    if isinstance(model, torch.export.ExportedProgram):
        return _of_exported(model, "an exported program")
    if isinstance(model, torch.jit.ScriptModule):
        return _Given(model, "TorchScript", "a TorchScript module", parameters=files.script_parameters(model))
    if isinstance(model, torch.nn.Module):
        return _of_module(model, type(model).__name__)
    raise UsageError(f"a {type(model).__name__} is no network", code="F254",
                     remedy="give a torch.nn.Module: fidelite.convert(network, example_inputs)")


def _of_word(word: str) -> _Given:
    network, examples = factory.make(word)
    if isinstance(network, torch.export.ExportedProgram):
        return _of_exported(network, word)
    given = _of_module(network, word)
    given.examples = None if examples is None else _split(examples)
    return given


def _of_module(network: Any, label: str) -> _Given:
    if isinstance(network, torch.jit.ScriptModule):
        return _Given(network, "TorchScript", label, parameters=files.script_parameters(network))
    return _Given(network, "module", label)


def _of_exported(program: Any, label: str, path: Path | None = None) -> _Given:
    return _Given(program.module(), "exported program", label, files.exported_examples(program),
                  exported=program, files=() if path is None else (path,))


def _of_file(path: Path, options: ExportOptions) -> _Given:
    contents = contents_of(path)
    assert contents is not None
    if contents.kind == "exported program":
        return _of_exported(files.load_exported(path), path.name, path)
    if contents.kind == "TorchScript":
        network = files.load_script(path)
        return _Given(network, "TorchScript", path.name, parameters=files.script_parameters(network), files=(path,))
    if contents.kind == "module":
        raise checkpoints.refusal(path, contents)
    state = without_prefixes(read_state(path))
    network = networks.recognised(state)
    if network is None:
        raise checkpoints.refusal(path, contents)
    module, _ = factory.make(network.factory)
    load_into(module, network.renamed(state), f"'{path}'")
    told = Notice("N360", f"'{path.name}' holds the weights of {network.name}, which fidelite ships")
    return _Given(module, "module", path.name, files=(path,), shapes=network.shapes, notices=[told])


def _split(examples: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: a mapping goes by the parameters' names."""
    if isinstance(examples, Mapping):
        return (), {str(name): value for name, value in examples.items()}
    if isinstance(examples, list | tuple):
        return tuple(examples), {}
    return (examples,), {}


def _made_up(given: _Given, shapes: Shapes, dtypes: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs of the shapes that were given: random floats, and ones of other types.

    Raises UsageError F255 where a parameter has no shape, or a shape or type no parameter.
    """
    parameters = structure.signature_of(given.network, given.parameters).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    plain = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    unknown = [name for name in {**shapes, **dtypes} if name not in plain and not takes_any]
    missing = [n for n, p in plain.items() if p.default is p.empty and n not in shapes]
    if unknown or missing:
        raise _no_shape(given.label, list(plain), unknown, missing)
    keywords: dict[str, Any] = {}
    generator = torch.Generator().manual_seed(factory.SEED)
    for name, shape in shapes.items():
        size = dynamic.example_shape(shape)
        dtype = _dtype(dtypes.get(name, "float32"))
        keywords[name] = (torch.rand(size, generator=generator).to(dtype) if dtype.is_floating_point
                          else torch.ones(size, dtype=dtype))
    positional = [n for n, p in plain.items() if p.kind is p.POSITIONAL_ONLY]
    return tuple(keywords.pop(n) for n in positional if n in keywords), keywords


def _no_shape(label: str, parameters: Sequence[str], unknown: Sequence[str], missing: Sequence[str]) -> UsageError:
    if unknown:
        near = nearest(unknown[0], parameters)
        reason = f"{label} has no input '{unknown[0]}'; its forward takes {', '.join(parameters) or 'nothing'}"
        remedy = f"did you mean '{near[0]}'?" if near else ""
    else:
        reason = f"what {label} takes is not known: its forward needs {', '.join(missing)}"
        remedy = ""
    told = " ".join(f"--shape {name}=1,3,224,224" for name in missing or parameters[:1])
    return UsageError(reason, code="F255", details={"parameters": list(parameters)},
                      remedy=remedy or f"{told}   (in Python: example_inputs=...); whole numbers: --dtype NAME=int64")


def _dtype(name: str) -> Any:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise UsageError(f"'{name}' is no element type", code="F255",
                         remedy="--dtype NAME=float32, float16, int64, int32, uint8 or bool")
    return found


def _named(wanted: Sequence[str], found: Sequence[str], what: str) -> tuple[str, ...]:
    """The user's names in place of those that were found. Raises UsageError F260."""
    if not wanted:
        return tuple(found)
    if len(wanted) != len(found) or len(set(wanted)) != len(wanted) or not all(wanted):
        raise UsageError(f"{len(found)} {what}s need {len(found)} different names; given: {', '.join(wanted)}",
                         code="F260", remedy=f"--{what}-names {','.join(found)}")
    return tuple(wanted)


@contextmanager
def evaluating(network: Any) -> Generator[None]:
    """The module in evaluation mode inside, and every part of it as it was afterwards."""
    training = [part for part in network.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


