// Scripts that go round the limits through the kernel: memory that no process maps, descriptors
// that outlive their holders, limits and signals turned on process 1 of the run, what one user has
// of inotify, aio and core files, submissions that are no files. (T2, T5, T7 to T10, T17.)
#include <sched.h>

#include "attack_fixture.h"

// A descriptor under way in a socket pair, in a ring with others, is closed when the kernel comes
// to it, maybe never: files and streams would stay with it.
static void descriptors_under_way(void **state) {
    (void)state;
    attack_wins_nothing(
        "import array, socket\n"
        "pairs = [socket.socketpair() for i in range(2)]\n"
        "def send(over, *what):\n"
        "    what = array.array('i', what)\n"
        "    over.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, what)])\n"
        "(a, b), (c, d) = pairs\n"
        "attempt('there', lambda: send(a, 1, 2, d.fileno(), c.fileno()))\n"
        "attempt('back', lambda: send(c, 1, 2, a.fileno(), b.fileno()))\n"
        "call('sendmmsg', 307, a.fileno(), 0, 1, 0)\n"
        "a.sendall(b'words go'); assert b.recv(100) == b'words go'\n", 3);
}

static void limits_of_process_1(void **state) {
    (void)state;
    attack_wins_nothing(
        "import fcntl, resource, signal, socket\n"
        "for name in ('CPU', 'AS', 'NOFILE', 'FSIZE', 'STACK', 'DATA', 'NPROC'):\n"
        "    which = getattr(resource, 'RLIMIT_' + name)\n"
        "    attempt(name, lambda: resource.prlimit(1, which, (0, 0)))\n"
        "    attempt('see ' + name, lambda: resource.prlimit(1, which))\n"
        "call('prlimit64', 302, 1, 0, ctypes.byref((ctypes.c_ulong * 2)(1, 1)), 0)\n"
        "attempt('affinity', lambda: os.sched_setaffinity(1, {0}))\n"
        "attempt('nice', lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))\n"
        "attempt('idle', lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)))\n"
        "call('ioprio', 251, 1, 1, 0x6007)\n"
        "a, b = socket.socketpair()\n"       // a signal in the kernel's name is one all the same
        "for s in (9, 19, 15, 34):\n"
        "    fcntl.fcntl(a, 10, s); fcntl.fcntl(a, fcntl.F_SETOWN, 1)\n"
        "    fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK); b.send(b'x')\n", 19);
}

// A host that hands core files to a program would run it as root, with what the script chose.
static void core_files(void **state) {
    (void)state;
    attack_wins_nothing(
        "import resource\n"
        "if resource.getrlimit(resource.RLIMIT_CORE) != (1, 1): won.append('limit')\n"
        "none = ctypes.byref((ctypes.c_ulong * 2)(0, 0))\n"
        "call('prlimit64', 302, 0, 4, none, 0)\n"
        "call('prlimit64 by pid', 302, os.getpid(), 4, none, 0)\n"
        "call('setrlimit', 160, 4, none)\n"
        "attempt('filter', lambda: write('/proc/self/coredump_filter', '0xff'))\n", 4);
    attack_ends("import os\nos.abort()\n", MLA_OUTCOME_KILLED, 0, "SIGABRT");
}

// Of these a user has few, in here and on the host together.
static void what_others_need(void **state) {
    (void)state;
    attack_wins_nothing(
        "held = []\n"
        "try:\n"
        "    while len(held) < 1000:\n"
        "        fd = libc.inotify_init()\n"
        "        if fd < 0: break\n"
        "        held.append(fd)\n"
        "finally:\n"
        "    for fd in held: os.close(fd)\n"
        "if not 1 < len(held) <= 16: won.append(len(held))\n"
        "import signal\n"
        "def queue():\n"                                   // a fork has one thread to block them
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {40})\n"
        "    sent = 0\n"
        "    while sent < 5000 and libc.sigqueue(os.getpid(), 40, None) == 0: sent += 1\n"
        "    return 0 < sent <= 1024\n"
        "child = os.fork()\n"
        "if not child: os._exit(0 if queue() else 1)\n"
        "if os.waitpid(child, 0)[1]: won.append('signals')\n"
        "def lock():\n"
        "    if libc.mlock(b'x' * (4 << 20), 4 << 20): raise OSError\n"
        "attempt('mlock', lock)\n"
        "context = ctypes.c_ulong(0)\n"
        "call('io_setup', 206, 60000, ctypes.byref(context))\n"
        "call('fanotify', 300, 0, 0)\n"
        "call('mq_open', 240, b'x', 0o102, 0o600, 0)\n"
        "call('modify_ldt', 154, 0, 0, 0)\n", 5);
}

