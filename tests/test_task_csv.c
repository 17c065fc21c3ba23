// The CSV reader: what is read, and what is refused with which line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "task/csv.h"

// Rows as "a|b/c|d/": cells joined by '|', each row ended by '/'.
static int read_all(const char *bytes, size_t len, mla_buf *out, mla_err *err) {
    mla__csv csv;
    mla__csv_init(&csv, bytes, len);
    int rc;
    while ((rc = mla__csv_next(&csv, err)) > 0) {
        for (size_t i = 0; i < csv.count; i++) {
            assert_int_equal(strlen(csv.cells[i].text), csv.cells[i].len);
            mla_buf_printf(out, "%s%s", i ? "|" : "", csv.cells[i].text);
        }
        mla_buf_puts(out, "/");
    }
    mla__csv_clear(&csv);
    return rc;
}

static void reads(void **state) {
    (void)state;
    static const struct {
        const char *text, *rows;
    } cases[] = {
        {"", ""},
        {"\n\r\n", ""},
        {"a,b\n1,2\n", "a|b/1|2/"},
        {"a,b\r\n1,2\r\n", "a|b/1|2/"},
        {"a,b\n1,2", "a|b/1|2/"},
        {"a,b\n1,", "a|b/1|/"},
        {"a,b\n,\n", "a|b/|/"},
        {"\xEF\xBB\xBFid,b\n1,2\n", "id|b/1|2/"},
        {"\xEF\xBB\xBF\"id\",b\n", "id|b/"},
        {"\"a\",\"b\"\n\"1\",\"2\"\n", "a|b/1|2/"},
        {"\"x,y\",\"p\"\"q\"\n\"\",\"\"\"\"\n", "x,y|p\"q/|\"/"},
        {"\"two\nlines\",b\n1,\"c\r\nd\"\r\n", "two\nlines|b/1|c\r\nd/"},
        {"a,b\n\n1,2\n\n\n", "a|b/1|2/"},
        {" a , b \n1 ,2\n", " a | b /1 |2/"},
        {"\"a\"", "a/"},
        {"a,\"\"", "a|/"},
        {"\xC3\xA9,\xE2\x82\xAC\n", "\xC3\xA9|\xE2\x82\xAC/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mla_buf rows;
        mla_err err = {0};
        mla_buf_init(&rows, 4096);
        int rc = read_all(cases[i].text, strlen(cases[i].text), &rows, &err);
        if (rc != 0) fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(mla_buf_text(&rows), cases[i].rows);
        mla_buf_clear(&rows);
    }
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *why;
    } cases[] = {
        {"a,b\n1\n", 6, "line 2: 1 cells, but the header has 2"},
        {"a,b\n1,2,3\n", 10, "line 2: 3 cells, but the header has 2"},
        {"a,b\n\"x\ny\",2\n1\n", 15, "line 4: 1 cells, but the header has 2"},
        {"a,b\n1,\"2\n", 9, "line 2: a quoted cell is not closed"},
        {"\"", 1, "line 1: a quoted cell is not closed"},
        {"a,b\n1,2\"\n", 9, "line 2: a quote inside a cell that does not begin with one"},
        {"\"a\"b\n", 5, "line 1: text after a closing quote"},
        {"a,b\r1,2\n", 8, "line 1: a carriage return without a line feed: save it with LF or CRLF"},
        {"a,b\n1,\r", 7, "line 2: a carriage return without a line feed: save it with LF or CRLF"},
        {"a\0b\n", 4, "line 1: a NUL byte: if the file is UTF-16, save it as UTF-8"},
        {"\"a\0b\"\n", 6, "line 1: a NUL byte: if the file is UTF-16, save it as UTF-8"},
        {"\xFF\xFEi\0d\0\n\0", 8, "line 1: the file is UTF-16: save it as UTF-8"},
        {"\xFE\xFF\0i\0d\0\n", 8, "line 1: the file is UTF-16: save it as UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mla_buf rows;
        mla_err err = {0};
        mla_buf_init(&rows, 4096);
        assert_int_equal(read_all(cases[i].text, cases[i].len, &rows, &err), -1);
        assert_string_equal(err.text, cases[i].why);
        mla_buf_clear(&rows);
    }
}

static void bounds_cells_and_columns(void **state) {
    (void)state;
    size_t len = MLA__CSV_MAX_CELL + 1;
    char *text = malloc(len + 2);
    assert_non_null(text);
    mla_buf rows;
    mla_err err = {0};
    mla_buf_init(&rows, 16);
    memset(text, 'x', len);
    assert_int_equal(read_all(text, len - 1, &rows, &err), 0);
    assert_int_equal(read_all(text, len, &rows, &err), -1);
    assert_string_equal(err.text, "line 1: a cell has more than 1 MB");
    memset(text, ',', len);
    assert_int_equal(read_all(text, MLA__CSV_MAX_COLUMNS - 1, &rows, &err), 0);
    assert_int_equal(read_all(text, MLA__CSV_MAX_COLUMNS, &rows, &err), -1);
    assert_string_equal(err.text, "line 1: more than 4096 columns");
    mla_buf_clear(&rows);
    free(text);
}

static void finds_and_trims(void **state) {
    (void)state;
    mla__csv csv;
    mla_err err = {0};
    mla__csv_init(&csv, "a,b,a,\" c \t\",  ", 15);
    assert_int_equal(mla__csv_next(&csv, &err), 1);
    assert_int_equal(mla__csv_find(&csv, "b"), 1);
    assert_int_equal(mla__csv_find(&csv, "a"), -2);
    assert_int_equal(mla__csv_find(&csv, "c"), -1);
    assert_string_equal(mla__cell_trim(&csv.cells[3]), "c");
    assert_string_equal(mla__cell_trim(&csv.cells[4]), "");
    mla__csv_clear(&csv);
}

// Cells must outlive their row: the scorer's ids do.
static void cells_outlive_rows(void **state) {
    (void)state;
    mla__csv csv;
    mla_err err = {0};
    mla__csv_init(&csv, "\"a\"\"\"\nb\nc", 9);
    const char *texts[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mla__csv_next(&csv, &err), 1);
        texts[i] = csv.cells[0].text;
    }
    assert_int_equal(mla__csv_next(&csv, &err), 0);
    assert_string_equal(texts[0], "a\"");
    assert_string_equal(texts[1], "b");
    assert_string_equal(texts[2], "c");
    mla__csv_clear(&csv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),          cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_cells_and_columns), cmocka_unit_test(finds_and_trims),
        cmocka_unit_test(cells_outlive_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
