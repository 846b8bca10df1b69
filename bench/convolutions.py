"""Times convolutions as nnU-Net's networks have them, forward and backward, beside PyTorch's on the same processor.

    bench/convolutions.py --iwseg build/release/bin/iwseg --python /usr/bin/python3 --out bench/results/convolutions.json

Each round measures ours, pass by pass (`iwseg kernel`), then the peer's, in the faster of its two orders of elements, in
a process of its own; the ratio is the peer's median over ours. Medians are of the launches of a round, then of the rounds. Run it on
a quiet machine. Needs Python 3.9 and nothing else.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
# Ours, and the peer's word for it. A transposed convolution's forward pass is the data gradient of the convolution that it
# turns round, and the other way.
PASSES = {"convolution_forward": "forward", "convolution_data_gradient": "data", "convolution_weight_gradient": "weights"}
TURNED = {"convolution_forward": "data", "convolution_data_gradient": "forward", "convolution_weight_gradient": "weights"}
# As nnU-Net plans them: what, (N, C, D, H, W), channels of the result, kernel, stride, groups.
CONVOLUTIONS = (
    ("3x3x3 at stride 2", (1, 32, 32, 96, 96), 64, (3, 3, 3), (2, 2, 2), 1),
    ("3x3x3 at stride 2", (1, 64, 32, 48, 48), 128, (3, 3, 3), (2, 2, 2), 1),
    ("3x3x3 at stride 2", (2, 256, 16, 16, 16), 320, (3, 3, 3), (2, 2, 2), 1),
    ("3x3x3 at stride 2", (2, 320, 8, 8, 8), 320, (3, 3, 3), (2, 2, 2), 1),
    ("1x3x3", (1, 32, 6, 256, 224), 32, (1, 3, 3), (1, 1, 1), 1),
    ("1x3x3", (1, 128, 20, 40, 32), 128, (1, 3, 3), (1, 1, 1), 1),
    ("1x3x3 at stride 1x2x2", (1, 32, 6, 256, 224), 64, (1, 3, 3), (1, 2, 2), 1),
    ("3x1x1", (1, 64, 12, 96, 96), 64, (3, 1, 1), (1, 1, 1), 1),
    ("1x1x1", (1, 64, 24, 64, 64), 64, (1, 1, 1), (1, 1, 1), 1),
    ("5x5x5", (1, 32, 24, 48, 48), 32, (5, 5, 5), (1, 1, 1), 1),
    ("3x3x3 in 4 groups", (1, 64, 24, 64, 64), 64, (3, 3, 3), (1, 1, 1), 4),
    ("3x3x3 depthwise", (1, 64, 24, 64, 64), 64, (3, 3, 3), (1, 1, 1), 64),
)
# Each voxel becomes a kernel of them: (N, C, D, H, W) of what is read, channels of the result, kernel.
TRANSPOSED = (
    ("transposed 2x2x2", (1, 64, 16, 48, 48), 32, (2, 2, 2)),
    ("transposed 2x2x2", (2, 320, 8, 8, 8), 256, (2, 2, 2)),
    ("transposed 1x2x2", (1, 64, 6, 128, 112), 32, (1, 2, 2)),
)


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def cases():
    for what, shape, channels, kernel, stride, groups in CONVOLUTIONS:
        both = ["--out-channels", channels, "--kernel-size", *kernel, "--groups", groups]
        yield (what, shape, channels, ["--shape", *shape, *both, "--stride", *stride],
               ["--tensor", *shape, *both, "--strides", *stride], PASSES)
    for what, shape, channels, kernel in TRANSPOSED:
        batch, inputs, *sides = shape
        # Of the convolution whose data gradient it is: from its result to what it reads.
        of = [batch, channels, *(side * k for side, k in zip(sides, kernel))]
        yield (what, shape, channels,
               ["--shape", *of, "--out-channels", inputs, "--kernel-size", *kernel, "--stride", *kernel, "--unpadded"],
               ["--tensor", *shape, "--out-channels", channels, "--kernel-size", *kernel, "--strides", *kernel, "--transposed"],
               TURNED)


def ours(options, arguments, dtype):
    """Seconds and engine of each pass."""
    passes = {}
    for name in PASSES:
        said = run([options.iwseg, "kernel", name, *arguments, "--dtype", dtype, "--device", "cpu", "--threads", options.threads,
                    "--launches", options.launches])
        found = re.search(r" (?:fp32|bf16)(?: by (.*))?: ([0-9.]+) us \(median", said)
        if not found:
            sys.exit(f"iwseg kernel printed no time: {said}")
        # Of several engines, the one of this pass.
        engine = re.search(PASSES[name] + r" by \[(.*?)\]", found[1]) or re.search("(.*)", found[1])
        passes[name] = (float(found[2]) * 1e-6, re.sub(r"^.*?" + PASSES[name] + r" ([^,]+).*$", r"\1", engine[1]))
    return passes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iwseg", required=True, type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable, help="with PyTorch")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--dtype", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    form = "{:24} {:26} {:5} {:8} {:>9} {:>9} {:>6}  {}"
    print(form.format("", "shape, channels", "", "pass", "iwseg/ms", "peer/ms", "ratio", "by"))
    rows = []
    for what, shape, channels, arguments, theirs, words in cases():
        for dtype in options.dtype:
            if options.only not in what:
                continue
            rounds, peers, version = [], [], ""
            for _ in range(options.rounds):
                rounds.append(ours(options, arguments, dtype))
                done = json.loads(run([options.python, HERE / "peers.py", "torch_convolution", *theirs, "--precision", dtype, "--steps",
                                       options.launches, "--threads", options.threads]))
                peers.append(done["passes"])
                version = done["version"]
            for name, word in words.items():
                mine = statistics.median(one[name][0] for one in rounds)
                peer = statistics.median(one[word] for one in peers)
                rows.append({"what": what, "shape": shape, "channels": channels, "dtype": dtype, "pass": word, "engine": rounds[0][name][1],
                             "iwseg_seconds": mine, "peer_seconds": peer, "ratio": peer / mine, "peer": version})
                print(form.format(what, f"{'x'.join(map(str, shape))}, {channels}", dtype, word, f"{mine * 1e3:.1f}",
                                  f"{peer * 1e3:.1f}", f"{peer / mine:.2f}", rounds[0][name][1]), flush=True)
    if options.out:
        processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
        options.out.write_text(json.dumps({"command": f"bench/convolutions.py --rounds {options.rounds} --launches {options.launches} --threads {options.threads}", "processor": processor, "threads": options.threads,
                                           "rounds": options.rounds, "launches": options.launches, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
