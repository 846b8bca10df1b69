#!/usr/bin/env python3
"""Writes tests/golden/metrics.json: what the public packages that define each metric say of small random scans.

    python3 -m venv peers && peers/bin/pip install panoptica picai_eval surface-distance absl-py
    git clone https://github.com/rachitsaluja/BraTS-2023-Metrics brats
    peers/bin/python tests/evaluation/metrics_golden.py --brats brats

A scan is a string, one character a voxel, the last axis fastest: the probability is (2 n + 1) / 20, where n is the
character's place in 0123456789 (outside of the target) or in abcdefghij (inside).
"""
import argparse
import importlib.metadata
import json
import math
import pathlib
import sys
import tempfile
import warnings

import nibabel
import numpy
import pandas
import scipy.ndimage

warnings.filterwarnings("ignore")
numpy.Inf = numpy.inf  # surface-distance uses the names of older NumPy
numpy.NaN = numpy.nan

import picai_eval
import surface_distance
from panoptica import InputType, NaiveThresholdMatching, Panoptica_Evaluator, ConnectedComponentsInstanceApproximator
from surface_distance import lookup_tables

NSD_TOLERANCES = (0.5, 1.0, 2.2)
SPACINGS = [(1.0, 1.0, 1.0), (0.75, 0.75, 2.5), (3.0, 0.5, 1.25), (1.0, 1.0, 5.0)]


def replace_scalars(frame, old, new, inplace=False):
    """DataFrame.replace as older pandas had it: recent ones stop at a column of arrays, which BraTS-2023-Metrics has."""
    replaced = frame.map(lambda value: new if numpy.isscalar(value) and value == old else value)
    if not inplace:
        return replaced
    frame[:] = replaced


def blobs(random, shape, share, smooth):
    noise = scipy.ndimage.gaussian_filter(random.standard_normal(shape), smooth)
    return noise > numpy.quantile(noise, 1 - share)


def random_scan(random):
    shape = tuple(random.integers(5, 18, 3))
    target = blobs(random, shape, random.uniform(0.01, 0.15), random.uniform(0.6, 1.8))
    if random.random() < 0.7:
        prediction = target.copy()
        change = random.random(shape) < 0.15
        prediction[change] ^= scipy.ndimage.binary_dilation(target)[change]
        prediction |= blobs(random, shape, 0.02, 0.6)
        labels, count = scipy.ndimage.label(prediction, numpy.ones((3, 3, 3)))
        for label in range(1, count + 1):
            if random.random() < 0.2:
                prediction[labels == label] = False
    else:
        prediction = blobs(random, shape, random.uniform(0.01, 0.15), random.uniform(0.6, 1.8))
    return target, prediction


def edge_scans():
    def scan(shape, target, prediction):
        masks = numpy.zeros(shape, bool), numpy.zeros(shape, bool)
        for mask, boxes in zip(masks, (target, prediction)):
            for box in boxes:
                mask[tuple(slice(first, last) for first, last in box)] = True
        return masks

    whole, small = [(0, 5), (0, 6), (0, 7)], [(2, 3), (3, 4), (1, 2)]
    yield "both empty", scan((5, 6, 7), [], [])
    yield "no target", scan((5, 6, 7), [], [small])
    yield "no prediction", scan((5, 6, 7), [small, [(0, 2), (0, 1), (5, 7)]], [])
    yield "one voxel each", scan((5, 6, 7), [small], [small])
    yield "everything", scan((5, 6, 7), [whole], [whole])
    yield "one voxel apart", scan((5, 6, 7), [small], [[(2, 3), (3, 4), (2, 3)]])
    yield "touching at a corner", scan((4, 4, 4), [[(0, 2)] * 3, [(2, 4)] * 3], [[(0, 2)] * 3])
    yield "one detection over two lesions", scan((3, 3, 12), [[(0, 2), (0, 2), (0, 4)], [(0, 2), (0, 2), (7, 12)]],
                                                 [[(0, 2), (0, 2), (0, 12)]])
    yield "two detections on one lesion", scan((3, 3, 12), [[(0, 2), (0, 2), (0, 10)]],
                                               [[(0, 2), (0, 2), (0, 4)], [(0, 2), (0, 2), (6, 12)]])
    yield "half over", scan((2, 2, 12), [[(0, 1), (0, 1), (0, 6)]], [[(0, 1), (0, 1), (2, 8)]])
    yield "three of six", scan((1, 1, 12), [[(0, 1), (0, 1), (0, 4)]], [[(0, 1), (0, 1), (1, 6)]])
    yield "small lesions near each other", scan((3, 4, 15), [[(0, 1), (0, 1), (0, 2)], [(0, 1), (0, 2), (4, 5)]],
                                                [[(1, 2), (0, 1), (2, 3)], [(2, 3), (3, 4), (11, 14)]])


def number(value):
    value = float(value)
    return None if math.isnan(value) else "inf" if math.isinf(value) else value


def panoptica_of(target, prediction):
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC, instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(), verbose=False, log_times=False)
    result = evaluator.evaluate(prediction.astype(numpy.uint8), target.astype(numpy.uint8), verbose=False)
    result = result["ungrouped"] if isinstance(result, dict) else result
    return {"tp": int(result.tp), "fp": int(result.fp), "fn": int(result.fn), "rq": number(result.rq),
            "sq": number(result.sq), "pq": number(result.pq)}


