"""Times a training step beside other work: alone, and beside busy loops, ours and PyTorch's where it is found.

    bench/loaded_step.py --iwseg build/release/bin/iwseg [--oracle unet_torch.py] [--python PYTHON] [--out FILE]

The busy loops are processes that do nothing but count, as many as --loops says. Each measurement is a process of its
own; rounds are interleaved, and of a round's medians the median is printed, with the ratio to the time alone. PyTorch
is run by the Python that --python names, from --oracle, a script that takes --patch, --batch, --widths and --steps and
prints step_seconds_median as `iwseg bench step --json` does. --wait-policy adds rows with OMP_WAIT_POLICY=passive,
which concerns PyTorch alone. Needs Python 3.9 and nothing else.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

LOOP = [sys.executable, "-c", "while True: pass"]


@contextlib.contextmanager
def busy_loops(count):
    loops = [subprocess.Popen(LOOP) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def step_seconds(command, policy=None):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if policy:
        environment["OMP_WAIT_POLICY"] = policy
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["step_seconds_median"]


def processor():
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def contenders(options):
    step = ["--patch", options.patch, "--batch", options.batch, "--widths", *options.widths, "--steps", options.steps]
    yield "iwseg", [options.iwseg, "bench", "step", *step, "--json"], None
    if not options.oracle:
        print("PyTorch is left out: no --oracle")
        return
    python = [options.python, options.oracle, *step, "--precision", "fp32", "--loss", "iwdl"]
    if subprocess.run([options.python, "-c", "import torch"], capture_output=True).returncode != 0:
        print(f"PyTorch is left out: {options.python} has none")
        return
    yield "PyTorch", python, None
    if options.wait_policy:
        yield "PyTorch, passive", python, "passive"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iwseg", default="build/release/bin/iwseg")
    parser.add_argument("--oracle", help="the PyTorch script")
    parser.add_argument("--python", default=sys.executable, help="the Python that has PyTorch")
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 2, 6])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--widths", type=int, nargs=4, default=[8, 16, 32, 64])
    parser.add_argument("--wait-policy", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()

    running = list(contenders(options))
    seconds = {(name, loops): [] for name, _, _ in running for loops in options.loops}
    for _ in range(options.rounds):
        for loops in options.loops:
            for name, command, policy in running:
                with busy_loops(loops):
                    seconds[name, loops].append(step_seconds(command, policy))
    rows = []
    print(f"{processor()}, {len(os.sched_getaffinity(0))} cores; seconds a step, median of {options.rounds} rounds")
    for name, _, _ in running:
        alone = statistics.median(seconds[name, options.loops[0]])
        for loops in options.loops:
            rounds = seconds[name, loops]
            median = statistics.median(rounds)
            spread = f"{min(rounds):.3f} to {max(rounds):.3f}"
            ratio = f"{median / alone:.1f} times that beside {options.loops[0]}"
            print(f"{name:18} beside {loops} loops: {median:.3f} ({spread}), {ratio}")
            rows.append({"what": name, "loops": loops, "seconds": median, "rounds": rounds})
    if options.out:
        machine = {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}
        step = {name: getattr(options, name) for name in ("patch", "batch", "widths", "steps", "rounds")}
        options.out.write_text(json.dumps({"machine": machine, "step": step, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
