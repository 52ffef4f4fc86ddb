"""Suites: workloads, and TOML files that span their axes.

A suite is ``suites/<name>.toml``::

    version = 1                 # raised when the meaning of its cells changes: such runs are not compared
    description = "one line"
    time_budget_seconds = 30    # for one cell's timed repetitions, once min_samples are taken
    min_samples = 5
    timeout_seconds = 600       # a cell that runs longer is a row with status 'timeout'

    [workloads]                 # optional: workloads of your own, beside those in WORKLOADS
    mine = "my_package.my_module:MyWorkload"

    [[cells]]                   # each block is the product of its lists; what is left out has its default
    workload = "end_to_end"
    setting = ["ratio_0.10", "task_0.70"]
    chunk = [16]
    dtype = ["float32"]
    attention = ["sdpa"]
    batch = [1]

To add a suite, add a TOML file. To add a workload, write a module with a class that meets
:class:`suites.workload.Workload` and give it a line in :data:`WORKLOADS`.
"""

WORKLOADS = {
    "gaze": "suites.video:Gaze",
    "reconstruct": "suites.video:Reconstruct",
    "end_to_end": "suites.video:EndToEnd",
    "attention": "suites.attention:Attention",
    "encode": "suites.encode:Encode",
    "kernel": "suites.kernels:Kernel",
    "ceiling": "suites.ceilings:Ceiling",
    "quality": "suites.quality:SelectorQuality",
    "evaluate": "suites.evaluation:Evaluation",
}
"""Workload name to ``module:class``. The planning process imports the module too, to check axis values: it
must not import torch at its top."""
