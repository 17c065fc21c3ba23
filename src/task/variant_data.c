// Subsets of a task's data, by rows. A CSV row is taken over byte for byte.
#include "task/variant_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "task/csv.h"
#include "task/internal.h"

#define LABELS_MAX 60            // more different targets are numbers, not labels
#define LABEL_ROWS 4             // that each label keeps, where it has them
#define FILE_MAX ((size_t)512 << 20)

// A CSV file, and which of its rows stay.
typedef struct sheet {
    mla_buf text;
    size_t head;                 // bytes of the header
    size_t *from;                // [rows + 1]: where each row begins
    char **cells;                // [rows, columns], owned
    char **names;                // [columns], owned
    bool *stays;                 // [rows]
    size_t rows, columns;
} sheet;

static void sheet_clear(sheet *s) {
    for (size_t i = 0; i < s->rows * s->columns; i++) free(s->cells[i]);
    for (size_t i = 0; i < s->columns; i++) free(s->names[i]);
    mla_buf_clear(&s->text);
    free(s->from);
    free(s->cells);
    free(s->names);
    free(s->stays);
    *s = (sheet){.rows = 0};
}

static void sheet_add(sheet *s, mla__csv *csv, size_t *cap_from, size_t *cap_cells) {
    if (!s->names) {
        s->columns = csv->count;
        s->names = MLA_NEW_ARRAY(char *, s->columns);
        for (size_t i = 0; i < s->columns; i++) {
            s->names[i] = mla_strdup(mla__cell_trim(&csv->cells[i]));
        }
        s->head = csv->at;
        return;
    }
    MLA_GROW(s->from, *cap_from, s->rows + 2);
    MLA_GROW(s->cells, *cap_cells, (s->rows + 1) * s->columns);
    for (size_t i = 0; i < s->columns; i++) {
        s->cells[s->rows * s->columns + i] = mla_strdup(mla__cell_trim(&csv->cells[i]));
    }
    s->from[++s->rows] = csv->at;
}

static int sheet_read(sheet *s, const char *path, mla_err *err) {
    size_t cap_from = 0, cap_cells = 0;
    mla__csv csv;
    *s = (sheet){.rows = 0};
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &s->text, err) < 0) return -1;
    mla__csv_init(&csv, mla_buf_text(&s->text), s->text.len);
    int rc;
    while ((rc = mla__csv_next(&csv, err)) > 0) sheet_add(s, &csv, &cap_from, &cap_cells);
    mla__csv_clear(&csv);
    if (rc == 0 && !s->names) rc = mla_err_set(err, "is empty");
    if (rc < 0) mla_err_wrap(err, "%s", path);
    MLA_GROW(s->from, cap_from, s->rows + 1);
    s->from[0] = s->head;
    s->stays = MLA_NEW_ARRAY(bool, s->rows + 1);
    return rc;
}

static int column_of(const sheet *s, const char *name) {
    for (size_t i = 0; i < s->columns; i++) {
        if (strcmp(s->names[i], name) == 0) return (int)i;
    }
    return -1;
}

static const char *cell(const sheet *s, size_t row, int column) {
    return s->cells[row * s->columns + (size_t)column];
}

static int sheet_write(const sheet *s, const char *path, mla_err *err) {
    mla_buf out;
    mla_buf_init(&out, FILE_MAX);
    mla_buf_append(&out, s->text.data, s->head);
    for (size_t i = 0; i < s->rows; i++) {
        size_t n = s->from[i + 1] - s->from[i];
        if (!s->stays[i]) continue;
        mla_buf_append(&out, s->text.data + s->from[i], n);
        if (s->text.data[s->from[i + 1] - 1] != '\n') mla_buf_puts(&out, "\n");
    }
    int rc = mla_fs_write(path, out.data, out.len, err);
    mla_buf_clear(&out);
    return rc;
}

// --- which rows ---------------------------------------------------------------------------------

static size_t *shuffled(size_t n, mla_rng *rng) {
    size_t *order = MLA_NEW_ARRAY(size_t, n + 1);
    for (size_t i = 0; i < n; i++) order[i] = i;
    mla_rng_shuffle(rng, order, n);
    return order;
}

