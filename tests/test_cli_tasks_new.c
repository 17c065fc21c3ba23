// What a person sees, and what is left behind, when data, scripts or the disk will not do: `tasks
// new` on CSV files of every kind, a prepare.py that writes them, a killed command, and a starter
// that crashes, by each command that would run it.
#include "command_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static fixture f;

// It ends with status 1, one line that has `what`, and the home as it was.
static void refused(const char *words, const char *what) {
    char *before = fixture_look(&f);
    mla_buf out = command_run(f.root, "exec", words, 1);
    const char *text = mla_buf_text(&out);
    if (!strstr(text, what)) fail_msg("%s: no \"%s\" in: %s", words, what, text);
    assert_int_equal(strncmp(text, "mlagent: ", 9), 0);
    assert_ptr_equal(strchr(text, '\n'), text + out.len - 1);
    char *after = fixture_look(&f);
    assert_string_equal(after, before);
    free(before);
    free(after);
    mla_buf_clear(&out);
}

static void made(const char *words) {
    mla_buf out = command_run(f.root, "exec", words, 0);
    assert_non_null(strstr(mla_buf_text(&out), "next: mlagent solve "));
    mla_buf_clear(&out);
}

// The toy is here with its data; folders that any `tasks new` makes are there.
static int begin(void **state) {
    (void)state;
    mla_err err;
    fixture_begin(&f);
    toy_write(&f);
    static const char *const folders[] = {"staging", "tasks"};
    for (size_t i = 0; i < MLA_COUNT(folders); i++) {
        char *path = mla_fs_join(f.home, folders[i]);
        assert_int_equal(mla_fs_mkdirs(path, &err), 0);
        free(path);
    }
    return 0;
}

static int end(void **state) {
    (void)state;
    fixture_end(&f);
    return 0;
}

// `rows` rows "i,i % 7,i % 2" with these line ends, `mark` in the second column's cells. Caller
// frees.
static char *table(const char *head, int rows, const char *mark, const char *end_of_line) {
    mla_buf text;
    mla_buf_init(&text, 1 << 20);
    mla_buf_printf(&text, "%s%s", head, end_of_line);
    for (int i = 0; i < rows; i++) {
        mla_buf_printf(&text, "%d,%s%d%s,%d%s", i, mark, i % 7, mark, i % 2, end_of_line);
    }
    return mla_buf_take(&text);
}

static void put(const char *name, char *take) {
    fixture_write(f.root, name, take);
    free(take);
}

static void files_that_spreadsheets_write_become_tasks(void **state) {
    (void)state;
    put("marked.csv", table("\xEF\xBB\xBF\"x\",\"a, \"\"b\"\"\",y", 90, "\"", "\r\n"));
    made("tasks new marked.csv --target y --metric accuracy");
    char *train = mla_fs_join(f.home, "data/marked/train.csv");
    mla_err err;
    mla_buf text;
    assert_int_equal(mla_fs_read(train, 1 << 20, &text, &err), 0);
    assert_int_equal(strncmp(text.data, "id,x,\"a, \"\"b\"\"\",y\n", 17), 0);
    assert_null(strchr(text.data, '\r'));
    mla_buf_clear(&text);
    free(train);
}

static void files_that_will_not_do_leave_nothing(void **state) {
    (void)state;
    put("good.csv", table("x,z,y", 90, "", "\n"));
    put("few.csv", table("x,z,y", 20, "", "\n"));
    put("latin.csv", table("x,z,y", 90, "\xE9", "\n"));
    refused("tasks new absent.csv --target y --metric accuracy", "absent.csv: is not there");
    refused("tasks new good.csv --target w --metric accuracy", "has no column 'w'; it has: 'x', ");
    refused("tasks new good.csv --target y --metric acuracy", "'acuracy' is not one of accuracy, ");
    refused("tasks new few.csv --target y --metric accuracy", "20 rows; a task needs at least 60");
    refused("tasks new latin.csv --target y --metric accuracy", "line 2 is not UTF-8; convert");
    refused("tasks new good.csv --target z --metric auc", "metric auc wants 0 or 1 in every row");
    refused("tasks new good.csv --target y --metric accuracy --home home --python ./nowhere/py #",
            "no interpreter at ./nowhere/py: run ./demo or scripts/setup, or name one with");
    // Sixty rows, of which few differ: only prepare.py finds out.
    mla_buf text;
    mla_buf_init(&text, 1 << 16);
    mla_buf_puts(&text, "x,y\n");
    for (int i = 0; i < 90; i++) mla_buf_printf(&text, "%d,%d\n", i % 9, i % 2);
    put("alike.csv", mla_buf_take(&text));
    refused("tasks new alike.csv --target y --metric accuracy",
            "task alike: prepare.py: only 9 rows differ in their features, and a task needs 60");
}

