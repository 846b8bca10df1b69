"""Compares losses at equal false positives: trains each on each dataset, with several seeds, and measures lesion recall.

    bench/loss_study.py --iwseg build/release/bin/iwseg --config configs/loss_study/ms5.toml --data ms5 --runs runs/ms5 \\
        --folds 5 --rates 2 8 32 --out bench/results/loss_study_ms5.json

Trains and predicts by `iwseg run`, which leaves alone what is there, so that a study that was stopped goes on; --processes so many
at once. --folds: case i of the sorted names is tested on by the networks of fold i modulo that; without it, the configuration's split. Then
masks are cut from the probabilities at every threshold of a grid, over all scans of a seed alike, and lesions are counted by the rule of
docs/evaluation.md ("What counts as a hit"). A seed's recall at so many false positives a scan is linear between the thresholds
that have fewer and more; a loss's is the mean over its seeds. Intervals (95 %) are of a bootstrap over scans, the same draws for all losses, so
those of a difference are paired. "small" are the lesions up to the median size of all. Dice (mean over scans) and volume (predicted over true, of
all scans together) are those of masks at 0.5. Needs Python 3.9, numpy, scipy and nibabel.
"""
import argparse
import concurrent.futures
import itertools
import json
import pathlib
import platform
import re
import subprocess
import sys

import nibabel
import numpy
from scipy import ndimage

LOSSES = {
    "dice_ce": "dice + ce",
    "iwdl": "iwdl",
    "cat": "dice + ce + 0.1*cat @warmup 1",
    "blob": "dice + ce + 0.5*blob(dice + ce)",
    "cc": "cc(dice + ce)",
    "mil": "dice + ce + 0.2*mil @warmup 1",
    "ici": "dice + ce + ici @warmup 2",
}
THRESHOLDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.9995)
HALF = THRESHOLDS.index(0.5)
HIT, PART = 0.1, 0.5
FACES_EDGES_CORNERS = numpy.ones((3, 3, 3), bool)


def with_folds(options):
    """The dataset again, with a splits_final.json."""
    folder = options.runs / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("imagesTr", "labelsTr", "dataset.json"):
        if not (folder / part).exists():
            (folder / part).symlink_to((options.data / part).resolve())
    names = sorted(file.name[:-len(".nii.gz")] for file in (options.data / "labelsTr").glob("*.nii.gz"))
    tests = [names[fold::options.folds] for fold in range(options.folds)]
    (folder / "splits_final.json").write_text(json.dumps([{"train": [name for name in names if name not in test], "val": test} for test in tests]))
    return folder


def train(options, data, loss, seed):
    folder = options.runs / loss / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [options.iwseg, "run", "--data", data, "--config", options.config, "--out", folder, "--set", f"loss={LOSSES[loss]}",
               "--set", f"seed={seed}"] + (["--fold", "all"] if options.folds else [])
    with open(options.runs / loss / f"seed_{seed}.log", "a") as log:
        if subprocess.run([str(part) for part in command], stdout=log, stderr=log).returncode:
            raise SystemExit(f"training with {loss}, seed {seed} failed: see {log.name}")


def read(file):
    return numpy.asanyarray(nibabel.load(file).dataobj)


def count(lesions, sizes, mask):
    """Which lesions a mask finds, by number from 0, and how many of its detections are false positives."""
    detections, detected = ndimage.label(mask, FACES_EDGES_CORNERS)
    areas = numpy.bincount(detections.ravel(), minlength=detected + 1)
    both = (lesions > 0) & (detections > 0)
    pairs, shared = numpy.unique(numpy.stack([lesions[both], detections[both]]), axis=1, return_counts=True)
    found = numpy.zeros(len(sizes), bool)
    best_of_lesion, best_of_detection = {}, {}
    for (lesion, detection), voxels in zip(pairs.T, shared):
        area, size = areas[detection], sizes[lesion - 1]
        dice, overlap = 2 * voxels / (area + size), voxels / (area + size - voxels)
        if dice > best_of_lesion.get(lesion, (0,))[0]:
            best_of_lesion[lesion] = (dice, overlap)
        if dice > best_of_detection.get(detection, (0,))[0]:
            best_of_detection[detection] = (dice, overlap, voxels / area)
    for lesion, (_, overlap) in best_of_lesion.items():
        found[lesion - 1] = overlap >= HIT
    harmless = sum(overlap >= HIT or part >= PART for _, overlap, part in best_of_detection.values())
    return found, detected - harmless


