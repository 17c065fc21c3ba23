# The warm interpreter: runs inside the sandbox as its process 1, imports the usual packages once
# and forks every run. It holds no secrets and judges nothing: time, memory and scores are the
# host's. The program sends it this text as the first message on the control socket.
# A run is two processes:
#   A  is cloned into namespaces of its own (user, mount, pid, ipc) and is process 1 in them; it
#      mounts what the run may see, and reports how the script ended;
#   B  gives up every privilege, loads the strict system call filter and becomes the script.
# When A ends, for whatever reason, the kernel ends everything that the script started. All that a
# run writes is in memory file systems of its own, with limits; the host gets a grip on them, and
# they go when it lets go.
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
THREADS = ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
VERSIONED = ("numpy", "pandas", "scipy", "sklearn", "lightgbm", "xgboost")

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
NAMESPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 47, 4, 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)
clone_call = ctypes.PyDLL(None, use_errno=True).syscall


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


def send(control, fds=(), **message):
    socket.send_fds(control, [json.dumps(message).encode()], fds)


# ---- B: the script ----------------------------------------------------------------------------

def set_limits(run):
    def limit(which, value):
        most = resource.getrlimit(which)[1]  # the host's may be lower
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))

    limit(resource.RLIMIT_CORE, 1)  # 0 would still start the host's handler of crashes, 1 does not
    limit(resource.RLIMIT_CPU, run["cpu_seconds"])
    limit(resource.RLIMIT_FSIZE, run["file_mb"] << 20)
    limit(resource.RLIMIT_NOFILE, run["files"])
    limit(resource.RLIMIT_NPROC, run["processes"])
    # What follows counts for the user outside too, who would have none left.
    limit(resource.RLIMIT_MSGQUEUE, 0)
    limit(resource.RLIMIT_SIGPENDING, 1024)
    limit(resource.RLIMIT_MEMLOCK, 1 << 20)


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
    if run["wheels"] is not None:
        sys.path.append(f"{sys.prefix}/wheels/{run['wheels']}")
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


def set_threads(number):
    """All is made for one thread, or a fork would hang; a run alone on several cores gets more."""
    if number == 1:
        return
    for name in THREADS:
        os.environ[name] = str(number)
    thread_pools.limit(limits=number, user_api="openmp")


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
    set_threads(run["threads"])
    random.seed(run["seed"])
    sys.modules["numpy"].random.seed(run["seed"] & 0xFFFFFFFF)
    gc.enable()
    finish(execute(run, report))


# ---- A: process 1 of the run ------------------------------------------------------------------

def copy_files(source, target, without):
    """The files and folders below an open folder, into an empty one."""
    with os.scandir(source) as entries:
        for entry in entries:
            name = entry.name
            if name in without:
                continue
            if entry.is_dir(follow_symlinks=False):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=source)
                os.mkdir(f"{target}/{name}")
                copy_files(inner, f"{target}/{name}", ())
                os.close(inner)
            elif entry.is_file(follow_symlinks=False):
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source)
                with open(fd, "rb") as file, open(f"{target}/{name}", "wb", 0) as copy:
                    copy.write(file.read())


def mount_memory(target, mb, inodes, mode):
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV,
          f"mode={mode},size={mb}m,nr_inodes={inodes}")


def mount_workspace(run):
    source = os.open(WORKSPACE, os.O_RDONLY | os.O_DIRECTORY)
    mount_memory(WORKSPACE, run["workspace_mb"], run["workspace_inodes"], "755")
    without = ["submission.csv"]
    if run["data"] is not None:
        without.append("data")
        os.mkdir(f"{WORKSPACE}/data")
        mount(f"{DATA}/{run['data']}", f"{WORKSPACE}/data", None, MS_BIND)
    copy_files(source, WORKSPACE, without)
    os.close(source)


