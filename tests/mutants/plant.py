#!/usr/bin/env python3
"""Plants the mistakes of mutants.txt in the device code, one at a time, and says which of them the tests find.

    cmake --preset release
    tests/mutants/plant.py --build build/release --results mutants.log

The tree stays as it is: a mistake is written to a copy of its file in a scratch folder, which the compiler searches
first. The files that include it are compiled anew, for the executor or on the stand-ins for CUDA, and linked in place of
those that were built. The tests that mutants.txt names for the file run first, up to the first that fails; what they do
not find, all tests are asked to.

Each line of the results is one mistake: killed (by which test, or by running too long), not compiled, or survived. Exit
status: 0 where each was killed or has a reason in mutants.txt not to be, and 19 of 20 of those without one were killed.
"""
import argparse
import concurrent.futures
import dataclasses
import functools
import json
import pathlib
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
PATIENCE = 60  # seconds asleep, after which tests count as stuck


@dataclasses.dataclass
class File:
    path: str
    program: str = "test_backends"
    tests: str = ""  # a filter of GoogleTest; all where empty
    kernels: tuple = ()  # those to compile anew; all that include the file where empty

    def all_tests(self):
        """But those of the CPU's own kernels."""
        return "*:-*cpu*:*Cpu*" if self.program == "test_backends" else "*"

    def ask(self, words):
        if words[0].startswith("test_"):
            self.program, words = words[0], words[1:]
        self.tests = ":".join(name if "*" in name else f"*{name}*simt*" for name in words)


@dataclasses.dataclass
class Mutant:
    file: File
    old: str
    new: str = ""
    reason: str = ""
    line: int = 0

    def change(self):
        return f"{self.old}  ->  {self.new}"


def read_list(path):
    """The mutants of the list, in order."""
    mutants, file = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark, text = line[:2].strip(), line[2:].strip()
        if not line.strip() or line.startswith("#"):
            continue
        if mark == "==":
            file = File(text)
        elif mark == "@" and file:
            file.ask(text.split())
        elif mark == ">" and file:
            file.kernels = tuple(text.split())
        elif mark == "-" and file:
            mutants.append(Mutant(file, text))
        elif mark == "+" and mutants:
            mutants[-1].new = text
        elif mark == "!" and mutants:
            mutants[-1].reason = text
        else:
            sys.exit(f"{path}:{number}: expected a mark of those that the list begins with, not: {line}")
    return mutants


def planted(mutant):
    """The file's text with the mistake in it; None where the old text is not there exactly once."""
    path = ROOT / mutant.file.path
    text = path.read_text() if path.exists() else ""
    found = list(re.finditer(r"\s+".join(re.escape(word) for word in mutant.old.split()), text))
    if len(found) != 1:
        return None
    first, end = found[0].span()
    mutant.line = text.count("\n", 0, first) + 1
    # As many lines as before: what is reported then names the line that it would.
    return text[:first] + mutant.new + "\n" * text.count("\n", first, end) + text[end:]


def included(path, seen=None):
    """The file and all files of kernels/ that it includes."""
    seen = set() if seen is None else seen
    if path in seen or not (ROOT / path).exists():
        return seen
    seen.add(path)
    for name in re.findall(r'#include "(kernels/[^"]+)"', (ROOT / path).read_text()):
        included(name, seen)
    return seen


class Program:
    """How the build folder compiles the device code for a test program, and links it."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        if subprocess.run(["ninja", "-C", folder, name]).returncode != 0:
            sys.exit(f"{name} cannot be built in {folder}")
        objects_of = "iwseg_cuda_standin.dir" if name.startswith("test_cuda") else "iwseg_simt.dir"
        self.compile = {}  # file of kernels/: words of the command
        for entry in json.loads((folder / "compile_commands.json").read_text()):
            if objects_of in entry["command"] and entry["file"].endswith(".cu"):
                self.compile[str(pathlib.Path(entry["file"]).relative_to(ROOT))] = shlex.split(entry["command"])
        commands = subprocess.run(["ninja", "-C", folder, "-t", "commands", name], capture_output=True, text=True,
                                  check=True)
        links = [part for part in commands.stdout.splitlines()[-1].split(" && ") if f"-o bin/{name} " in part]
        if not self.compile or not links:
            sys.exit(f"{folder} does not build {name} with the device code")
        self.link = shlex.split(links[0])
        self.includes = {file: included(file) for file in self.compile}

    def kernels_with(self, file):
        """What to compile anew for a mistake in the file."""
        return sorted(kernel for kernel, includes in self.includes.items() if file.path in includes and
                      (not file.kernels or pathlib.Path(kernel).name in file.kernels))

    def make(self, mutant, text, scratch):
        """The program with the mistake in it; what the compiler says where there is none."""
        overlay = scratch / mutant.file.path
        overlay.parent.mkdir(parents=True, exist_ok=True)
        overlay.write_text(text)
        link, program = list(self.link), scratch / self.name
        link[link.index("-o") + 1] = str(program)
        for file in self.kernels_with(mutant.file):
            words = [word for word in self.compile[file] if word != "-Werror" and not word.endswith("ccache")]
            built, made = words[words.index("-o") + 1], str(scratch / (pathlib.Path(file).name + ".o"))
            words[words.index("-o") + 1] = made
            words[words.index("-c") + 1] = str(overlay if file == mutant.file.path else ROOT / file)
            words[1:1] = ["-I", str(scratch), "-w"]
            words.append("-O1")  # most tests end soon: what counts is the compiler's time
            said = subprocess.run(words, cwd=self.folder, capture_output=True, text=True)
            if said.returncode != 0:
                return None, said.stderr
            if built in link:
                link[link.index(built)] = made
            else:  # before the library that holds the one that was built
                link.insert(next(i for i, word in enumerate(link) if word.endswith("libiwseg_simt.a")), made)
        said = subprocess.run(link, cwd=self.folder, capture_output=True, text=True)
        return (program, "") if said.returncode == 0 else (None, said.stderr)


def is_asleep(process, used):
    """Whether the program waits, and has hardly used the processor since `used`; and what it has used, in ticks."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    now = int(fields[11]) + int(fields[12])
    return fields[0] == "S" and now - used < 10, now


