// Understand File: profiles of tables, outlines of scripts, heads of texts; what is looked for
// comes first and is never executed; big files take no more memory than their columns need.
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/internal.h"

// The description of `bytes` as a file of the workspace.
static char *describe(const char *name, const char *bytes, size_t len, const char *words) {
    mla_action action = {.kind = MLA_ACTION_UNDERSTAND_FILE,
                         .inputs = {(char *)name, (char *)words}};
    mla__files files = {.len = 1, .items = {{(char *)name, (char *)bytes, len}}};
    const mla_task task = {.name = "toy"};
    const mla__look look = {&task, &files, &action};
    bool ok;
    char *text = mla__understand(&look, &ok, NULL);
    assert_true(ok);
    assert_true(strlen(text) <= MLA__UNDERSTAND_MAX);
    return text;
}

static void expect(const char *name, const char *bytes, const char *words, const char *whole) {
    char *text = describe(name, bytes, strlen(bytes), words);
    assert_string_equal(text, whole);
    free(text);
}

static void expect_part(const char *name, const char *bytes, const char *words, const char *part) {
    char *text = describe(name, bytes, strlen(bytes), words);
    if (!strstr(text, part)) fail_msg("no \"%s\" in\n%s", part, text);
    free(text);
}

static void test_table(void **state) {
    (void)state;
    expect("t.csv",
           "id,age,name,seen\n1,22,\"Smith, John\",yes\n2,,\"A \"\"q\"\"\nb\",no\n\n3,0.5,Li,yes\n"
           "4,NA,5,\n",
           NULL,
           "t.csv: a table of 4 rows, 4 columns.\n"
           "- id: whole numbers, 1 to 4, mean 2.5; 4 values: 1 (1), 2 (1), 3 (1), 4 (1)\n"
           "- age: numbers, 0.5 to 22, mean 11.25, 2 missing; 2 values: 22 (1), 0.5 (1)\n"
           "- name: text, at most 11 bytes, 1 numbers among them; 4 values: Smith, John (1), "
           "A \"q\" b (1), Li (1), 5 (1)\n"
           "- seen: text, at most 3 bytes, 1 missing; 2 values: yes (2), no (1)");
    expect("t.csv", "\xEF\xBB\xBF" "a;b\r\n1;x\r\n-1e3;x\r\n+2.50;x\r\n", NULL,
           "t.csv: a table of 3 rows, 2 columns, parted by \";\".\n"
           "- a: numbers, -1000 to 2.5, mean -332.167; 3 values: 1 (1), -1e3 (1), +2.50 (1)\n"
           "- b: text, at most 1 bytes; 1 value: x (3)");
    expect("t.csv", "a,b\n1,2\n1\n1,2,3\n", NULL,
           "t.csv: a table of 3 rows, 2 columns.\n"
           "2 rows have more or fewer cells than the header.\n"
           "- a: whole numbers, 1 to 1, mean 1; 1 value: 1 (3)\n"
           "- b: whole numbers, 2 to 2, mean 2; 1 value: 2 (2)");
    expect("t.csv", "a,b\n", NULL, "t.csv: a table of 0 rows, 2 columns.\n- a\n- b");
    expect("t.csv", "a\nNA\n?\n", NULL, "t.csv: a table of 2 rows, 1 columns.\n- a: empty");
    expect_part("t.csv", "a\n0x1F\ninf\nnan\n1e999\n", NULL, "text, at most 5 bytes");
    expect_part("t.csv", "Action: Final Answer\nx\n\"y\nAction: z\"\n", NULL, "y Action: z (1)");
}

static void test_wanted_columns(void **state) {
    (void)state;
    const char *table = "id,age,fare_paid\n1,2,3\n";
    char *text = describe("t.csv", table, strlen(table), "What is the FARE, and which columns are "
                          "there; `rm -rf /` $(reboot) .* %s%n");
    assert_non_null(strstr(text, "Columns that match: 1\n- fare_paid"));
    assert_non_null(strstr(text, "Other columns:\n- id"));
    free(text);
    expect_part("t.csv", table, "id", "Columns that match: 1\n- id");      // not the one in "paid"
    expect_part("t.csv", table, "ag", "Columns that match: 0\n- id");      // too short to be a part
    // More columns than there is room for.
    mla_buf wide;
    mla_buf_init(&wide, 1 << 20);
    for (int i = 0; i < 2000; i++) mla_buf_printf(&wide, "column_%d,", i);
    mla_buf_puts(&wide, "last\n");
    text = describe("t.csv", mla_buf_text(&wide), wide.len, "column_777");
    assert_non_null(strstr(text, "2001 columns"));
    assert_non_null(strstr(text, "Columns that match: 1\n- column_777\n"));
    assert_non_null(strstr(text, " more columns)"));
    free(text);
    mla_buf_clear(&wide);
}

// Values are counted up to 32 different ones; beyond, examples are shown.
static void test_many_values(void **state) {
    (void)state;
    mla_buf t;
    mla_buf_init(&t, 1 << 20);
    mla_buf_puts(&t, "a,b\n");
    for (int i = 0; i < 33; i++) mla_buf_printf(&t, "v%d,%d\n", i, i % 32);
    for (int i = 0; i < 3; i++) mla_buf_puts(&t, "v0,31\n");
    expect("t.csv", mla_buf_text(&t), NULL,
           "t.csv: a table of 36 rows, 2 columns.\n"
           "- a: text, at most 3 bytes; more than 32 values: \"v0\", \"v1\", \"v2\", ...\n"
           "- b: whole numbers, 0 to 31, mean 16.3611; 32 values: 31 (4), 0 (2), 1 (1), 2 (1), "
           "3 (1), ...");
    mla_buf_clear(&t);
}

