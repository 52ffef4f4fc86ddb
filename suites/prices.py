"""Prices of a device: the seconds that each kind of work takes, measured within a few seconds.

There are two of each: at best, and as usual, which is about the machine as it is now, with the other
programs on it.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from suites.outlook import KINDS, Effort

if TYPE_CHECKING:
    import torch

_SECONDS = 0.15
"""For one kind of work, once it has been done a first time; shared out among its turns."""
_TURNS = 6
_LEAST_ROUNDS = 5
_LAYER_TOKENS, _LAYER_WIDTH, _LAYER_MLP = 1024, 256, 1024
"""A transformer layer about as small as those measured here are."""
_HEAD = 64
_COPY_BYTES = 2**25
_RANDOM = 2**19
_HEADERS = ("algorithm", "complex", "functional", "map", "string", "vector")
_STEP_ROWS, _STEP_WIDTH = 10, 192
_JUDGED_FRAMES = 1
_READ_FRAMES = 2
SLOW = 3.0
"""Times as long as float32: what a reader should be told of."""


@dataclass(frozen=True)
class Price:
    """Seconds for one of a kind of work."""

    best: float
    usual: float


Prices = Mapping[str, Price]
"""By ``kind``, or by ``kind.dtype``."""

_FREE = Price(0.0, 0.0)


def seconds_of(efforts: Iterable[Effort], prices: Prices) -> Price:
    """Return what efforts take, at best and as usual; a kind without a price costs nothing."""
    parts = [
        (getattr(effort, kind), prices.get(f"{kind}.{effort.dtype}", prices.get(kind, _FREE)))
        for effort in efforts
        for kind in KINDS
    ]
    return Price(sum(n * price.best for n, price in parts), sum(n * price.usual for n, price in parts))


def slow_remarks(device: "torch.device", dtypes: Iterable[str]) -> dict[str, str]:
    """Say of each number format that is slow on a device how many times as long as float32 it takes.

    The product of a layer is timed, on a CPU in the processor's time of one thread: that is the same however
    busy the machine is. A format that the device does not compute is not in the answer.
    """
    base = _product_seconds(device, "float32")
    remarks = {}
    for dtype in dict.fromkeys(dtypes):
        try:
            factor = _product_seconds(device, dtype) / base
        except RuntimeError:
            continue
        if factor >= SLOW:
            remarks[dtype] = f"slow: matrix products take {factor:.0f} times as long as in float32"
    return remarks


def _product_seconds(device: "torch.device", dtype: str) -> float:
    import torch

    made, on_host = getattr(torch, dtype), device.type == "cpu"
    states = torch.ones(_LAYER_TOKENS, _LAYER_WIDTH, device=device).to(made)
    weight = torch.ones(_LAYER_MLP, _LAYER_WIDTH, device=device).to(made)
    threads, best = torch.get_num_threads(), float("inf")
    try:
        if on_host:
            torch.set_num_threads(1)
        for _ in range(_LEAST_ROUNDS):
            if not on_host:
                torch.cuda.synchronize(device)
            started = time.thread_time() if on_host else time.perf_counter()
            torch.nn.functional.linear(states, weight)
            if not on_host:
                torch.cuda.synchronize(device)
            best = min(best, (time.thread_time() if on_host else time.perf_counter()) - started)
    finally:
        torch.set_num_threads(threads)
    return best


def measure_prices(device: "torch.device", dtypes: Iterable[str], kinds: Iterable[str] = KINDS) -> Prices:
    """Measure what is asked for on ``device``; a number format that it does not compute has no price."""
    meter, wanted = _Meter(device), frozenset(kinds)
    for dtype in dict.fromkeys(("float32", *dtypes)):
        for kind, probe in _BY_DTYPE.items():
            if kind in wanted:
                meter.add(f"{kind}.{dtype}", probe, device, dtype)
    for kind, plain in _PLAIN.items():
        if kind in wanted:
            meter.add(kind, plain, device)
    meter.measure()
    for kind, first in _FIRST.items():
        if kind in wanted:
            meter.add_first(kind, first)
    return meter.prices


@dataclass
class _Meter:
    """Probes of one device. They take turns, several times around: what slows the machine for a moment
    then slows some of each."""

    device: "torch.device"
    prices: dict[str, Price] = field(default_factory=dict)
    _probes: dict[str, tuple[Callable[[], object], float]] = field(default_factory=dict)

    def add(self, name: str, probe: Callable[..., tuple[Callable[[], object], float]], *given: Any) -> None:
        """Get a probe ready; one that cannot be done has no price."""
        import torch

        try:
            with torch.inference_mode():
                call, amount = probe(*given)
                call()  # The first may load a library or choose a kernel.
        except (RuntimeError, ImportError):
            return
        self._probes[name] = call, amount

    def add_first(self, name: str, probe: Callable[[], object]) -> None:
        """Do something once that every process does once, and note its price."""
        started = self._now()
        try:
            probe()
        except (RuntimeError, ImportError, OSError, subprocess.SubprocessError):
            return
        taken = self._now() - started
        self.prices[name] = Price(taken, taken)

    def measure(self) -> None:
        """Note the prices of all probes."""
        import torch

        taken: dict[str, list[list[float]]] = {name: [] for name in self._probes}
        with torch.inference_mode():
            for _ in range(_TURNS):
                for name, (call, _) in self._probes.items():
                    taken[name].append(self._turn(call))
        for name, turns in taken.items():
            amount = self._probes[name][1]
            best = min(map(min, turns))
            self.prices[name] = Price(best / amount, mean(map(median, turns)) / amount)

    def _turn(self, call: Callable[[], object]) -> list[float]:
        """Do a probe for a while; return the time of each call."""
        taken: list[float] = []
        while sum(taken) < _SECONDS / _TURNS:
            started = self._now()
            call()
            taken.append(self._now() - started)
        return taken

    def _now(self) -> float:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _layer(device: "torch.device", dtype: str) -> tuple[Callable[[], object], float]:
    """A transformer layer over a frame's or a clip's tokens."""
    import torch
    from torch.nn import functional

    from autogaze.work import transformer_work

    made = getattr(torch, dtype)
    tokens = _LAYER_TOKENS
    into, up, down = (
        torch.ones(shape, device=device).to(made)
        for shape in (
            (4 * _LAYER_WIDTH, _LAYER_WIDTH),
            (_LAYER_MLP, _LAYER_WIDTH),
            (_LAYER_WIDTH, _LAYER_MLP),
        )
    )
    states = torch.zeros(1, tokens, _LAYER_WIDTH, device=device).to(made)

    def call() -> object:
        query, key, value, out = functional.linear(states, into).chunk(4, dim=-1)
        heads = (each.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for each in (query, key, value))
        found = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2) + out
        normed = functional.layer_norm(found, (_LAYER_WIDTH,))
        return functional.linear(functional.gelu(functional.linear(normed, up)), down) + found

    return call, transformer_work(1, _LAYER_WIDTH, _LAYER_MLP, tokens, tokens**2, 4).flops


def _attention(device: "torch.device", dtype: str) -> tuple[Callable[[], object], float]:
    import torch

    tokens, heads = _LAYER_TOKENS, 4
    keys = torch.zeros(1, heads, tokens, _HEAD, device=device).to(getattr(torch, dtype))
    query = keys[:, :, : tokens // 4]

    def call() -> object:
        return torch.nn.functional.scaled_dot_product_attention(query, keys, keys)

    return call, 4 * query.numel() * tokens


def _rows(device: "torch.device", dtype: str) -> tuple[Callable[[], object], float]:
    """The products of a decoder layer for a group of tokens: some too small for several threads."""
    import torch

    made, width, mlp = getattr(torch, dtype), _STEP_WIDTH, 2 * _STEP_WIDTH
    rows = {columns: torch.zeros(_STEP_ROWS, columns, device=device).to(made) for columns in (width, mlp)}
    weights = [
        torch.zeros(shape, device=device).to(made)
        for shape in ((3 * width, width), (width, width), (2 * mlp, width), (width, mlp))
    ]

    def call() -> object:
        return [torch.nn.functional.linear(rows[weight.shape[1]], weight) for weight in weights]

    return call, 2 * _STEP_ROWS * sum(weight.numel() for weight in weights)


def _native(device: "torch.device") -> tuple[Callable[[], object], float]:
    import torch

    # Compiled C reads the weights once for each row, as a product with one row does.
    weight = torch.zeros(4 * _STEP_WIDTH, _STEP_WIDTH, device=device)
    row = torch.zeros(_STEP_WIDTH, device=device)
    return lambda: weight @ row, 2 * weight.numel()


def _copy(device: "torch.device") -> tuple[Callable[[], object], float]:
    import torch

    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * _COPY_BYTES


def _operation(device: "torch.device") -> tuple[Callable[[], object], float]:
    import torch

    ones, count = torch.ones(4, 256, device=device), 100

    def call() -> object:
        return [ones.view(256, 4).add(index) for index in range(count)]

    return call, 2 * count


def _random(device: "torch.device") -> tuple[Callable[[], object], float]:
    import torch

    generator = torch.Generator()
    return lambda: torch.randn(_RANDOM, generator=generator), _RANDOM


def _load(device: "torch.device") -> tuple[Callable[[], object], float]:
    """Read, convert and hash, as is done with weights."""
    import hashlib

    import torch

    stored = torch.zeros(2**19, dtype=torch.float16)
    return lambda: hashlib.sha256(stored.float().numpy().tobytes()).digest(), stored.numel() * 2


def _judge(device: "torch.device") -> tuple[Callable[[], object], float]:
    import torch

    from autogaze.tasks.video_mae_reconstruction.metrics import frame_metrics

    frame = torch.rand(_JUDGED_FRAMES, 3, 224, 224)
    return lambda: frame_metrics(frame, frame.flip(0)), _JUDGED_FRAMES


def _read(device: "torch.device") -> tuple[Callable[[], object], float]:
    from autogaze.embedded import clip_path
    from autogaze.video.preprocessing import fit_frames, normalize
    from autogaze.video.video_file import open_source

    source = open_source(clip_path())
    return lambda: normalize(fit_frames(source.read(0, _READ_FRAMES).frames, 224)), _READ_FRAMES


def _compile() -> object:
    """Compile what costs as much as a small part of a kernel's file: the standard library's headers."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    text = "".join(f"#include <{name}>\n" for name in _HEADERS)
    return subprocess.run(
        [*compiler, "-x", "c++", "-std=c++17", "-O2", "-S", "-o", os.devnull, "-"],
        input=text.encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )


_FIRST = {"compilations": _compile}
_BY_DTYPE: dict[str, Callable[..., tuple[Callable[[], object], float]]] = {
    "flops": _layer,
    "attention_flops": _attention,
    "row_flops": _rows,
}
_PLAIN: dict[str, Callable[..., tuple[Callable[[], object], float]]] = {
    "native_flops": _native,
    "bytes": _copy,
    "operations": _operation,
    "random_values": _random,
    "loaded_bytes": _load,
    "frames_judged": _judge,
    "frames_read": _read,
}
