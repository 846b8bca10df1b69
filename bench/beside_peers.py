"""Times iwseg beside its peers on the same machine, in turn, and prints medians and ratios.

    bench/beside_peers.py --iwseg build/release/bin/iwseg --oracle ../shared/reference/unet_torch.py \
        --masks ../shared/data/lesion_masks --out bench/results/cpu.json

Peers: PyTorch (the step of unet_torch.py) for a training step, scikit-image and SciPy for connected components. One that is
not installed is left out, and said to be. Needs Python 3.9; peers from PyPI or Debian.
"""
import argparse
import gzip
import json
import pathlib
import statistics
import subprocess
import sys
import time


def run_json(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def step(options, precision, patch, batch):
    """Median of the rounds' medians, ours and PyTorch's turn about."""
    ours, theirs = [], []
    shape = ["--patch", str(patch), "--batch", str(batch), "--precision", precision, "--steps", str(options.steps)]
    for _ in range(options.rounds):
        ours.append(run_json([options.iwseg, "bench", "step", "--json", *shape]))
        if options.oracle:
            theirs.append(run_json([sys.executable, options.oracle, *shape]))
    seconds = statistics.median(r["step_seconds_median"] for r in ours)
    row = {"what": f"step, {batch} x {patch}^3, {precision}", "iwseg_seconds": seconds,
           "iwseg_peak_bytes": max(r["peak_bytes"] for r in ours), "iwseg_arena_bytes": ours[0]["arena_bytes"]}
    if theirs:
        peer = statistics.median(r["step_seconds_median"] for r in theirs)
        row |= {"peer": "torch " + theirs[0]["torch"], "peer_seconds": peer, "ratio": peer / seconds,
                "peer_peak_bytes": max(r["peak_bytes"] for r in theirs)}
    return row, ours[0]["device"]


def read_mask(file):
    """The voxels of a NIfTI-1 file of u8 or i16, without a library."""
    import numpy
    raw = gzip.decompress(file.read_bytes())
    shape = numpy.frombuffer(raw, "<i2", 8, 40)[1:4]
    kind = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 256: "i1", 512: "<u2"}[int(numpy.frombuffer(raw, "<i2", 1, 70)[0])]
    offset = int(numpy.frombuffer(raw, "<f4", 1, 108)[0])
    voxels = numpy.frombuffer(raw, kind, int(shape.prod(dtype="i8")), offset).reshape(shape, order="F")
    return numpy.ascontiguousarray(voxels > 0)


def label(options, file):
    ours = run_json([options.iwseg, "bench", "label", "--json", "--mask", str(file), "--steps", "9"])
    row = {"what": "label " + file.name, "components": ours["components"], "voxels": ours["voxels"],
           "iwseg_seconds": ours["label_seconds_median"]}
    try:
        import numpy
        import scipy.ndimage
    except ImportError:
        return row
    mask, seconds = read_mask(file), []
    for _ in range(5):
        begin = time.perf_counter()
        _, count = scipy.ndimage.label(mask, numpy.ones((3, 3, 3)))
        seconds.append(time.perf_counter() - begin)
    assert count == ours["components"], (file, count)
    peer = statistics.median(seconds)
    return row | {"peer": "scipy " + scipy.__version__, "peer_seconds": peer, "ratio": peer / row["iwseg_seconds"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iwseg", required=True)
    parser.add_argument("--oracle", help="unet_torch.py")
    parser.add_argument("--masks", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    try:
        import torch  # noqa: F401
    except ImportError:
        options.oracle = None
        print("PyTorch is not installed for this Python: iwseg alone", file=sys.stderr)
    rows, device = [], ""
    for precision in ("fp32", "bf16"):
        row, device = step(options, precision, options.patch, options.batch)
        rows.append(row)
    if options.masks and options.masks.is_dir():
        rows += [label(options, file) for file in sorted(options.masks.glob("*.nii.gz"))]
    print(device)
    print(f"{'':34} {'iwseg s':>10} {'peer s':>10} {'ratio':>6}  {'iwseg GB':>8} {'peer GB':>8}  peer")
    for row in rows:
        gigabytes = [f"{row[key] / 1e9:8.3f}" if key in row else " " * 8 for key in ("iwseg_peak_bytes", "peer_peak_bytes")]
        peer = [f"{row['peer_seconds']:10.4f}", f"{row['ratio']:6.2f}"] if "peer" in row else [" " * 10, " " * 6]
        print(f"{row['what']:34} {row['iwseg_seconds']:10.4f} {' '.join(peer)}  {' '.join(gigabytes)}  {row.get('peer', '')}")
    if options.out:
        options.out.write_text(json.dumps({"device": device, "command": " ".join(["bench/beside_peers.py", *sys.argv[1:]]),
                                           "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
