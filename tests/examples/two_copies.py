"""usage: two_copies.py LIBIWSEG.so WEIGHTS.safetensors   Two copies of the library in one process, by ctypes: both predict, in
two threads each at the same time; one is unloaded, the other goes on; then that one too."""
import _ctypes
import ctypes
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time

VOXELS = 20 * 37 * 41


def predict(library, found):
    model, channels = ctypes.c_void_p(), ctypes.c_int()
    assert library.iwseg_open(sys.argv[2].encode(), b"cpu", 2, ctypes.byref(model)) == 0
    assert library.iwseg_channel_count(model, ctypes.byref(channels)) == 0
    voxels = channels.value * VOXELS
    image, probability = (ctypes.c_float * voxels)(*(i * 7919 % 1000 for i in range(voxels))), (ctypes.c_float * VOXELS)()
    assert library.iwseg_predict(model, image, (ctypes.c_int64 * 3)(20, 37, 41), None, probability, None) == 0
    found.append(bytes(probability))
    library.iwseg_close(model)


def loaded(name):
    return name in pathlib.Path("/proc/self/maps").read_text()


with tempfile.TemporaryDirectory() as folder:
    copies = [ctypes.CDLL(shutil.copy(sys.argv[1], f"{folder}/copy_{name}.so")) for name in "ab"]
    assert len({ctypes.cast(copy.iwseg_open, ctypes.c_void_p).value for copy in copies}) == 2, "loaded once"
    results = []
    threads = [threading.Thread(target=predict, args=(copy, results)) for copy in copies * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # join returns before a thread has ended for the system, and what it still holds of a library keeps that loaded.
    ends = time.monotonic() + 60
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < ends:
        time.sleep(0.001)
    _ctypes.dlclose(copies[0]._handle)
    assert not loaded("copy_a.so"), "the first is not unloaded"
    predict(copies[1], results)
    _ctypes.dlclose(copies[1]._handle)
    assert len(results) == 5 and len(set(results)) == 1, "they do not agree"
