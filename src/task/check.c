// The linter's walk over a task's files: what each may hold, and whether it tells the answers.
#include "task/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/answers.h"
#include "task/check_leak.h"

#define SECONDS_MAX 86400.0
#define FINDINGS_MAX 1000      // of a task; one cause may have many

void mla_findings_add(mla_findings *f, const char *check, const char *fmt, ...) {
    char text[1024];
    va_list args;
    if (f->len == FINDINGS_MAX) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127) *p = ' ';
    }
    MLA_GROW(f->items, f->cap, f->len + 1);
    f->items[f->len++] = (mla_finding){check, mla_strdup(text)};
}

void mla_findings_clear(mla_findings *f) {
    for (size_t i = 0; i < f->len; i++) free(f->items[i].text);
    free(f->items);
    *f = (mla_findings){0};
}

// --- tables -------------------------------------------------------------------------------------

typedef struct table {
    mla__csv csv;             // holds the text
    char **names;             // [columns]
    char **cells;             // [rows, columns]
    size_t columns, rows, cap;
} table;

static void table_clear(table *t) {
    mla__csv_clear(&t->csv);
    free(t->names);
    free(t->cells);
    *t = (table){.columns = 0};
}

static int table_read(table *t, const char *path, mla_err *err) {
    mla_buf text = {0};
    *t = (table){.columns = 0};
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &text, err) < 0) return -1;
    mla__csv_init(&t->csv, mla_buf_text(&text), text.len);
    mla_buf_clear(&text);
    int rc;
    while ((rc = mla__csv_next(&t->csv, err)) > 0) {
        char **row;
        if (!t->names) {
            t->columns = t->csv.count;
            row = t->names = MLA_NEW_ARRAY(char *, t->columns);
        } else {
            MLA_GROW(t->cells, t->cap, (t->rows + 1) * t->columns);
            row = t->cells + t->rows++ * t->columns;
        }
        for (size_t i = 0; i < t->columns; i++) row[i] = mla__cell_trim(&t->csv.cells[i]);
    }
    if (rc == 0 && !t->names) rc = mla_err_set(err, "is empty");
    if (rc < 0) mla_err_wrap(err, "%s", path);
    return rc;
}

static int column_of(const table *t, const char *name) {
    for (size_t i = 0; i < t->columns; i++) {
        if (strcmp(t->names[i], name) == 0) return (int)i;
    }
    return -1;
}

static char *cell_of(const table *t, size_t row, size_t column) {
    return t->cells[row * t->columns + column];
}

// --- one split ----------------------------------------------------------------------------------

typedef struct split {
    const mla_task *task;
    const mla_answers *answers;
    const mla__part *part;
    mla_findings *findings;
    char *dir;                // its public files
    char prefix[32];          // "" or "split3/"
    table train, test;
} split;

static bool is_target(const mla_task *task, const char *name) {
    for (size_t i = 0; i < task->target_count; i++) {
        if (strcmp(task->target_columns[i], name) == 0) return true;
    }
    return false;
}

static void check_columns(const split *s) {
    const char *id = s->task->id_column;
    for (size_t i = 0; i < s->test.columns; i++) {
        const char *name = s->test.names[i];
        if (is_target(s->task, name)) {
            mla_findings_add(s->findings, "columns", "%stest.csv: has the target '%s'; leave it "
                             "out in prepare.py", s->prefix, mla__show(name).text);
        } else if (strcmp(name, id) && column_of(&s->train, name) < 0) {
            mla_findings_add(s->findings, "columns", "%stest.csv: has the column '%s', which "
                             "train.csv lacks; drop it or put it in both", s->prefix,
                             mla__show(name).text);
        }
    }
    const char *own[] = {"half", "split"};
    for (size_t i = 0; i < MLA_COUNT(own); i++) {
        if (column_of(&s->test, own[i]) < 0 && column_of(&s->train, own[i]) < 0) continue;
        mla_findings_add(s->findings, "columns", "%strain.csv or test.csv: has a column '%s', "
                         "which is for answers.csv; drop or rename it", s->prefix, own[i]);
    }
    const table *both[] = {&s->train, &s->test};
    for (size_t i = 0; i < 2; i++) {
        if (column_of(both[i], id) >= 0) continue;
        mla_findings_add(s->findings, "columns", "%s%s: has no column '%s', the id_column",
                         s->prefix, i ? "test.csv" : "train.csv", mla__show(id).text);
    }
}