// The labels of the target, numbered: [rows], NULL where it is no label. Caller frees.
static size_t *labels_of(const sheet *train, const mla_task *task, size_t *count) {
    int target = task->target_count == 1 ? column_of(train, task->target_columns[0]) : -1;
    if (target < 0) return NULL;
    mla__keys keys = {0};
    size_t *labels = MLA_NEW_ARRAY(size_t, train->rows + 1);
    for (size_t i = 0; i < train->rows; i++) {
        bool added;
        labels[i] = mla__keys_add(&keys, mla__key_text(cell(train, i, target)), &added);
    }
    *count = keys.len;
    mla__keys_clear(&keys);
    if (*count <= LABELS_MAX) return labels;
    free(labels);
    return NULL;
}

// A few rows of each label first, then any.
static void choose_train(sheet *train, const mla_task *task, size_t wanted, mla_rng *rng) {
    size_t n_labels = 0, kept = 0, *labels = labels_of(train, task, &n_labels);
    size_t *order = shuffled(train->rows, rng), *have = MLA_NEW_ARRAY(size_t, n_labels + 1);
    for (size_t k = 0; labels && k < train->rows; k++) {
        size_t i = order[k];
        if (have[labels[i]] == LABEL_ROWS) continue;
        have[labels[i]]++;
        train->stays[i] = true;
        kept++;
    }
    for (size_t k = 0; k < train->rows && kept < wanted; k++) {
        if (train->stays[order[k]]) continue;
        train->stays[order[k]] = true;
        kept++;
    }
    free(have);
    free(order);
    free(labels);
}

// Of each split and half as many rows of the answers as are wanted; 0: all.
static int choose_answers(sheet *answers, int splits, size_t wanted, mla_rng *rng, mla_err *err) {
    int half = column_of(answers, "half"), split = column_of(answers, "split");
    if (half < 0) return mla_err_set(err, "answers.csv: has no column half");
    size_t *left = MLA_NEW_ARRAY(size_t, 2 * (size_t)splits), *order = shuffled(answers->rows, rng);
    for (int i = 0; i < 2 * splits; i++) left[i] = wanted ? wanted : answers->rows;
    for (size_t k = 0; k < answers->rows; k++) {
        size_t i = order[k], s = split < 0 ? 0 : strtoul(cell(answers, i, split), NULL, 10);
        size_t *of = &left[2 * (s < (size_t)splits ? s : 0) +
                           (strcmp(cell(answers, i, half), "public") != 0)];
        answers->stays[i] = *of > 0;
        *of -= *of > 0;
    }
    free(order);
    free(left);
    return 0;
}

// --- one split ----------------------------------------------------------------------------------

typedef struct split {
    const mla_task *task;
    int number;
    char *from, *to;             // folders
    const sheet *answers;
    sheet train, test;
    mla__keys known, kept;       // ids of both tables; those of rows that stay
} split;

// Rows whose id stays; of the answers' ids those of this split.
static int keep_answered(const split *s, sheet *table, const char *what, mla_err *err) {
    int id = column_of(table, s->task->id_column), own = column_of(s->answers, s->task->id_column);
    int of = column_of(s->answers, "split");
    if (id < 0 || own < 0) {
        return mla_err_set(err, "%s: has no column %s", what, s->task->id_column);
    }
    mla__keys ids = {0};
    for (size_t i = 0; i < s->answers->rows; i++) {
        bool added;
        bool here = of < 0 || strtol(cell(s->answers, i, of), NULL, 10) == s->number;
        if (here && s->answers->stays[i]) {
            mla__keys_add(&ids, mla__key_text(cell(s->answers, i, own)), &added);
        }
    }
    for (size_t i = 0; i < table->rows; i++) {
        table->stays[i] = mla__keys_find(&ids, mla__key_text(cell(table, i, id))) != MLA__KEY_NONE;
    }
    mla__keys_clear(&ids);
    return 0;
}

