// The packages of a task's requirements.txt: installed once, beside the venv's own, whole or not at
// all. A wheel made here and a venv made here stand for PyPI's and the home's.
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc.h"
#include "task/prepare.h"
#include "task_fixture.h"
#include "toy_task.h"

static const char make_wheel[] =
    "import sys, zipfile\n"
    "info = 'toywheel-1.0.dist-info/'\n"
    "with zipfile.ZipFile(sys.argv[1] + '/toywheel-1.0-py3-none-any.whl', 'w') as wheel:\n"
    "    wheel.writestr('toywheel.py', 'ANSWER = 42\\n')\n"
    "    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: toywheel\\n'\n"
    "                   'Version: 1.0\\n')\n"
    "    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\n'\n"
    "                   'Root-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
    "    wheel.writestr(info + 'RECORD', 'toywheel.py,,\\n' + info + 'RECORD,,\\n')\n";

// Makes the data that the toy task has.
static const char prepare_py[] =
    "import pathlib, sys\n"
    "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
    "(out / 'public').mkdir()\n"
    "rows = range(1, 9)\n"
    "(out / 'public/train.csv').write_text('id,x,y\\n9,1,0\\n')\n"
    "(out / 'public/test.csv').write_text('id,x\\n' + ''.join(f'{i},{i}\\n' for i in rows))\n"
    "(out / 'public/sample_submission.csv').write_text(\n"
    "    'id,y\\n' + ''.join(f'{i},0\\n' for i in rows))\n"
    "(out / 'answers.csv').write_text('id,y,half\\n' + ''.join(\n"
    "    f'{i},{int(i > 4)},{\"public\" if i % 2 else \"private\"}\\n' for i in rows))\n";

static void must_run(char *const argv[]) {
    mla_err err = {0};
    mla_buf output;
    mla_buf_init(&output, 1 << 16);
    mla_proc_result result;
    if (mla_proc_run(argv, NULL, NULL, 60, &output, &result, &err) < 0) fail_msg("%s", err.text);
    if (result.exit_code) fail_msg("%s", mla_buf_text(&output));
    mla_buf_clear(&output);
}

typedef struct place {
    fixture f;
    char *python;       // of a venv of the test's own, with the packages of the home's
    char *wheels;       // the folder of the task's packages
} place;

// A venv whose packages are those of the home's.
static char *make_venv(const fixture *f) {
    char *real = toy_python(), *venv = mla_fs_join(f->root, "venv");
    char *argv[] = {real, "-c",
                    "import pathlib, sys\n"
                    "venv = pathlib.Path(sys.argv[1])\n"
                    "(venv / 'bin').mkdir(parents=True)\n"
                    "(venv / 'bin/python').symlink_to(pathlib.Path(sys.executable).resolve())\n"
                    "(venv / 'lib').symlink_to(pathlib.Path(sys.prefix, 'lib'))\n"
                    "(venv / 'pyvenv.cfg').write_text(\n"
                    "    pathlib.Path(sys.prefix, 'pyvenv.cfg').read_text())\n", venv, NULL};
    must_run(argv);
    char *python = mla_fs_join(venv, "bin/python");
    free(venv);
    free(real);
    return python;
}

static void list_packages(const place *p, const char *text) {
    fixture_write(p->f.dir, "requirements.txt", text);
}

static mla_task *load(const place *p) {
    mla_err err = {0};
    mla_task *task = mla_task_load(p->f.dir, p->f.home, false, &err);
    if (!task) fail_msg("%s", err.text);
    return task;
}

static void begin(place *p) {
    fixture_begin(&p->f);
    toy_write(&p->f);
    char *version = mla_fs_join(p->f.home, "versions/toy.json");
    unlink(version);
    free(version);
    fixture_write(p->f.dir, "prepare.py", prepare_py);
    p->python = make_venv(&p->f);
    char *argv[] = {p->python, "-c", (char *)make_wheel, p->f.root, NULL};
    must_run(argv);
    char *list = mla_format("# a comment\n%s/toywheel-1.0-py3-none-any.whl\n", p->f.root);
    list_packages(p, list);
    free(list);
    mla_task *task = load(p);
    p->wheels = mla_task_wheels_dir(task, p->python);
    mla_task_free(task);
}

