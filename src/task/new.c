// Checks a person's data and writes the folder of a task for it. The split is prepare.py's work
// (new_files.c), so that it can be made again, and read.
#include "task/new.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "task/answers.h"
#include "task/new_files.h"

#define CLASS_ROWS_MIN 6          // of a class, so that either half gets one

// One CSV file of the source, and what its rows were seen to hold.
typedef struct table {
    const char *path;
    mla__csv csv;
    int id, target;               // columns, -1 where there is none
    mla__keys ids, labels;
    size_t *counts;               // [labels.len]: rows of each
    size_t cap, rows;
} table;

static void table_clear(table *t) {
    mla__csv_clear(&t->csv);
    mla__keys_clear(&t->ids);
    mla__keys_clear(&t->labels);
    free(t->counts);
}

// "'a', 'b', 'c'", as much of it as fits a message.
static char *list_columns(const table *t) {
    mla_buf text;
    mla_buf_init(&text, 300);
    for (size_t i = 0; i < t->csv.count; i++) {
        mla_buf_printf(&text, "%s'%s'", i ? ", " : "", mla__show(t->csv.cells[i].text).text);
    }
    return mla_buf_take(&text);
}

static int check_header(const table *t, mla_err *err) {
    for (size_t i = 0; i < t->csv.count; i++) {
        const char *name = t->csv.cells[i].text;
        if (!*name) {
            return mla_err_set(err, "%s: column %zu has no name; the first line must name all",
                               t->path, i + 1);
        }
        if (mla__csv_find(&t->csv, name) == -2) {
            return mla_err_set(err, "%s: has two columns named '%s'; the first line must name "
                               "each, no two alike", t->path, mla__show(name).text);
        }
    }
    return 0;
}

// Finds the columns. A target that is not there is told with those that are.
static int read_header(table *t, const mla_new_task *task, mla_err *err) {
    int rc = mla__csv_next(&t->csv, err);
    if (rc < 0) return mla_err_wrap(err, "%s", t->path);
    if (rc == 0) return mla_err_set(err, "%s: is empty", t->path);
    if (check_header(t, err) < 0) return -1;
    t->id = mla__csv_find(&t->csv, task->id);
    t->target = mla__csv_find(&t->csv, task->target);
    if (t->target >= 0) return 0;
    bool other = t->csv.count == 1 && strpbrk(t->csv.cells[0].text, ";\t|");
    char *names = list_columns(t);
    mla_err_set(err, "%s: has no column '%s'; it has: %s%s", t->path,
                mla__show(task->target).text, names,
                other ? " (one column: cells must be separated by commas)" : "");
    free(names);
    return -1;
}

static const char *wanted(mla_value kind) {
    switch (kind) {
    case MLA_VALUE_BINARY: return "0 or 1";
    case MLA_VALUE_RATING: return "a whole number";
    case MLA_VALUE_AMOUNT: return "a number that is not negative";
    default: return "a number";
    }
}

// What pandas reads as missing, so that a script would find no target there.
static bool reads_as_missing(const char *target) {
    static const char *const texts[] = {"nan", "NaN", "-nan", "-NaN", "NA", "N/A", "n/a", "#N/A",
                                        "<NA>", "NULL", "null", "None"};
    for (size_t i = 0; i < MLA_COUNT(texts); i++) {
        if (!strcmp(target, texts[i])) return true;
    }
    return *target == '\0';
}

static int take_row(table *t, const mla_new_task *task, mla_err *err) {
    const char *target = mla__cell_trim(&t->csv.cells[t->target]);
    mla_value kind = mla_metric_about(task->metric)->truth;
    double value;
    bool added;
    if (reads_as_missing(target)) {
        return mla_err_set(err, "%s line %zu: %s is %s%s; remove the rows without a target",
                           t->path, t->csv.line, mla__show(task->target).text,
                           *target ? target : "empty", *target ? ", which counts as missing" : "");
    }
    if (kind != MLA_VALUE_LABEL && mla__number_read(kind, &t->csv, t->path, task->target, target,
                                                    &value, err) < 0) {
        return mla_err_wrap(err, "metric %s wants %s in every row; write the target so or choose "
                            "another with --metric", mla_metric_name(task->metric), wanted(kind));
    }
    size_t label = mla__keys_add(&t->labels, mla__key_label(target), &added);
    MLA_GROW(t->counts, t->cap, label + 1);
    t->counts[label] = added ? 1 : t->counts[label] + 1;
    t->rows++;
    if (t->id < 0) return 0;
    const char *id = mla__cell_trim(&t->csv.cells[t->id]);
    mla__keys_add(&t->ids, mla__key_text(id), &added);
    if (*id && added) return 0;
    return mla_err_set(err, "%s line %zu: %s '%s' is %s; name another column with --id", t->path,
                       t->csv.line, mla__show(task->id).text, mla__show(id).text,
                       *id ? "there twice" : "empty");
}

