"""What an exception makes of its cell; the worker's tests have the others."""

from triton.runtime.errors import OutOfResources

from bench.failures import classified
from bench.records import Status


def test_a_kernel_that_a_gpu_has_no_room_for_is_unsupported_and_says_what_it_wants() -> None:
    status, reason = classified(OutOfResources(155648, 101376, "shared memory"))
    assert status is Status.UNSUPPORTED
    assert "this GPU is too small for a kernel" in reason
    assert "Required: 155648, Hardware limit: 101376" in reason
