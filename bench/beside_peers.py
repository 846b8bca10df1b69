"""Times iwseg beside its peers on the same machine, interleaved, and prints medians, spreads and ratios.

    bench/beside_peers.py --iwseg build/release/bin/iwseg --shared ../shared --out bench/results/cpu_avx512.json [--only step]

Each measurement is a process of its own; a ratio is the peer's time over ours in the same round, and of those the
median. With --isa avx2 all are kept to AVX2, those that can be: iwseg by IWSEG_ISA, PyTorch and OpenVINO, whose
convolutions are oneDNN's, by ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY, in fp32 alone. Peers: PyTorch, OpenVINO,
ONNX Runtime, cc3d, SciPy, scikit-image, nibabel, from the Python that runs this and from --more-python (Debian's has an
older PyTorch). One that is not installed is named as missing, of one that fails its last line is printed. Needs
Python 3.9 and nothing else.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
# Each program waits as it does by itself.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
ISA = {"avx2": {"IWSEG_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}
STEP = ["--patch", "64", "--batch", "2"]
SMALL_STEP = ["--patch", "32", "--batch", "2", "--widths", "8", "16", "32", "64", "--steps", "20"]
PATCH = 96
SCAN = ["--shape", "182", "218", "182", "--patch", PATCH, "--stride", "88"]


class Failed(Exception):
    """A command's, with what it said last."""