static int open_table(table *t, const char *path, mla_err *err) {
    *t = (table){.path = path};
    mla_buf file;
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, err) < 0) return -1;
    size_t line = mla__csv_foreign_line(mla_buf_text(&file), file.len);
    mla__csv_init(&t->csv, mla_buf_text(&file), file.len);
    mla_buf_clear(&file);
    if (line == 0) return 0;
    return mla_err_set(err, "%s: line %zu is not UTF-8; convert the file, for example with: iconv "
                       "-f latin1 -t utf8 %s >converted.csv", path, line, path);
}

static int read_table(table *t, const char *path, const mla_new_task *task, mla_err *err) {
    if (open_table(t, path, err) < 0 || read_header(t, task, err) < 0) return -1;
    int rc;
    while ((rc = mla__csv_next(&t->csv, err)) > 0) {
        if (take_row(t, task, err) < 0) return -1;
    }
    return rc < 0 ? mla_err_wrap(err, "%s", path) : 0;
}

// What a table must hold to be split or scored.
static int check_table(const table *t, const mla_new_task *task, size_t least, mla_err *err) {
    const mla_metric_info *about = mla_metric_about(task->metric);
    if (t->rows < least) {
        return mla_err_set(err, "%s: has %zu rows; a task needs at least %zu", t->path, t->rows,
                           least);
    }
    if (t->labels.len < 2) {
        return mla_err_set(err, "%s: %s is the same in every row: there is nothing to learn",
                           t->path, mla__show(task->target).text);
    }
    for (size_t i = 0; about->truth == MLA_VALUE_BINARY && i < t->labels.len; i++) {
        if (t->counts[i] >= CLASS_ROWS_MIN) continue;
        return mla_err_set(err, "%s: %s is %g in only %zu rows; %s needs at least %d of each class",
                           t->path, mla__show(task->target).text, t->labels.items[i].number,
                           t->counts[i], about->name, CLASS_ROWS_MIN);
    }
    return 0;
}

// --- the source ---------------------------------------------------------------------------------

typedef struct source {
    char *train, *test;           // paths; test NULL: none that holds the target
    bool is_folder;
} source;

static char *find_file(const char *dir, const char *name) {
    char *here = mla_fs_join(dir, name), *below = mla_format("%s/data/%s", dir, name);
    char *found = mla_fs_exists(here) ? here : mla_fs_exists(below) ? below : NULL;
    if (found != here) free(here);
    if (found != below) free(below);
    return found;
}

static int find_source(source *s, const mla_new_task *task, mla_err *err) {
    *s = (source){.is_folder = mla_fs_is_dir(task->source)};
    if (!mla_fs_exists(task->source)) return mla_err_set(err, "%s: is not there", task->source);
    if (!s->is_folder) {
        s->train = mla_strdup(task->source);
        return 0;
    }
    char *script = mla_fs_join(task->source, task->script);
    bool there = mla_fs_exists(script) && !mla_fs_is_dir(script);
    free(script);
    if (!there) {
        return mla_err_set(err, "%s: has no %s; name the script with --script", task->source,
                           task->script);
    }
    s->train = find_file(task->source, "train.csv");
    s->test = find_file(task->source, "test.csv");
    if (s->train) return 0;
    return mla_err_set(err, "%s: has neither train.csv nor data/train.csv", task->source);
}

