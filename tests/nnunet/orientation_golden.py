#!/usr/bin/env python3
"""Writes tests/golden/nnunet_orientation.safetensors: scans of 2 x 3 x 4 voxels (i, j, k), which hold 0, 1, ... in the order
of NumPy's array, in all 48 orientations and oblique ones, as nnU-Net's own readers NibabelIOWithReorient and
SimpleITKIOWithReorient hand them on: sform, array (z, y, x), its sides, spacing. What their write_seg makes of the array
is compared with the scan.

    tests/nnunet/orientation_golden.py tests/golden        (nnunetv2 2.8.1, nibabel and SimpleITK installed)
"""
import itertools
import json
import struct
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIOWithReorient

SHAPE, SPACING = (2, 3, 4), (0.7, 1.1, 2.9)


def rotation(axis, degrees):
    a, b = numpy.cos(numpy.radians(degrees)), numpy.sin(numpy.radians(degrees))
    made = numpy.eye(3)
    i, j = [x for x in range(3) if x != axis]
    made[i, i], made[j, j], made[i, j], made[j, i] = a, a, -b, b
    return made


def made_affine(columns):
    affine = numpy.eye(4)
    affine[:3, :3] = columns
    return affine


def directions():
    """Of each kind: columns of length 1."""
    signed = [numpy.eye(3)[:, order] * signs for order in itertools.permutations(range(3))
              for signs in itertools.product((1, -1), repeat=3)]
    turned = []
    generator = numpy.random.default_rng(18)
    for _ in range(16):  # any rotation, and its mirror images
        q, r = numpy.linalg.qr(generator.normal(size=(3, 3)))
        turned.append(q * numpy.sign(numpy.diag(r)))
    turned += [rotation(a, 44) @ rotation((a + 1) % 3, 46) for a in range(3)]
    turned += [rotation(a, 20) @ rotation((a + 1) % 3, -35) for a in range(3)]
    sheared = []
    while len(sheared) < 8:  # those whose axes are chosen as the closest rotation has them, not as they are themselves
        made = generator.normal(size=(3, 3))
        made /= numpy.linalg.norm(made, axis=0)
        strongest = numpy.argsort(-numpy.abs(made).max(axis=0), kind="stable")
        rows, left = {}, [0, 1, 2]
        for axis in strongest:
            rows[axis] = max(left, key=lambda row: abs(made[row, axis]))
            left.remove(rows[axis])
        if [rows[axis] for axis in range(3)] != nibabel.orientations.io_orientation(made_affine(made))[:, 0].tolist():
            sheared.append(made)
    return signed, turned, sheared


def main(out):
    signed, turned, sheared = directions()
    arrays = {}
    for name, reader, cosines in (("nibabel", NibabelIOWithReorient(), signed + turned + sheared),
                                  ("itk", SimpleITKIOWithReorient(), signed + turned)):
        columns = {"affine": [], "image": [], "sides": [], "spacing": []}
        for direction in cosines:
            affine = made_affine(direction * SPACING)
            affine[:3, 3] = (-20, 30, 5)
            affine = affine.astype(numpy.float32).astype(float)
            voxels = numpy.arange(24, dtype=numpy.float32).reshape(SHAPE)
            image = nibabel.Nifti1Image(voxels, affine)
            image.set_sform(affine, code=1)
            image.set_qform(affine, code=1)
            with tempfile.TemporaryDirectory() as folder:
                file, written = folder + "/scan.nii.gz", folder + "/labels.nii.gz"
                nibabel.save(image, file)
                read, properties = reader.read_images((file,))
                reader.write_seg(read[0].astype(numpy.uint8), written, properties)
                back = nibabel.load(written)
                assert numpy.array_equal(back.get_fdata(), voxels) and numpy.allclose(back.affine, affine, atol=1e-4)
            columns["affine"].append(affine[:3].ravel())
            columns["image"].append(read.ravel())
            columns["sides"].append(read.shape[1:])
            columns["spacing"].append(properties["spacing"])
        for key, rows in columns.items():
            arrays[f"{name}.{key}"] = numpy.array(rows, dtype=numpy.float32)
    header, data = {}, b""
    for key, array in arrays.items():
        header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / "nnunet_orientation.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
