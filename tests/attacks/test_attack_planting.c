// Scripts that leave something for the next run, or for the warm Python that it is forked from:
// files, modules, imports, threads, environment, settings. The next run finds a fresh world.
// (T6, T12, T18.)
#include "attack_fixture.h"

// Runs `plant`, then `look` from the starting state, which must print only "clean".
static void planting(const char *plant, const char *look) {
    char *first = mla_format("%s%s", attack_prelude, plant);
    attack_edit(&w.start, first);
    if (w.step.outcome != MLA_OUTCOME_NO_SUBMISSION) {      // the one that was planted, or none
        attack_expect(&w.step, MLA_OUTCOME_BAD_SUBMISSION, 0, "");
    }
    free(first);
    char *second = mla_format("%sfound = []\n%sprint('clean' if not found else found)\n",
                              attack_prelude, look);
    unsigned flags = w.flags;                                // of the planting
    attack_expect(attack_edit(&w.start, second), MLA_OUTCOME_NO_SUBMISSION, 0, "\n| clean");
    free(second);
    attack_leaves_no_trace();
    w.flags = flags;
}

static void files(void **state) {
    (void)state;
    planting("for d in ('.', '/tmp', '/dev/shm', os.environ['HOME']):\n"
             "    for f in ('planted', '.planted', 'submission.csv', 'numpy.py', 'train.pyc'):\n"
             "        write(os.path.join(d, f))\n"
             "os.makedirs('/tmp/planted.d'); os.makedirs('planted.d/deep')\n",
             "for d in ('.', '/tmp', '/dev/shm', os.environ['HOME']):\n"
             "    found += [d + '/' + f for f in os.listdir(d)]\n"
             "found = sorted(set(found) - {'./train.py', './data'})\n");
}

static void places_outside_the_workspace(void **state) {
    (void)state;
    attack_wins_nothing("for d in ('/', '/dev', '/mla', '/root', '/var', '/home', '/run',\n"
                        "          '/dev/pts',\n"
                        "          '/mla/data', '/usr', '/usr/lib', '/proc', '/etc', sys.prefix,\n"
                        "          os.path.dirname(os.__file__), "
                        "os.path.dirname(ctypes.__file__)):\n"
                        "    attempt(d, lambda: write(d + '/planted'))\n", 16);
    attack_flagged(MLA_FLAG_READ_OUTSIDE);
}

static void imports(void **state) {
    (void)state;
    planting("import site, py_compile\n"
             "code = 'raise SystemExit(9)'\n"
             "dirs = ['.', '/tmp', site.getusersitepackages(), '/tmp/lib/python3/site-packages']\n"
             "for d in dirs:\n"
             "    os.makedirs(d, exist_ok=True)\n"
             "    for f in ('sitecustomize', 'usercustomize', 'numpy', 'csv', 'pandas', "
             "'random'):\n"
             "        write(f'{d}/{f}.py', code)\n"
             "        py_compile.compile(f'{d}/{f}.py')\n"
             "    write(d + '/evil.pth', 'import os; os._exit(9)\\n')\n"
             "os.makedirs('sklearn/metrics'); write('sklearn/__init__.py', code)\n"
             "os.environ['PYTHONPATH'] = '/tmp'; os.environ['PYTHONSTARTUP'] = '/tmp/numpy.py'\n"
             "os.environ['PYTHONHOME'] = '/tmp'; os.environ['LD_PRELOAD'] = '/tmp/evil.so'\n",
             "import subprocess, csv, random, numpy, pandas, sklearn.metrics, glob\n"
             "found += [m.__file__ for m in (csv, random, numpy, pandas, sklearn.metrics)\n"
             "          if m.__file__.startswith(('/tmp', '/mla'))]\n"
             "found += [k for k in os.environ if k in ('PYTHONPATH', 'PYTHONHOME', 'LD_PRELOAD')]\n"
             "found += [p for p in sys.path if p.startswith(('/tmp', '/mla')) and p != "
             "'/mla/workspace']\n"
             "if 'sitecustomize' in sys.modules and 'site-packages' not in "
             "str(sys.modules['sitecustomize'].__file__): found.append('sitecustomize')\n"
             "child = subprocess.run([sys.executable, '-c', 'import numpy, csv; print(1)'],\n"
             "                       capture_output=True, text=True)\n"
             "if child.stdout != '1\\n': found.append(child.stderr)\n"
             "found += glob.glob('**/*.pyc', recursive=True) + glob.glob('/tmp/**', "
             "recursive=True)[1:]\n");
    attack_flagged(MLA_FLAG_TOUCHED_EVALUATION);
}

// The files of a state are its own: what shadows a package in the workspace shadows nothing that
// the warm Python has imported, and is gone with the run.
static void patched_modules(void **state) {
    (void)state;
    planting("import numpy, builtins, csv, json, random, pandas, sklearn.metrics as m, types\n"
             "numpy.mean = lambda *a: 42; builtins.len = lambda x: 7; time.time = lambda: 0\n"
             "csv.DictReader = None; m.accuracy_score = lambda *a: 1\n"
             "sys.modules['evil'] = types.ModuleType('evil'); sys.modules['json'] = None\n"
             "pandas.DataFrame.to_csv = lambda *a, **k: None\n"
             "sys.path.insert(0, '/tmp'); sys.meta_path.insert(0, None); sys.path_hooks.clear()\n"
             "builtins.open = None; builtins.__import__ = None\n",
             "import numpy, csv, json, pandas, sklearn.metrics as m\n"
             "if numpy.mean([1, 3]) != 2 or len('ab') != 2 or time.time() < 1: "
             "found.append('patched')\n"
             "if m.accuracy_score([0], [1]) != 0: found.append('metric')\n"
             "if not csv.DictReader or not pandas.DataFrame({'a': [1]}).to_csv(): "
             "found.append('csv')\n"
             "if 'evil' in sys.modules or '/tmp' in sys.path: found.append('module')\n");
    attack_flagged(MLA_FLAG_TOUCHED_EVALUATION);
}

