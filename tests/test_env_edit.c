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

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
