// The linter on a task that is fine, and on one for each thing that can be wrong with it; resampled
// scores against what theory says.
#include "task_fixture.h"

#include <math.h>

#include "base/rng.h"
#include "task/check.h"
#include "task/score.h"

#define ROWS 120        // of train.csv and of test.csv

// What is wrong with the data, if anything.
typedef enum {
    FINE, SORTED, SORTED_IDS, COPIED_ROW, OWN_TARGET, EXTRA_COLUMN, HALF_COLUMN, CODED, THRESHOLD,
    SAME_IDS, NO_ID
} fault;

// A file while it is written.
static void row(mla_buf *out, fault wrong, bool train, int id, int x, int y) {
    int shown = wrong == SAME_IDS && train ? id - ROWS : id;
    if (wrong == SORTED_IDS && !train) shown = id + 10 * ROWS * y;
    mla_buf_printf(out, "%d,%d,%d", shown, x, id * 7919 % 101);
    if (wrong == CODED) mla_buf_printf(out, ",%s", y ? "red" : "blue");
    if (wrong == THRESHOLD) mla_buf_printf(out, ",%d", id * 3 + 10000 * y);
    if (wrong == HALF_COLUMN) mla_buf_puts(out, ",public");
    if (wrong == EXTRA_COLUMN && !train) mla_buf_puts(out, ",1");
    if (train || wrong == OWN_TARGET) mla_buf_printf(out, ",%d", y);
    mla_buf_puts(out, "\n");
}

static void head(mla_buf *out, fault wrong, bool train) {
    mla_buf_printf(out, "%s,x,z", wrong == NO_ID ? "key" : "id");
    if (wrong == CODED || wrong == THRESHOLD) mla_buf_puts(out, ",more");
    if (wrong == HALF_COLUMN) mla_buf_puts(out, ",half");
    if (wrong == EXTRA_COLUMN && !train) mla_buf_puts(out, ",later");
    mla_buf_puts(out, train || wrong == OWN_TARGET ? ",y\n" : "\n");
}

// y follows x in three rows of four. dir: of the public files, below the home; answers is added to.
static void write_split(const fixture *f, const char *dir, fault wrong, uint64_t seed, int split,
                        mla_buf *answers) {
    mla_rng rng;
    mla_buf train, test;
    mla_rng_init(&rng, seed);
    mla_buf_init(&train, 1 << 20);
    mla_buf_init(&test, 1 << 20);
    head(&train, wrong, true);
    head(&test, wrong, false);
    for (int i = 0; i < 2 * ROWS; i++) {
        bool hidden = i < ROWS;
        int x = (int)mla_rng_below(&rng, 1000000), y = (x > 500000) ^ (mla_rng_below(&rng, 4) == 0);
        if (wrong == SORTED && hidden) y = i > ROWS / 2;
        if (wrong == COPIED_ROW && i % ROWS == 5) x = 77;
        row(hidden ? &test : &train, wrong, !hidden, i, x, y);
        if (wrong == COPIED_ROW && i == 5) row(&train, wrong, true, 5 + 3 * ROWS * 101, x, y);
        if (!hidden) continue;
        int id = wrong == SORTED_IDS ? i + 10 * ROWS * y : i;
        mla_buf_printf(answers, "%d,%d,%s", id, y, i % 2 ? "public" : "private");
        if (split >= 0) mla_buf_printf(answers, ",%d", split);
        mla_buf_puts(answers, "\n");
    }
    char *to = mla_fs_join(f->home, dir);
    fixture_write(to, "train.csv", mla_buf_text(&train));
    fixture_write(to, "test.csv", mla_buf_text(&test));
    mla_buf_clear(&train);
    mla_buf_clear(&test);
    free(to);
}

static void begin(fixture *f, fault wrong) {
    mla_buf answers;
    mla_buf_init(&answers, 1 << 20);
    mla_buf_puts(&answers, "id,y,half\n");
    fixture_begin(f);
    write_split(f, "data/toy", wrong, 1, -1, &answers);
    fixture_write(f->home, "answers/toy.csv", mla_buf_text(&answers));
    fixture_write(f->home, "versions/toy.json", "{\"data\": \"v1\"}");
    mla_buf_clear(&answers);
}

static mla_findings check(const fixture *f) {
    mla_err err = {0};
    mla_findings findings = {0};
    mla_task *task = mla_task_load(f->dir, f->home, true, &err);
    if (!task || mla_task_check(task, &findings, &err) < 0) fail_msg("%s", err.text);
    mla_task_free(task);
    return findings;
}

// Exactly one finding, of this check, that says `what`; none for NULL.
static void expect(const fixture *f, const char *name, const char *what) {
    mla_findings found = check(f);
    if (found.len != (what != NULL)) {
        fail_msg("%zu findings, the first: %s", found.len, found.len ? found.items[0].text : "");
    }
    if (what && (!strstr(found.items[0].text, what) || strcmp(found.items[0].check, name))) {
        fail_msg("no \"%s\" in %s: %s", what, found.items[0].check, found.items[0].text);
    }
    mla_findings_clear(&found);
}

