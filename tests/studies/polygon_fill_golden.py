"""What OpenCV's fillPoly fills: random polygons of every awkward kind, as tests/studies/polygon_fill_test.cpp reads them.

    tests/studies/polygon_fill_golden.py tests/golden/polygon_fill.json

Not part of the ordinary tests, which need no Python. Needs numpy and opencv-python-headless 5.0.0 or 4.5.5, which agree;
4.10.0 fills a few pixels more. Points outside the image are filled on a larger one, which is then cropped.
"""
import json
import pathlib
import sys

import cv2
import numpy

SEED, EACH = 20240511, 24


def points_of(kind, random, columns, rows):
    count = int(random.integers(3, 11))
    points = random.integers(0, (columns, rows), (count, 2))
    if kind == "few":
        return points[: int(random.integers(1, 3))]
    if kind == "repeated":
        return numpy.repeat(points, random.integers(1, 4, count), axis=0)
    if kind == "one line":
        points = points[0] + numpy.outer(random.integers(-5, 6, count), random.integers(-3, 4, 2))
        return numpy.clip(points, 0, None) if (points < 0).any() else points
    if kind == "walk":
        return numpy.clip(points[0] + numpy.cumsum(random.integers(-1, 2, (6 * count, 2)), 0), 0, (columns - 1, rows - 1))
    if kind == "contour":
        angle = numpy.sort(random.uniform(0, 2 * numpy.pi, 4 * count))
        radius = random.uniform(0.2, 0.5) * min(columns, rows)
        return numpy.stack([columns / 2 + radius * numpy.cos(angle), rows / 2 + radius * numpy.sin(angle)], 1).astype(int)
    if kind == "outside":
        return random.integers((-columns, -rows), (2 * columns, 2 * rows), (count, 2))
    return points


def filled(points, columns, rows):
    margin = int(max(abs(points).max(), columns, rows)) + 1
    image = numpy.zeros((rows + 2 * margin, columns + 2 * margin), numpy.uint8)
    cv2.fillPoly(image, [(points + margin).astype(numpy.int32)], 1)
    return image[margin : margin + rows, margin : margin + columns]


def runs(image):
    """[y, first x, last x] of each run of pixels."""
    found = []
    for y, row in enumerate(image):
        edges = numpy.flatnonzero(numpy.diff(numpy.concatenate([[0], row.astype(int), [0]])))
        found += [[y, int(first), int(end) - 1] for first, end in zip(edges[::2], edges[1::2])]
    return found


def main(out):
    random = numpy.random.default_rng(SEED)
    cases = []
    for kind in ("any", "few", "repeated", "one line", "walk", "contour", "outside"):
        for _ in range(EACH):
            columns, rows = (int(side) for side in random.integers(1, 40, 2))
            points = points_of(kind, random, columns, rows)
            cases.append({"kind": kind, "shape": [columns, rows], "points": points.tolist(),
                          "runs": runs(filled(points, columns, rows))})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    pathlib.Path(out).write_text(f'{{"opencv": "{cv2.__version__}", "seed": {SEED}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(sys.argv[1])
