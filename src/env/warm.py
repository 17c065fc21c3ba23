# The warm interpreter: runs inside the sandbox as its process 1, imports the usual packages once
# and forks every run. It holds no secrets and judges nothing: time, memory and scores are the
# host's. The program sends it this text as the first message on the control socket.
# A run is three processes:
#   A  takes namespaces of its own (user, mount, pid, ipc) and waits;
#   B  is process 1 in them, mounts what the run may see, and reports how the script ended;
#   C  gives up every privilege, loads the strict system call filter and becomes the script.
# When B ends, for whatever reason, the kernel ends everything that the script started.
import sys

sys.path.pop(0)  # the current folder, put there by -c

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import platform
import random
import resource
import select
import signal
import socket
import threading
import traceback
import types

CONTROL = 3
WORKSPACE = "/mla/workspace"
DATA = "/mla/data"
STARTED = b"R"
REQUIRED = ("numpy", "pandas", "sklearn")
USUAL = (
    "scipy.sparse", "scipy.stats", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.model_selection", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.compose",
    "sklearn.impute", "sklearn.svm", "sklearn.neighbors", "sklearn.naive_bayes", "sklearn.tree",
    "sklearn.decomposition", "sklearn.discriminant_analysis", "sklearn.neural_network",
    "sklearn.feature_extraction.text", "sklearn.feature_selection", "sklearn.metrics",
    "sklearn.cluster", "sklearn.gaussian_process", "sklearn.kernel_ridge", "sklearn.dummy",
    "sklearn.calibration", "lightgbm", "xgboost",
)
VERSIONED = ("numpy", "pandas", "scipy", "sklearn", "lightgbm", "xgboost")

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 47, 4, 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def must(result, what):
    if result != 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


def prctl(option, value, what=None, third=0):
    args = [ctypes.c_ulong(option), ctypes.c_ulong(value), ctypes.c_ulong(third)]
    result = libc.prctl(*args, ctypes.c_ulong(0), ctypes.c_ulong(0))
    if what:
        must(result, what)
    return result


def mount(source, target, kind, flags, options=None):
    encode = lambda text: None if text is None else text.encode()
    must(libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags),
                    encode(options)), f"mount {target}")


def load_filter(program):
    must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                    ctypes.byref(SockFprog(len(program) // 8, program)), 0, 0), "seccomp")


def drop_privileges():
    cap = 0
    while prctl(PR_CAPBSET_DROP, cap) == 0:
        cap += 1
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    must(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1, "no new privileges")


def send(control, **message):
    control.send(json.dumps(message).encode())


# ---- C: the script ----------------------------------------------------------------------------

def set_limits(run):
    def limit(which, value):
        resource.setrlimit(which, (value, value))

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, run["cpu_seconds"])
    limit(resource.RLIMIT_FSIZE, run["file_mb"] << 20)
    limit(resource.RLIMIT_NOFILE, run["files"])
    limit(resource.RLIMIT_NPROC, run["processes"])
    limit(resource.RLIMIT_MSGQUEUE, 0)


def open_streams():
    sys.stdin = sys.__stdin__ = open(0, "r", encoding="utf-8", closefd=False)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        # Line by line, so that what was printed survives a run that is ended from outside.
        stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(fd, "w", closefd=False)),
                                  encoding="utf-8", errors="backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def exit_code(stop):
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def execute(run, report):
    """Runs the script as __main__; returns its exit code."""
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(WORKSPACE, run["script"])
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    sys.argv = [run["script"]]
    sys.path.insert(0, os.path.dirname(main.__file__))
    try:
        os.write(report, STARTED)
        with open(main.__file__, "rb") as file:
            code = compile(file.read(), run["script"], "exec", dont_inherit=True)
        exec(code, main.__dict__)
        return 0
    except SystemExit as stop:
        result = exit_code(stop)
        if result:
            os.write(report, b"SystemExit")
        return result
    except BaseException as error:
        os.write(report, type(error).__name__.encode("utf-8", "replace")[:200])
        trace = error.__traceback__.tb_next  # without the frame of this function
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1