static void finds(fault wrong, const char *name, const char *what) {
    fixture f;
    begin(&f, wrong);
    expect(&f, name, what);
    fixture_end(&f);
}

static void a_good_task_has_no_findings(void **state) {
    (void)state;
    finds(FINE, "", NULL);
}

static void orders_that_tell_are_found(void **state) {
    (void)state;
    finds(SORTED, "order", "test.csv: the order of rows tells something of 'y'");
    finds(SORTED_IDS, "order", "test.csv: the order of ids tells something of 'y'");
}

static void columns_that_tell_are_found(void **state) {
    (void)state;
    finds(CODED, "leak", "test.csv: column 'more' tells the answers of 'y': its value determines");
    finds(THRESHOLD, "leak", "a threshold on it separates the answers");
    finds(EXTRA_COLUMN, "columns", "test.csv: has the column 'later', which train.csv lacks");
    finds(HALF_COLUMN, "columns", "has a column 'half'");
}

static void rows_and_ids_that_are_there_twice_are_found(void **state) {
    (void)state;
    finds(SAME_IDS, "ids", "train.csv: 120 ids are test.csv's too ('0' is one)");
    fixture f;
    begin(&f, COPIED_ROW);
    mla_findings found = check(&f);
    assert_int_equal(found.len, 1);
    assert_string_equal(found.items[0].check, "rows");
    assert_non_null(strstr(found.items[0].text, "test.csv: 1 of 120 rows are in train.csv too"));
    assert_non_null(strstr(found.items[0].text, "the first is row 6"));
    mla_findings_clear(&found);
    fixture_end(&f);
}

static void a_target_in_the_test_rows_is_found(void **state) {
    (void)state;
    fixture f;
    begin(&f, OWN_TARGET);
    mla_findings found = check(&f);
    assert_int_equal(found.len, 2);
    assert_non_null(strstr(found.items[0].text, "test.csv: has the target 'y'"));
    assert_non_null(strstr(found.items[1].text, "column 'y' tells the answers"));
    mla_findings_clear(&found);
    fixture_end(&f);
    begin(&f, NO_ID);
    found = check(&f);
    assert_int_equal(found.len, 2);
    assert_non_null(strstr(found.items[0].text, "train.csv: has no column 'id'"));
    mla_findings_clear(&found);
    fixture_end(&f);
}

static char *answers_text(const fixture *f) {
    mla_err err;
    mla_buf text;
    char *path = mla_fs_join(f->home, "answers/toy.csv");
    assert_int_equal(mla_fs_read(path, 1 << 20, &text, &err), 0);
    free(path);
    return mla_buf_take(&text);
}

