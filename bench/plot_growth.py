"""Draws how time and memory grow with the voxels, from what bench/beside_peers.py --only growth measured.

    bench/plot_growth.py bench/results/cpu_avx512_bf16.json docs/growth.svg

Both axes are logarithmic: what is linear in the voxels lies on a line of slope one, like the grey one. Needs matplotlib.
"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "iwseg"  # the same bytes from the same figures
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt


def side_of(size):
    sides = size if isinstance(size, list) else [size]
    return f"{sides[0]}³" if len(set(sides)) == 1 else "×".join(map(str, sides))


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    series = [row for row in json.loads(source.read_text())["rows"] if row["what"].startswith("growth: ")]
    figure, panels = plt.subplots(2, len(series), figsize=(4 * len(series), 6), sharex="col", constrained_layout=True)
    for column, row in zip(panels.T, series):
        voxels = [p["voxels"] for p in row["points"]]
        for panel, key, unit in ((column[0], "seconds", 1), (column[1], "peak_bytes", 1e9)):
            values = [p[key] / unit for p in row["points"]]
            line = [values[-1] * v / voxels[-1] for v in voxels]
            panel.loglog(voxels, line, color="0.8", linewidth=3, label="linear")
            panel.loglog(voxels, values, "o-", color="tab:blue")
            panel.set_ylim(min(values) / 2, max(values) * 2)
            panel.grid(alpha=0.3)
        for v, p in zip(voxels, row["points"]):
            column[0].annotate(side_of(p["size"]), (v, p["seconds"]), textcoords="offset points", xytext=(-5, 4), ha="right", fontsize=7)
        column[0].set_title(row["what"].removeprefix("growth: "))
        column[1].set_xlabel("voxels")
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set_ylabel("peak memory, GB")
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