def brats_of(results, target, prediction, spacing):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, mask in (("prediction", prediction), ("target", target)):
            files.append(str(pathlib.Path(folder) / f"{name}.nii"))
            nibabel.save(nibabel.Nifti1Image(mask.astype(numpy.uint8) * 3, numpy.diag([*spacing, 1])), files[-1])
        for challenge in ("BraTS-MET", "BraTS-GLI"):
            table = results(files[0], files[1], challenge)
            row = table[table["Labels"] == "ET"].iloc[0]
            found[challenge] = {"tp": int(row["Num_TP"]), "fp": int(row["Num_FP"]), "fn": int(row["Num_FN"]),
                                "dice": number(row["Lesion_Wise_Score_Dice"]),
                                "hd95": number(row["Lesion_Wise_Score_HD95"]), "scan_dice": number(row["Legacy_Dice"]),
                                "volume": number(row["GT_Complete_Volume"])}
    return found


def detection_map(prediction, probability):
    labels, count = scipy.ndimage.label(prediction, numpy.ones((3, 3, 3)))
    confidence = numpy.zeros(prediction.shape, numpy.float32)
    for label in range(1, count + 1):
        confidence[labels == label] = probability[labels == label].max()
    return confidence


def picai_of(target, prediction, probability):
    hits = picai_eval.eval.evaluate_case(detection_map(prediction, probability), target.astype(numpy.int32))[0]
    counts = {"tp": sum(bool(lesion and overlap > 0) for lesion, _, overlap in hits),
              "fn": sum(bool(lesion and not overlap > 0) for lesion, _, overlap in hits),
              "fp": sum(not lesion for lesion, *_ in hits),
              "overlaps": sorted(float(overlap) for lesion, _, overlap in hits if overlap > 0)}
    metrics = picai_eval.evaluate([detection_map(prediction, probability)], [target.astype(numpy.int32)],
                                  num_parallel_calls=1)
    counts["ap"] = number(metrics.AP) if hits else None
    return counts


def hd95_of(target, prediction, spacing):
    if not target.any() and not prediction.any():
        return 0.0
    distances = surface_distance.compute_surface_distances(target, prediction, spacing)
    return number(surface_distance.compute_robust_hausdorff(distances, 95))


def nsd_of(target, prediction, spacing):
    """By tolerance in mm; 1 where both are empty, of which the package says NaN."""
    if not target.any() and not prediction.any():
        return {str(tolerance): 1.0 for tolerance in NSD_TOLERANCES}
    distances = surface_distance.compute_surface_distances(target, prediction, spacing)
    return {str(tolerance): number(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance))
            for tolerance in NSD_TOLERANCES}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brats", type=pathlib.Path, required=True, help="checkout of BraTS-2023-Metrics")
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "golden" / "metrics.json")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.brats))
    from brats_2023_metrics.surface_distance.brats_metrics import get_lesion_wise_results

    pandas.DataFrame.replace = replace_scalars
    random = numpy.random.default_rng(arguments.seed)
    scans = list(edge_scans()) + [(f"random {i}", random_scan(random)) for i in range(arguments.scans)]
    document = {"made_by": {name: importlib.metadata.version(name) for name in
                            ("panoptica", "picai_eval", "surface-distance", "numpy", "scipy", "scikit-learn")}
                | {"BraTS-2023-Metrics": "commit 0c603fcc070c2c543d7b0be80d8ae3d654914b75"}, "scans": []}
    maps, targets = [], []
    for index, (name, (target, prediction)) in enumerate(scans):
        level = numpy.where(prediction, random.integers(5, 10, target.shape), random.integers(0, 5, target.shape))
        probability = ((2 * level + 1) / 20).astype(numpy.float32)
        spacing = SPACINGS[index % len(SPACINGS)]
        maps.append(detection_map(prediction, probability))
        targets.append(target.astype(numpy.int32))
        characters = numpy.array(list("0123456789abcdefghij"))[level + 10 * target]
        document["scans"].append({
            "name": name, "shape": [int(n) for n in target.shape], "spacing": spacing,
            "voxels": "".join(characters.ravel()), "panoptica": panoptica_of(target, prediction),
            "brats": brats_of(get_lesion_wise_results, target, prediction, spacing),
            "picai": picai_of(target, prediction, probability), "hd95": hd95_of(target, prediction, spacing),
            "nsd": nsd_of(target, prediction, spacing)})
    document["picai_ap_of_all"] = picai_eval.evaluate(maps, targets, num_parallel_calls=1).AP
    document["surface_areas"] = [
        {"spacing": spacing, "areas": [round(float(a), 12) for a in
                                       lookup_tables.create_table_neighbour_code_to_surface_area(spacing)]}
        for spacing in ((1.0, 2.0, 4.0), (0.7, 0.9, 2.5))]
    scans_text = ",\n".join(json.dumps(scan) for scan in document.pop("scans"))
    head = json.dumps(document)[:-1]
    arguments.out.write_text(f'{head},\n"scans": [\n{scans_text}\n]}}\n')


if __name__ == "__main__":
    main()