static void settings(void **state) {
    (void)state;
    planting("import atexit, gc, random, resource, signal, threading, warnings\n"
             "os.environ['PLANTED'] = 'yes'; os.chdir('/tmp'); os.umask(0o777)\n"
             "sys.setrecursionlimit(50000); gc.disable(); warnings.simplefilter('ignore')\n"
             "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.alarm(1000)\n"
             "signal.setitimer(signal.ITIMER_REAL, 1)\n"
             "random.seed(99); threading.stack_size(1 << 20)\n"
             "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
             "atexit.register(lambda: write('/tmp/late'))\n"
             "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.nice(19)\n"
             "libc.prctl(15, b'planted', 0, 0, 0); sys.settrace(None); sys.argv.append('evil')\n"
             "sys.excepthook = None; sys.stdout.write('x')\n",
             "import gc, random, resource, signal, threading\n"
             "if 'PLANTED' in os.environ or os.getcwd() != '/mla/workspace': found.append('env')\n"
             "if os.umask(0) == 0o777 or sys.getrecursionlimit() > 2000: found.append('limits')\n"
             "if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL: found.append('signal')\n"
             "if signal.alarm(0) or not gc.isenabled(): found.append('alarm')\n"
             "if threading.active_count() != 1 or threading.stack_size(): found.append('thread')\n"
             "if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1024: found.append('files')\n"
             "if os.nice(0) == 19 or sys.argv != ['train.py']: found.append('nice')\n"
             "a = random.random(); random.seed(99)\n"
             "if a == random.random(): found.append('seed')\n"
             "if 'planted' in open('/proc/self/comm').read(): found.append('name')\n");
}

static void shared_memory(void **state) {
    (void)state;
    planting("import fcntl, multiprocessing.shared_memory as s\n"
             "m = s.SharedMemory('planted', create=True, size=100); m.buf[0] = 7\n"
             "f = open('/tmp/lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
             "os.mkfifo('/tmp/pipe')\n"
             "for name, nr, *args in (('shmget', 29, 77, 4096, 0o1666),\n"
             "                        ('msgget', 68, 77, 0o1666),\n"
             "                        ('semget', 64, 77, 1, 0o1666)): call(name, nr, *args)\n",
             "import multiprocessing.shared_memory as s\n"
             "attempt('shm', lambda: s.SharedMemory('planted'))\n"
             "call('semget', 64, 77, 1, 0)\n"
             "found = won + os.listdir('/tmp') + os.listdir('/dev/shm')\n");
}

// A planted pickle or model is gone, and so cannot be loaded; nor can another task's run find it.
static void pickles_for_another_task(void **state) {
    (void)state;
    planting("import pickle\n"
             "class Evil:\n"
             "    def __reduce__(self): return os.system, ('touch /tmp/owned',)\n"
             "for path in ('model.pkl', '/tmp/model.pkl', '/dev/shm/model.pkl'):\n"
             "    with open(path, 'wb') as f: pickle.dump(Evil(), f)\n",
             "found += [p for p in ('model.pkl', '/tmp/model.pkl', '/dev/shm/model.pkl', "
             "'/tmp/owned')\n"
             "          if os.path.exists(p)]\n");
}

// What a script writes over its own files is not in the state that comes after it.
static void a_script_that_rewrites_itself(void **state) {
    (void)state;
    mla_state honest = w.start;
    honest.score = honest.best = ATTACK_HONEST;
    char *code = mla_format("%sopen('train.py', 'w').write('raise SystemExit(9)')\n"
                            "open('helper.py', 'w').write('x = 1')\n", train_py);
    attack_expect(attack_edit(&honest, code), MLA_OUTCOME_OK, 0.5, "Score: 0.75");
    free(code);
    mla_state after = w.step.state_after;
    attack_expect(attack_act(&after, "Execute Script", "{\"script_name\": \"train.py\"}"),
                  MLA_OUTCOME_OK, 0.5, "Score: 0.75");
    attack_act(&after, "List Files", "{\"dir_path\": \".\"}");
    assert_null(strstr(w.step.feedback, "helper.py"));
    attack_leaves_no_trace();
}

static void threads_that_outlive_the_script(void **state) {
    (void)state;
    w.task->limits.seconds = 0.6;
    attack_ends("import threading, time\n"
                "def late():\n    while True: time.sleep(1)\n"
                "threading.Thread(target=late).start()\n", MLA_OUTCOME_TIME_OUT, 0.5, "time limit");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ATTACK(files), ATTACK(places_outside_the_workspace), ATTACK(imports),
        ATTACK(patched_modules), ATTACK(settings), ATTACK(shared_memory),
        ATTACK(pickles_for_another_task), ATTACK(a_script_that_rewrites_itself),
        ATTACK(threads_that_outlive_the_script),
    };
    return attack_run(tests, "attack_planting");
}