static void add_ids(split *s, const sheet *table) {
    int id = column_of(table, s->task->id_column);
    for (size_t i = 0; id >= 0 && i < table->rows; i++) {
        bool added;
        mla__keys_add(&s->known, mla__key_text(cell(table, i, id)), &added);
        if (table->stays[i]) mla__keys_add(&s->kept, mla__key_text(cell(table, i, id)), &added);
    }
}

static bool is_id_column(const split *s, const sheet *table, size_t column) {
    for (size_t i = 0; i < table->rows; i++) {
        mla__key key = mla__key_text(cell(table, i, (int)column));
        if (mla__keys_find(&s->known, key) == MLA__KEY_NONE) return false;
    }
    return true;
}

// A table beside the two: a row that names an id which is gone goes too.
static void keep_linked(const split *s, sheet *table) {
    for (size_t i = 0; i < table->rows; i++) table->stays[i] = true;
    for (size_t c = 0; c < table->columns; c++) {
        if (!is_id_column(s, table, c)) continue;
        for (size_t i = 0; i < table->rows; i++) {
            size_t found = mla__keys_find(&s->kept, mla__key_text(cell(table, i, (int)c)));
            table->stays[i] &= found != MLA__KEY_NONE;
        }
    }
}

static int copy_linked(const split *s, const char *from, const char *to, bool sample,
                       mla_err *err) {
    sheet table;
    int rc = sheet_read(&table, from, err);
    if (rc == 0 && sample) rc = keep_answered(s, &table, "sample_submission.csv", err);
    else if (rc == 0) keep_linked(s, &table);
    if (rc == 0) rc = sheet_write(&table, to, err);
    sheet_clear(&table);
    return rc;
}

// --- arrays -------------------------------------------------------------------------------------

// The number of entries in a .npy file's header, where its digits stand, and how long the header
// is; 0 when it is none (format 1.0 or 2.0, C order).
static size_t npy_entries(const mla_buf *file, size_t *digits, size_t *head) {
    const unsigned char *b = (const unsigned char *)file->data;
    if (file->len < 12 || memcmp(b, "\x93NUMPY", 6)) return 0;
    size_t at = b[6] == 1 ? 10 : 12;
    *head = at + (b[6] == 1 ? b[8] + 256u * b[9]
                            : b[8] + 256u * b[9] + 65536u * b[10] + 16777216u * b[11]);
    const char *shape = *head <= file->len ? memmem(b + at, *head - at, "'shape': (", 10) : NULL;
    if (!shape || memmem(b + at, *head - at, "'fortran_order': True", 21)) return 0;
    *digits = (size_t)(shape + 10 - file->data);
    return strtoul(shape + 10, NULL, 10);
}

