// SEARCH/REPLACE blocks on texts: what fits, what is refused and how the refusal helps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "env/internal.h"

#define B(search, replace) "<<<<<<< SEARCH\n" search "=======\n" replace ">>>>>>> REPLACE\n"
static const char pairs_before[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
static const char pairs_after[] = "1\n3\n4\n5\n6\n7\n8\n9\n10\n11\nx\ny\nz\n";

#define TEXT "import os\n\nmodel = Ridge(alpha=1.0)\nmodel.fit(x, y)\nif ok:\n    model.fit(x, y)\n"

typedef struct {
    const char *text, *blocks;
    const char *expect;        // the new text, or NULL: refused
    const char *why;           // a part of the refusal
} row;

static const row rows[] = {
    {TEXT, B("model = Ridge(alpha=1.0)\n", "model = Ridge(alpha=0.1)\n"),
     "import os\n\nmodel = Ridge(alpha=0.1)\nmodel.fit(x, y)\nif ok:\n    model.fit(x, y)\n", NULL},
    {"a\nb\nc\n", B("b\n", ""), "a\nc\n", NULL},
    {"a\nb\nc\n", B("b\n", "x\ny\n"), "a\nx\ny\nc\n", NULL},
    {"a\nb\nc\n", B("a\n", "z\n") B("c\n", "y\n"), "z\nb\ny\n", NULL},
    {"a\nb\n", B("a\n", "z\n") B("z\nb\n", "y\n"), "y\n", NULL},          // in order
    {"a\nb", B("b\n", "c\n"), "a\nc\n", NULL},                            // no newline at the end
    {"a\nb  \nc\n", B("b\n", "x\n"), "a\nx\nc\n", NULL},                  // trailing blanks
    {"a\r\nb\r\nc\r\n", B("b\n", "x\n"), "a\r\nx\nc\r\n", NULL},
    {"a\nb\nb \n", B("b\n", "x\n"), "a\nx\nb \n", NULL},                  // exact goes first
    {"a\n\nb\n", B("a\n\nb\n", "c\n"), "c\n", NULL},
    {"ab\nb\n", B("b\n", "x\n"), "ab\nx\n", NULL},                        // whole lines only
    {"x\n", "prose\n" B("x\n", "y\n") "more prose\n", "y\n", NULL},
    {"t\n=====\n", B("=====\n", "-----\n"), "t\n-----\n", NULL},

    {TEXT, B("model.fit(x)\n", "pass\n"), NULL, "   4 | model.fit(x, y)"},
    {TEXT, B("model = Ridge(alpha=2.0)\n", "pass\n"), NULL, "   3 | model = Ridge(alpha=1.0)"},
    {TEXT, B("        model.fit(x, y)\n", "pass\n"), NULL, "not in train.py"},
    {"a\nb\na\n", B("a\n", "c\n"), NULL, "at lines 1 and 3."},
    {"x\na\ny\na\n", B("a\n", "c\n"), NULL, "\n   1 | x\n   2 | a\n   3 | y\n   4 | a"},
    {"a\nb\nc\n", B("b \nc\t\n", "x\n"), "a\nx\n", NULL},
    {"a  \na\t\n", B("a\n", "x\n"), NULL, "at lines 1 and 2."},             // ambiguous when loose
    {"a\nb\nc\nd\n", B("b\n", "B\n") B("c\n", "C\n") B("d\n", "") "and\n" B("a\n", "A\n"),
     "A\nB\nC\n", NULL},
    {"a\na\na\na\n", B("a\n", "c\n"), NULL, "at lines 1 and 2, and further on"},
    {"a\na\na\n", B("a\na\n", "c\n"), NULL, "more than once"},
    {TEXT, B("", "x\n"), NULL, "Block 1: its SEARCH part is empty"},
    {TEXT, B("  \n\n", "x\n"), NULL, "Block 1: its SEARCH part is empty"},
    {TEXT, B("import os\n", "import os\n"), NULL, "changes nothing"},
    {TEXT, B("import os\n", "import os  \n"), NULL, "changes nothing"},
    {"a\nb\n", B("a\n", "z\n") B("z\n", "a\n"), NULL, "together change nothing"},
    {"a\nb\n", B("a\n", "z\n") B("q\n", "r\n"), NULL, "Block 2: its SEARCH text is not in"},
    {"a\nb\n", "no block", NULL, "There is no SEARCH/REPLACE block"},
    {"a\nb\n", "<<<<<<< SEARCH\na\n", NULL, "Block 1: its SEARCH part is not ended"},
    {"", B("a\n", "b\n"), NULL, "not in train.py"},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_buf why;
        mla_buf_init(&why, MLA__FEEDBACK_MAX);
        size_t n;
        char *text = mla__edit_apply("train.py", rows[i].text, rows[i].blocks, &n, &why);
        if (!text != !rows[i].expect) fail_msg("row %zu: %s %s", i, text, mla_buf_text(&why));
        if (text) {
            assert_string_equal(text, rows[i].expect);
            assert_true(n > 0);
        } else if (!strstr(mla_buf_text(&why), rows[i].why)) {
            fail_msg("row %zu: %s", i, mla_buf_text(&why));
        }
        free(text);
        mla_buf_clear(&why);
    }
}