def json_of(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Failed(f"{' '.join(map(str, command))} failed: {said[0]}")
    return json.loads(done.stdout)


def run_json(command):
    """Ours must not fail."""
    try:
        return json_of(command)
    except Failed as failure:
        sys.exit(str(failure))


class Table:
    """Rows of what was measured; a row is printed as soon as it is there."""

    def __init__(self, options):
        self.options, self.rows, self.said = options, [], []
        self.form = "{:44} {:>10} {:>10} {:>17} {:>9}  {}"
        print(self.form.format("", "iwseg", "peer", "ratio", "target", "peer"))

    def ours(self, *arguments):
        return run_json([self.options.iwseg, "bench", *arguments, "--json"])

    def peer(self, python, *arguments):
        return self.of_peer(python, "peers.py", *arguments)

    def of_peer(self, python, script, *arguments):
        """What a peer's script prints; None where a package is missing or it failed, which is said once."""
        try:
            result = json_of([python, HERE / script, *arguments])
            said = f"missing: {result['missing']} for {python}" if "missing" in result else None
        except Failed as failure:
            said = str(failure)
        if said is None:
            return result
        if said not in self.said:
            self.said.append(said)
            print(said, flush=True)
        return None

    def add(self, what, ours, theirs=(), unit="s", target=None, peer=None, **more):
        """ours, theirs: one value a round; target: the least ratio, or the most of our own value."""
        row = {"what": what, "unit": unit, "iwseg": statistics.median(ours), "iwseg_rounds": ours, **more}
        ratio = reach = ""
        if len(theirs):
            ratios = [b / a for a, b in zip(ours, theirs)]
            row |= {"peer": peer, "peer_value": statistics.median(theirs), "peer_rounds": list(theirs),
                    "ratio": statistics.median(ratios), "ratio_rounds": ratios}
            ratio = f"{row['ratio']:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        if target is not None:
            row |= {"target": target, "met": row["ratio"] >= target if len(theirs) else row["iwseg"] <= target}
            reach = f"{'>=' if len(theirs) else '<='} {target:.3g}{'' if row['met'] else ' !'}"
        self.rows.append(row)
        value = f"{row['peer_value']:.4g} {unit}" if len(theirs) else ""
        print(self.form.format(what, f"{row['iwseg']:.4g} {unit}", value, ratio, reach, peer or ""), flush=True)

    def rounds(self, ours, theirs, count=None):
        """Results of ours and of the peer, interleaved; the peer's are none where it is missing."""
        a, b = [], []
        for _ in range(count or self.options.rounds):
            a.append(ours())
            result = theirs() if theirs else None
            if result is not None:
                b.append(result)
        return a, b


def torch_step(table, python):
    """What runs PyTorch's step with the arguments it is given; none where it is missing."""
    o = table.options
    has_torch = o.oracle and table.peer(python, "torch_import")
    return (lambda arguments: run_json([python, o.oracle, *arguments])) if has_torch else None


def step(table):
    o = table.options

    def beside(torch, what, arguments, target):
        """Adds the seconds of a step, and returns what was measured and the peer's name."""
        a, b = table.rounds(lambda: table.ours("step", *arguments), torch and (lambda: torch(arguments)))
        name = "torch " + b[0]["torch"] if b else None
        table.add(what, [r["step_seconds_median"] for r in a], [r["step_seconds_median"] for r in b],
                  target=target if b else None, peer=name)
        return a, b, name

    steps = {python: torch_step(table, python) for python in o.pythons}
    precisions = (("fp32", 1 / 0.50, 1 / 0.40), ("bf16", 1 / 0.50, 1 / 0.35))
    for precision, target, memory_target in (("fp32", 1 / 0.65, 1 / 0.40),) if o.isa else precisions:
        arguments = [*STEP, "--precision", precision, "--steps", o.steps]
        for torch in steps.values():
            a, b, name = beside(torch, f"training step, 2 x 64^3, {precision}", arguments, target)
            table.add("  its memory", [r["peak_bytes"] / 1e9 for r in a], [r["peak_bytes"] / 1e9 for r in b], "GB",
                      memory_target if b else None, name)
            if precision == "bf16" and b:
                wide = [torch([*STEP, "--precision", "fp32", "--steps", o.steps])["step_seconds_median"] for _ in a]
                table.add("  against PyTorch's fp32", [r["step_seconds_median"] for r in a], wide, target=1 / 0.27, peer=name)
    beside(steps[sys.executable], "training step, 2 x 32^3, widths 8 to 64, fp32", SMALL_STEP, 1 / 0.40)


def kernels(table):
    for precision in ("fp32", "bf16"):
        result = table.ours("kernels", *STEP, "--precision", precision, "--steps", table.options.steps)
        # 3 and 1 are the kernel sizes; only convolutions multiply.
        outside = sum(k["seconds"] for k in result["kernels"] if k["gflop"] == 0)
        table.add(f"share of a step outside convolutions, {precision}", [outside / result["step_seconds"]], unit="", target=0.20)
        convolutions = [k for k in result["kernels"] if k["gflop"] > 0]
        rate = sum(k["gflop"] for k in convolutions) / sum(k["seconds"] for k in convolutions)
        table.add(f"  convolutions, of {result['peak_gflop_per_second']:.0f} GFLOP/s there are", [rate], unit="GFLOP/s")


def predictors(table, folder, arguments):
    """By name: what runs each peer that predicts by the same network on the same grid."""
    o = table.options
    if not o.oracle:
        return {}
    found = {"torch": ["torch_predict", "--oracle", o.oracle]}
    file = pathlib.Path(folder) / "unet.onnx"
    export = ["export_network.py", "--oracle", o.oracle, "--patch", PATCH, "--out", file]
    if file.exists() or table.of_peer(sys.executable, *export) is not None:
        found |= {"openvino": ["openvino_predict", "--onnx", file], "onnxruntime": ["onnxruntime_predict", "--onnx", file]}
    return {name: lambda run=run: table.peer(sys.executable, *run, *arguments) for name, run in found.items()}


def beside_predictors(table, what, name, arguments, rounds):
    """Ours, by `bench NAME`, beside each peer, all in turn; ONNX Runtime computes in fp32 alone."""
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32",) if table.options.isa else ("fp32", "bf16"):
            given = [*arguments, "--precision", precision]
            peers = predictors(table, folder, given)
            if precision == "bf16" or table.options.isa:  # it takes what the processor has
                peers.pop("onnxruntime", None)
            ours, theirs = [], {peer: [] for peer in peers}
            for _ in range(rounds):
                ours.append(table.ours(name, *given))
                for peer, run in peers.items():
                    if (result := run()) is not None:
                        theirs[peer].append(result)
            seconds = [r.get("predict_seconds") or r["patch_seconds_median"] for r in ours]
            memory = [r["peak_bytes"] / 1e9 for r in ours]
            table.add(f"{what}, {precision}", seconds)
            table.add(f"  its memory, {what}, {precision}", memory, unit="GB")
            for peer, results in theirs.items():
                if not results:
                    continue
                version = results[0]["version"]
                table.add(f"{what}, {precision}, {peer}", seconds, [r["seconds"] for r in results],
                          target={"torch": 2, "openvino": 1 / 0.9}.get(peer), peer=version)
                table.add(f"  its memory, {what}, {precision}, {peer}", memory, [r["peak_bytes"] / 1e9 for r in results],
                          "GB", 1 / 0.35, version)


def predict(table):
    beside_predictors(table, "prediction, 182 x 218 x 182", "predict", SCAN, min(2, table.options.rounds))


def patch(table):
    arguments = ["--patch", PATCH, "--steps", table.options.steps]
    beside_predictors(table, f"one patch of {PATCH}^3", "patch", arguments, table.options.rounds)


def label(table):
    o = table.options
    cases = [(["--mask", file], "components, " + file.name) for file in o.masks]
    cases.append((["--size", "128", "--density", "0.1"], "components, noise 128^3, density 0.1"))
    for arguments, what in cases:
        noise = arguments[0] == "--size"
        for threads, target in ((1, 2 if noise else 2.5), (2, 2 if noise else 3.5)):
            a, b = table.rounds(lambda: table.ours("label", *arguments, "--threads", threads, "--steps", 9),
                                lambda: table.peer(sys.executable, "cc3d", *arguments))
            if b and not noise and a[0]["components"] != b[0]["components"]:
                sys.exit(f"{what}: {a[0]['components']} components, cc3d finds {b[0]['components']}")
            table.add(f"{what}, {threads} thread{'s' * (threads > 1)}", [r["label_seconds_median"] * 1e3 for r in a],
                      [r["seconds"] * 1e3 for r in b], "ms", target if b else None, b[0]["version"] if b else None)
    for peer in ("scipy", "skimage"):
        if not o.masks:
            break
        a, b = table.rounds(lambda: table.ours("label", "--mask", o.masks[0], "--steps", 5),
                            lambda: table.peer(sys.executable, peer, "--mask", o.masks[0], "--steps", 2), 1)
        table.add("components, " + o.masks[0].name, [r["label_seconds_median"] * 1e3 for r in a],
                  [r["seconds"] * 1e3 for r in b], "ms", peer=b[0]["version"] if b else None)


def weights(table):
    a, b = table.rounds(lambda: table.ours("weights", "--patch", 128, "--batch", 1, "--steps", 21),
                        lambda: table.peer(sys.executable, "weights", "--steps", 2))
    milliseconds = [r["weights_seconds_median"] * 1e3 for r in a]
    table.add("components and weights, a patch of 128^3", milliseconds, [r["seconds"] * 1e3 for r in b], "ms",
              100 if b else None, b[0]["version"] if b else None)
    table.add("  the same", milliseconds, unit="ms", target=2)


def loss(table):
    o = table.options
    theirs = (lambda: table.peer(sys.executable, "torch_loss", "--oracle", o.oracle)) if o.oracle else None
    a, b = table.rounds(lambda: table.ours("loss", "--patch", 128, "--batch", 2, "--steps", 9), theirs)
    for i, row in enumerate(a[0]["losses"]):
        share = statistics.median(r["losses"][i]["share_of_peak"] for r in a)
        theirs_too = [r["losses"][row["loss"]] * 1e3 for r in b if row["loss"] in r["losses"]]  # the oracle's are the paper's
        table.add(f"{row['loss']} and its gradient, 2 x 128^3", [r["losses"][i]["seconds"] * 1e3 for r in a], theirs_too, "ms",
                  3 if theirs_too else None, b[0]["version"] if theirs_too else None, share_of_copy_bandwidth=share)
        table.add("  its share of copying bandwidth, to 1", [1 - share], unit="", target=0.20)


def read(table):
    for file in table.options.images:
        a, b = table.rounds(lambda: run_json([table.options.iwseg, "bench", "read", "--image", file, "--json"]),
                            lambda: table.peer(sys.executable, "nibabel", "--image", file))
        table.add("reading " + file.name, [r["read_seconds_median"] * 1e3 for r in a], [r["seconds"] * 1e3 for r in b], "ms",
                  1 if b else None, b[0]["version"] if b else None)


def train(table):
    """From start to the first step, and what steps wait for data, on scans that the page cache has."""
    o = table.options
    if not o.scans:
        return
    starts, waits = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(o.rounds):
            run, begin = pathlib.Path(folder) / str(turn), time.time()
            command = [o.iwseg, "train", "--data", o.scans, "--out", run, "--device", "cpu", "--set", "patch=64", "--set", "epochs=1",
                       "--set", "steps_per_epoch=6", "--set", "intensity=zscore", "--set", 'split={train=["MS19"], test=["MS07"]}']
            process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, env=ENVIRONMENT)
            log = run / "log.jsonl"
            while process.poll() is None and not (log.exists() and log.read_text().count("\n")):
                time.sleep(0.002)
            first = time.time()
            if process.wait() != 0:
                sys.exit("training failed")
            steps = [json.loads(line) for line in log.read_text().splitlines()]
            starts.append(first - begin - steps[0]["seconds"])
            waits.append(sum(s["wait"] for s in steps) / sum(s["seconds"] for s in steps))
    imports = [r["seconds"] for r in (table.peer(sys.executable, "torch_import") for _ in starts) if r]
    table.add("start to the first step", starts, target=0.5)
    table.add("  against importing PyTorch alone", starts, imports, peer="torch" if imports else None)
    table.add("share of a step that waits for data", waits, unit="", target=0.02)