// Whether a test.csv can be scored: it has the target too. 1, 0, -1.
static int has_target(const char *path, const mla_new_task *task, mla_err *err) {
    table t;
    int rc = open_table(&t, path, err);
    if (rc == 0) rc = mla__csv_next(&t.csv, err);
    if (rc > 0) rc = mla__csv_find(&t.csv, task->target) >= 0;
    table_clear(&t);
    return rc < 0 ? mla_err_wrap(err, "%s", path) : rc;
}

static int check_train(const source *s, const mla_new_task *task, mla_new_facts *facts,
                       mla_err *err) {
    table t;
    int rc = read_table(&t, s->train, task, err);
    if (rc == 0) rc = check_table(&t, task, s->test ? 20 : MLA_NEW_ROWS_MIN, err);
    if (rc == 0 && t.csv.columns < 2u + (t.id >= 0)) {
        rc = mla_err_set(err, "%s: has no column besides %s to learn from", s->train,
                         mla__show(task->target).text);
    }
    facts->rows = t.rows;
    facts->made_id = t.id < 0;
    table_clear(&t);
    return rc;
}

static int check_test(const source *s, const mla_new_task *task, mla_new_facts *facts,
                      mla_err *err) {
    table t;
    int rc = read_table(&t, s->test, task, err);
    if (rc == 0) rc = check_table(&t, task, 20, err);
    if (rc == 0 && (t.id < 0) != facts->made_id) {
        rc = mla_err_set(err, "%s: only one of it and train.csv has a column %s", s->test,
                         mla__show(task->id).text);
    }
    facts->test_rows = t.rows;
    table_clear(&t);
    return rc;
}

static int check_source(source *s, const mla_new_task *task, mla_new_facts *facts, mla_err *err) {
    *facts = (mla_new_facts){.rows = 0};
    if (s->test) {
        int use = has_target(s->test, task, err);
        if (use < 0) return -1;
        if (!use) {
            facts->unused_test = true;
            free(s->test);
            s->test = NULL;
        }
    }
    if (check_train(s, task, facts, err) < 0) return -1;
    return s->test ? check_test(s, task, facts, err) : 0;
}

static int check_words(const mla_new_task *task, const char *name, mla_err *err) {
    const mla_metric_info *about = mla_metric_about(task->metric);
    if (!mla__is_name(name)) {
        return mla_err_set(err, "\"%s\": a task's name is made of a-z, 0-9, '-' and '_', at most "
                           "64; give one with --name", mla__show(name).text);
    }
    if (about->columns == MLA_COLUMNS_SEVERAL) {
        return mla_err_set(err, "metric %s: is of several target columns; write such a task.yaml "
                           "by hand (docs/tasks.md)", about->name);
    }
    if (!strcmp(task->target, task->id)) {
        return mla_err_set(err, "'%s' cannot be the target and the id", mla__show(task->id).text);
    }
    if (!strcmp(task->target, "half") || !strcmp(task->id, "half")) {
        return mla_err_set(err, "a column named 'half' can be neither target nor id: rename it");
    }
    return 0;
}

// --- the folder ---------------------------------------------------------------------------------

static int write_text_take(const char *dir, const char *name, char *take, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = mla_fs_write(path, take, strlen(take), err);
    free(path);
    free(take);
    return rc;
}

// Copies a file of the data where only its owner reads it, and tells its checksum.
static int keep_data(const char *from, const char *dir, const char *name, char hex[65],
                     mla_err *err) {
    char *to = mla_format("%s/source/%s", dir, name);
    int rc = mla_fs_copy_file(from, to, err);
    if (rc == 0 && chmod(to, 0600) < 0) rc = mla_err_set(err, "%s: cannot make it private", to);
    if (rc == 0) rc = mla_sha256_file(to, hex, err);
    free(to);
    return rc;
}

static bool is_python(const char *name) {
    size_t n = strlen(name);
    return name[0] != '.' && n > 3 && !strcmp(name + n - 3, ".py");
}

// The script, and the folder's other Python files, which it may import.
static int copy_scripts(const mla_new_task *task, const char *env, mla_err *err) {
    char **names;
    size_t n;
    if (mla_fs_list(task->source, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!is_python(names[i]) && strcmp(names[i], task->script)) continue;
        char *from = mla_fs_join(task->source, names[i]), *to = mla_fs_join(env, names[i]);
        if (!mla_fs_is_dir(from)) rc = mla_fs_copy_file(from, to, err);
        free(from);
        free(to);
    }
    mla_fs_names_free(names, n);
    return rc;
}