static void memory_that_nothing_maps(void **state) {
    (void)state;
    attack_wins_nothing("for key in range(3): call(key, 64, 0, 32000, 0o1600)\n", 3);
    // Page tables for the page of zeros: 4 kB in them for each 2 MB that are looked at.
    w.task->limits.memory_mb = 500;
    attack_ends("import ctypes, time\n"
                "libc = ctypes.CDLL(None)\n"
                "libc.prctl(15, b'x\\nVmRSS: 0\\nVmPTE: 0', 0, 0, 0)\n"
                "libc.mmap.restype = ctypes.c_void_p\n"
                "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_long] * 4\n"
                "size, step = 1 << 41, 2 << 20\n"
                "at = libc.mmap(None, size, 1, 0x4022, -1, 0)\n"
                "libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), 15)\n"
                "for i in range(size // step):\n"
                "    ctypes.c_char.from_address(at + i * step).value\n"
                "    if i % 1000 == 0: time.sleep(.001)\n", MLA_OUTCOME_OUT_OF_MEMORY, 0.5,
                "memory limit of 500 MB");
}

// Each generation forks the next and ends: the watch finds it all the same.
static void a_bomb_on_the_run(void **state) {
    (void)state;
    w.task->limits.memory_mb = 500;
    attack_ends("import os, time\n"
                "if os.fork() == 0:\n"
                "    x = []\n"
                "    while True:\n"
                "        if len(x) < 250: x.append(bytearray(b'1') * (4 << 20))\n"
                "        if os.fork(): os._exit(0)\n"
                "time.sleep(60)\n", MLA_OUTCOME_OUT_OF_MEMORY, 0.5, "memory limit of 500 MB");
}

// Calls by the numbers of 32 bits, where this machine has them at all.
static void another_architecture(void **state) {
    (void)state;
    mla_step *step = attack_edit(&w.start,
        "import ctypes, mmap\n"
        "m = mmap.mmap(-1, 4096, prot=7)\n"
        "m.write(bytes.fromhex('53b867010000bb02000000b901000000ba00000000cd805bc3'))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "print('a socket', f())\n");
    attack_expect(step, MLA_OUTCOME_KILLED, 0, "killed by SIG");
    attack_leaves_no_trace();
}

static void submissions_that_are_no_files(void **state) {
    (void)state;
    static const char *const ways[] = {
        "os.symlink('/dev/zero', 'submission.csv')",
        "os.symlink('/proc/self/fd/1', 'submission.csv')",
        "os.symlink('submission.csv', 'submission.csv')",
        "os.symlink('/mla/workspace/real.csv', 'submission.csv')",
        "os.mkfifo('submission.csv')", "os.mkdir('submission.csv')",
        "os.mkdir('d'); os.symlink('d', 'submission.csv')",
    };
    for (size_t i = 0; i < MLA_COUNT(ways); i++) {
        char *code = mla_format("import os\n"
                                "open('real.csv', 'w').write('id,y\\n1,0\\n')\n%s\n", ways[i]);
        attack_ends(code, MLA_OUTCOME_NO_SUBMISSION, 0, "wrote no submission.csv");
        free(code);
    }
    attack_ends("open('submission.csv', 'wb').truncate(64 << 20)\n", MLA_OUTCOME_BAD_SUBMISSION, 0,
                "cannot be scored");
    char *linked = mla_format("%simport os\nos.link('submission.csv', 'a'); os.close(1)\n",
                              train_py);
    attack_ends(linked, MLA_OUTCOME_OK, 0.5, "Score: 0.75");      // a file of two names is a file
    free(linked);
}

// A script may take the interpreter apart that it runs in: it is a clone, and what it is worth is
// not asked of it.
static void a_broken_interpreter(void **state) {
    (void)state;
    attack_ends("import os\n"
                "os._exit = lambda *a: None\n"
                "class M(type):\n"
                "    __name__ = property(lambda c: 1 / 0)\n"
                "class E(Exception, metaclass=M): pass\n"
                "raise E\n", MLA_OUTCOME_SCRIPT_ERROR, 0, "failed with");
    attack_ends("import gc, sys, socket\n"
                "for o in gc.get_objects():\n"
                "    if isinstance(o, socket.socket):\n"
                "        try: o.send(b'{\"event\": \"exit\", \"code\": 0}')\n"
                "        except OSError: pass\n"
                "f = sys._getframe()\n"
                "while f:\n"
                "    for v in list(f.f_locals.values()):\n"
                "        if isinstance(v, socket.socket):\n"
                "            try: v.send(b'{\"event\": \"done\"}')\n"
                "            except OSError: pass\n"
                "    f = f.f_back\n"
                "raise RuntimeError('after all')\n", MLA_OUTCOME_SCRIPT_ERROR, 0, "RuntimeError");
}

// The processors that a script keeps to are its own choice, not that of the next one.
static void a_processor_of_its_own(void **state) {
    (void)state;
    cpu_set_t ours;
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    attack_edit(&w.start, "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n");
    char *told = mla_format("| %d processors", CPU_COUNT(&ours));
    attack_ends("import os\nprint(len(os.sched_getaffinity(0)), 'processors')\n",
                MLA_OUTCOME_NO_SUBMISSION, 0, told);
    free(told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ATTACK(descriptors_under_way), ATTACK(limits_of_process_1), ATTACK(core_files),
        ATTACK(what_others_need), ATTACK(memory_that_nothing_maps), ATTACK(a_bomb_on_the_run),
        ATTACK(another_architecture), ATTACK(submissions_that_are_no_files),
        ATTACK(a_broken_interpreter), ATTACK(a_processor_of_its_own),
    };
    return attack_run(tests, "attack_kernel");
}