static void a_starter_that_crashes(void **state) {
    (void)state;
    put("mine/train.csv", table("x,z,y", 90, "", "\n"));
    fixture_write(f.root, "mine/train.py", "import nothing_there\n");
    refused("tasks new mine --target y --metric accuracy",
            "train.py fails in the sandbox: ModuleNotFoundError: No module named 'nothing_there'");
    fixture_write(f.dir, "env/train.py", "print(NOBODY)\n");
    mla_buf out = command_run(f.root, "exec", "tasks check toy --tasks tasks --run trial", 1);
    assert_non_null(strstr(mla_buf_text(&out), "toy: run: train.py: script error: NameError: name "
                                               "'NOBODY' is not defined; it must run in the"));
    mla_buf_clear(&out);
    out = command_run(f.root, "exec", "tasks list --tasks tasks", 0);
    assert_non_null(strstr(mla_buf_text(&out), "toy "));
    mla_buf_clear(&out);
}

// Writes the toy's files; what stands for `%s` may change their bytes.
static void write_prepare(const char *change) {
    char *text = mla_format(
        "import pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "ids = range(1, 9)\n"
        "files = {'train': b'id,x,y\\n' + b''.join(b'%%d,%%d,%%d\\n' %% (i + 8, i + 8, i > 4)\n"
        "                                          for i in ids),\n"
        "         'test': b'id,x\\n' + b''.join(b'%%d,%%d\\n' %% (i, i) for i in ids),\n"
        "         'sample_submission': b'id,y\\n' + b''.join(b'%%d,0\\n' %% i for i in ids),\n"
        "         '../answers': b'id,y,half\\n1,0,public\\n2,1,private\\n3,0,public\\n'\n"
        "                       b'4,0,private\\n5,1,public\\n6,1,private\\n7,1,public\\n'\n"
        "                       b'8,1,private\\n'}\n"
        "%s\n"
        "(out / 'public').mkdir()\n"
        "for name, data in files.items(): (out / 'public' / (name + '.csv')).write_bytes(data)\n",
        change);
    fixture_write(f.dir, "prepare.py", text);
    free(text);
}

static const struct {
    const char *change, *says;
} odd[] = {
    {"files['train'] += b'20,caf\\xe9,1\\n'", "train.csv: line 10 is not UTF-8; have prepare.py"},
    {"files['test'] = 'id,x\\n1,caf\\xe9\\n'.encode('latin-1')", "test.csv: line 2 is not UTF-8"},
    {"files['../answers'] += b'\\xff,1,public\\n'", "answers.csv: line 10 is not UTF-8"},
    {"files['test'] = files['test'].decode().encode('utf-16')", "line 1: the file is UTF-16"},
    {"files['train'] += b'20,3\\n'", "train.csv: line 10: 2 cells, but the header has 3"},
    {"files['test'] += b'9,1,2\\n'", "test.csv: line 10: 3 cells, but the header has 2"},
    {"files['train'] += b'20,\"open,1\\n'", "train.csv: line 10: a quoted cell is not closed"},
    {"files['train'] += b'20,a \"b\",1\\n'", "line 10: a quote inside a cell that does not begin"},
    {"files['test'] = files['test'].replace(b'\\n', b'\\r')", "a carriage return without a line"},
    {"files['test'] += b'9,' + b'x' * (1 << 20) + b'x\\n'", "line 10: a cell has more than 1 MB"},
    {"files['test'] += b'9,\\0\\n'", "test.csv: line 10: a NUL byte"},
    {"files['train'] = b''", "train.csv: is empty"},
};

// Refused in a line each; what was prepared before stays as it was.
static void odd_files_of_a_prepare_py(void **state) {
    (void)state;
    write_prepare("");
    mla_buf out = command_run(f.root, "exec", "tasks prepare toy --tasks tasks", 0);
    mla_buf_clear(&out);
    for (size_t i = 0; i < MLA_COUNT(odd); i++) {
        write_prepare(odd[i].change);
        refused("tasks prepare toy --tasks tasks", odd[i].says);
    }
}

