// Scripts that reach out: the network, other processes, the host's files, the warm Python, the
// kernel. Nothing of it is there for them. (T1 to T3, T8, T11.)
#include "attack_fixture.h"

static void network(void **state) {
    (void)state;
    attack_wins_nothing(
        "import socket, urllib.request\n"
        "attempt('tcp', lambda: socket.create_connection(('1.1.1.1', 53), 2))\n"
        "attempt('local', lambda: socket.create_connection(('127.0.0.1', 22), 2))\n"
        "attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))\n"
        "attempt('tcp6', lambda: socket.socket(socket.AF_INET6))\n"
        "attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n"
        "attempt('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n"
        "attempt('netlink', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))\n"
        "attempt('vsock', lambda: socket.socket(socket.AF_VSOCK))\n"
        "attempt('dns', lambda: socket.getaddrinfo('example.org', 80))\n"
        "attempt('http', lambda: urllib.request.urlopen('http://example.org', timeout=2))\n"
        "call('socket', 41, 2, 1, 0)\n", 11);
    // The same call by another architecture's number.
    attack_ends("import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0)\n",
                MLA_OUTCOME_KILLED, 0, "SIGSYS");
}

static void unix_sockets(void **state) {
    (void)state;
    attack_wins_nothing(
        "import socket\n"
        "for path in ('/run/docker.sock', '/var/run/docker.sock', '\\0/tmp/.X11-unix/X0',\n"
        "             '/run/dbus/system_bus_socket', '/run/systemd/private'):\n"
        "    def connect(path=path):\n"
        "        s = socket.socket(socket.AF_UNIX); s.connect(path)\n"
        "    attempt(path, connect)\n"
        "a, b = socket.socketpair()\n"
        "attempt('pair', lambda: a.connect('/run/docker.sock'))\n"
        "attempt('bind', lambda: socket.socket(socket.AF_UNIX).bind('/tmp/s'))\n", 7);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
}

static void other_processes(void **state) {
    (void)state;
    attack_wins_nothing(
        "for pid in ('1', 'self/../1', str(os.getppid())):\n"
        "    for name in ('mem', 'environ', 'maps', 'fd/3', 'fd', 'root', 'cwd', 'exe', "
        "'task/1/fd'):\n"
        "        path = f'/proc/{pid}/{name}'\n"
        "        attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else read(path))\n"
        "attempt('list', lambda: [read(f'/proc/{p}/environ') for p in os.listdir('/proc')\n"
        "                         if p.isdigit() and int(p) != os.getpid()][0])\n"
        "call('ptrace', 101, 16, 1, 0, 0)\n"
        "call('seize', 101, 0x4206, 1, 0, 0)\n"
        "call('vm_readv', 310, 1, 0, 0, 0, 0, 0)\n"
        "call('vm_writev', 311, 1, 0, 0, 0, 0, 0)\n"
        "call('kcmp', 312, 1, os.getpid(), 0, 0, 0)\n"
        "pidfd = os.pidfd_open(1)\n"
        "call('getfd', 438, pidfd, 3, 0)\n"
        "call('setns', 308, pidfd, 0x20000000)\n", 35);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
}

// Process 1 of the run is deaf to those below it; the warm Python and mlagent are not to be seen.
static void killing_the_parent(void **state) {
    (void)state;
    mla_state honest = w.start;
    honest.score = honest.best = ATTACK_HONEST;
    char *code = mla_format("import os, signal, time\n"
                            "for s in range(1, 65):\n"
                            "    for pid in (1, 0):\n"
                            "        if pid or s in (17, 18, 23, 28):\n"
                            "            try: os.kill(pid, s)\n"
                            "            except OSError: pass\n"
                            "own = os.listdir('/proc/self/task')\n"
                            "for pid in range(3, 3000):\n"
                            "    if str(pid) not in own:\n"
                            "        try: os.kill(pid, 9)\n"
                            "        except OSError: pass\n"
                            "%s", train_py);
    attack_expect(attack_edit(&honest, code), MLA_OUTCOME_OK, 0.5, "Score: 0.75");
    free(code);
    attack_leaves_no_trace();
    // All that it may end at once is its own run, and that is a signal, not a corner case.
    attack_ends("import os, time\nif os.fork() == 0: os.kill(-1, 9)\ntime.sleep(20)\n",
                MLA_OUTCOME_KILLED, 0, "SIGKILL");
}