def size(table):
    """The program and every library it needs but the C and C++ ones and the compiler's."""
    libraries = subprocess.run(["ldd", table.options.iwseg], capture_output=True, text=True).stdout.split()
    system = ("libc.", "libm.", "libstdc++.", "libgcc_s.", "libgomp.", "ld-linux", "libpthread", "libdl", "librt")
    files = {pathlib.Path(word).resolve() for word in libraries if word.startswith("/")}
    files = {f for f in files if not f.name.startswith(system)} | {pathlib.Path(table.options.iwseg).resolve()}
    peer = table.peer(sys.executable, "torch_size")
    own = [sum(f.stat().st_size for f in files) / 1e6]
    table.add("installed, with the libraries it needs", own, unit="MB", target=60)
    table.add("  the same", own, [peer["bytes"] / 1e6] if peer else [], "MB", peer=peer["version"] if peer else None)


def froc(table):
    files = [f for f in table.options.records]
    if not files:
        return
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(table.options.rounds):
            begin = time.perf_counter()
            for name in {f.parent for f in files}:
                some = [f"{f.stem}={f}" for f in files if f.parent == name]
                subprocess.run([table.options.iwseg, "froc", *some, "--protocol", "paper", "--out", f"{folder}/{name.name}"],
                               check=True, capture_output=True, env=ENVIRONMENT)
            seconds.append(time.perf_counter() - begin)
    # The original's 101 s: its published notebook's code on the same files, on another day.
    table.add("FROC of eight experiments", seconds, [101.0] * len(seconds), target=200, peer="the original, 101 s")


