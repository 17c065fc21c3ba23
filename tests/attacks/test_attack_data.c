// What training on the test rows (T15) would need, in the data of tasks/ as prepared on this
// machine: no test row has a label, and none has a twin among the training rows. Tasks that are not
// prepared, and features that are not in test.csv, are passed over. Run from the repository's root.
#include "base/log.h"
#include "task/csv.h"
#include "task_fixture.h"

typedef struct {
    char **items;               // a row's features, in the order of test.csv's columns; owned
    size_t len, cap;
} rows;

static void rows_clear(rows *r) {
    for (size_t i = 0; i < r->len; i++) free(r->items[i]);
    free(r->items);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_target(const mla_task *task, const char *column) {
    for (size_t i = 0; i < task->target_count; i++) {
        if (!strcmp(task->target_columns[i], column)) return true;
    }
    return false;
}

static void open_csv(mla__csv *csv, const char *dir, const char *name) {
    mla_buf file;
    mla_err err;
    char *path = mla_fs_join(dir, name);
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, &err) < 0) fail_msg("%s", err.text);
    mla__csv_init(csv, mla_buf_text(&file), file.len);
    if (mla__csv_next(csv, &err) != 1) fail_msg("%s: %s", path, err.text);
    mla_buf_clear(&file);
    free(path);
}

// The columns that rows are compared by: test.csv's but for the id.
static char **feature_names(const mla_task *task, const char *dir, size_t *n) {
    mla__csv csv;
    open_csv(&csv, dir, "test.csv");
    char **names = MLA_NEW_ARRAY(char *, csv.count);
    *n = 0;
    for (size_t i = 0; i < csv.count; i++) {
        if (is_target(task, csv.cells[i].text)) fail_msg("%s: test.csv has labels", task->name);
        if (strcmp(csv.cells[i].text, task->id_column)) {
            names[(*n)++] = mla_strdup(csv.cells[i].text);
        }
    }
    mla__csv_clear(&csv);
    return names;
}

static rows read_rows(const char *dir, const char *name, char **names, size_t n) {
    rows out = {0};
    mla__csv csv;
    mla_err err;
    open_csv(&csv, dir, name);
    int *place = MLA_NEW_ARRAY(int, n);
    for (size_t i = 0; i < n; i++) place[i] = mla__csv_find(&csv, names[i]);
    while (mla__csv_next(&csv, &err) == 1) {
        mla_buf text;
        mla_buf_init(&text, 1 << 24);
        for (size_t i = 0; i < n; i++) {
            if (place[i] >= 0) mla_buf_puts(&text, csv.cells[place[i]].text);
            mla_buf_puts(&text, "\x1f");
        }
        MLA_GROW(out.items, out.cap, out.len + 1);
        out.items[out.len++] = mla_buf_take(&text);
    }
    free(place);
    mla__csv_clear(&csv);
    return out;
}

static void check_split(const mla_task *task, const char *dir) {
    size_t n;
    char **names = feature_names(task, dir, &n);
    rows train = read_rows(dir, "train.csv", names, n), test = read_rows(dir, "test.csv", names, n);
    assert_true(train.len > 0 && test.len > 0);
    qsort(train.items, train.len, sizeof *train.items, by_text);
    for (size_t i = 0; n && i < test.len; i++) {        // n 0: the features are in other files
        if (bsearch(&test.items[i], train.items, train.len, sizeof *train.items, by_text)) {
            fail_msg("%s: test row %zu is a training row", dir, i + 1);
        }
    }
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
    rows_clear(&train);
    rows_clear(&test);
}

static void no_test_row_can_be_trained_on(void **state) {
    (void)state;
    char **names, *home = mla_home();
    size_t n, checked = 0;
    assert_int_equal(mla_task_list("tasks", &names, &n, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char *dir = mla_fs_join("tasks", names[i]);
        mla_task *task = mla_task_load(dir, home, true, NULL);
        for (size_t s = 0; task && s < (size_t)task->splits; s++) {
            char *split = mla_task_split_dir(task, s);
            check_split(task, split);
            free(split);
        }
        checked += task != NULL;
        mla_task_free(task);
        free(dir);
    }
    print_message("%zu of %zu tasks are prepared here\n", checked, n);
    mla_fs_names_free(names, n);
    free(home);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_test_row_can_be_trained_on)};
    return cmocka_run_group_tests_name("attack_data", tests, NULL, NULL);
}
