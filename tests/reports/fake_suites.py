"""Runs of the suites that measure parts, made up: kernels, engines, attention and the encoder."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.records import AxisValue, Cell, Memory, Record, Run, Sample, Status
from reports.results import CellResult, results_of
from tests.reports.fake_run import UNTRAINED, run_of

BANDWIDTH, ARITHMETIC = 3e12, {"float32": 4e14, "bfloat16": 8e14}
"""Ceilings of the made-up GPU."""
NO_CUDA = "the triton form of {operation} needs a CUDA device and this is cpu"


def record(cell: Cell, seconds: float, stages: Mapping[str, float] | None = None, **fields: Any) -> Record:
    """Return a record of a cell that took about ``seconds`` a repetition, and its stages so long."""
    random = np.random.default_rng(sum(map(ord, cell.key)))
    times = {"end_to_end": seconds, **(stages or {cell.workload: seconds})}
    samples = [
        Sample(index=index, stage=stage, seconds=time * (factor if index else 1.0))
        for index in range(5)
        for factor in [random.uniform(0.98, 1.02)]
        for stage, time in times.items()
    ]
    usual: dict[str, Any] = {
        "status": Status.OK,
        "samples": tuple(samples),
        "memory": Memory(device_allocated_peak=300 * 2**20),
    }
    return Record(cell=cell, **usual | fields)


def refused(cell: Cell, reason: str, status: Status = Status.UNSUPPORTED) -> Record:
    """Return the record of a cell that cannot run."""
    return Record(cell=cell, status=status, reason=reason)


def results_from(records: Sequence[Record], **run: Any) -> list[CellResult]:
    """Return the results of a run that holds these records."""
    made = run_from(records, **run)
    return results_of(made, records, str(made.environment.fields["device.name"]))


def run_from(records: Sequence[Record], **run: Any) -> Run:
    """Return the head of a run that planned the cells of these records."""
    usual: dict[str, Any] = {"device": "NVIDIA H200", "run_id": "20260401T120000Z-parts-h200-5e6f"}
    return run_of([record.cell for record in records], **usual | run)


def kernel_cell(operation: str, form: str, size: int, dtype: str) -> Cell:
    return Cell(workload="kernel", axes={"operation": operation, "form": form, "size": size, "dtype": dtype})


def kernel_record(cell: Cell, speed: float = 1.0, **fields: Any) -> Record:
    """Return the record of a kernel on a GPU; the triton form is ten times as fast as its reference."""
    size, dtype = int(cell.axes["size"] or 0), str(cell.axes["dtype"])
    attention = cell.axes["operation"] == "block_causal_attention"
    moved = 2e8 * (size + 1) * (2 if dtype == "float32" else 1)
    calls = 4
    seconds = calls * moved / BANDWIDTH / 0.7 / speed * (1 if cell.axes["form"] == "triton" else 10)
    shape = (
        f"tokens={212 * 5**size} frames=16 heads=6" if attention else f"batch={2**size} cached=400 layers=4"
    )
    return record(
        cell,
        seconds,
        counters={
            "calls": calls,
            "bytes": moved * calls,
            "flops": moved * calls * (2.5 if attention else 9 * size + 9),
        },
        details={
            "shape": shape,
            "calls": calls,
            "relative_error": 3.2e-7 if cell.axes["form"] == "triton" else 0.0,
            "ceiling.bytes_per_second": BANDWIDTH,
            "ceiling.flops_per_second": ARITHMETIC[dtype],
        },
        **fields,
    )


def kernel_cells() -> list[Cell]:
    return [
        kernel_cell(operation, form, size, dtype)
        for operation in ("block_causal_attention", "decode_step")
        for form in ("triton", "reference")
        for size in (0, 1, 2)
        for dtype in ("float32", "bfloat16")
    ]


def kernel_records() -> list[Record]:
    """Return a run on a GPU in which all is ok, but for one figure that cannot be true."""
    records = [kernel_record(cell) for cell in kernel_cells()]
    doubtful = "moves 9.00e+12 a second, and the device was measured to do 3.00e+12"
    records[0] = kernel_record(records[0].cell, speed=4.0).model_copy(
        update={"status": Status.INVALID, "reason": doubtful}
    )
    return records


def kernel_records_on_cpu() -> list[Record]:
    """Return a run on a CPU, where the triton forms cannot be timed."""
    return [
        refused(cell, NO_CUDA.format(operation=cell.axes["operation"]))
        if cell.axes["form"] == "triton"
        else kernel_record(cell)
        for cell in kernel_cells()
    ]


def ceiling_records() -> list[Record]:
    """Return what the made-up GPU can do at best in each precision."""
    return [
        record(
            Cell(workload="ceiling", axes={"dtype": dtype}),
            0.1,
            details={
                "ceiling.bytes_per_second": BANDWIDTH,
                "ceiling.flops_per_second": flops,
            },
        )
        for dtype, flops in ARITHMETIC.items()
    ]


def engine_cell(setting: str, engine: str, dtype: str = "float32", batch: int = 1) -> Cell:
    axes: dict[str, AxisValue] = {"setting": setting, "chunk": 16, "dtype": dtype, "attention": "sdpa"}
    return Cell(workload="gaze", axes={**axes, "batch": batch, "engine": engine})


def engine_records() -> list[Record]:
    """Return a run of all engines; single precision agrees, half precision chooses otherwise once."""
    return [
        engine_record(engine_cell(setting, engine, dtype, batch))
        for setting, dtypes, batches in (
            ("ratio_0.10", ("float32", "bfloat16"), (1,)),
            ("ratio_0.75", ("float32", "bfloat16"), (1,)),
            ("ratio_0.25", ("float32",), (1, 64)),
        )
        for engine in ("eager", "graph", "triton")
        for dtype in dtypes
        for batch in batches
    ]


def engine_record(cell: Cell) -> Record:
    setting, engine, dtype, batch = (cell.axes[name] for name in ("setting", "engine", "dtype", "batch"))
    steps = {"ratio_0.10": 48, "ratio_0.25": 112, "ratio_0.75": 320}[str(setting)]
    clips = int(batch or 1)
    step = {"eager": 4e-3, "graph": 4e-4, "triton": 8e-5}[str(engine)] * clips**0.3
    seconds = 0.01 + step * steps
    counters: dict[str, float] = {
        "clips": clips,
        "frames": 16 * clips,
        "candidate_patches": 4240 * clips,
        "decode_steps": steps,
    }
    counters |= {"selected_patches": 8.3 * steps * clips, "flops": 3e8 * steps * clips, "bytes": 2e7 * steps}
    if engine != "eager":
        counters |= {"launches": steps + 16}
    differs = dtype == "bfloat16" and setting == "ratio_0.75"
    return record(
        cell,
        seconds,
        {"gaze": seconds, "gaze.vision": 0.004, "gaze.prefill": 0.005, "gaze.steps": step * steps},
        counters=counters,
        patch_hash=f"{setting}{batch}{'half' if differs else ''}",
        details={"gaze.engine": engine},
    )


def paired_record() -> Record:
    """A cell of the released package, three times as slow as ours however busy the machine is."""
    cell = engine_cell("ratio_0.75", "released")
    made = engine_record(engine_cell("ratio_0.75", "eager"))
    samples = [
        Sample(index=index, stage=stage, seconds=seconds * busy)
        for index, busy in enumerate((1.0, 1.0, 4.0, 9.0, 2.0))
        for stage, seconds in (("gaze", 3.0), ("ours", 1.0), ("end_to_end", 3.1))
    ]
    details = {
        "gaze.engine": "released",
        "ours.engine": "triton",
        "released.commit": "2943b28",
        "released.torch": "2.7.1",
        "released.transformers": "4.51.3",
        "released.attention": "attn_mode=sdpa",
    }
    quality = {"agreement": 0.75}
    return made.model_copy(
        update={"cell": cell, "samples": tuple(samples), "details": details, "quality": quality}
    )


def attention_cell(backend: str, mask: str = "block_causal", tokens: int = 1024, **axes: AxisValue) -> Cell:
    usual: dict[str, AxisValue] = {
        "head_dim": 64,
        "heads": 12,
        "batch": 1,
        "dtype": "float32",
        "padding": 0.0,
    }
    return Cell(
        workload="attention", axes={"backend": backend, "mask": mask, "tokens": tokens, **usual, **axes}
    )


def attention_records() -> list[Record]:
    """Return a run of two backends on three masks and more, and one backend that is not there."""
    ways: Iterable[tuple[str, int, dict[str, AxisValue]]] = (
        ("block_causal", 1024, {}),
        ("causal", 1024, {}),
        ("block_causal+frame_independent", 1024, {}),
        ("block_causal", 4240, {}),
        ("block_causal", 1024, {"batch": 4, "padding": 0.9}),
        ("block_causal", 1024, {"dtype": "bfloat16"}),
    )
    return [
        attention_record(attention_cell(backend, mask, tokens, **axes))
        for mask, tokens, axes in ways
        for backend in ("eager", "sdpa", "flash_attention_2")
    ]


def attention_record(cell: Cell) -> Record:
    backend, tokens = str(cell.axes["backend"]), int(cell.axes["tokens"] or 0)
    if backend == "flash_attention_2":
        return refused(cell, "attention backend 'flash_attention_2' is not installed; use 'sdpa'")
    kernels = {"eager": ["aten::bmm", "aten::_softmax"], "sdpa": ["flash_fwd_kernel"]}[backend]
    return record(
        cell,
        (4e-3 if backend == "eager" else 1e-3) * (tokens / 1024) ** 2,
        # What the workload counts as clips and frames are no clips to a reader.
        counters={
            "clips": 1,
            "frames": 16,
            "tokens": tokens,
            "padded_tokens": 0,
            "flops": 1.7e9,
            "bytes": 1.3e7,
        },
        patch_hash="",
        details={"attention.kernels": kernels, "error.max": 0.0 if backend == "eager" else 8.3e-7},
    )


def encode_cell(setting: str, attn_type: str = "block_causal", attention: str = "sdpa") -> Cell:
    axes: dict[str, AxisValue] = {"setting": setting, "chunk": 16, "dtype": "float32", "attention": attention}
    return Cell(workload="encode", axes={**axes, "batch": 1, "engine": "auto", "attn_type": attn_type})


def encode_records() -> list[Record]:
    """Return a run of the encoder: dense and gazed; only one mask has a dense cell to be held against."""
    cells = [
        *(encode_cell(setting) for setting in ("dense", "ratio_0.05", "ratio_0.10", "ratio_0.25")),
        encode_cell("ratio_0.05", attn_type="causal"),
        encode_cell("ratio_0.05", attention="eager"),
    ]
    return [encode_record(cell) for cell in cells]


def encode_record(cell: Cell) -> Record:
    setting = str(cell.axes["setting"])
    kept = 1.0 if setting == "dense" else float(setting.removeprefix("ratio_"))
    seconds = 0.002 + 0.2 * kept
    frames = 16
    return record(
        cell,
        seconds,
        {"encode": seconds, "encode.embed": 0.002, "encode.layers": 0.18 * kept, "encode.pool": 0.01 * kept},
        notes=(UNTRAINED,),
        counters={
            "clips": 1,
            "frames": frames,
            "candidate_patches": frames * 265,
            "selected_patches": frames * 265 * kept,
            "padded_patches": 0,
            "flops": 1e12 * kept,
            "bytes": 1e9 * kept,
        },
        patch_hash=setting,
    )