static void copies_of_the_answers_are_found(void **state) {
    (void)state;
    fixture f;
    begin(&f, FINE);
    char *answers = answers_text(&f);
    fixture_write(f.home, "data/toy/extra/notes.bin", answers);
    expect(&f, "leak", "extra/notes.bin: is a copy of the answers");
    fixture_write(f.home, "data/toy/extra/notes.bin", "x");
    // Of another name, order of columns and form.
    mla_buf other;
    mla_buf_init(&other, 1 << 20);
    mla_buf_puts(&other, "colour,id\n");
    for (char *line = strchr(answers, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        int id, y;
        assert_int_equal(sscanf(line, "%d,%d", &id, &y), 2);
        mla_buf_printf(&other, "%s,%d\n", y ? "red" : "blue", id);
    }
    fixture_write(f.dir, "env/more.csv", mla_buf_text(&other));
    expect(&f, "leak", "env/more.csv: column 'colour' tells the answers of 'y'");
    free(answers);
    mla_buf_clear(&other);
    fixture_end(&f);
}

static void a_number_that_follows_the_answer_is_found(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    char *yaml = with(toy_yaml, "accuracy", "rmse"), *lower = with(yaml, "higher", "lower");
    free(yaml);
    yaml = with(lower, "{public: 0.9, private: 0.91}", "{public: 0.1, private: 0.1}");
    fixture_write(f.dir, "task.yaml", yaml);
    free(yaml);
    free(lower);
    mla_buf train, test, answers;
    mla_buf *all[] = {&train, &test, &answers};
    for (size_t i = 0; i < 3; i++) mla_buf_init(all[i], 1 << 20);
    mla_buf_puts(&train, "id,x,cube,y\n");
    mla_buf_puts(&test, "id,x,cube\n");
    mla_buf_puts(&answers, "id,y,half\n");
    for (int i = 0; i < 80; i++) {
        int y = i * 37 % 97;                 // x goes along with it only roughly
        mla_buf_printf(&train, "%d,%d,%d,%d\n", 100 + i, y + i % 30 + 200, y, y);
        mla_buf_printf(&test, "%d,%d,%d\n", i, y + i % 30, 5 - y * y * y);
        mla_buf_printf(&answers, "%d,%d,%s\n", i, y, i % 3 ? "public" : "private");
    }
    fixture_write(f.home, "data/toy/train.csv", mla_buf_text(&train));
    fixture_write(f.home, "data/toy/test.csv", mla_buf_text(&test));
    fixture_write(f.home, "answers/toy.csv", mla_buf_text(&answers));
    fixture_write(f.home, "versions/toy.json", "{\"data\": \"v1\"}");
    mla_findings found = check(&f);
    bool seen = false;
    for (size_t i = 0; i < found.len; i++) {
        seen |= strstr(found.items[i].text, "'cube' tells the answers of 'y': it rises") != NULL;
        assert_null(strstr(found.items[i].text, "'x'"));
    }
    assert_true(seen);
    mla_findings_clear(&found);
    for (size_t i = 0; i < 3; i++) mla_buf_clear(all[i]);
    fixture_end(&f);
}

static void the_description_is_checked(void **state) {
    (void)state;
    fixture f;
    begin(&f, FINE);
    char *yaml = with(toy_yaml, "licence: CC0", "licence: unknown");
    fixture_write(f.dir, "task.yaml", yaml);
    expect(&f, "licence", "source.licence is 'unknown'");
    free(yaml);
    fixture_end(&f);
}

static void splits_must_differ(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    char *yaml = with(toy_yaml, "split: train\n", "split: train\nsplits: 2\n");
    fixture_write(f.dir, "task.yaml", yaml);
    free(yaml);
    for (uint64_t second = 1; second <= 2; second++) {
        mla_buf answers;
        mla_buf_init(&answers, 1 << 20);
        mla_buf_puts(&answers, "id,y,half,split\n");
        write_split(&f, "data/toy/split0", FINE, 1, 0, &answers);
        write_split(&f, "data/toy/split1", FINE, second, 1, &answers);
        fixture_write(f.home, "answers/toy.csv", mla_buf_text(&answers));
        fixture_write(f.home, "versions/toy.json", "{\"data\": \"v1\"}");
        mla_buf_clear(&answers);
        expect(&f, "splits", second == 1 ? "split1/test.csv: is the same as split0's" : NULL);
    }
    fixture_write(f.home, "data/toy/lost.txt", "x");
    expect(&f, "splits", "'lost.txt' is beside the splits");
    fixture_end(&f);
}

// The bootstrap of an accuracy p over n rows has the standard deviation sqrt(p (1 - p) / n).
static void resamples_vary_as_theory_says(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    fixture f;
    begin(&f, FINE);
    mla_err err = {0};
    mla_task *task = mla_task_load(f.dir, f.home, true, &err);
    mla_answers *answers = mla_answers_load(task, &err);
    assert_non_null(answers);
    mla_buf csv;
    mla_buf_init(&csv, 1 << 20);
    mla_buf_puts(&csv, "id,y\n");
    for (int i = 0; i < ROWS; i++) mla_buf_printf(&csv, "%d,1\n", i);
    mla_halves score, again[3], *out = MLA_NEW_ARRAY(mla_halves, COUNT);
    const char *text = mla_buf_text(&csv);
    assert_int_equal(mla_score_submission(answers, 0, text, csv.len, &score, &err), 0);
    assert_int_equal(mla_score_resamples(answers, 0, text, csv.len, 5, out, COUNT, &err), 0);
    assert_int_equal(mla_score_resamples(answers, 0, text, csv.len, 5, again, 3, &err), 0);
    assert_memory_equal(out, again, sizeof again);
    double sum = 0, squares = 0, p = score.private_half;
    for (int i = 0; i < COUNT; i++) {
        sum += out[i].private_half;
        squares += (out[i].private_half - p) * (out[i].private_half - p);
    }
    double sd = sqrt(p * (1 - p) / (ROWS / 2.0));
    assert_true(p > 0.2 && p < 0.8);
    assert_true(fabs(sum / COUNT - p) < 4 * sd / sqrt(COUNT));
    assert_true(fabs(sqrt(squares / COUNT) / sd - 1) < 0.1);
    assert_int_equal(mla_score_resamples(answers, 0, "id,y\n", 5, 5, out, COUNT, &err), -1);
    mla_buf_clear(&csv);
    free(out);
    mla_answers_free(answers);
    mla_task_free(task);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_task_has_no_findings),
        cmocka_unit_test(orders_that_tell_are_found),
        cmocka_unit_test(columns_that_tell_are_found),
        cmocka_unit_test(rows_and_ids_that_are_there_twice_are_found),
        cmocka_unit_test(a_target_in_the_test_rows_is_found),
        cmocka_unit_test(copies_of_the_answers_are_found),
        cmocka_unit_test(a_number_that_follows_the_answer_is_found),
        cmocka_unit_test(the_description_is_checked),
        cmocka_unit_test(splits_must_differ),
        cmocka_unit_test(resamples_vary_as_theory_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