// A byte order mark, CRLF, quotes with commas and line breaks in them, and a cell of nearly 1 MB.
static void unusual_files_of_a_prepare_py_will_do(void **state) {
    (void)state;
    write_prepare("for name in files:\n"
                  "    lines = files[name].decode().split('\\n')[:-1]\n"
                  "    more = ['note'] + ['\"a, \"\"b\"\"\\r\\nc\"'] * 7 + ['x' * 1048000]\n"
                  "    if name in ('train', 'test'):\n"
                  "        lines = [a + ',' + b for a, b in zip(lines, more)]\n"
                  "    files[name] = ('\\ufeff' + '\\r\\n'.join(lines)).encode()\n");
    char *script = with(train_py, "open('data/test.csv')",
                        "open('data/test.csv', newline='', encoding='utf-8-sig')");
    char *wide = with(script, "import csv\n", "import csv\ncsv.field_size_limit(1 << 20)\n");
    fixture_write(f.dir, "env/train.py", wide);
    mla_buf out = command_run(f.root, "exec", "tasks prepare toy --tasks tasks", 0);
    mla_buf_clear(&out);
    out = command_run(f.root, "exec", "tasks check toy --tasks tasks --run trial", 0);
    if (!strstr(mla_buf_text(&out), "toy: ok: starter 0.75")) fail_msg("%s", mla_buf_text(&out));
    mla_buf_clear(&out);
    free(wide);
    free(script);
}

// How many trials are in the home, and how many of them have come as far as to run the script.
static int trials(int *running) {
    char *staging = mla_fs_join(f.home, "staging"), **names;
    size_t n;
    mla_err err;
    assert_int_equal(mla_fs_list(staging, &names, &n, &err), 0);
    *running = 0;
    for (size_t i = 0; i < n; i++) {
        char *states = mla_format("%s/%s/states.git", staging, names[i]);
        *running += mla_fs_exists(states);
        free(states);
    }
    mla_fs_names_free(names, n);
    free(staging);
    return (int)n;
}

// `mlagent tasks new` of a script that never ends, once that runs.
static pid_t start_endless(void) {
    put("endless/train.csv", table("x,z,y", 90, "", "\n"));
    fixture_write(f.root, "endless/train.py", "import time\ntime.sleep(300)\n");
    char *self = mla_fs_self_dir(), *program = mla_format("%s/../mlagent", self);
    char *python = toy_python(), *source = mla_fs_join(f.root, "endless");
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(program, "mlagent", "tasks", "new", source, "--target", "y", "--metric", "accuracy",
              "--home", f.home, "--python", python, (char *)NULL);
        _exit(99);
    }
    int running = 0;
    for (int i = 0; i < 6000 && !running && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        usleep(10000);
        trials(&running);
    }
    assert_int_equal(running, 1);
    free(source);
    free(python);
    free(program);
    free(self);
    return pid;
}

// While its maker lives a trial is nobody's to clear; a killed one's goes with the next command.
static void what_a_killed_one_left_is_cleared(void **state) {
    (void)state;
    put("good.csv", table("x,z,y", 90, "", "\n"));
    static const char *const next[] = {"tasks new good.csv --target y --metric accuracy --force",
                                       "tasks prepare good --tasks home/tasks"};
    for (size_t i = 0; i < MLA_COUNT(next); i++) {
        int running;
        pid_t pid = start_endless();
        mla_buf out = command_run(f.root, "exec", next[i], 0);
        mla_buf_clear(&out);
        assert_int_equal(trials(&running), 1);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(trials(&running), 1);
        out = command_run(f.root, "exec", next[i], 0);
        mla_buf_clear(&out);
        assert_int_equal(trials(&running), 0);
    }
}

// The home is a file system of half a megabyte. Who may not make one cannot run scripts either.
static void a_full_disk_is_said_and_leaves_nothing(void **state) {
    (void)state;
    fixture_write(f.dir, "prepare.py",
                  "import os, sys\n"
                  "out = sys.argv[sys.argv.index('--out') + 1] + '/public'\n"
                  "os.makedirs(out)\n"
                  "with open(out + '/train.csv', 'w') as file: file.write('x' * 4000000)\n");
    char *before = mla_format("bwrap --bind / / --dev-bind /dev /dev --size 500000 --tmpfs %s/home "
                              "--chdir %s sh -c '\"$@\"; code=$?; find home -type f; exit $code' -",
                              f.root, f.root);
    mla_buf out = command_run(f.root, before, "tasks prepare toy --tasks tasks", 1);
    const char *text = mla_buf_text(&out);
    if (!strstr(text, "mlagent: task toy: prepare.py: OSError: [Errno 28] No space left on device; "
                      "free some space and run the same command again")) fail_msg("%s", text);
    assert_ptr_equal(strchr(text, '\n'), text + out.len - 1);       // no file is left
    mla_buf_clear(&out);
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_that_spreadsheets_write_become_tasks, begin, end),
        cmocka_unit_test_setup_teardown(files_that_will_not_do_leave_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_starter_that_crashes, begin, end),
        cmocka_unit_test_setup_teardown(odd_files_of_a_prepare_py, begin, end),
        cmocka_unit_test_setup_teardown(unusual_files_of_a_prepare_py_will_do, begin, end),
        cmocka_unit_test_setup_teardown(what_a_killed_one_left_is_cleared, begin, end),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said_and_leaves_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
