"""Workloads whose imports do what no process should have done before it forks."""

from types import SimpleNamespace

Threads = SimpleNamespace(preload=("tests.bench.unsafe_import.threads",))
Cuda = SimpleNamespace(preload=("tests.bench.unsafe_import.cuda",))