static int write_folder(const mla_new_task *task, const source *s, const char *dir, mla_err *err) {
    char train[65], test[65], *env = mla_fs_join(dir, "env"), *data = mla_fs_join(dir, "source");
    int rc = mla_fs_mkdirs(env, err);
    if (rc == 0) rc = mla_fs_mkdirs(data, err);
    if (rc == 0 && chmod(data, 0700) < 0) rc = mla_err_set(err, "%s: cannot make it private", data);
    if (rc == 0) rc = keep_data(s->train, dir, "train.csv", train, err);
    if (rc == 0 && s->test) rc = keep_data(s->test, dir, "test.csv", test, err);
    if (rc == 0) {
        rc = write_text_take(dir, "prepare.py",
                             mla__new_prepare(task, train, s->test ? test : NULL), err);
    }
    if (rc == 0 && s->is_folder) rc = copy_scripts(task, env, err);
    else if (rc == 0) rc = write_text_take(env, task->script, mla__new_starter(task), err);
    free(env);
    free(data);
    return rc;
}

int mla_new_task_write(const mla_new_task *task, const char *dir, mla_new_facts *facts,
                       mla_err *err) {
    source s;
    const char *name = strrchr(dir, '/');
    int rc = check_words(task, name ? name + 1 : dir, err);
    if (rc < 0) return rc;
    rc = find_source(&s, task, err);
    if (rc == 0) rc = check_source(&s, task, facts, err);
    if (rc == 0) rc = write_folder(task, &s, dir, err);
    free(s.train);
    free(s.test);
    bool higher = mla_metric_direction(task->metric) > 0;
    const mla_halves low = {0, 0}, high = {1, 1};
    if (rc < 0) return rc;
    return mla_new_task_describe(task, dir, higher ? low : high, higher ? high : low, err);
}

int mla_new_task_describe(const mla_new_task *task, const char *dir, mla_halves init,
                          mla_halves best, mla_err *err) {
    const mla_metric_info *about = mla_metric_about(task->metric);
    const char *name = strrchr(dir, '/');
    char *id = mla__new_quote(task->id), *target = mla__new_quote(task->target);
    char *script = mla__new_quote(task->script);
    char *words = mla_format("Predict the column %s of data/test.csv from the other columns.",
                             task->target);
    char *description = mla__new_quote(words);
    char *text = mla_format(
        "name: %s\ndescription: %s\nmetric: %s\ndirection: %s\nid_column: %s\ntarget_column: %s\n"
        "script: %s\nsplit: train\nlimits:\n  seconds: %g\n  memory_mb: %d\n"
        "baseline:\n  public: %.17g\n  private: %.17g\n"
        "reference:\n  public: %.17g\n  private: %.17g\n"
        "source:\n  mirrors: none, a person's own data\n  licence: its owner's\n  packages: []\n"
        "  notes: Made by `mlagent tasks new`. A third of the rows is hidden, or test.csv.\n",
        name ? name + 1 : dir, description, about->name, about->direction > 0 ? "higher" : "lower",
        id, target, script, task->seconds, task->memory_mb, init.public_half, init.private_half,
        best.public_half, best.private_half);
    char *all[] = {id, target, script, words, description};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    return write_text_take(dir, "task.yaml", text, err);
}

mla_halves mla_new_task_reference(mla_metric metric, mla_halves init) {
    double perfect = mla_metric_direction(metric) > 0 ? 1 : 0;
    return (mla_halves){(init.public_half + perfect) / 2, (init.private_half + perfect) / 2};
}

char *mla_new_task_name(const char *from) {
    char *real = realpath(from, NULL);
    const char *slash = strrchr(real ? real : from, '/');
    char *name = mla_strdup(slash ? slash + 1 : from);
    free(real);
    size_t n = strlen(name);
    if (n > 4 && !strcasecmp(name + n - 4, ".csv")) name[n - 4] = '\0';
    for (char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        *p = (char)(isalnum(c) && c < 128 ? tolower(c) : c == '_' ? '_' : '-');
    }
    return name;
}