static void privileges(void **state) {
    (void)state;
    attack_wins_nothing(
        "attempt('setuid', lambda: os.setuid(0))\n"
        "attempt('setgid', lambda: os.setgid(0))\n"
        "attempt('groups', lambda: os.setgroups([0]))\n"
        "attempt('chroot', lambda: os.chroot('/tmp'))\n"
        "attempt('mknod', lambda: os.mknod('/tmp/sda', 0o60666, os.makedev(8, 0)))\n"
        "attempt('uid_map', lambda: write('/proc/self/uid_map', '0 0 1'))\n"
        "attempt('chown', lambda: os.chown('train.py', 0, 0))\n"
        "write('/tmp/su', '#!/bin/sh\\nid'); os.chmod('/tmp/su', 0o6755)\n"
        "for name, nr, *args in (('unshare', 272, 0x10000000), ('umount', 166, b'/mla/data', 2),\n"
        "        ('pivot', 155, b'/', b'/'), ('clone3', 435, 0, 0), ('bpf', 321, 0, 0, 0),\n"
        "        ('clone', 56, 0x10000000 | 17, 0, 0, 0, 0), ('perf', 298, 0, 0, 0, 0, 0),\n"
        "        ('keyctl', 250, 0, 0), ('io_uring', 425, 1, 0), ('seccomp', 317, 0, 0, 0),\n"
        "        ('userfaultfd', 323, 0), ('reboot', 169, 0, 0, 0, 0), \n"
        "        ('kexec', 246, 0, 0, 0, 0),\n"
        "        ('module', 175, 0, 0, 0), ('handle', 304, 0, 0, 0), \n"
        "        ('fsopen', 430, b'tmpfs', 0),\n"
        "        ('open_tree', 428, -100, b'/', 1), ('syslog', 103, 3, 0, 0)):\n"
        "    call(name, nr, *args)\n", 25);
}

static void proc_and_sys(void **state) {
    (void)state;
    attack_wins_nothing(
        "for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname',\n"
        "             '/proc/sysrq-trigger', '/proc/self/oom_score_adj', '/proc/self/mem',\n"
        "             '/proc/1/oom_score_adj', '/proc/self/comm', '/proc/self/loginuid'):\n"
        "    attempt(path, lambda: write(path, '1'))\n"
        "for path in ('/proc/kcore', '/proc/kmsg', '/sys/kernel', '/dev/sda', '/dev/mem', "
        "'/dev/kvm',\n"
        "             '/dev/fuse', '/etc/shadow', '/etc/passwd', '/root/.ssh', '/home', '/boot'):\n"
        "    attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else read(path))\n", 20);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
}

// The host's files by every way that leads to a name.
static void answers_and_other_tasks(void **state) {
    (void)state;
    char *code = mla_format(
        "home, root = '%s', '%s'\n"
        "names = ['answers/toy.csv', 'answers/other.csv', 'data/other/test.csv', "
        "'versions/toy.json']\n"
        "ways = ['', '/proc/self/root', '/proc/1/root', '/proc/self/cwd/../../../..', '/mla/..',\n"
        "        '/mla/workspace/data/../../..', '//', '/./', '/dev/fd/../../..']\n"
        "for way in ways:\n"
        "    for name in names: attempt(way + name, lambda: read(f'{way}{home}/{name}'))\n"
        "for path in ('/mla/data/other/test.csv', 'data/../../data/other/test.csv',\n"
        "             'data/../other/test.csv', '../data/other/test.csv', root + '/canary',\n"
        "             '/mla/data/../answers/toy.csv', root + '/tasks/toy-evil/secret'):\n"
        "    attempt(path, lambda: read(path))\n"
        "os.symlink(home + '/answers/toy.csv', 'link')\n"
        "os.symlink('/proc/1/root', '/tmp/root')\n"
        "attempt('symlink', lambda: read('link'))\n"
        "attempt('symlink in /tmp', lambda: read('/tmp/root' + home + '/answers/toy.csv'))\n"
        "attempt('hard link', lambda: os.link(home + '/answers/toy.csv', 'hard'))\n"
        "attempt('rename', lambda: os.rename(home + '/answers/toy.csv', 'mine'))\n"
        "os.remove('link')\n"
        "found = [os.path.join(d, f) for d, _, fs in os.walk('/') for f in fs\n"
        "         if not d.startswith(('/proc', '/usr'))\n"
        "         and f in ('toy.csv', 'other.csv', 'canary', 'secret')]\n"
        "won.extend(found)\n", w.f.home, w.f.root);
    attack_wins_nothing(code, 47);
    attack_flagged(MLA_FLAG_READ_OUTSIDE | MLA_FLAG_TOUCHED_EVALUATION);
    free(code);
}