def growth(table):
    """How time and memory grow with the voxels; a factor per voxel beside the smallest."""
    def series(name, sizes, measure):
        points = []
        for one in sizes:
            voxels, seconds, peak = measure(one)
            points.append({"size": one, "voxels": voxels, "seconds": seconds, "peak_bytes": peak})
        per_voxel = [p["seconds"] / p["voxels"] for p in points]
        table.rows.append({"what": "growth: " + name, "points": points})
        text = ", ".join(f"{p['size']}: {p['seconds']:.4g} s {p['peak_bytes'] / 1e9:.2f} GB" for p in points)
        print(f"growth, {name}: {text}; time a voxel {min(per_voxel) * 1e9:.3g} to {max(per_voxel) * 1e9:.3g} ns", flush=True)

    def step_of(side):
        r = table.ours("step", "--patch", side, "--batch", 1, "--steps", 2)
        return side**3, r["step_seconds_median"], r["peak_bytes"]

    def predict_of(shape):
        r = table.ours("predict", "--shape", *shape, "--patch", 64, "--stride", 64, "--widths", 8, 16, 32, 64)
        return shape[0] * shape[1] * shape[2], r["predict_seconds"], r["peak_bytes"]

    def label_of(side):
        r = table.ours("label", "--size", side, "--density", 0.02, "--steps", 3)
        return side**3, r["label_seconds_median"], r["peak_bytes"]

    series("training step", (32, 48, 64, 96, 128), step_of)
    series("prediction", [(64,) * 3, (128,) * 3, (192,) * 3, (256,) * 3, (512, 512, 600)], predict_of)
    series("components", (64, 128, 256, 512, 1000), label_of)