// Changes as diffs and as blocks that make them again.
static void test_changes(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"a\nb\nc\n", "a\nx\nc\n"}, {"a\nb\nc\n", "b\nc\n"}, {"a\nb\nc\n", "a\nb\nc\nd\n"},
        {"a\nb\n", "z\na\nb\n"}, {"a\na\na\na\n", "a\na\nb\na\na\n"}, {"a\n", "=======\n"},
        {"=======\n", "x\n"}, {"a\n=======\n", "a\n========\nb\n"}, {"a\r\nb\r\n", "a\nc\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\nX\n3\n4\n5\n6\n7\nY\n9\n"},
        {"a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n"},
        {"x = 1\n", "x = 1\n<<<<<<< SEARCH\n"},
    };
    for (size_t i = 0; i < MLA_COUNT(pairs); i++) {
        const char *before = pairs[i][0], *after = pairs[i][1];
        char *blocks = mla__diff_blocks("t.py", before, after);
        if (i == MLA_COUNT(pairs) - 1) {      // it cannot be said
            assert_null(blocks);
            continue;
        }
        if (!blocks) fail_msg("pair %zu has no blocks", i);
        mla_buf why;
        mla_buf_init(&why, MLA__FEEDBACK_MAX);
        size_t n;
        char *made = mla__edit_apply("t.py", before, blocks, &n, &why);
        if (!made) fail_msg("pair %zu: %s", i, mla_buf_text(&why));
        if (!strchr(before, '\r')) assert_string_equal(made, after);
        free(made);
        free(blocks);
        mla_buf_clear(&why);
    }
    assert_null(mla__diff_blocks("t.py", "a\n", "a\n"));
    assert_null(mla__diff_blocks("t.py", "a\n", "a  \n"));      // only blanks
}

static void test_unified(void **state) {
    (void)state;
    char *diff = mla__diff_unified("t.py", pairs_before, pairs_after, 1000);
    assert_string_equal(diff, "--- a/t.py\n+++ b/t.py\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n"
                              "@@ -9,4 +8,6 @@\n 9\n 10\n 11\n-12\n+x\n+y\n+z\n");
    free(diff);
    diff = mla__diff_unified("t.py", pairs_before, pairs_after, 90);
    assert_string_equal(diff, "--- a/t.py\n+++ b/t.py\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n"
                              "... (the rest of the diff is left out)\n");
    assert_true(strlen(diff) <= 90);
    free(diff);
    diff = mla__diff_unified("t.py", "", "a\n", 1000);
    assert_string_equal(diff, "--- a/t.py\n+++ b/t.py\n@@ -0,0 +1,1 @@\n+a\n");
    free(diff);
    diff = mla__diff_unified("t.py", "a\n", "a\n", 1000);
    assert_string_equal(diff, "");
    free(diff);
}

// More lines differ than are compared one by one.
static void test_rewritten(void **state) {
    (void)state;
    mla_buf a, b;
    mla_buf_init(&a, 1 << 20);
    mla_buf_init(&b, 1 << 20);
    for (int i = 0; i < 2000; i++) {
        mla_buf_printf(&a, "old %d\n", i);
        mla_buf_printf(&b, "new %d\n", 2 * i);
    }
    char *blocks = mla__diff_blocks("t.py", mla_buf_text(&a), mla_buf_text(&b));
    assert_non_null(blocks);
    assert_int_equal(strncmp(blocks, "<<<<<<< SEARCH\nold 0\n", 21), 0);
    free(blocks);
    mla_buf_clear(&a);
    mla_buf_clear(&b);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);      // others' load does not count
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Texts made to be slow to compare must not hold a worker up.
static void test_hostile(void **state) {
    (void)state;
    char *text = malloc(MLA__FILE_MAX + 1), *blocks = malloc(70000);
    for (size_t i = 0; i < MLA__FILE_MAX; i++) text[i] = i % 2 ? '\n' : 'a';
    text[MLA__FILE_MAX] = '\0';
    strncpy(blocks, "<<<<<<< SEARCH\n", 70000);
    size_t n = strlen(blocks);
    for (size_t i = 0; i < 60000; i++) blocks[n++] = i % 2 ? '\n' : 'a';
    strncpy(blocks + n, "b\n=======\nc\n>>>>>>> REPLACE\n", 70000 - n);
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t count;
    double began = now();
    assert_null(mla__edit_apply("t.py", text, blocks, &count, &why));
    assert_true(now() - began < 2.0);
    assert_true(why.len < MLA__FEEDBACK_MAX);
    mla_buf_clear(&why);
    free(text);
    free(blocks);
}

static void test_size(void **state) {
    (void)state;
    char *text = malloc(MLA__FILE_MAX + 1);
    memset(text, 'a', MLA__FILE_MAX);
    memcpy(text + MLA__FILE_MAX - 5, "\na\nb\n", 5);
    text[MLA__FILE_MAX] = '\0';
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t count;
    const char *blocks = B("a\n", "some more text\n");
    assert_null(mla__edit_apply("t.py", text, blocks, &count, &why));
    assert_non_null(strstr(mla_buf_text(&why), "would be longer"));
    mla_buf_clear(&why);
    free(text);
}

static void test_many_blocks(void **state) {
    (void)state;
    mla_buf blocks, why;
    mla_buf_init(&blocks, 1 << 16);
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t count;
    for (int i = 0; i < 200; i++) {
        mla_buf_printf(&blocks, "<<<<<<< SEARCH\na%d\n=======\na%d\n>>>>>>> REPLACE\n", i, i + 1);
    }
    char *text = mla__edit_apply("t.py", "a0\n", mla_buf_text(&blocks), &count, &why);
    assert_string_equal(text, "a200\n");
    mla_buf_puts(&blocks, B("a200\n", "a201\n"));
    assert_null(mla__edit_apply("t.py", "a0\n", mla_buf_text(&blocks), &count, &why));
    assert_non_null(strstr(mla_buf_text(&why), "more than 200 blocks"));
    mla_buf_clear(&blocks);
    mla_buf_clear(&why);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_unified),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_many_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
