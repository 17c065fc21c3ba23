// A task from a person's own data: what is written, that it can be prepared, and what is said of
// data that will not do.
#include <sys/stat.h>

#include "task/new.h"
#include "task/prepare.h"
#include "task/score.h"
#include "task_fixture.h"
#include "toy_task.h"

static mla_new_task own(const char *source) {
    return (mla_new_task){.source = source, .script = "train.py", .target = "y", .id = "id",
                          .metric = MLA_METRIC_MAE, .seconds = 10, .memory_mb = 512};
}

// `n` rows "x,y" from number `from` on, y = 3x, with these line ends. Caller frees.
static char *rows(const char *head, int from, int n, const char *end) {
    mla_buf text;
    mla_buf_init(&text, 1 << 20);
    mla_buf_printf(&text, "%s%s", head, end);
    for (int i = from; i < from + n; i++) mla_buf_printf(&text, "%d,%d%s", i, 3 * i, end);
    return mla_buf_take(&text);
}

static void write_take(const fixture *f, const char *name, char *take) {
    fixture_write(f->root, name, take);
    free(take);
}

static char *text_of(const char *dir, const char *name) {
    mla_err err = {0};
    mla_buf text;
    char *path = mla_fs_join(dir, name);
    if (mla_fs_read(path, 1 << 20, &text, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return mla_buf_take(&text);
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

static void make(const fixture *f, const mla_new_task *task, mla_new_facts *facts) {
    mla_err err = {0};
    char *dir = mla_fs_join(f->root, "made/mine");
    if (mla_new_task_write(task, dir, facts, &err) < 0) fail_msg("%s", err.text);
    free(dir);
}

static void prepare(const fixture *f) {
    mla_err err = {0};
    char *dir = mla_fs_join(f->root, "made/mine"), *python = toy_python();
    if (mla_task_prepare(dir, f->home, python, &err) != 1) fail_msg("%s", err.text);
    mla_task *task = mla_task_load(dir, f->home, true, &err);
    if (!task) fail_msg("%s", err.text);
    mla_answers *answers = mla_answers_load(task, &err);
    if (!answers) fail_msg("%s", err.text);
    mla_answers_free(answers);
    mla_task_free(task);
    free(python);
    free(dir);
}

static void a_csv_file_becomes_a_task(void **state) {
    (void)state;
    fixture f;
    mla_new_facts facts;
    fixture_begin(&f);
    // A byte order mark and CRLF are no part of the data.
    write_take(&f, "some.csv", rows("\xEF\xBB\xBFx,y", 0, 120, "\r\n"));
    char *source = mla_fs_join(f.root, "some.csv");
    const mla_new_task task = own(source);
    make(&f, &task, &facts);
    assert_int_equal(facts.rows, 120);
    assert_true(facts.made_id);
    prepare(&f);
    char *train = text_of(f.home, "data/mine/train.csv");
    char *test = text_of(f.home, "data/mine/test.csv");
    char *answers = text_of(f.home, "answers/mine.csv");
    assert_int_equal(strncmp(train, "id,x,y\n", 7), 0);
    assert_int_equal(strncmp(test, "id,x\n", 5), 0);
    assert_int_equal(count(train, "\n"), 81);
    assert_int_equal(count(test, "\n"), 41);
    assert_int_equal(count(answers, ",public"), 20);
    assert_int_equal(count(answers, ",private"), 20);
    assert_null(strchr(train, '\r'));
    // Each hidden row's target is its own, and no hidden row is in train.csv.
    int id, x, y, seen = 0;
    for (char *line = strchr(test, '\n') + 1; *line; line = strchr(line, '\n') + 1, seen++) {
        assert_int_equal(sscanf(line, "%d,%d", &id, &x), 2);
        char *wanted = mla_format("\n%d,%d,p", id, 3 * x);
        char *taught = mla_format(",%d,%d\n", x, 3 * x);
        assert_non_null(strstr(answers, wanted));
        assert_null(strstr(train, taught));
        free(wanted);
        free(taught);
    }
    assert_int_equal(seen, 40);
    for (char *line = strchr(train, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        assert_int_equal(sscanf(line, "%d,%d,%d", &id, &x, &y), 3);
        assert_int_equal(y, 3 * x);
    }
    char *kept = mla_fs_join(f.root, "made/mine/source/train.csv");
    struct stat st;
    assert_int_equal(stat(kept, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(kept);
    free(train);
    free(test);
    free(answers);
    free(source);
    fixture_end(&f);
}

static void a_folder_brings_its_script_and_its_test_rows(void **state) {
    (void)state;
    fixture f;
    mla_new_facts facts;
    fixture_begin(&f);
    write_take(&f, "mine/data/train.csv", rows("x,y", 0, 70, "\n"));
    write_take(&f, "mine/data/test.csv", rows("x,y", 50, 40, "\n"));
    fixture_write(f.root, "mine/go.py", "import helper\n");
    fixture_write(f.root, "mine/helper.py", "print(1)\n");
    fixture_write(f.root, "mine/notes.txt", "private\n");
    char *source = mla_fs_join(f.root, "mine");
    mla_new_task task = own(source);
    task.script = "go.py";
    make(&f, &task, &facts);
    assert_int_equal(facts.rows, 70);
    assert_int_equal(facts.test_rows, 40);
    prepare(&f);
    char *train = text_of(f.home, "data/mine/train.csv");
    char *test = text_of(f.home, "data/mine/test.csv");
    assert_int_equal(count(test, "\n"), 41);
    assert_int_equal(count(train, "\n"), 51);      // rows 50 to 69 are hidden ones
    char *env = mla_fs_join(f.root, "made/mine/env");
    char **names;
    size_t n;
    mla_err err;
    assert_int_equal(mla_fs_list(env, &names, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "go.py");
    assert_string_equal(names[1], "helper.py");
    mla_fs_names_free(names, n);
    free(env);
    free(train);
    free(test);
    free(source);
    fixture_end(&f);
}

static void a_test_file_without_the_target_is_not_used(void **state) {
    (void)state;
    fixture f;
    mla_new_facts facts;
    fixture_begin(&f);
    write_take(&f, "mine/train.csv", rows("x,y", 0, 70, "\n"));
    fixture_write(f.root, "mine/test.csv", "x\n1\n2\n");
    fixture_write(f.root, "mine/train.py", "print(1)\n");
    char *source = mla_fs_join(f.root, "mine");
    const mla_new_task task = own(source);
    make(&f, &task, &facts);
    assert_true(facts.unused_test);
    assert_int_equal(facts.test_rows, 0);
    prepare(&f);
    free(source);
    fixture_end(&f);
}

// The data will not do, and the message says `what`.
static void refuses(const char *text, mla_metric metric, const char *what) {
    fixture f;
    mla_new_facts facts;
    mla_err err = {0};
    fixture_begin(&f);
    fixture_write(f.root, "some.csv", text);
    char *source = mla_fs_join(f.root, "some.csv"), *dir = mla_fs_join(f.root, "made/mine");
    mla_new_task task = own(source);
    task.metric = metric;
    if (mla_new_task_write(&task, dir, &facts, &err) == 0) fail_msg("taken; not: %s", what);
    if (!strstr(err.text, what)) fail_msg("\"%s\" is not in: %s", what, err.text);
    assert_false(mla_fs_exists(dir));
    free(source);
    free(dir);
    fixture_end(&f);
}

static void data_that_will_not_do_is_refused_in_words(void **state) {
    (void)state;
    char *good = rows("x,y", 0, 70, "\n"), *few = rows("x,y", 0, 30, "\n");
    char *other = rows("x,z", 0, 70, "\n"), *wide = rows("x;y,z", 0, 70, "\n");
    char *twice = rows("id,y", 0, 70, "\n"), *again = mla_format("%s7,1\n", twice);
    char *empty = mla_format("%s99,\n", good), *text = mla_format("%s99,many\n", good);
    char *long_row = mla_format("%s99,1,1\n", good), *latin = mla_format("%s99,1 \xE9\n", good);
    char *missing = mla_format("%s99,NA\n", good), *cell = MLA_NEW_ARRAY(char, (10 << 20) + 1);
    memset(cell, 'x', 10 << 20);
    char *huge = mla_format("%s%s,1\n", good, cell);
    mla_buf same;
    mla_buf_init(&same, 1 << 16);
    mla_buf_puts(&same, "x,y\n");
    for (int i = 0; i < 70; i++) mla_buf_printf(&same, "%d,1\n", i);
    refuses(other, MLA_METRIC_MAE, "has no column 'y'; it has: 'x', 'z'");
    refuses(wide, MLA_METRIC_MAE, "has no column 'y'");
    refuses("x;y\n1;2\n", MLA_METRIC_MAE, "separated by commas");
    refuses(few, MLA_METRIC_MAE, "30 rows");
    refuses(mla_buf_text(&same), MLA_METRIC_MAE, "the same in every row");
    refuses(good, MLA_METRIC_AUC, "must be 0 or 1");
    refuses(good, MLA_METRIC_MCRMSE, "several target columns");
    refuses(empty, MLA_METRIC_MAE, "line 72: y is empty");
    refuses(text, MLA_METRIC_MAE, "line 72: y is 'many'");
    refuses(long_row, MLA_METRIC_MAE, "line 72");
    refuses(latin, MLA_METRIC_ACCURACY, "line 72 is not UTF-8; convert the file, for example "
                                        "with: iconv -f latin1 -t utf8 ");
    refuses(missing, MLA_METRIC_ACCURACY, "line 72: y is NA, which counts as missing");
    refuses(text, MLA_METRIC_AUC, "metric auc wants 0 or 1 in every row; write the target so or");
    refuses(huge, MLA_METRIC_MAE, "line 72: a cell has more than 1 MB");
    refuses(again, MLA_METRIC_MAE, "id '7' is there twice");
    refuses(twice, MLA_METRIC_MAE, "no column besides y");
    refuses("x,x,y\n1,2,3\n", MLA_METRIC_MAE, "two columns named 'x'");
    refuses("\xFF\xFEx\0,\0", MLA_METRIC_MAE, "UTF-16");
    refuses("x, y\n1,2\n", MLA_METRIC_MAE, "has no column 'y'; it has: 'x', ' y'");
    refuses("x,,y\n1,2,3\n", MLA_METRIC_MAE, "column 2 has no name; the first line must name");
    refuses("x,y\r1,2\r", MLA_METRIC_MAE, "save it with LF or CRLF");
    refuses("x,y\n", MLA_METRIC_MAE, "has 0 rows; a task needs at least 60");
    refuses("\n\n", MLA_METRIC_MAE, "is empty");
    refuses("y,x\n1,\"2\n", MLA_METRIC_MAE, "line 2: a quoted cell is not closed");
    refuses("", MLA_METRIC_MAE, "is empty");
    char *all[] = {good, few, other, wide, twice, again,
                   empty, text, long_row, latin, missing, cell, huge};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    mla_buf_clear(&same);
}

static void a_name_is_made_of_the_source(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"/x/House Prices.csv", "house-prices"},
                                           {"my_data", "my_data"}, {"/a/b", "b"}};
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        char *name = mla_new_task_name(cases[i][0]);
        assert_string_equal(name, cases[i][1]);
        free(name);
    }
}

static void the_reference_is_half_way_to_perfect(void **state) {
    (void)state;
    mla_halves up = mla_new_task_reference(MLA_METRIC_AUC, (mla_halves){0.5, 0.75});
    mla_halves down = mla_new_task_reference(MLA_METRIC_MAE, (mla_halves){8, 6});
    assert_float_equal(up.public_half, 0.75, 1e-12);
    assert_float_equal(up.private_half, 0.875, 1e-12);
    assert_float_equal(down.public_half, 4, 1e-12);
    assert_float_equal(down.private_half, 3, 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_csv_file_becomes_a_task),
        cmocka_unit_test(a_folder_brings_its_script_and_its_test_rows),
        cmocka_unit_test(a_test_file_without_the_target_is_not_used),
        cmocka_unit_test(data_that_will_not_do_is_refused_in_words),
        cmocka_unit_test(a_name_is_made_of_the_source),
        cmocka_unit_test(the_reference_is_half_way_to_perfect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