static void check_ids(const split *s) {
    int from = column_of(&s->train, s->task->id_column);
    size_t shared = 0;
    const char *example = "";
    for (size_t i = 0; from >= 0 && i < s->train.rows; i++) {
        const char *id = cell_of(&s->train, i, (size_t)from);
        if (mla__keys_find(&s->part->ids, mla__key_text(id)) == MLA__KEY_NONE) continue;
        if (!shared++) example = id;
    }
    if (!shared) return;
    mla_findings_add(s->findings, "ids", "%strain.csv: %zu ids are test.csv's too ('%s' is one); "
                     "give each row an id of its own", s->prefix, shared, mla__show(example).text);
}

// The columns of features that both files have: pairs [train's, test's]. Their number.
static size_t shared_features(const split *s, int (*pairs)[2]) {
    size_t n = 0;
    for (size_t i = 0; i < s->test.columns; i++) {
        const char *name = s->test.names[i];
        int at = column_of(&s->train, name);
        if (at < 0 || !strcmp(name, s->task->id_column) || is_target(s->task, name)) continue;
        pairs[n][0] = at;
        pairs[n++][1] = (int)i;
    }
    return n;
}

// A row's features as one text, its parts ended by a byte that is in no cell. Caller frees.
static char *features_of(const table *t, size_t row, int (*pairs)[2], size_t n, int side) {
    mla_buf text;
    mla_buf_init(&text, MLA__CSV_MAX_BYTES);
    for (size_t i = 0; i < n; i++) {
        mla_buf_puts(&text, cell_of(t, row, (size_t)pairs[i][side]));
        mla_buf_append(&text, "\x1f", 1);
    }
    return mla_buf_take(&text);
}

static void check_rows(const split *s) {
    mla__keys seen = {0};
    char **texts = MLA_NEW_ARRAY(char *, s->train.rows + 1);
    int (*pairs)[2] = mla_alloc(s->test.columns, sizeof *pairs);
    size_t n = shared_features(s, pairs), repeated = 0, example = 0;
    for (size_t i = 0; i < s->train.rows && n; i++) {
        bool added;
        texts[i] = features_of(&s->train, i, pairs, n, 0);
        mla__keys_add(&seen, mla__key_text(texts[i]), &added);
    }
    for (size_t i = 0; i < s->test.rows && n; i++) {
        char *text = features_of(&s->test, i, pairs, n, 1);
        if (mla__keys_find(&seen, mla__key_text(text)) != MLA__KEY_NONE) {
            if (!repeated++) example = i;
        }
        free(text);
    }
    if (repeated) {
        mla_findings_add(s->findings, "rows", "%stest.csv: %zu of %zu rows are in train.csv too, "
                         "with their answers (the first is row %zu); drop repeated rows before "
                         "the split", s->prefix, repeated, s->test.rows, example + 1);
    }
    mla__keys_clear(&seen);
    for (size_t i = 0; i < s->train.rows; i++) free(texts[i]);
    free(texts);
    free(pairs);
}

// --- what tells the answers ---------------------------------------------------------------------

// rows [n]: the answers' rows that are asked for, by id's number.
static double *truth_of(const split *s, const size_t *rows, size_t n, size_t target) {
    double *truth = MLA_NEW_ARRAY(double, n + 1);
    for (size_t i = 0; i < n; i++) {
        truth[i] = s->part->truth[s->part->place[rows[i]] * s->answers->truth_width + target];
    }
    return truth;
}

// Ratings count as numbers.
static bool has_labels(const mla_answers *answers) {
    mla_value kind = mla_metric_about(answers->metric)->truth;
    return kind == MLA_VALUE_LABEL || kind == MLA_VALUE_BINARY || answers->by_class;
}

// Which of the table's rows are rows of the answers: by id where it has that column, else in
// test.csv's order. rows [t->rows]: the table's; ids [t->rows]: the answers'. Their number.
static size_t match_rows(const split *s, const table *t, size_t *rows, size_t *ids) {
    int id = column_of(t, s->task->id_column), own = column_of(&s->test, s->task->id_column);
    bool by_order = id < 0 && t->rows == s->test.rows && own >= 0;
    size_t n = 0;
    for (size_t i = 0; (id >= 0 || by_order) && i < t->rows; i++) {
        const char *name = by_order ? cell_of(&s->test, i, (size_t)own)
                                    : cell_of(t, i, (size_t)id);
        size_t found = mla__keys_find(&s->part->ids, mla__key_text(name));
        if (found == MLA__KEY_NONE) continue;
        rows[n] = i;
        ids[n++] = found;
    }
    return n;
}