def wait_for(process):
    """What the program says; None where it waits for what never comes, and is ended."""
    used, asleep = 0, 0
    while asleep < PATIENCE:
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            sleeps, used = is_asleep(process, used)
            asleep = asleep + 1 if sleeps else 0
    process.kill()
    process.communicate()
    return None


def run_tests(program, tests, limit):
    """What killed the mistake, or None. limit: seconds of the processor."""
    words = [program, "--gtest_filter=" + tests, "--gtest_fail_fast", "--gtest_brief=1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace",
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))) as process:
        said = wait_for(process)
    if said is None:
        return "being stuck"
    if process.returncode == 0:
        return None
    failed = re.search(r"^\[  FAILED  \] ([^\s,]+)", said, re.MULTILINE)
    if failed:
        return failed.group(1)
    if process.returncode == -signal.SIGXCPU:
        return f"running for more than {limit} s"
    return f"the end of the program by status {process.returncode}"


class Campaign:
    def __init__(self, folder, tests, limit):
        self.program = functools.cache(lambda name: Program(folder, name))
        self.tests, self.limit = tests, limit

    def fate_of(self, mutant, text):
        """Whether it was killed, and how."""
        with tempfile.TemporaryDirectory() as scratch:
            program, said = self.program(mutant.file.program).make(mutant, text, pathlib.Path(scratch))
            if not program:
                return "not compiled", said.splitlines()[0] if said else ""
            # What has a reason to survive is not looked for everywhere.
            named, all_tests = mutant.file.tests, self.tests or mutant.file.all_tests()
            for tests in [named] if named and mutant.reason else [named, all_tests] if named else [all_tests]:
                killer = run_tests(program, tests, self.limit)
                if killer:
                    return "killed", "by " + killer
        return "survived", mutant.reason or "nothing found it"


def read_results(path):
    """What is known: (file, change) to (fate, how)."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    known = {}
    for fate, place, change, how in (line.split("\t") for line in lines):
        known[place.split(":")[0], change] = (fate, how)
    return known


def tell(fates):
    """How the campaign went: fates of (mutant, fate). The exit status."""
    killed = sum(fate == "killed" for _, fate in fates)
    with_reason = sum(fate != "killed" and bool(mutant.reason) for mutant, fate in fates)
    survived = len(fates) - killed - with_reason
    for path in dict.fromkeys(mutant.file.path for mutant, _ in fates):
        own = [fate for mutant, fate in fates if mutant.file.path == path]
        print(f"| `{path}` | {len(own)} | {own.count('killed')} |")
    print(f"{killed} of {len(fates)} killed, {with_reason} with a reason not to be, {survived} without")
    return survived * 20 > killed + survived


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release",
                        help="a configured folder, in which the test programs are built first")
    parser.add_argument("--only", default="", help="mistakes in files whose name holds this; several by commas")
    parser.add_argument("--most", type=int, help="mistakes of a file; all")
    parser.add_argument("--jobs", type=int, default=1, help="mistakes at the same time")
    parser.add_argument("--results", type=pathlib.Path,
                        help="a file to add the results to; mistakes in it are not planted again")
    parser.add_argument("--tests", default="", help="a filter of tests to ask where those named for the file find nothing; all")
    parser.add_argument("--limit", type=int, default=600, help="seconds of the processor after which tests count as stuck")
    parser.add_argument("--check", action="store_true", help="only look whether each mistake can be planted")
    arguments = parser.parse_args()

    names = arguments.only.split(",")
    wanted = [m for m in read_list(FOLDER / "mutants.txt") if any(name in m.file.path for name in names)]
    if arguments.most:
        by_file = {m.file.path: [other for other in wanted if other.file is m.file] for m in wanted}
        wanted = [m for own in by_file.values() for m in own[:arguments.most]]
    texts = [planted(mutant) for mutant in wanted]
    for mutant, text in zip(wanted, texts):
        if text is None:
            print(f"{mutant.file.path}: not there exactly once: {mutant.old}")
    if None in texts or arguments.check:
        sys.exit(None in texts)

    known = read_results(arguments.results)
    campaign = Campaign(arguments.build.resolve(), arguments.tests, arguments.limit)
    for mutant in wanted:  # built before all else, not by several at the same time
        if (mutant.file.path, mutant.change()) not in known:
            campaign.program(mutant.file.program)

    def test(mutant, text):
        key = (mutant.file.path, mutant.change())
        fate, how = known.get(key) or campaign.fate_of(mutant, text)
        line = f"{fate}\t{mutant.file.path}:{mutant.line}\t{mutant.change()}\t{how}"
        if key not in known:
            print(line, flush=True)
            if arguments.results:
                with arguments.results.open("a") as out:
                    out.write(line + "\n")
        return mutant, fate

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        sys.exit(tell(list(pool.map(test, wanted, texts))))


if __name__ == "__main__":
    main()
