"""Hooks and stand-ins: whether calling a module does what its class and its parameters say.

Fast forms compute with parameters and call no module. They ask here first, so that what others hang on a
module (hooks, adapters, another module or function in its place) is never passed over in silence.
"""

from torch import nn


def hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` does more than its class says: it has hooks, or a ``forward`` of its own."""
    own = vars(module)  # read directly, since this is asked of every module in every call
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def acts_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is of that very class, and calling it does what the class says."""
    return type(module) is kind and not hooked(module)