def mount_view(run):
    """Mounts it and returns open folders of all that the run may write to, the workspace first."""
    mount("none", "/", None, MS_PRIVATE | MS_REC)
    mount_workspace(run)
    # The interpreter may live below /tmp, which is about to be covered.
    kept = [(path, os.open(path, os.O_PATH)) for path in run["below_tmp"]]
    for target in ("/tmp", "/dev/shm"):
        mount_memory(target, run["tmp_mb"], run["tmp_inodes"], "1777")
    for path, fd in kept:
        os.makedirs(path)
        mount(f"/proc/self/fd/{fd}", path, None, MS_BIND)
        os.close(fd)
    mount("tmpfs", DATA, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k")
    mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    return [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (WORKSPACE, "/tmp", "/dev/shm")]


def wait_for(child):
    while True:
        pid, status, usage = os.wait4(-1, 0)
        if pid == child:
            return status, usage.ru_maxrss / 1024


def run_init(control, run, program, streams):
    folders = mount_view(run)
    send(control, folders, event="started")
    if not control.recv(16):  # the host has its grip on this process
        return
    for fd in folders:
        os.close(fd)
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


def enter(uid, gid):
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                       ("gid_map", f"{gid} {gid} 1"),
                       ("oom_score_adj", "1000")):  # when the kernel ends something, then a run
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    # As with some of set_limits.
    for name, text in (("inotify_instances", "16"), ("inotify_watches", "4096")):
        try:
            with open(f"/proc/sys/user/max_{name}", "w") as file:
                file.write(text)
        except OSError:  # read-only in some containers
            pass
    prctl(PR_SET_DUMPABLE, 0)


# ---- the warm interpreter ---------------------------------------------------------------------

def clone_init(number):
    """A fork into new namespaces; there is one thread, and it keeps the interpreter's lock."""
    prctl(PR_SET_DUMPABLE, 1)  # else /proc/self is not the child's to write
    pid = clone_call(number, NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0)
    if pid:
        prctl(PR_SET_DUMPABLE, 0)
    if pid < 0:
        raise OSError(f"clone: {os.strerror(ctypes.get_errno())}")
    return pid


def serve_one(control, run, hello, streams):
    uid, gid = os.getuid(), os.getgid()
    try:
        init = clone_init(hello["clone"])
    except OSError as error:
        send(control, event="broken", what=str(error))
        os._exit(0)
    if init == 0:
        try:
            enter(uid, gid)
            run_init(control, run, hello["strict"], streams)
        except BaseException as error:
            send(control, event="broken", what=f"{type(error).__name__}: {error}")
        os._exit(0)
    for fd in streams:
        os.close(fd)
    pidfd = os.pidfd_open(init)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(control, 0)  # a hang-up: the host is gone
    while True:
        ready = dict(poll.poll())
        if ready.get(CONTROL, 0) & (select.POLLHUP | select.POLLERR):
            os._exit(0)
        if pidfd in ready:
            break
    os.waitpid(init, 0)
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
    global thread_pools
    thread_pools = sys.modules["threadpoolctl"].ThreadpoolController()
    found = [f"python {platform.python_version()}"]
    for name in VERSIONED:
        if name in sys.modules:
            found.append(f"{name} {getattr(sys.modules[name], '__version__', '?')}")
    return " ".join(found)


def read_namespaces():
    names = ("user", "mnt", "pid", "ipc", "net", "uts", "cgroup")
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in names}


def serve():
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    prctl(PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    hello = json.loads(control.recv(1 << 16))
    for name in ("outer", "strict"):
        hello[name] = bytes.fromhex(hello[name])
    versions = import_packages()
    load_filter(hello["outer"])
    gc.collect()
    gc.disable()
    gc.freeze()
    send(control, event="ready", versions=versions, namespaces=read_namespaces())
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            os._exit(0)
        run = json.loads(message)
        if run:  # else a run's word to begin, which it did not live to read
            serve_one(control, run, hello, fds)


serve()