static void end(place *p) {
    free(p->wheels);
    free(p->python);
    fixture_end(&p->f);
}

static bool has(const char *dir, const char *name) {
    char *path = mla_fs_join(dir, name);
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

static void must_prepare(const place *p, int wanted) {
    mla_err err = {0};
    int rc = mla_task_prepare(p->f.dir, p->f.home, p->python, &err);
    if (rc < 0) fail_msg("%s", err.text);
    assert_int_equal(rc, wanted);
}

static void must_fail(const place *p, const char *python, const char *says) {
    mla_err err = {0};
    assert_int_equal(mla_task_prepare(p->f.dir, p->f.home, python, &err), -1);
    if (!strstr(err.text, says)) fail_msg("'%s', not '%s'", err.text, says);
    assert_null(strchr(err.text, '\n'));
}

static void they_are_installed_once_beside_the_venvs_own(void **state) {
    (void)state;
    place p;
    begin(&p);
    char *venv = mla_fs_join(p.f.root, "venv/wheels/");
    assert_memory_equal(p.wheels, venv, strlen(venv));
    must_prepare(&p, 1);
    assert_true(has(p.wheels, "toywheel.py"));
    must_prepare(&p, 0);
    // Its data is there, but a venv that was made anew has lost them.
    mla_err err = {0};
    assert_int_equal(mla_fs_remove_tree(p.wheels, &err), 0);
    must_prepare(&p, 1);
    assert_true(has(p.wheels, "toywheel.py"));
    free(venv);
    end(&p);
}

static void what_an_interrupted_one_left_is_replaced(void **state) {
    (void)state;
    place p;
    begin(&p);
    char *part = mla_format("%s.part", p.wheels);
    fixture_write(part, "toywheel.py", "half of it");
    must_prepare(&p, 1);
    assert_false(mla_fs_exists(part));
    char *path = mla_fs_join(p.wheels, "toywheel.py");
    mla_buf text;
    mla_err err = {0};
    assert_int_equal(mla_fs_read(path, 1000, &text, &err), 0);
    assert_string_equal(mla_buf_text(&text), "ANSWER = 42\n");
    mla_buf_clear(&text);
    free(path);
    free(part);
    end(&p);
}

static void what_cannot_be_installed_leaves_nothing(void **state) {
    (void)state;
    place p;
    begin(&p);
    list_packages(&p, "/nowhere/absent-1.0-py3-none-any.whl\n");
    mla_task *task = load(&p);
    char *wheels = mla_task_wheels_dir(task, p.python), *part = mla_format("%s.part", wheels);
    assert_string_not_equal(wheels, p.wheels);
    must_fail(&p, p.python, "cannot install /nowhere/absent-1.0-py3-none-any.whl of ");
    assert_false(mla_fs_exists(wheels));
    assert_false(mla_fs_exists(part));
    assert_false(has(p.f.home, "versions/toy.json"));
    assert_false(has(p.f.home, "staging/toy"));
    free(part);
    free(wheels);
    mla_task_free(task);
    end(&p);
}

static void they_are_put_into_a_venv_only(void **state) {
    (void)state;
    place p;
    begin(&p);
    char bare[4096];
    ssize_t n = readlink(p.python, bare, sizeof bare - 1);
    assert_true(n > 0);
    bare[n] = '\0';
    must_fail(&p, bare, "is no venv");
    end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_installed_once_beside_the_venvs_own),
        cmocka_unit_test(what_an_interrupted_one_left_is_replaced),
        cmocka_unit_test(what_cannot_be_installed_leaves_nothing),
        cmocka_unit_test(they_are_put_into_a_venv_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