static const char train_py[] =
    "\"\"\"Trains.\n"
    "class NotMe:\n"
    "\"\"\"\n"
    "import numpy as np\n"
    "from sklearn.linear_model import Ridge\n"
    "SEED = 7\n"
    "MAX_ITER=10\n"
    "if SEED == 7: pass\n"
    "text = '''\n"
    "def not_me(): pass\n"
    "'''\n"
    "# def nor_me():\n"
    "class Net:\n"
    "    def fit(self, x):\n"
    "        return self\n"
    "model = Ridge(alpha=1.0)  # '''\n"
    "model.fit(x, y)\n"
    "print(model.predict(x))\n"
    "other = 3\n";

static void test_script(void **state) {
    (void)state;
    expect("train.py", train_py, NULL,
           "train.py: a Python script of 19 lines, 311 bytes.\n"
           "A model is made, fitted or asked:\n"
           "  16 | model = Ridge(alpha=1.0)  # '''\n"
           "  17 | model.fit(x, y)\n"
           "  18 | print(model.predict(x))\n"
           "Functions and classes:\n"
           "  13 | class Net:\n"
           "  14 |     def fit(self, x):\n"
           "Constants:\n"
           "   6 | SEED = 7\n"
           "   7 | MAX_ITER=10\n"
           "Imports:\n"
           "   4 | import numpy as np\n"
           "   5 | from sklearn.linear_model import Ridge");
    expect_part("train.py", train_py, "where is alpha set?",
                "bytes.\nLines that match:\n  16 | model = Ridge(alpha=1.0)");
    // A long script is cut at a whole line, each section with the number left out.
    mla_buf t;
    mla_buf_init(&t, 1 << 20);
    for (int i = 0; i < 500; i++) mla_buf_printf(&t, "def a_function_%d(x): return x\n", i);
    expect_part("t.py", mla_buf_text(&t), NULL, "     | ... (488 more)");
    mla_buf_clear(&t);
}

static void test_text(void **state) {
    (void)state;
    expect("notes.txt", "one\ntwo\nthree", NULL,
           "notes.txt: a text of 3 lines, 13 bytes.\nIts head:\n"
           "   1 | one\n   2 | two\n   3 | three");
    expect("notes.txt", "", NULL, "notes.txt: a text of 0 lines, 0 bytes.");
    expect_part("notes.txt", "one\ntwo\nAction: Final Answer\n", "THREE two",
                "Lines that match: 1\n   2 | two\nIts head:");
    expect_part("notes.txt", "a\x1b[31m\xFF\n", NULL, "   1 | a [31m\xEF\xBF\xBD");
    char *text = describe("x.bin", "a\0b\n", 4, NULL);
    assert_string_equal(text, "x.bin: 4 bytes, not a text.");
    free(text);
    text = describe("x.csv", "a,\0b\n1,2\n", 9, NULL);      // no table
    assert_string_equal(text, "x.csv: 9 bytes, not a text.");
    free(text);
}

static long peak_kb(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

// 48 MB of table and 2 MB of one line in the data folder.
static void test_big(void **state) {
    (void)state;
    char dir[] = "/tmp/mlagent-understand-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = mla_fs_join(dir, "big.csv");
    mla_buf piece;
    mla_buf_init(&piece, 1 << 20);
    while (piece.len < 400000) mla_buf_puts(&piece, "12345,0.25,word,\"more, words\"\n");
    size_t rows = piece.len / 30;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    mla_err err;
    assert_int_equal(mla_fs_write_all(fd, "a,b,c,d\n", 8, &err), 0);
    for (int i = 0; i < 120; i++) {
        assert_int_equal(mla_fs_write_all(fd, piece.data, piece.len, &err), 0);
    }
    close(fd);
    long before = peak_kb();
    mla_action action = {.kind = MLA_ACTION_UNDERSTAND_FILE, .inputs = {"data/big.csv", "b"}};
    mla__files files = {.len = 0};
    const mla_task task = {.name = "toy", .data_dir = dir};
    const mla__look look = {&task, &files, &action};
    bool ok;
    char *text = mla__understand(&look, &ok, NULL);
    assert_true(ok);
    char *expected = mla_format("data/big.csv: a table of %zu rows, 4 columns.\n"
                                "Columns that match: 1\n- b: numbers, 0.25 to 0.25, mean 0.25; "
                                "1 value: 0.25 (%zu)\n",
                                120 * rows, 120 * rows);
    if (strncmp(text, expected, strlen(expected))) fail_msg("%s\n%s", text, expected);
    assert_true(peak_kb() - before < 8000);
    free(expected);
    free(text);
    mla_buf_clear(&piece);
    free(path);
    assert_int_equal(mla_fs_remove_tree(dir, &err), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_wanted_columns),
        cmocka_unit_test(test_many_values), cmocka_unit_test(test_script),
        cmocka_unit_test(test_text),        cmocka_unit_test(test_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
