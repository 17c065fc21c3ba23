// Scripts that take more than their share: processes, memory, disk, output, time. Each ends by the
// sandbox's limits, and the next honest run finds everything as it was. (T7 to T10, T17.)
#include "attack_fixture.h"

#include "daemons.h"

static void fork_bomb(void **state) {
    (void)state;
    w.task->limits.seconds = 1;
    attack_ends("import os\n"
                "while True:\n"
                "    try: os.fork()\n"
                "    except OSError: pass\n", MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
}

static void thread_bomb(void **state) {
    (void)state;
    attack_wins_nothing("import threading\n"
                        "stop, count = threading.Event(), 0\n"
                        "try:\n"
                        "    for count in range(2000):\n"
                        "        threading.Thread(target=stop.wait, daemon=True).start()\n"
                        "except RuntimeError: pass\n"
                        "stop.set()\n"
                        "if count > 256: won.append(count)\n", 0);
}

static void memory_bomb(void **state) {
    (void)state;
    w.task->limits.memory_mb = 500;
    attack_ends("x = []\nwhile True: x.append(bytearray(b'1' * (4 << 20)))\n",
                MLA_OUTCOME_OUT_OF_MEMORY, 0.5, "stopped at its memory limit of 500 MB");
    w.task->limits.memory_mb = 500;
    attack_ends("import os, time\n"
                "for i in range(6):\n"
                "    if os.fork() == 0:\n"
                "        x = bytearray(b'1') * (100 << 20); time.sleep(60)\n"
                "time.sleep(60)\n", MLA_OUTCOME_OUT_OF_MEMORY, 0.5, "memory limit");
}

static void memory_in_the_kernel(void **state) {
    (void)state;
    attack_wins_nothing("call('memfd_create', 319, b'x', 0)\n"
                        "call('shmget', 29, 0, 1 << 28, 0o1600)\n"
                        "call('msgget', 68, 0, 0o1600)\n"
                        "import resource\n"
                        "if resource.getrlimit(resource.RLIMIT_MSGQUEUE)[1]: won.append('mq')\n",
                        3);
}

// A full disk is the script's own error, and takes nothing of the host's.
static void disk_bomb(void **state) {
    (void)state;
    attack_ends("f = open('big', 'wb')\nfor i in range(600): f.write(bytes(1 << 20))\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "OSError");
    w.task->limits.memory_mb = 1200;
    attack_ends("n = 0\n"
                "while True:\n"
                "    n += 1\n"
                "    with open(f'{n}', 'wb') as f:\n"
                "        for i in range(100): f.write(bytes(1 << 20))\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "No space left on device");
    w.task->limits.memory_mb = 1200;
    attack_ends("import os\n"       // files without names
                "held = []\n"
                "while True:\n"
                "    held.append(open('x', 'wb', 0)); os.remove('x')\n"
                "    for i in range(100): held[-1].write(bytes(1 << 20))\n"
                "    if os.fstat(held[-1].fileno()).st_size < 100 << 20: raise OSError('cut')\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "OSError");
}

static void inode_bomb(void **state) {
    (void)state;
    attack_ends("n = 0\nwhile True:\n    open(f'f{n}', 'w').close(); n += 1\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "No space left on device");
    attack_ends("import os\nwhile True:\n    os.mkdir('d'); os.chdir('d')\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "OSError");
    attack_ends("n = 0\nwhile True:\n    open(f'/tmp/f{n}', 'w').close(); n += 1\n",
                MLA_OUTCOME_SCRIPT_ERROR, 0, "No space left on device");
}

static void huge_files(void **state) {
    (void)state;
    attack_ends("open('x', 'wb').truncate(1 << 40)\n", MLA_OUTCOME_SCRIPT_ERROR, 0, "OSError");
    attack_ends("open('submission.csv', 'wb').truncate(200 << 20)\n", MLA_OUTCOME_BAD_SUBMISSION, 0,
                "the file is too large");
    attack_ends("open('submission.csv', 'w').write('id,y\\n' + '1,0\\n' * 5000000)\n",
                MLA_OUTCOME_BAD_SUBMISSION, 0, "cannot be scored");
}

static void descriptor_flood(void **state) {
    (void)state;
    attack_wins_nothing("held = []\n"
                        "try:\n"
                        "    while len(held) < 5000: held.extend(os.pipe())\n"
                        "except OSError: pass\n"
                        "if len(held) > 1024: won.append(len(held))\n"
                        "for fd in held: os.close(fd)\n", 0);
}

static void output_flood(void **state) {
    (void)state;
    char *flood = mla_format("import sys\nsys.stdout.write('x' * (50 << 20))\n%s", train_py);
    attack_ends(flood, MLA_OUTCOME_OK, 0.5, "Score: 0.75");
    free(flood);
    w.task->limits.seconds = 0.5;
    attack_ends("while True: print('y' * 1000)\n", MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
    attack_ends("import os\n"
                "os.write(1, bytes(range(256)) * 1000)\n"
                "os.write(2, b'\\xff\\x00\\x1b[2J')\n",
                MLA_OUTCOME_NO_SUBMISSION, 0, "no submission.csv");
}

static void sleep_forever(void **state) {
    (void)state;
    w.task->limits.seconds = 0.5;
    attack_ends("import signal, time\n"
                "for s in range(1, 32):\n"
                "    try: signal.signal(s, signal.SIG_IGN)\n"
                "    except (OSError, ValueError): pass\n"
                "while True:\n"
                "    try: time.sleep(100)\n"
                "    except BaseException: pass\n", MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
}

static void a_clock_of_its_own(void **state) {
    (void)state;
    w.task->limits.seconds = 0.5;
    attack_ends("import signal, time, datetime, resource\n"
                "time.time = time.monotonic = time.perf_counter = lambda: 0\n"
                "signal.alarm(0)\n"
                "try: time.clock_settime(time.CLOCK_REALTIME, 0)\n"
                "except OSError: pass\n"
                "open('task.yaml', 'w').write('limits: {seconds: 9999}')\n"
                "while True: pass\n", MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
    attack_flagged(MLA_FLAG_TOUCHED_EVALUATION);
}

static void daemons(void **state) {
    (void)state;
    static const char code[] =
        DAEMONS("            while True:\n"
                "                open('submission.csv', 'a').write('1,1\\n'); time.sleep(.01)\n");
    attack_ends(code, MLA_OUTCOME_BAD_SUBMISSION, 0, "cannot be scored");
    w.task->limits.seconds = 0.5;
    char *waiting = mla_format("%stime.sleep(60)\n", code);
    attack_ends(waiting, MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
    free(waiting);
}

static void zombies(void **state) {
    (void)state;
    attack_ends("import os\n"
                "for i in range(200):\n"
                "    if os.fork() == 0: os._exit(0)\n", MLA_OUTCOME_NO_SUBMISSION, 0, "wrote no");
}

static void limits_are_not_to_be_raised(void **state) {
    (void)state;
    attack_wins_nothing(
        "import resource\n"
        "for name in ('NPROC', 'NOFILE', 'FSIZE', 'CPU', 'CORE', 'MSGQUEUE'):\n"
        "    which = getattr(resource, 'RLIMIT_' + name)\n"
        "    def more(which=which):\n"
        "        try: resource.setrlimit(which, (resource.RLIM_INFINITY,) * 2)\n"
        "        except ValueError as e: raise OSError(e)\n"
        "    attempt(name, more)\n"
        "attempt('oom', lambda: write('/proc/self/oom_score_adj', '-1000'))\n"
        "attempt('nice', lambda: os.nice(-5))\n"
        "attempt('cgroup', lambda: os.listdir('/sys/fs/cgroup'))\n"
        "call('mount', 165, b'none', b'/tmp', b'tmpfs', 32, b'size=100%')\n", 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ATTACK(fork_bomb), ATTACK(thread_bomb), ATTACK(memory_bomb), ATTACK(memory_in_the_kernel),
        ATTACK(disk_bomb), ATTACK(inode_bomb), ATTACK(huge_files), ATTACK(descriptor_flood),
        ATTACK(output_flood), ATTACK(sleep_forever), ATTACK(a_clock_of_its_own), ATTACK(daemons),
        ATTACK(zombies), ATTACK(limits_are_not_to_be_raised),
    };
    return attack_run(tests, "attack_resources");
}
