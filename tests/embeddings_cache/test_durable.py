"""What is written is whole, or an error says so."""

import subprocess
import sys

import numpy as np
import pytest

from hyposcreen.embeddings_cache.durable import write_array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype="<f4").reshape(2, 3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.zeros((0, 4, 4)),
        np.array(7),
        np.arange(9)[::2],
    ],
)
def test_bytes_are_those_of_numpy(tmp_path, array):
    write_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "numpy.npy", np.ascontiguousarray(array).reshape(array.shape))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "ours.npy"), array)


def test_a_disk_that_fills_within_the_last_bytes_is_noticed(tmp_path):
    code = (
        "import resource, sys, numpy as np; from hyposcreen.embeddings_cache.durable import write_array\n"
        "from pathlib import Path; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try: write_array(Path(sys.argv[1]) / 'a.npy', np.zeros(1280))\n"
        "except OSError as error: print('noticed', error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("noticed")