// The entries of rows that stay. The header keeps its length: the count gives way to blanks.
static int copy_array(const sheet *table, const mla_buf *file, const char *to, mla_err *err) {
    size_t digits, head, n = npy_entries(file, &digits, &head), kept = 0;
    size_t bytes = (file->len - head) / n;
    mla_buf out;
    mla_buf_init(&out, FILE_MAX);
    mla_buf_append(&out, file->data, head);
    for (size_t i = 0; i < n; i++) {
        if (!table->stays[i]) continue;
        mla_buf_append(&out, file->data + head + i * bytes, bytes);
        kept++;
    }
    char old[24], now[24];
    int width = snprintf(old, sizeof old, "%zu", n);
    snprintf(now, sizeof now, "%*zu", width, kept);
    memcpy(out.data + digits, now, (size_t)width);
    int rc = mla_fs_write(to, out.data, out.len, err);
    mla_buf_clear(&out);
    return rc;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

// An array with an entry for each row of the table that its name begins with, else any file.
static int copy_other(const split *s, const char *name, const char *from, const char *to,
                      mla_err *err) {
    const sheet *table = !strncmp(name, "train_", 6) ? &s->train
                         : !strncmp(name, "test_", 5) ? &s->test : NULL;
    mla_buf file = {0};
    size_t digits, head;
    if (!table || !ends_with(name, ".npy")) return mla_fs_copy_file(from, to, err);
    int rc = mla_fs_read(from, FILE_MAX, &file, err);
    if (rc == 0 && npy_entries(&file, &digits, &head) == table->rows && table->rows) {
        rc = copy_array(table, &file, to, err);
    } else if (rc == 0) {
        rc = mla_err_set(err, "%s: is not an array with an entry for each row of its table", from);
    }
    mla_buf_clear(&file);
    return rc;
}

// --- files --------------------------------------------------------------------------------------

static int copy_one(const split *s, const char *name, mla_err *err) {
    char *from = mla_fs_join(s->from, name), *to = mla_fs_join(s->to, name);
    int rc;
    if (!strcmp(name, "train.csv")) rc = sheet_write(&s->train, to, err);
    else if (!strcmp(name, "test.csv")) rc = sheet_write(&s->test, to, err);
    else if (mla_fs_is_dir(from)) rc = mla_err_set(err, "%s: is a folder, of which there is no "
                                                   "telling what belongs to which row", from);
    else if (ends_with(name, ".csv")) rc = copy_linked(s, from, to,
                                                       !strcmp(name, "sample_submission.csv"), err);
    else rc = copy_other(s, name, from, to, err);
    free(from);
    free(to);
    return rc;
}

static int read_tables(split *s, const mla_subset_options *options, mla_rng *rng, mla_err *err) {
    char *train = mla_fs_join(s->from, "train.csv"), *test = mla_fs_join(s->from, "test.csv");
    int rc = sheet_read(&s->train, train, err);
    if (rc == 0) rc = sheet_read(&s->test, test, err);
    if (rc == 0) choose_train(&s->train, s->task, options->train_rows, rng);
    if (rc == 0) rc = keep_answered(s, &s->test, "test.csv", err);
    if (rc == 0) {
        add_ids(s, &s->train);
        add_ids(s, &s->test);
    }
    free(train);
    free(test);
    return rc;
}

static int make_split(const mla_task *task, int number, const sheet *answers, const char *to,
                      const mla_subset_options *options, mla_rng *rng, mla_err *err) {
    split s = {.task = task, .number = number, .answers = answers,
               .from = mla_task_split_dir(task, (size_t)number), .to = (char *)to};
    char **names = NULL;
    size_t n = 0;
    int rc = mla_fs_mkdirs(to, err);
    if (rc == 0) rc = read_tables(&s, options, rng, err);
    if (rc == 0) rc = mla_fs_list(s.from, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = copy_one(&s, names[i], err);
    if (names) mla_fs_names_free(names, n);
    sheet_clear(&s.train);
    sheet_clear(&s.test);
    mla__keys_clear(&s.known);
    mla__keys_clear(&s.kept);
    free(s.from);
    return rc;
}

// --- the whole ----------------------------------------------------------------------------------

static int make_all(const mla_task *task, const char *data, sheet *answers,
                    const mla_subset_options *options, mla_err *err) {
    mla_rng rng;
    mla_rng_init(&rng, options->seed);
    int rc = choose_answers(answers, task->splits, options->half_rows, &rng, err);
    for (int i = 0; rc == 0 && i < task->splits; i++) {
        char *to = task->splits > 1 ? mla_format("%s/split%d", data, i) : mla_strdup(data);
        rc = make_split(task, i, answers, to, options, &rng, err);
        free(to);
    }
    return rc;
}

// source: the folder of the task that it is for.
static int write_version(const char *name, const char *home, const char *source, const char *data,
                         mla_err *err) {
    char *folder = mla_fs_join(home, "versions"), *path = mla_format("%s/%s.json", folder, name);
    json_t *version = json_pack("{s:s, s:s, s:s}", "task", name, "source", source, "data", data);
    MLA_ASSERT(version);
    int rc = mla_fs_mkdirs(folder, err);
    if (rc == 0) rc = mla_json_write_file(path, version, err);
    json_decref(version);
    free(folder);
    free(path);
    return rc;
}

// The metric must be defined on what is left.
static int check_answers(const mla_task *task, const char *path, mla_err *err) {
    mla_task here = *task;
    here.answers_path = (char *)path;
    mla_answers *answers = mla_answers_load(&here, err);
    mla_answers_free(answers);
    return answers ? 0 : -1;
}

// Where the data of a name is under a home.
typedef struct place {
    char *data, *answers_dir, *answers;
} place;

static place place_of(const char *name, const char *home) {
    return (place){mla_format("%s/data/%s", home, name), mla_fs_join(home, "answers"),
                   mla_format("%s/answers/%s.csv", home, name)};
}

static void place_clear(place *p) {
    free(p->data);
    free(p->answers_dir);
    free(p->answers);
}

// Nothing of that name, and a private folder for its answers.
static int clear_place(const place *p, const char *name, const char *home, mla_err *err) {
    if (mla_subset_forget(name, home, err) < 0 || mla_fs_mkdirs(p->answers_dir, err) < 0) return -1;
    if (chmod(p->answers_dir, 0700) == 0) return 0;
    return mla_err_set(err, "%s: cannot make it private: %s", p->answers_dir, strerror(errno));
}

int mla_subset_make(const mla_task *task, const char *home, const char *name,
                    const mla_subset_options *options, mla_err *err) {
    place p = place_of(name, home);
    char sum[65];
    sheet answers = {.rows = 0};
    int rc = clear_place(&p, name, home, err);
    if (rc == 0) rc = sheet_read(&answers, task->answers_path, err);
    if (rc == 0) rc = make_all(task, p.data, &answers, options, err);
    if (rc == 0) rc = sheet_write(&answers, p.answers, err);
    sheet_clear(&answers);
    if (rc == 0) rc = check_answers(task, p.answers, err);
    if (rc == 0) rc = mla__data_settle(p.data, p.answers, err);
    if (rc == 0) rc = mla__data_hash(p.data, p.answers, sum, err);
    if (rc == 0) rc = write_version(name, home, task->dir, sum, err);
    place_clear(&p);
    return rc;
}

static int share_file(const char *from, const char *to, mla_err *err) {
    if (link(from, to) == 0) return 0;
    return mla_fs_copy_file(from, to, err);      // too many links, or none on this file system
}

static int share_folder(const char *from, const char *to, mla_err *err) {
    char **names;
    size_t n;
    if (mla_fs_mkdirs(to, err) < 0 || mla_fs_list(from, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *a = mla_fs_join(from, names[i]), *b = mla_fs_join(to, names[i]);
        rc = mla_fs_is_dir(a) ? share_folder(a, b, err) : share_file(a, b, err);
        free(a);
        free(b);
    }
    mla_fs_names_free(names, n);
    return rc;
}

int mla_subset_share(const mla_task *from, const char *name, const char *home, const char *folder,
                     mla_err *err) {
    place p = place_of(name, home);
    int rc = clear_place(&p, name, home, err);
    if (rc == 0) rc = share_folder(from->prepared_dir, p.data, err);
    if (rc == 0) rc = share_file(from->answers_path, p.answers, err);
    if (rc == 0) rc = write_version(name, home, folder, from->data_version, err);
    place_clear(&p);
    return rc;
}

char *mla_subset_owner(const char *name, const char *home) {
    char *path = mla_format("%s/versions/%s.json", home, name);
    json_t *version = mla_json_read_file(path, 1 << 16, NULL);
    char *owner = mla_strdup(mla_json_get_text(version, "source", NULL));
    json_decref(version);
    free(path);
    return owner;
}

int mla_subset_forget(const char *name, const char *home, mla_err *err) {
    char *paths[] = {mla_format("%s/versions/%s.json", home, name),
                     mla_format("%s/measured/%s.json", home, name),
                     mla_format("%s/answers/%s.csv", home, name),
                     mla_format("%s/data/%s", home, name)};
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(paths); i++) {
        if (rc == 0) rc = mla_fs_remove_tree(paths[i], err);
        free(paths[i]);
    }
    return rc;
}
