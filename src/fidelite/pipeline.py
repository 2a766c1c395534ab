"""The stages in their order. The only file that knows it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.edge import Edge, plan_edge
from fidelite.errors import Notice, VerificationError, raise_all
from fidelite.files import publish
from fidelite.options import CALIBRATED, ConvertOptions

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from fidelite.check import Verification
    from fidelite.check.proof import Proof
    from fidelite.optimize import Log
    from fidelite.quantize import Recipe
    from fidelite.quantize.integer import Integerized
    from fidelite.quantizing import Quantization
    from fidelite.runtime import Delegation
    from fidelite.saving.saved_model import SavedModel
    from fidelite.source.load import Source
    from fidelite.targets import Finding, Profile
    from fidelite.tflite.graph import Model

    AnyModel = Path | str | onnx_ir.Model | onnx.ModelProto | Any  # Any: what is PyTorch's, which has no types here

Progress = Callable[[str, float], None]
"""Called with the stage's name and how much of it is done (0 to 1)."""


@dataclass
class Conversion:
    """A converted model: the graph in memory, and what there is to say about how it came to be."""

    model: Model
    source: Source
    options: ConvertOptions
    edge: Edge = field(default_factory=Edge)
    notices: list[Notice] = field(default_factory=list[Notice])
    verification: Verification | None = None
    """The proof of the file; None where it was not asked for."""
    float_verification: Verification | None = None
    """Of a quantized file: the proof of the float graph that it was made from."""
    delegation: Delegation | None = None
    """Which operators XNNPACK took in the proof; None without one."""
    log: Log | None = None
    kept_float: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Of a quantized file: operators that stay float32, or whose weights do, each with the reason."""
    exact_verification: Verification | None = None
    """Of an approximated file: the proof of the exact float graph that it was made from."""
    approximated: tuple[str, ...] = ()
    """The approximations that changed the graph."""
    findings: list[Finding] = field(default_factory=list["Finding"])
    """What the target says of the finished graph."""
    device: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the file did in the target's own runtime or in a simulation of it, where there is one (`device.py`)."""
    quantization: Quantization | None = None
    """Of an integer file: what calibration saw, and what was done with it."""
    integers: Integerized | None = None
    """Of a model that came quantized: how many operators compute in integers, and why others do not."""
    saved_model: SavedModel | None = None
    """The SavedModel that `save_saved_model` wrote last."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Wall-clock seconds of each stage."""

    @property
    def bytes(self) -> bytes:
        """The `.tflite` file's content. Use `save` for large models."""
        from fidelite.write.flatbuffer import write_model

        stream = BytesIO()
        write_model(self._described(), stream)
        return stream.getvalue()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What is written into the file about where it comes from and what was proven."""
        from fidelite.manifest import manifest_of

        return manifest_of(self)

    def proof_json(self) -> dict[str, Any]:
        """The proof for the manifest: what was compared with what, and each output's verdict and largest error."""
        if self.verification is None:
            return {"verdict": "not verified"}
        parts = {"file": self.verification, "float": self.float_verification, "exact": self.exact_verification}
        return {name: v.brief() for name, v in parts.items() if v is not None}

    def save_c_array(self, path: Path | str) -> tuple[Path, Path]:
        """Write the file as a C array, for a device without a file system: a source beside a header of the same name.

        Raises UsageError (F280) for a name that does not end in .c, .cc or .cpp, OutputError.
        """
        from fidelite.write.c_array import write_c_array

        return write_c_array(self.bytes, Path(path), self.device.get("arena"))

    def save_saved_model(self, folder: Path | str, on_progress: Progress | None = None) -> SavedModel:
        """Write a TensorFlow SavedModel of the same graph, proven in TensorFlow and after its own converter.

        See `fidelite.saving.saved_model.save_saved_model`, also for what is raised.
        """
        from fidelite.saving.saved_model import save_saved_model

        clock = _Clock(on_progress)
        clock.seconds = self.seconds
        with clock.stage("SavedModel"):
            self.saved_model = save_saved_model(
                self, Path(folder), lambda what, done, total: clock.tell("SavedModel", done / total))
        return self.saved_model

    def proof(self, precision: str = "") -> Proof:
        """What is to be compared to prove this conversion, within the bounds of `precision` (default: its own)."""
        from fidelite.check.oracle import source_content
        from fidelite.check.proof import Proof
        from fidelite.check.tolerance import Tolerance

        source, precision = self.source, precision or self.options.precision
        content = source_content(source, moved_weights=self.options.weights is not None)
        tolerance = Tolerance.loosest([precision, *self.approximated]) if self.approximated else None
        return Proof(content, source.model, self.model.main, self.edge, precision, self.options.samples, tolerance,
                     source.program, () if self.quantization is None else self.quantization.proof)

    def _described(self) -> Model:
        from fidelite.manifest import MANIFEST, write_metadata

        if MANIFEST not in self.model.metadata:
            write_metadata(self.model, self.manifest)
        return self.model

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all. Raises OutputError."""
        from fidelite.write.flatbuffer import write_model

        start = time.perf_counter()
        with publish(Path(path)) as temporary, temporary.open("wb") as stream:
            write_model(self._described(), stream)
        self.seconds["write"] = time.perf_counter() - start
        return Path(path)


def convert(model: AnyModel, options: ConvertOptions, on_progress: Progress | None = None, *,
            refuse: bool = True) -> Conversion:
    """Source to proven result. Raises FideliteErrors of the stage that failed.

    A Mismatch or NotProven carries the conversion as `evidence`. With `refuse=False`, what the target refuses of the
    graph is only in the result's `findings`.
    """
    from fidelite.quantize.recipe import recipe_of
    from fidelite.targets import profile_of
    from fidelite.targets.profile import errors_of

    profile = profile_of(options.target)
    raise_all(errors_of(profile, profile.before(options)))
    integer = options.precision in CALIBRATED
    recipe = None if integer else recipe_of(options.precision)
    clock = _Clock(on_progress)
    result = _graph(model, options, profile, clock)
    if options.approximate:
        _approximate(result, clock)
    if recipe is not None or integer:
        if refuse:
            raise_all(errors_of(profile, [f for f in profile.check(result.model) if not f.rule.depends_on_precision]))
        with clock.stage("quantize"):
            _quantize_values(result, clock) if recipe is None else _quantize(result, recipe, clock)
    _ask_target(result, profile, refuse=refuse)
    if options.verify:
        with clock.stage("verify"):
            result.verification = _verify(result, options.precision, clock)
        _try_on_target(result, profile, clock)
    return result


def _graph(model: AnyModel, options: ConvertOptions, profile: Profile, clock: _Clock) -> Conversion:
    """Source to the optimized float graph."""
    with clock.stage("read"):
        source = _read(model, options)
    with clock.stage("prepare"):
        from fidelite.lower.registry import converts
        from fidelite.prepare.graph import prepare

        prepare(source.model, converts)
    with clock.stage("lower"):
        from fidelite.lower.driver import lower_model
        from fidelite.prepare.fold import fold

        lowered = lower_model(source.model, fold=fold, on_node=clock.counter("lower"))
        edge, told = _edge(lowered.model, options, profile)
        edge = edge.carrying(lowered.carried_inputs, lowered.carried_outputs)
    with clock.stage("optimize"):
        from fidelite.optimize import optimize

        log = optimize(lowered.model, explain=options.explain, target=options.target)
        integers = _integerize(lowered.model, log, options)
    kept = [] if integers is None else integers.reasons()
    return Conversion(lowered.model, source, options, edge, [*source.notices, *lowered.notices, *told], log=log,
                      seconds=clock.seconds, integers=integers, kept_float=kept)


def _edge(model: Model, options: ConvertOptions, profile: Profile) -> tuple[Edge, list[Notice]]:
    """Put the edge that options and target ask for around the graph.

    A task fills in what the options leave open; what MediaPipe refuses is told here already, before any heavy work,
    together with what does not fit the task.
    """
    from fidelite.lower.edge import apply_edge
    from fidelite.targets.profile import errors_of
    from fidelite.tasks.card import attach
    from fidelite.tasks.plan import plan_task

    plan = plan_task(options, model) if options.task else None
    inputs, outputs = model.main.inputs, model.main.outputs
    edge = plan_edge(options if plan is None else plan.options, {t.name: t.shape for t in inputs},
                     {t.name: t.shape for t in outputs})
    edge = edge.retyped({t.name: t.element.name.lower() for t in inputs},
                        {t.name: t.element.name.lower() for t in outputs}, profile.elements)
    if plan is None:
        apply_edge(model, edge)
        return edge, []
    edge = plan.edge(edge)
    apply_edge(model, edge)
    attach(plan.card, model)
    raise_all([*plan.problems,
               *errors_of(profile, [f for f in profile.check(model) if not f.rule.depends_on_precision])])
    return edge, list(plan.notices)


def _approximate(result: Conversion, clock: _Clock) -> None:
    """Prove the exact graph, then change it as the options name it."""
    from fidelite.optimize.approximate import approximate

    if result.options.verify:
        with clock.stage("verify"):
            result.exact_verification = _verify(result, "float32", clock)
    with clock.stage("approximate"):
        changes = approximate(result.model, result.options.approximate)
        result.approximated = tuple(found.name for found in changes if found.operators)
        for found in changes:
            where = f": {', '.join(found.nodes[:4])}{', ...' if len(found.nodes) > 4 else ''}" if found.nodes else ""
            told = f"{found.operators} operators{where}" if found.operators else "the graph has none"
            result.notices.append(Notice("W476", f"approximated ({found.name}): {found.what}; {told}", level="warning"))


def _ask_target(result: Conversion, profile: Profile, *, refuse: bool) -> None:
    """Let the target look at the finished graph. Raises TargetErrors, all at once; the rest become notices."""
    from fidelite.targets.profile import errors_of, notices_of

    result.findings = profile.check(result.model)
    if refuse:
        raise_all(errors_of(profile, result.findings))
    result.notices += notices_of(profile, result.findings)


def _integerize(model: Model, log: Log, options: ConvertOptions) -> Integerized | None:
    """Of a model that came quantized: its operators as LiteRT's integer operators, and what stays float computes with
    weights that are stored as the model has them."""
    from fidelite.optimize import tidy
    from fidelite.quantize.integer import integerize, is_quantized, store_constants

    if not is_quantized(model):
        return None
    found = integerize(model)
    if options.precision == "float32" and options.target not in ("gpu", "micro"):  # which unpack no constants
        store_constants(model)
    tidy(model, log)
    return found


def _quantize(result: Conversion, recipe: Recipe, clock: _Clock) -> None:
    """Prove the float graph first: a quantized file is judged twice."""
    from fidelite.quantize import apply_plan, plan_weights

    if result.options.verify:
        result.float_verification = _verify(result, "float32", clock)
    plan = plan_weights(result.model, recipe)
    result.kept_float = [(", ".join(operator.nodes) or operator.op, reason) for operator, reason in plan.kept]
    apply_plan(result.model, plan)


def _quantize_values(result: Conversion, clock: _Clock) -> None:
    """Calibrate the float graph, proven first, and let it compute in integers."""
    from fidelite.quantizing import quantize

    if result.options.verify:
        result.float_verification = _verify(result, "float32", clock)
    found = quantize(result.model, result.options, result.edge, result.source.model,
                     lambda done: clock.tell("calibrate", done))
    result.quantization = found
    result.kept_float = found.quantized.kept_float()
    result.notices += found.notices


def _try_on_target(result: Conversion, profile: Profile, clock: _Clock) -> None:
    """Run the file in the target's own runtime, or in a simulation of it, where there is one."""
    from fidelite.device import TRIALS

    if profile.name in TRIALS:
        with clock.stage("device"):
            result.device = TRIALS[profile.name](result, profile, clock.tell)


