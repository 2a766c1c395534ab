"""fidelite and its peers behind one face: an environment, and the command that converts a model in it."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks.models import Exporter, Layout, Models, Spec
from benchmarks.work import ROOT, Environment, Unavailable, Usage, environment_of, measured, this_version


@dataclass(frozen=True, slots=True)
class Job:
    """One model to convert."""

    spec: Spec
    models: Models
    exporter: Exporter = "dynamo"
    layout: Layout = "source"


@dataclass
class Converter(ABC):
    """`missing` is the reason why it could not be installed; None where it is ready."""

    work: Path
    missing: str | None = field(default=None, init=False)
    name: ClassVar[str]

    @property
    @abstractmethod
    def environment(self) -> Environment: ...

    @abstractmethod
    def run(self, job: Job, folder: Path) -> tuple[Path, Usage]:
        """Convert into an empty folder; the file, and what it took. Raises Unavailable."""

    @property
    def exporters(self) -> tuple[Exporter, ...]:
        """The exports it is tried on."""
        return ("dynamo", "ts")

    def install(self) -> None:
        """Make its environment. Raises Unavailable."""
        self.environment.make()

    def convert(self, job: Job, folder: Path) -> tuple[Path, Usage]:
        """`run`, for a converter that is there. Raises Unavailable."""
        if self.missing is not None:
            raise Unavailable(self.missing)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path, usage = self.run(job, folder)
        if not path.is_file():
            raise Unavailable("it ended well and wrote no file")
        return path, usage


@dataclass
class Fidelite(Converter):
    """This working tree, installed as a user would have it, run by its command line."""

    name: ClassVar[str] = "fidelite"
    verify: bool = False

    @property
    def environment(self) -> Environment:
        return Environment(self.work / "envs" / "fidelite", (str(ROOT),), (this_version(),), ROOT / "constraints.txt")

    def install(self) -> None:
        environment = self.environment
        environment.make()
        environment.pip_install("--no-deps", "--force-reinstall", "--no-cache-dir", str(ROOT))

    def command(self, model: Path, target: Path, *more: str) -> list[str | Path]:
        verify = () if self.verify else ("--no-verify",)
        return [self.environment.python, "-m", "fidelite", "convert", model, "-o", target, *verify, *more]

    def run(self, job: Job, folder: Path) -> tuple[Path, Usage]:
        target = folder / f"{job.spec.name}.tflite"
        names = ("input", *job.spec.maps) if job.layout == "nhwc" else ()
        layout = [word for name in names for word in ("--layout", f"{name}=nhwc")]
        command = self.command(job.models.onnx(job.spec.name, job.exporter), target, *layout)
        return target, measured(command, folder, name="fidelite", cwd=folder)


def with_proof(converter: Fidelite, verify: bool) -> Fidelite:
    """The same converter with the proof on or off."""
    changed = Fidelite(converter.work, verify)
    changed.missing = converter.missing
    return changed


@dataclass
class Onnx2tf(Converter):
    """It simplifies the file that it is given in place, so it gets a copy."""

    name: ClassVar[str] = "onnx2tf 2.6.9"

    @property
    def environment(self) -> Environment:
        return Environment(self.work / "envs" / "onnx2tf", ("onnx2tf==2.6.9",), ("3.12",))

    def install(self) -> None:
        super().install()
        if not (self.environment.scripts / "onnxsim").exists():
            raise Unavailable("its environment has no onnxsim, which it runs")

    def run(self, job: Job, folder: Path) -> tuple[Path, Usage]:
        source = job.models.onnx(job.spec.name, job.exporter)
        for file in source.parent.glob(f"{source.name}*"):
            shutil.copyfile(file, folder / file.name)
        # Channels last is its way; told to keep the input, it moves the outputs all the same.
        keep = ("-kat", "input") if job.layout == "source" else ()
        environment = self.environment
        command = [environment.scripts / "onnx2tf", "-i", folder / source.name, "-o", folder / "out",
                   "--non_verbose", "--verbosity", "error", *keep]
        usage = measured(command, folder, name="onnx2tf", cwd=folder,
                         env=environment_of(first_on_path=environment.scripts))
        return folder / "out" / f"{source.stem}_float32.tflite", usage


@dataclass
class LitertTorch(Converter):
    """It converts the PyTorch module; importing PyTorch is part of what it takes."""

    name: ClassVar[str] = "litert-torch 0.10.0"

    @property
    def exporters(self) -> tuple[Exporter, ...]:
        return ("dynamo",)

    @property
    def environment(self) -> Environment:
        return Environment(self.work / "envs" / "litert-torch", ("litert-torch==0.10.0", "torch==2.13.0"),
                           ("3.11", "3.12"))

    def run(self, job: Job, folder: Path) -> tuple[Path, Usage]:
        target = folder / f"{job.spec.name}.tflite"
        command = [self.environment.python, "-m", "benchmarks.with_litert_torch", job.spec.name, job.layout,
                   job.models.state(job.spec.name), target]
        usage = measured(command, folder, name="litert-torch",
                         env=environment_of({"PYTHONPATH": str(ROOT / "src")}))
        return target, usage


def peers(work: Path) -> list[Converter]:
    return [Onnx2tf(work), LitertTorch(work)]


def install(converters: Sequence[Converter]) -> None:
    """Set up each in turn; who cannot be set up carries the reason."""
    for converter in converters:
        try:
            converter.install()
        except Unavailable as reason:
            converter.missing = f"not installed: {reason}"
