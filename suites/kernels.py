"""The workload ``kernel``: one operation of :mod:`kernels.registry`, held against the device's own ceilings.

Nothing is timed before its result has been checked against the reference, and a figure above what the device
can do is not believed. A repetition is many calls: *cold* ones over as many copies of the inputs as it takes
to fall out of the caches, *hot* ones over a single copy. On a GPU all of them are captured in one CUDA graph,
since launched one by one it would be the host that is timed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.errors import BackendUnavailable, InputError
from autogaze.stages import stage
from kernels import OPERATION_NAMES
from kernels.decode_step.variants import STEPS, measured_as
from suites.axes import DTYPES
from suites.ceilings import Ceilings, ceiling_bytes, ceiling_effort, measure_ceilings
from suites.outlook import Effort, Outlook
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from kernels.operation import Operation, Shape

FORMS = ("reference", "triton", "native", *map(measured_as, STEPS))

REPETITION_BYTES = 2**28
"""A repetition touches at least so many bytes of different memory: several times the largest cache there
is."""
MOST_COPIES = 64
LEAST_CALLS = 10
"""Calls of a repetition: fewer are too short for a device's events."""
_FLOPS_A_BYTE = 16
"""Operations with fewer are bound by memory or by overhead, as a decode step is."""
_REFERENCE_OPERATIONS = 150
"""Operators that a reference of plain torch calls."""
BELIEVED = 1.05
"""A figure up to 5 % above a ceiling is the ceiling's own noise."""


def shape_name(shape: "Shape") -> str:
    """Return a shape in the words of the command line: ``batch=1 cached=400``."""
    return " ".join(f"{name}={size}" for name, size in shape.items())


def _form(operation: "Operation", form: str, dtype: Any, device: Any) -> Callable[..., Any]:
    """Return the ``form`` of an operation; raise ``BackendUnavailable`` where it cannot be timed."""
    import torch

    if form.startswith("triton"):
        if device.type != "cuda":
            raise BackendUnavailable(
                f"the triton form of {operation.name} needs a CUDA device and this is {device.type}: "
                "the interpreter is for checking, and its times would mean nothing"
            )
        return _triton_form(operation, form, device)
    if form == "native":
        if operation.native is None:
            raise BackendUnavailable(f"{operation.name} has no native form; measure its reference")
        if device.type != "cpu" or dtype != torch.float32:
            raise BackendUnavailable(
                f"the native form of {operation.name} computes float32 on a CPU, and this is "
                f"{str(dtype).removeprefix('torch.')} on {device.type}"
            )
        return operation.native
    return operation.reference


def _triton_form(operation: "Operation", form: str, device: Any) -> Callable[..., Any]:
    """Return a form that is launched by Triton; plain ``triton`` is the first that the GPU can hold."""
    from kernels.fitting import Fitting

    variants = {measured_as(name): variant for name, variant in operation.variants.items()}
    if form == "triton":
        fitting = {measured_as(name): each for name, each in operation.launchable(device).items()}
        return Fitting({form: operation.fast, **fitting})
    if form not in variants:
        known = ", ".join((form.partition("_")[0], *variants))
        raise BackendUnavailable(f"{operation.name} has no form {form}; measure one of {known}")
    if (obstacle := operation.variant_obstacle(form.removeprefix(measured_as("")), device)) is not None:
        raise BackendUnavailable(f"form {form} of {operation.name} {obstacle}")
    return variants[form]


