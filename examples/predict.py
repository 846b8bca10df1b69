"""usage: predict.py LIBIWSEG.so WEIGHTS.safetensors   Predicts a small volume by the C interface, by ctypes alone."""
import ctypes
import sys

iwseg = ctypes.CDLL(sys.argv[1])
iwseg.iwseg_last_error.restype = ctypes.c_char_p

def must(status):
    if status != 0:
        sys.exit(iwseg.iwseg_last_error().decode())

model, channels, voxels = ctypes.c_void_p(), ctypes.c_int(), 20 * 37 * 41
must(iwseg.iwseg_open(sys.argv[2].encode(), None, 0, ctypes.byref(model)))
must(iwseg.iwseg_channel_count(model, ctypes.byref(channels)))
shape, spacing = (ctypes.c_int64 * 3)(20, 37, 41), (ctypes.c_double * 3)(3, 1, 1)
image = (ctypes.c_float * (channels.value * voxels))(*(i * 7919 % 1000 for i in range(channels.value * voxels)))
probability, mask = (ctypes.c_float * voxels)(), (ctypes.c_uint8 * voxels)()
must(iwseg.iwseg_predict(model, image, shape, spacing, probability, mask))
print(f"{voxels} voxels, largest probability {max(probability):.6f}, {sum(mask)} of them lesion")
iwseg.iwseg_close(model)
