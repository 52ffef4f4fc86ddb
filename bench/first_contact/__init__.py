"""First contact with a GPU: what a device is asked before anything else, each answer a line of JSON.

``python -m bench.first_contact`` asks, in one process, of any device that torch knows, a CPU included. It
needs torch, triton, transformers and numpy and no other package: not those that records and reports need. An
answer is on the disk before the next item begins. An error that CUDA never forgets in a process (a failed
assertion on the device, an illegal address), a crash or an item that takes too long ends the process; another
goes on behind that item.
"""