def measure(label_file, probability_file):
    label, probability = read(label_file) > 0, read(probability_file)
    inside = ndimage.find_objects((label | (probability > THRESHOLDS[0])).astype(numpy.uint8))
    box = inside[0] if inside else (slice(0, 1),) * 3
    label, probability = label[box], probability[box]
    lesions, number = ndimage.label(label, FACES_EDGES_CORNERS)
    sizes = numpy.bincount(lesions.ravel(), minlength=number + 1)[1:]
    found, false = zip(*(count(lesions, sizes, probability > threshold) for threshold in THRESHOLDS))
    mask = probability > 0.5
    total = label.sum() + mask.sum()
    return {"sizes": sizes, "found": numpy.stack(found), "false": numpy.array(false), "true_volume": int(label.sum()),
            "volume": int(mask.sum()), "dice": 2 * float((label & mask).sum()) / total if total else 1.0}


def measured_runs(options):
    """Of each loss and seed the scans by name."""
    all_runs = {}
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        for loss, seed in itertools.product(options.losses, options.seeds):
            folder = options.runs / loss / f"seed_{seed}"
            files = {file.name[:-len("_prob.nii.gz")]: file for file in sorted(folder.glob("**/predictions/*_prob.nii.gz"))}
            if not files:
                raise SystemExit(f"{folder} holds no predictions")
            labels = [options.data / "labelsTr" / f"{name}.nii.gz" for name in files]
            all_runs[loss, seed] = dict(zip(files, pool.map(measure, labels, files.values())))
            print(f"measured {loss}, seed {seed}: {len(files)} scans", file=sys.stderr, flush=True)
    return all_runs


def recall_at(found, false, rate):
    """Linear between thresholds; beyond the last one that is there, its recall. Both rise as thresholds fall."""
    order = numpy.argsort(false, kind="stable")
    # At as many false positives the best that is found.
    return float(numpy.interp(rate, false[order], numpy.maximum.accumulate(found[order])))


def recalls(options, runs, names, median):
    """Of each loss, the mean over seeds at each rate: all lesions, small ones, large ones."""
    table = {}
    for loss in options.losses:
        of_seeds = []
        for seed in options.seeds:
            scans = [runs[loss, seed][name] for name in names]
            sizes = numpy.concatenate([scan["sizes"] for scan in scans])
            found = numpy.concatenate([scan["found"] for scan in scans], axis=1)
            false = numpy.mean([scan["false"] for scan in scans], axis=0)
            groups = [numpy.ones(len(sizes), bool), sizes <= median, sizes > median]
            of_seeds.append([[recall_at(found[:, group].mean(axis=1), false, rate) if group.any() else numpy.nan for group in groups]
                             for rate in options.rates])
        table[loss] = numpy.array(of_seeds)  # (seeds, rates, groups)
    return table