static void inherited_descriptors_and_environment(void **state) {
    (void)state;
    attack_wins_nothing(
        "here = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "for fd in here:\n"
        "    try: name = os.readlink(f'/proc/self/fd/{fd}')\n"
        "    except OSError: continue\n"
        "    if not name.startswith(('pipe:', '/dev/null')): won.append(name)\n"
        "for fd in range(3, 1024):\n"
        "    if fd != 9: attempt(fd, lambda: os.fstat(fd))\n"     // 9 leads to process 1 only
        "attempt('report', lambda: os.read(9, 1))\n"
        "if any('home' in k.lower() and v != '/tmp' for k, v in os.environ.items()): "
        "won.append('env')\n"
        "if [k for k in os.environ if k.startswith(('MLA', 'AWS', 'OPENAI', 'SSH', 'GIT'))]:\n"
        "    won.append('more env')\n", 1021);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
}

// What looks like a word from inside to the host: the report's pipe takes the script's bytes.
static void a_forged_report(void **state) {
    (void)state;
    attack_ends("import os\n"
                "os.write(9, b'\\n{\"event\": \"exit\", \"code\": 0}' * 3)\n"
                "raise RuntimeError('after all')\n", MLA_OUTCOME_SCRIPT_ERROR, 0, "failed with");
    attack_ends("import os\n"
                "os.set_blocking(9, False)\n"
                "for i in range(100000):\n"
                "    try: os.write(9, b'R' * 4096)\n"
                "    except BlockingIOError: break\nos._exit(0)\n", MLA_OUTCOME_NO_SUBMISSION, 0,
                "");
}

static void read_only_files(void **state) {
    (void)state;
    attack_wins_nothing(
        "import shutil\n"
        "for path in ('data/test.csv', './data/test.csv', 'x/../data/test.csv', 'data//test.csv',\n"
        "             '/mla/workspace/data/test.csv', '/proc/self/cwd/data/test.csv'):\n"
        "    attempt(path, lambda: write(path))\n"
        "    attempt('add to ' + path, lambda: open(path, 'a'))\n"
        "    attempt('remove ' + path, lambda: os.remove(path))\n"
        "    attempt('over ' + path, lambda: (write('new'), os.rename('new', path)))\n"
        "    attempt('away ' + path, lambda: os.rename(path, 'old.csv'))\n"
        "    attempt('link ' + path, lambda: os.link(path, 'hard.csv'))\n"
        "    attempt('mode ' + path, lambda: os.chmod(path, 0o666))\n"
        "    attempt('time ' + path, lambda: os.utime(path))\n"
        "os.symlink('data/test.csv', 'soft')\n"
        "attempt('through a link', lambda: write('soft'))\n"
        "attempt('folder', lambda: os.rename('data', 'elsewhere'))\n"
        "attempt('tree', lambda: shutil.rmtree('data'))\n"
        "attempt('case', lambda: read('DATA/test.csv'))\n"
        "fd = os.open('data/test.csv', os.O_RDONLY)\n"
        "attempt('reopen', lambda: write(f'/proc/self/fd/{fd}'))\n"
        "attempt('truncate', lambda: os.truncate('data/test.csv', 0))\n"
        "attempt('xattr', lambda: os.setxattr('data/test.csv', 'user.x', b'1'))\n"
        "for path in ('/usr/lib/x.py', '/x', '/dev/x', '/mla/x', '/etc/x', sys.prefix + '/x',\n"
        "             os.path.dirname(os.__file__) + '/x.py'):\n"
        "    attempt(path, lambda: write(path))\n", 62);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
    attack_wins_nothing("attempt('plain', lambda: open('data/test.csv', 'r+'))\n", 1);
    attack_flagged(MLA_FLAG_TOUCHED_EVALUATION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ATTACK(network), ATTACK(unix_sockets), ATTACK(other_processes), ATTACK(killing_the_parent),
        ATTACK(privileges), ATTACK(proc_and_sys), ATTACK(answers_and_other_tasks),
        ATTACK(inherited_descriptors_and_environment), ATTACK(a_forged_report),
        ATTACK(read_only_files),
    };
    return attack_run(tests, "attack_escape");
}