def _copies(moved: int, *, hot: bool) -> int:
    """Return how many copies there are of inputs of which a call moves so many bytes."""
    return 1 if hot else min(MOST_COPIES, max(1, REPETITION_BYTES // moved))


class Kernel:
    """One operation in one form, at the ``size``-th of its timed shapes."""

    preload: ClassVar[Sequence[str]] = ("kernels.registry",)
    axes: ClassVar[Mapping[str, Axis]] = {
        "operation": Axis("decode_step", known=OPERATION_NAMES),
        "form": Axis("triton", known=FORMS),
        "size": Axis(0),
        "dtype": Axis("float32", known=DTYPES),
        "memory": Axis("cold", known=("cold", "hot")),
    }
    stage_name = "kernel"

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        from kernels.c_compiler import BuildError
        from kernels.registry import OPERATIONS

        device, dtype = torch.device(inputs.device), getattr(torch, str(axes["dtype"]))
        self.operation: Operation = OPERATIONS[str(axes["operation"])]
        self.shape = self._shape(int(axes["size"] or 0))
        self.call = _form(self.operation, str(axes["form"]), dtype, device)
        self.flops, self.bytes = self.operation.work(self.shape, dtype.itemsize)
        try:
            error = self._check(dtype, device)
        except BuildError as unbuilt:
            raise BackendUnavailable(f"the native form of {self.operation.name} {unbuilt}") from unbuilt
        self.ceilings: Ceilings = measure_ceilings(device, dtype)
        remark: str | None = getattr(self.call, "remark", None)
        self.notes: list[str] = [] if remark is None else [remark]
        hot = axes["memory"] == "hot"
        copies = _copies(self.bytes, hot=hot)
        made = [self.operation.inputs(self.shape, dtype, device) for _ in range(copies)]
        calls = copies * -(-LEAST_CALLS // copies)
        self.inputs = [self.operation.again(made[call % copies]) for call in range(calls)]
        self._changed = [tensor for each in self.inputs for tensor in self.operation.changed(each)]
        self._unchanged = [tensor.clone() for tensor in self._changed]
        self._launch = self._captured(self._calls) if device.type == "cuda" else self._calls
        self.details: dict[str, Any] = {
            "shape": shape_name(self.shape),
            "memory": "hot" if hot else "cold",
            "copies": copies,
            "calls": len(self.inputs),
            "captured": device.type == "cuda",
            "relative_error": error,
            **self.ceilings.details(),
        }

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what a repetition takes, the check before it and the ceilings beside it."""
        import torch

        from kernels.registry import OPERATIONS

        device, dtype = torch.device(inputs.device), getattr(torch, str(axes["dtype"]))
        operation = OPERATIONS[str(axes["operation"])]
        form = str(axes["form"])
        try:
            _form(operation, form, dtype, device)
        except BackendUnavailable as error:
            return Outlook(str(error))
        shape = operation.timed_shapes[int(axes["size"] or 0)]
        flops, moved = operation.work(shape, dtype.itemsize)
        copies = _copies(moved, hot=axes["memory"] == "hot")
        kind = "row_flops" if flops < _FLOPS_A_BYTE * moved else "attention_flops"
        kind = "native_flops" if form == "native" else kind
        call = Effort(str(axes["dtype"]), **{kind: float(flops)})
        reference = replace(call, operations=_REFERENCE_OPERATIONS)
        repetition = call if form == "native" else reference
        return Outlook(
            setup=(repetition, reference, ceiling_effort(inputs.device, str(axes["dtype"]))),
            repetition=(repetition * copies * -(-LEAST_CALLS // copies),),
            memory_bytes=2 * copies * moved + ceiling_bytes(inputs.device),
            certain_bytes=copies * moved,
        )

    def _shape(self, size: int) -> "Shape":
        shapes = self.operation.timed_shapes
        if not 0 <= size < len(shapes):
            known = ", ".join(f"{i} ({shape_name(shape)})" for i, shape in enumerate(shapes))
            raise InputError(f"size {size} of {self.operation.name} is unknown: known are {known}")
        return shapes[size]

    def _check(self, dtype: Any, device: Any) -> float:
        """Return the form's relative error; raise where it is more than rounding explains."""
        inputs = self.operation.inputs(self.shape, dtype, device)
        error = self.operation.disagreement(inputs, self.call(**self.operation.again(inputs)))
        if error > self.operation.tolerance[dtype]:
            raise ArithmeticError(
                f"{self.operation.name} differs from its reference by {error:.1e} of its deviation; "
                f"{self.operation.tolerance[dtype]:.0e} is tolerated, and nothing wrong is timed"
            )
        return error

    def run(self) -> list[Any]:
        import torch

        with torch.inference_mode(), stage(self.stage_name):
            return self._launch()

    def renew(self) -> None:
        """See :meth:`suites.workload.Renewing.renew`."""
        import torch

        if self._changed:
            with torch.inference_mode():
                torch._foreach_copy_(self._changed, self._unchanged)

    def _calls(self) -> list[Any]:
        return [self.call(**inputs) for inputs in self.inputs]

    def _captured(self, calls: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
        """Return what does all calls with one launch, into the same outputs each time.

        Raises:
            ArithmeticError: where the outputs are not those of the calls.
        """
        import torch

        from autogaze.models.autogaze.frame_launches import in_cuda_graph

        outputs: list[Any] = []

        def work() -> None:
            outputs[:] = calls()

        with torch.inference_mode():
            expected = self.call(**self.operation.again(self.inputs[-1])).float()
            replay = in_cuda_graph(work, self.renew)

            def launch() -> list[Any]:
                replay()
                return outputs

            self.renew()
            if not torch.equal(launch()[-1].float(), expected):
                raise ArithmeticError(
                    f"{self.operation.name} gives something else once captured, and nothing wrong is timed"
                )
        return launch

    def quality(self, output: list[Any]) -> Quality:
        calls = len(output)
        counters = {
            "calls": float(calls),
            "flops": float(self.flops * calls),
            "bytes": float(self.bytes * calls),
        }
        return Quality(patch_hash="", counters=counters)

    def impossible(self, seconds: Sequence[float]) -> str | None:
        """Say which ceiling the fastest repetition breaks; None where it breaks none."""
        calls, fastest = len(self.inputs), min(seconds)
        for name, work, ceiling in (
            ("moves", self.bytes, self.ceilings.bytes_per_second),
            ("computes", self.flops, self.ceilings.flops_per_second),
        ):
            if work * calls / fastest > BELIEVED * ceiling:
                return (
                    f"{name} {work * calls / fastest:.2e} a second, and the device was measured to do "
                    f"{ceiling:.2e}: the time or the work counted is wrong"
                )
        return None