def summarise(options, runs):
    names = sorted(next(iter(runs.values())))
    for (loss, seed), scans in runs.items():
        if sorted(scans) != names:
            raise SystemExit(f"{loss}, seed {seed} was tested on other scans than the first")
    sizes = numpy.concatenate([runs[options.losses[0], options.seeds[0]][name]["sizes"] for name in names])
    median = float(numpy.median(sizes))
    table = recalls(options, runs, names, median)
    generator = numpy.random.default_rng(0)
    draws = {loss: [] for loss in options.losses}
    for _ in range(options.draws):
        drawn = recalls(options, runs, generator.choice(names, len(names)), median)
        for loss in options.losses:
            draws[loss].append(drawn[loss].mean(axis=0))
    rows = {}
    for loss in options.losses:
        own = numpy.array(draws[loss])
        gain = own - numpy.array(draws[options.losses[0]])
        bounds = lambda values: [round(float(bound), 4) for bound in numpy.nanquantile(values, (0.025, 0.975))]
        row = {"loss": LOSSES[loss], "at": []}
        for r, rate in enumerate(options.rates):
            row["at"].append({"false_positives": rate} | {
                group: {"recall": round(float(table[loss][:, r, g].mean()), 4), "interval": bounds(own[:, r, g]),
                        "seeds": [round(float(value), 4) for value in table[loss][:, r, g]],
                        "gain": round(float((table[loss] - table[options.losses[0]])[:, r, g].mean()), 4), "gain_interval": bounds(gain[:, r, g])}
                for g, group in enumerate(("all", "small", "large"))})
        of = [[runs[loss, seed][name] for name in names] for seed in options.seeds]
        row["at_half"] = [{"dice": round(float(numpy.mean([scan["dice"] for scan in scans])), 4),
                           "volume": round(sum(scan["volume"] for scan in scans) / sum(scan["true_volume"] for scan in scans), 3),
                           "found": int(sum(scan["found"][HALF].sum() for scan in scans)),
                           "false_positives": round(float(numpy.mean([scan["false"][HALF] for scan in scans])), 2)} for scans in of]
        rows[loss] = row
    return {"scans": len(names), "lesions": len(sizes), "small_up_to_voxels": median, "seeds": options.seeds, "losses": rows}


def print_table(study):
    rates = [str(at["false_positives"]) for at in next(iter(study["losses"].values()))["at"]]
    print("| loss | " + " | ".join(f"recall at {rate}: all (small, large)" for rate in rates) + " | gain | Dice | volume |")
    print("|---" * (len(rates) + 4) + "|")
    for row in study["losses"].values():
        cells = []
        for at in row["at"]:
            low, high = at["all"]["interval"]
            cells.append(f"{at['all']['recall']:.2f} [{low:.2f}, {high:.2f}] ({at['small']['recall']:.2f}, {at['large']['recall']:.2f})")
        middle = row["at"][len(rates) // 2]["all"]
        low, high = middle["gain_interval"]
        spread = lambda key: "–".join(f"{value:.2f}" for value in sorted({f(run[key] for run in row["at_half"]) for f in (min, max)}))
        print(f"| `{row['loss']}` | " + " | ".join(cells) + f" | {middle['gain']:+.2f} [{low:+.2f}, {high:+.2f}] | {spread('dice')} | {spread('volume')} |")


def processor():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    named = re.search(r"model name\s*:\s*(.*)", text)
    return named[1] if named else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iwseg", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--runs", required=True, type=pathlib.Path)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=list(LOSSES), help="the first is what gains are against")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.5, 1, 4], help="false positives a scan")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--measure-only", action="store_true", help="train nothing: what --runs holds is measured")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    if not options.measure_only:
        data = with_folds(options) if options.folds else options.data
        # Seed by seed, so that what is there when a study is stopped is whole.
        with concurrent.futures.ThreadPoolExecutor(options.processes) as pool:
            list(pool.map(lambda job: train(options, data, job[1], job[0]), itertools.product(options.seeds, options.losses)))
    study = summarise(options, measured_runs(options))
    study = {"command": "bench/loss_study.py --config {} --data {} --folds {} --rates {}".format(
        options.config, options.data.name, options.folds, " ".join(f"{rate:g}" for rate in options.rates)), "processor": processor(), "draws": options.draws} | study
    print_table(study)
    if options.out:
        options.out.write_text(json.dumps(study, indent=1) + "\n")


if __name__ == "__main__":
    main()