def _verify(result: Conversion, precision: str, clock: _Clock) -> Verification:
    """Run source and result on the same inputs; raise unless they agree."""
    from fidelite.write.flatbuffer import write_model

    proof = result.proof(precision)
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.tflite"
        with path.open("wb") as stream:
            write_model(result.model, stream)
        found = proof.run(path, lambda what, done, total: clock.tell("verify", done / total),
                          lambda taken: setattr(result, "delegation", taken))
    if proof.came_quantized:
        from fidelite.check.stepwise import with_steps

        found = with_steps(found, proof, result.model)
    try:
        found.raise_for_verdict()
    except VerificationError as error:
        result.verification = found
        error.evidence = result
        raise
    return found


def _read(model: AnyModel, options: ConvertOptions) -> Source:
    from fidelite.source.opening import open_model
    from fidelite.source.shapes import select_outputs

    source = open_model(model, options)
    outputs = options.outputs
    if options.task:
        from fidelite.tasks.plan import kept_outputs, pruned

        names = [value.name or "" for value in source.model.graph.outputs]
        outputs = kept_outputs(options, names)
        source.notices += pruned(options, names)
    if outputs:
        select_outputs(source.model, outputs)
    return source


class _Clock:
    """Times stages, and tells the caller how far the work is."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self.tell = on_progress or (lambda stage, done: None)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        self.tell(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.tell(name, 1.0)

    def counter(self, name: str) -> Callable[[int, int], None]:
        return lambda index, total: self.tell(name, index / max(total, 1))


def options_of(arguments: Mapping[str, Any]) -> ConvertOptions:
    """Options from keyword arguments. Raises UsageError for unknown names and values."""
    from fidelite.arguments import checked_options

    return checked_options(arguments)