GROUPS = {run.__name__: run for run in (step, kernels, predict, patch, label, weights, loss, read, train, size, froc, growth)}


def processor_model():
    """Virtual machines often leave no more of a processor's name than this."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    pairs = [line.split(":", 1) for line in cpuinfo.read_text().split("\n\n")[0].splitlines()] if cpuinfo.exists() else []
    found = {pair[0].strip(): pair[-1].strip() for pair in pairs}
    return "".join(f"; {name} {found[name]}" for name in ("cpu family", "model", "stepping") if name in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iwseg", required=True)
    parser.add_argument("--shared", type=pathlib.Path, help="where reference/unet_torch.py and data/ are")
    parser.add_argument("--more-python", action="append", default=[], help="another Python with another PyTorch, for the step")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="some of the measurements")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--isa", choices=ISA, help="the instructions that all are kept to, for step, predict and patch")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    ENVIRONMENT.update(ISA.get(options.isa, {}))
    shared = options.shared if options.shared and options.shared.is_dir() else None
    options.pythons = [sys.executable, *options.more_python]
    options.oracle = shared / "reference/unet_torch.py" if shared else None
    options.masks = sorted((shared / "data/lesion_masks").glob("*.nii.gz")) if shared else []
    options.scans = shared / "data/ms_lesions" if shared else None
    options.images = sorted((shared / "data/ms_lesions/imagesTr").glob("MS07*.nii.gz")) if shared else []
    options.records = sorted((shared / "data/froc").glob("*/*.json")) if shared else []
    if not shared:
        print("no --shared: without its oracle and scans, PyTorch and real masks are left out")
    if shutil.which("nproc") and os.getloadavg()[0] > 0.5:
        print(f"note: the machine is busy (load {os.getloadavg()[0]:.1f})")
    device = subprocess.run([options.iwseg, "info"], capture_output=True, text=True, env=ENVIRONMENT).stdout
    device = next((line.split(None, 2)[2] for line in device.splitlines() if line.startswith("computes")), platform.processor())
    device += processor_model()
    print(device)
    table = Table(options)
    old = {}
    if options.out and options.out.exists() and len(options.only) < len(GROUPS):
        old = json.loads(options.out.read_text())
    for name in options.only:
        GROUPS[name](table)
        if options.out:  # so that nothing is lost where a later one fails
            new = {row["what"] for row in table.rows}
            result = {"device": device, "command": "bench/beside_peers.py " + " ".join(a for a in sys.argv[1:] if a)}
            result["rows"] = [row for row in old.get("rows", []) if row["what"] not in new] + table.rows
            options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
