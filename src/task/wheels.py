"""Installs what a task's requirements.txt lists into a folder of its own, whole or not at all.

usage: wheels.py FOLDER REQUIREMENTS

Every wheel is listed, none left to a resolver. PyPI's torch for Linux is linked against CUDA's
libraries, 2 GB that do nothing without a GPU: where the list leaves them out, small stand-ins are
made, whose every function fails.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys

GPU = r"(cublas|cudnn|cufft|cuFile|cufile|cusolver|cusparse|nccl|nvrtc|nvshmem)"
STAND_IN = "libno_gpu.so"


def call(what, command, text=None):
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{what}: there is no {command[0]}; run scripts/setup --packages")
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        told = [line for line in said if line.startswith("ERROR:")] or said
        sys.exit(f"{what}: {told[-1].removeprefix('ERROR:').strip()}")
    return done.stdout


def symbols(kind, libraries):
    said = call("cannot read the wheels' libraries", ["nm", "-D", "-P", kind, *libraries])
    return set(re.findall(r"^(\w+)(?:@\S+)? \w", said, re.M))


def wanted(library):
    said = call(f"cannot read {library}", ["readelf", "-d", library])
    return re.findall(r"\(NEEDED\).*\[(.*)\]", said)


def compile_library(folder, name, text, *options):
    call(f"cannot make a stand-in for {name}",
         ["gcc", "-shared", "-nostdlib", "-fPIC", "-fno-builtin", "-w", f"-Wl,-soname,{name}",
          "-o", folder / name, "-x", "c", "-", "-x", "none", *options], text)


def stand_in(site):
    """Makes the GPU's libraries that others of the wheels want and that are not among them. The
    functions are in a library beside theirs, which the linker lets be without versions."""
    libraries = sorted([*site.glob("torch/lib/*.so*"), *site.glob("nvidia/**/*.so*")])
    names = {library.name for library in libraries}
    lacking = sorted(name for library in libraries for name in wanted(library)
                     if name not in names and re.match("lib" + GPU, name))
    if not lacking:
        return
    undefined = symbols("--undefined-only", libraries) - symbols("--defined-only", libraries)
    calls = sorted(name for name in undefined if re.match(GPU, name))
    folder = site / "torch/lib"
    compile_library(folder, STAND_IN, "".join(f"int {n}(void) {{ return 1; }}\n" for n in calls))
    for name in dict.fromkeys(lacking):
        compile_library(folder, name, "", "-Wl,--no-as-needed,-rpath,$ORIGIN", folder / STAND_IN)


def install(folder, listed):
    lines = [line.split("#")[0].strip() for line in listed.read_text().splitlines()]
    first = next(filter(None, lines), "nothing")
    part = folder.with_name(folder.name + ".part")      # pip's own temporary files are there too
    site, temporary = part / "site", part / "tmp"
    for left in folder.parent.glob("*.part"):           # of one that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    os.environ["TMPDIR"] = str(temporary)
    try:
        call(f"cannot install {first} of {listed}",
             [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary",
              ":all:", "--disable-pip-version-check", "--target", site, "-r", listed])
        if (site / "torch").is_dir():
            stand_in(site)
            call("what was installed of torch does not run",
                 [sys.executable, "-c", f"import sys; sys.path.append({str(site)!r}); import torch"])
        site.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    target, requirements = map(pathlib.Path, sys.argv[1:])
    if sys.prefix == sys.base_prefix:
        sys.exit(f"{sys.executable} is no venv, and packages are only put into one: run "
                 "scripts/setup --python")
    try:
        target.parent.mkdir(exist_ok=True)
        with open(target.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                install(target, requirements)
    except OSError as error:
        sys.exit(str(error))