def finish(code):
    """What the interpreter does at its end, without the slow taking apart of every module."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(code)


def become_script(run, program, report, streams):
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    report = os.dup2(report, 9, inheritable=False)
    for target, fd in enumerate((null, *streams)):
        os.dup2(fd, target)
    os.closerange(3, report)
    os.closerange(report + 1, 65536)
    os.chdir(WORKSPACE)
    set_limits(run)
    drop_privileges()
    load_filter(program)
    prctl(PR_SET_DUMPABLE, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    open_streams()
    random.seed(run["seed"])
    sys.modules["numpy"].random.seed(run["seed"] & 0xFFFFFFFF)
    gc.enable()
    finish(execute(run, report))


# ---- B: process 1 of the run ------------------------------------------------------------------

def mount_view(run):
    mount("none", "/", None, MS_SLAVE | MS_REC)
    if run["data"] is not None:
        mount(f"{DATA}/{run['data']}", f"{WORKSPACE}/data", None, MS_BIND)
    # The interpreter may live below /tmp, which is about to be covered.
    kept = [(path, os.open(path, os.O_PATH)) for path in run["below_tmp"]]
    limits = f"size={run['tmp_mb']}m,nr_inodes={run['tmp_inodes']}"
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,{limits}")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,{limits}")
    for path, fd in kept:
        os.makedirs(path)
        mount(f"/proc/self/fd/{fd}", path, None, MS_BIND)
        os.close(fd)
    mount("tmpfs", DATA, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def wait_for(child):
    while True:
        pid, status, usage = os.wait4(-1, 0)
        if pid == child:
            return status, usage.ru_maxrss / 1024


def run_init(control, run, program, streams):
    mount_view(run)
    send(control, event="started")
    if not control.recv(16):  # the host has its grip on this process
        return
    report_read, report_write = os.pipe()
    os.set_blocking(report_read, False)
    script = os.fork()
    if script == 0:
        control.close()
        try:
            become_script(run, program, report_write, streams)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(report_write)
    status, peak_mb = wait_for(script)
    try:
        error = os.read(report_read, 200)
    except BlockingIOError:
        error = b""
    # The script can write to this pipe, but not take back that it was reached.
    if not error.startswith(STARTED):
        raise RuntimeError("the script was never reached")
    send(control, event="exit", error=error[1:].decode("utf-8", "replace"), peak_mb=peak_mb,
         code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
         signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


# ---- A and the loop ---------------------------------------------------------------------------

def map_ids(uid, gid):
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                       ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def run_outer(control, run, program, streams):
    """Returns in process B only."""
    uid, gid = os.getuid(), os.getgid()
    prctl(PR_SET_DUMPABLE, 1)  # else /proc/self is not ours to write
    must(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC), "unshare")
    map_ids(uid, gid)
    prctl(PR_SET_DUMPABLE, 0)
    init = os.fork()
    if init:
        for fd in streams:
            os.close(fd)
        os.waitpid(init, 0)
        os._exit(0)
    run_init(control, run, program, streams)


def serve_one(control, run, program, streams):
    outer = os.fork()
    if outer == 0:
        try:
            run_outer(control, run, program, streams)
        except BaseException as error:
            send(control, event="broken", what=f"{type(error).__name__}: {error}")
        os._exit(0)
    for fd in streams:
        os.close(fd)
    pidfd = os.pidfd_open(outer)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(control, 0)  # a hang-up: the host is gone
    while True:
        ready = dict(poll.poll())
        if ready.get(CONTROL, 0) & (select.POLLHUP | select.POLLERR):
            os._exit(0)
        if pidfd in ready:
            break
    os.waitpid(outer, 0)
    os.close(pidfd)
    send(control, event="done")


def import_packages():
    for name in REQUIRED:
        importlib.import_module(name)
    for name in USUAL:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    pandas = sys.modules["pandas"]
    pandas.read_csv(io.StringIO("a,b\n1,x\n")).to_csv(io.StringIO())  # loads what reading needs
    found = [f"python {platform.python_version()}"]
    for name in VERSIONED:
        if name in sys.modules:
            found.append(f"{name} {getattr(sys.modules[name], '__version__', '?')}")
    return " ".join(found)


def serve():
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    prctl(PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    hello = json.loads(control.recv(1 << 16))
    versions = import_packages()
    load_filter(bytes.fromhex(hello["outer"]))
    program = bytes.fromhex(hello["strict"])
    gc.collect()
    gc.disable()
    gc.freeze()
    send(control, event="ready", versions=versions)
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            os._exit(0)
        serve_one(control, json.loads(message), program, fds)


serve()