static void check_column(const split *s, const table *t, const char *file, size_t column,
                         const size_t *rows, const size_t *ids, size_t n) {
    char **values = MLA_NEW_ARRAY(char *, n + 1);
    for (size_t i = 0; i < n; i++) values[i] = cell_of(t, rows[i], column);
    for (size_t k = 0; k < s->task->target_count; k++) {
        double *truth = truth_of(s, ids, n, k);
        const mla__target target = {truth, n, has_labels(s->answers)};
        const char *how = mla__leak_of_column(&target, values);
        if (how) {
            mla_findings_add(s->findings, "leak", "%s: column '%s' tells the answers of '%s': %s; "
                             "drop it", file, mla__show(t->names[column]).text,
                             mla__show(s->task->target_columns[k]).text, how);
        }
        free(truth);
    }
    free(values);
}

// All columns of one table that has (some of) the rows of test.csv.
static void check_table(const split *s, const table *t, const char *file) {
    size_t *rows = MLA_NEW_ARRAY(size_t, t->rows + 1), *ids = MLA_NEW_ARRAY(size_t, t->rows + 1);
    size_t n = match_rows(s, t, rows, ids);
    for (size_t c = 0; n && c < t->columns; c++) {
        if (strcmp(t->names[c], s->task->id_column) != 0) {
            check_column(s, t, file, c, rows, ids, n);
        }
    }
    free(rows);
    free(ids);
}

typedef struct {
    double key;
    size_t at;
} keyed;

static int by_key(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

// Puts the answers' rows into the order of their ids; false when one of those is no number.
static bool order_by_id(const split *s, size_t *ids, size_t n) {
    keyed *sorted = MLA_NEW_ARRAY(keyed, n + 1);
    bool numbers = true;
    for (size_t i = 0; i < n && numbers; i++) {
        sorted[i].at = ids[i];
        numbers = mla__number_parse(s->part->ids.items[ids[i]].text, &sorted[i].key);
    }
    if (numbers) qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n && numbers; i++) ids[i] = sorted[i].at;
    free(sorted);
    return numbers;
}

static bool check_order(const split *s, const size_t *ids, size_t n, const char *what) {
    bool found = false;
    for (size_t k = 0; k < s->task->target_count; k++) {
        double *truth = truth_of(s, ids, n, k);
        const mla__target target = {truth, n, has_labels(s->answers)};
        const char *how = mla__leak_of_order(&target);
        if (how) {
            mla_findings_add(s->findings, "order", "%stest.csv: the order of %s tells something of "
                             "'%s': %s; shuffle the rows before they get their ids", s->prefix,
                             what, mla__show(s->task->target_columns[k]).text, how);
        }
        found |= how != NULL;
        free(truth);
    }
    return found;
}

