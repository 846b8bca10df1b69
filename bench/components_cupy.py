"""Components and inverse weights of a batch of masks by CuPy, for `iwseg bench weights --device cuda` to be read beside.

The masks are noise-free balls as the bench's: 40 of 1 to 8 voxels in radius for each patch of 128 voxels. Prints one
JSON object: median seconds of labelling, counting and making the table of weights of all patches, the first left out."""
import argparse
import json
import statistics

import cupy
import numpy
from cupyx.scipy import ndimage


def lesion_masks(samples, size, rng):
    masks = numpy.zeros((samples, size, size, size), dtype=bool)
    axes = numpy.ogrid[:size, :size, :size]
    for mask in masks:
        for _ in range(max(1, 40 * size**3 // 128**3)):
            radius = rng.integers(1, 9)
            centre = rng.integers(0, size, 3)
            mask |= sum((axis - at) ** 2 for axis, at in zip(axes, centre)) <= radius**2
    return masks


def weights_of(mask, structure):
    labels, count = ndimage.label(mask, structure=structure)
    sizes = cupy.bincount(labels.ravel(), minlength=count + 1)
    return labels, cupy.clip(mask.size / ((count + 1) * sizes), 1, 2e5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    masks = cupy.asarray(lesion_masks(options.batch, options.patch, numpy.random.default_rng(0)))
    structure = cupy.ones((3, 3, 3), dtype=bool)
    seconds = []
    for _ in range(options.steps + 1):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for mask in masks:
            weights_of(mask, structure)
        end.record()
        end.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    print(json.dumps({"peer": f"CuPy {cupy.__version__}", "patch": options.patch, "batch": options.batch,
                      "weights_seconds_median": statistics.median(seconds[1:])}))


main()
