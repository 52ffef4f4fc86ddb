"""Hooks and stand-ins: whether calling a module does what its class and its parameters say.

Fast forms compute with parameters and call no module. They ask here first, so that what others hang on a
module (hooks, adapters, another module or function in its place) is never passed over in silence.
"""

from torch import nn


def hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` does more than its class says: it has hooks, or a ``forward`` of its own."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def acts_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is of that very class, and calling it does what the class says."""
    return type(module) is kind and not hooked(module)
