"""The memory a foreign statistic works on: one sealed block in, one block of fixed size out. Both sides read this file."""

import struct

HEAD = struct.Struct("<Q")
"""Length of the JSON that says where things are; it follows at once."""
READY = b"confined"
"""Written by the harness after it is confined and before it runs the code. Without it no end counts as the code's."""
READY_AT, VALUES_AT = 0, 64
UNWRITTEN = struct.pack("<Q", 0x7FF8_5C4E_E11A_B1E5)
"""A NaN of our own in every value that was not written."""
ALIGN = 64


def aligned(position: int) -> int:
    """The next multiple of :data:`ALIGN`."""
    return -(-position // ALIGN) * ALIGN