static void check_orders(const split *s) {
    size_t *rows = MLA_NEW_ARRAY(size_t, s->test.rows + 1);
    size_t *ids = MLA_NEW_ARRAY(size_t, s->test.rows + 1);
    size_t n = match_rows(s, &s->test, rows, ids);
    if (n && !check_order(s, ids, n, "rows") && order_by_id(s, ids, n)) {
        check_order(s, ids, n, "ids");
    }
    free(rows);
    free(ids);
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

// A file that the agent sees beside train.csv and test.csv.
static int check_file(const split *s, const char *dir, const char *shown, const char *name,
                      mla_err *err) {
    char *path = mla_fs_join(dir, name), *file = mla_format("%s%s", shown, name);
    char mine[65] = "", theirs[65] = "";
    int rc = mla_sha256_file(path, mine, err);
    if (rc == 0) rc = mla_sha256_file(s->task->answers_path, theirs, err);
    if (rc == 0 && strcmp(mine, theirs) == 0) {
        mla_findings_add(s->findings, "leak", "%s: is a copy of the answers; remove it", file);
    } else if (rc == 0 && ends_with(name, ".csv")) {
        table t;
        mla_err why;
        if (table_read(&t, path, &why) == 0) check_table(s, &t, file);
        else mla_findings_add(s->findings, "files", "%.400s; make it a CSV file", why.text);
        table_clear(&t);
    }
    free(file);
    free(path);
    return rc;
}

static int check_folder(const split *s, const char *dir, const char *shown, mla_err *err) {
    char **names;
    size_t n;
    if (mla_fs_list(dir, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *path = mla_fs_join(dir, names[i]), *below = mla_format("%s%s/", shown, names[i]);
        bool own = !strcmp(names[i], "train.csv") || !strcmp(names[i], "test.csv");
        if (mla_fs_is_dir(path)) rc = check_folder(s, path, below, err);
        else if (!own || dir != s->dir) rc = check_file(s, dir, shown, names[i], err);
        free(below);
        free(path);
    }
    mla_fs_names_free(names, n);
    return rc;
}

static int read_tables(split *s, mla_err *err) {
    char *train = mla_fs_join(s->dir, "train.csv"), *test = mla_fs_join(s->dir, "test.csv");
    int rc = table_read(&s->train, train, err);
    if (rc == 0) rc = table_read(&s->test, test, err);
    free(train);
    free(test);
    return rc;
}

static int check_split(const mla_task *task, const mla_answers *answers, size_t at,
                       mla_findings *findings, mla_err *err) {
    split s = {.task = task, .answers = answers, .part = &answers->parts[at],
               .findings = findings, .dir = mla_task_split_dir(task, at)};
    if (task->splits > 1) snprintf(s.prefix, sizeof s.prefix, "split%zu/", at);
    int rc = read_tables(&s, err);
    if (rc < 0) {
        mla_findings_add(findings, "files", "%.400s; make it anew with mlagent tasks prepare",
                         err->text);
        rc = 0;
    } else {
        char *file = mla_format("%stest.csv", s.prefix);
        check_columns(&s);
        check_ids(&s);
        check_rows(&s);
        check_table(&s, &s.test, file);
        check_orders(&s);
        rc = check_folder(&s, s.dir, s.prefix, err);
        if (rc == 0 && at == 0) rc = check_folder(&s, task->env_dir, "env/", err);
        free(file);
    }
    table_clear(&s.train);
    table_clear(&s.test);
    free(s.dir);
    return rc;
}

// --- the whole ----------------------------------------------------------------------------------

static bool names_nothing(const char *text) {
    static const char *const words[] = {"unknown", "none", "?", "-", "n/a"};
    for (size_t i = 0; i < MLA_COUNT(words); i++) {
        if (strcasecmp(text, words[i]) == 0) return true;
    }
    return text[0] == '\0';
}

static void check_description(const mla_task *task, mla_findings *f) {
    if (names_nothing(task->source.licence)) {
        mla_findings_add(f, "licence", "task.yaml: source.licence is '%s'; name the licence of the "
                         "data", mla__show(task->source.licence).text);
    }
    if (task->direction != mla_metric_direction(task->metric)) {
        mla_findings_add(f, "direction", "task.yaml: direction is %s, but for %s %s is better",
                         task->direction > 0 ? "higher" : "lower", mla_metric_name(task->metric),
                         task->direction > 0 ? "lower" : "higher");
    }
    if (task->limits.seconds > SECONDS_MAX) {
        mla_findings_add(f, "limits", "task.yaml: limits.seconds is %g; allow at most a day",
                         task->limits.seconds);
    }
}

static bool is_split(const mla_task *task, const char *name) {
    for (int i = 0; i < task->splits; i++) {
        char own[32];
        snprintf(own, sizeof own, "split%d", i);
        if (strcmp(name, own) == 0) return true;
    }
    return false;
}

// Splits must differ, and nothing may lie beside them that a script would look for in vain.
static int check_splits(const mla_task *task, mla_findings *f, mla_err *err) {
    char **names, (*sums)[65] = mla_alloc((size_t)task->splits, 65);
    size_t n;
    int rc = mla_fs_list(task->prepared_dir, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (is_split(task, names[i])) continue;
        mla_findings_add(f, "splits", "data: '%s' is beside the splits, where no script sees it; "
                         "put it into each split's folder", mla__show(names[i]).text);
    }
    if (rc == 0) mla_fs_names_free(names, n);
    for (int i = 0; rc == 0 && i < task->splits; i++) {
        char *path = mla_format("%s/split%d/test.csv", task->prepared_dir, i);
        rc = mla_sha256_file(path, sums[i], err);
        for (int k = 0; rc == 0 && k < i; k++) {
            if (strcmp(sums[i], sums[k])) continue;
            mla_findings_add(f, "splits", "split%d/test.csv: is the same as split%d's; draw each "
                             "split by itself", i, k);
        }
        free(path);
    }
    free(sums);
    return rc;
}

int mla_task_check(const mla_task *task, mla_findings *findings, mla_err *err) {
    MLA_ASSERT(task->data_version);
    check_description(task, findings);
    mla_err why;
    mla_answers *answers = mla_answers_load(task, &why);
    if (!answers) {
        mla_findings_add(findings, "answers", "%.500s; make them anew with mlagent tasks prepare",
                         why.text);
        return 0;
    }
    int rc = task->splits > 1 ? check_splits(task, findings, err) : 0;
    for (size_t i = 0; rc == 0 && i < answers->part_count; i++) {
        rc = check_split(task, answers, i, findings, err);
    }
    mla_answers_free(answers);
    return rc;
}
