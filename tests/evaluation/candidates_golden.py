#!/usr/bin/env python3
"""Writes tests/golden/candidates.json: LUNA16's sensitivities of random lists of candidates, by NumPy and scikit-learn.

    peers/bin/python tests/evaluation/candidates_golden.py        (NumPy and scikit-learn installed)

Written from the rules of the challenge (Setio et al., Medical Image Analysis 2017), apart from the C++.
"""
import json
import pathlib

import numpy
import sklearn
from sklearn.metrics import roc_curve

RATES = [0.125, 0.25, 0.5, 1, 2, 4, 8]


def random_list(seed):
    random = numpy.random.default_rng(seed)
    scans = [f"1.3.6.{i}" for i in range(random.integers(2, 7))]
    nodules, excluded, candidates = [[scans[0], 0.0, 0.0, 0.0, 9.0]], [], [[scans[0], 0.0, 0.0, 4.5, 0.99]]

    def place(radius):
        return [round(float(x), 2) for x in random.uniform(-radius, radius, 3)]

    for scan in scans + ["not judged"]:
        for _ in range(random.integers(0, 4)):
            centre, diameter = place(50), round(float(random.uniform(3, 30)), 1)
            nodules.append([scan, *centre, diameter])
            for _ in range(random.integers(0, 3)):
                candidates.append([scan, *(round(c + m, 2) for c, m in zip(centre, place(diameter / 2.5)))])
        for _ in range(random.integers(0, 3)):
            excluded.append([scan, *place(50), -1.0 if random.random() < 0.5 else 8.0])
            candidates.append([scan, *excluded[-1][1:4]])
        candidates += [[scan, *place(70)] for _ in range(random.integers(0, 9))]
    for candidate in candidates[1:]:
        candidate.append(round(float(random.random()), int(random.integers(1, 5))))
    return {"seed": seed, "most": [100, 5, 0][seed % 3], "scans": scans, "annotations": nodules, "excluded": excluded,
            "candidates": candidates}


def judge(document):
    truth, score, missed, on_excluded = [], [], 0, 0
    for scan in document["scans"]:
        def rows(key):
            return numpy.array([row[1:] for row in document[key] if row[0] == scan]).reshape(-1, 4)

        candidates, nodules, excluded = rows("candidates"), rows("annotations"), rows("excluded")
        most = document["most"]
        if 0 < most < len(candidates):
            candidates = candidates[candidates[:, 3] > numpy.sort(candidates[:, 3])[::-1][most]]

        def hits(findings):
            radius = numpy.where(findings[:, 3] < 0, 10, findings[:, 3]) / 2
            return ((findings[:, None, :3] - candidates[None, :, :3]) ** 2).sum(2) < radius[:, None] ** 2

        on_nodule = hits(nodules)
        for row in on_nodule:
            if row.any():
                truth.append(1)
                score.append(candidates[row, 3].max())
            else:
                missed += 1
        free = ~on_nodule.any(0)
        ignored = free & hits(excluded).any(0)
        on_excluded += int(ignored.sum())
        for probability in candidates[free & ~ignored, 3]:
            truth.append(0)
            score.append(probability)
    found, false_positives = truth.count(1), truth.count(0)
    document |= {"found": found, "false_positives": false_positives, "on_excluded": on_excluded}
    if found == 0 or false_positives == 0:
        return None
    per_false_positive, per_found, _ = roc_curve(truth, score)
    document["sensitivity"] = [float(s) for s in numpy.interp(
        RATES, per_false_positive * false_positives / len(document["scans"]), per_found * found / (found + missed))]
    return document


def main():
    lists = [judged for judged in map(judge, map(random_list, range(24))) if judged]
    document = {"made_by": {"numpy": numpy.__version__, "scikit-learn": sklearn.__version__}, "lists": []}
    text = json.dumps(document)[:-3] + "[\n" + ",\n".join(json.dumps(one) for one in lists) + "\n]}\n"
    (pathlib.Path(__file__).parent / "golden" / "candidates.json").write_text(text)


if __name__ == "__main__":
    main()
