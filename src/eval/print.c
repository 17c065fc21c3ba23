// The evaluation's tables as text: aligned columns, a mean for each model and split, the note.
// Computes nothing but those means.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/internal.h"

#define TABLE_MAX_BYTES ((size_t)16 << 20)
#define CELL 64
#define COLUMNS 14             // of the wider table

typedef struct {
    char cells[COLUMNS][CELL];
} line;

typedef struct {
    line *items;
    size_t len, cap;
    int columns, texts;        // the first ones are texts, set to the left
} lines;

static line *push_line(lines *all) {
    MLA_GROW(all->items, all->cap, all->len + 1);
    line *l = &all->items[all->len++];
    *l = (line){0};
    return l;
}

static void put_text(char cell[CELL], const char *text) {
    snprintf(cell, CELL, "%s", text);
}

static void put_score(char cell[CELL], double value) {
    if (isfinite(value)) snprintf(cell, CELL, "%.5g", value);
    else put_text(cell, "-");
}

static void put_share(char cell[CELL], double value) {
    if (isfinite(value)) snprintf(cell, CELL, "%.0f%%", 100 * value);
    else put_text(cell, "-");
}

static void put_count(char cell[CELL], const json_t *row, const char *key) {
    snprintf(cell, CELL, "%lld", mla_json_get_int(row, key, 0));
}

static void put_gain(char cell[CELL], double value, double sem) {
    if (!isfinite(value)) put_text(cell, "-");
    else if (isfinite(sem)) snprintf(cell, CELL, "%+.3f +- %.3f", value, sem);
    else snprintf(cell, CELL, "%+.3f", value);
}

static const char *const trajectory_headings[COLUMNS] = {
    "model", "task", "split", "metric", "runs", "valid", "improved", "starter", "average",
    "best", "reference", "gain", "best gain", "flagged"};
static const char *const action_headings[] = {
    "model", "task", "split", "states", "actions", "valid", "edits", "improved", "reward",
    "gain", "distinct", "entropy", "ideas"};

static lines lines_begin(const char *const *headings, int columns, int texts) {
    lines all = {.columns = columns, .texts = texts};
    line *l = push_line(&all);
    for (int c = 0; c < columns; c++) put_text(l->cells[c], headings[c]);
    return all;
}

static double number_of(const json_t *row, const char *key) {
    return mla_json_get_number(row, key, NAN);
}

static void put_row(lines *all, const json_t *row) {
    line *l = push_line(all);
    for (int c = 0; c < all->texts; c++) {
        put_text(l->cells[c], mla_json_get_text(row, trajectory_headings[c], "?"));
    }
    put_count(l->cells[4], row, "trajectories");
    put_share(l->cells[5], number_of(row, "valid_rate"));
    put_share(l->cells[6], number_of(row, "improved_share"));
    put_score(l->cells[7], number_of(row, "score_init"));
    put_score(l->cells[8], number_of(row, "score_avg"));
    put_score(l->cells[9], number_of(row, "score_best"));
    put_score(l->cells[10], number_of(row, "score_best_reference"));
    put_gain(l->cells[11], number_of(row, "gain_avg"), number_of(row, "gain_sem"));
    put_gain(l->cells[12], number_of(row, "gain_best"), NAN);
    put_share(l->cells[13], number_of(row, "flagged_share"));
}

static bool same(const json_t *a, const json_t *b, const char *key) {
    return !strcmp(mla_json_get_text(a, key, ""), mla_json_get_text(b, key, ""));
}

// Over the tasks of one model and split, each task counting the same.
static double mean_of(const json_t *rows, const json_t *like, const char *key, size_t *n) {
    double *values = MLA_NEW_ARRAY(double, json_array_size(rows));
    *n = 0;
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        if (same(row, like, "model") && same(row, like, "split")) {
            values[(*n)++] = number_of(row, key);
        }
    }
    double mean = mla__mean(values, *n);
    free(values);
    return mean;
}

static void put_mean(lines *all, const json_t *rows, const json_t *like) {
    size_t n;
    double valid = mean_of(rows, like, "valid_rate", &n);
    if (n < 2) return;
    line *l = push_line(all);
    put_text(l->cells[0], mla_json_get_text(like, "model", "?"));
    snprintf(l->cells[1], CELL, "mean of %zu tasks", n);
    put_text(l->cells[2], mla_json_get_text(like, "split", "?"));
    put_share(l->cells[5], valid);
    put_share(l->cells[6], mean_of(rows, like, "improved_share", &n));
    put_gain(l->cells[11], mean_of(rows, like, "gain_avg", &n), NAN);
    put_gain(l->cells[12], mean_of(rows, like, "gain_best", &n), NAN);
    put_share(l->cells[13], mean_of(rows, like, "flagged_share", &n));
}

static void put_means(lines *all, const json_t *rows) {
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t first = 0;
        while (!same(json_array_get(rows, first), row, "model") ||
               !same(json_array_get(rows, first), row, "split")) first++;
        if (first == i) put_mean(all, rows, row);
    }
}

static void print_lines(const lines *all, FILE *out) {
    int width[COLUMNS] = {0};
    for (size_t i = 0; i < all->len; i++) {
        for (int c = 0; c < all->columns; c++) {
            int n = (int)strlen(all->items[i].cells[c]);
            if (n > width[c]) width[c] = n;
        }
    }
    for (size_t i = 0; i < all->len; i++) {
        for (int c = 0; c < all->columns; c++) {
            int w = c < all->texts ? -width[c] : width[c];
            fprintf(out, "%s%*s", c ? "  " : "", w, all->items[i].cells[c]);
        }
        fputc('\n', out);
    }
}

// A file of the run with rows; NULL on error, unless it may be absent and is.
static json_t *read_rows(const mla_run *run, const char *name, bool required, mla_err *err) {
    char *path = mla_run_path(run, name);
    json_t *table = NULL;
    if (required || mla_fs_exists(path)) table = mla_json_read_file(path, TABLE_MAX_BYTES, err);
    if (table && !json_is_array(json_object_get(table, "rows"))) {
        mla_err_set(err, "%s: has no rows; evaluate again", path);
        json_decref(table);
        table = NULL;
    }
    free(path);
    return table;
}

static void print_trajectories(const json_t *rows, FILE *out) {
    if (!json_array_size(rows)) return;
    lines all = lines_begin(trajectory_headings, MLA_COUNT(trajectory_headings), 4);
    for (size_t i = 0; i < json_array_size(rows); i++) put_row(&all, json_array_get(rows, i));
    put_means(&all, rows);
    print_lines(&all, out);
    free(all.items);
}

static void put_action_row(lines *all, const json_t *row) {
    line *l = push_line(all);
    put_text(l->cells[0], mla_json_get_text(row, "model", "?"));
    put_text(l->cells[1], mla_json_get_text(row, "task", "all"));
    put_text(l->cells[2], mla_json_get_text(row, "split", "?"));
    put_count(l->cells[3], row, "states");
    put_count(l->cells[4], row, "actions");
    put_share(l->cells[5], number_of(row, "valid_rate"));
    put_share(l->cells[6], number_of(row, "edit_share"));
    put_share(l->cells[7], number_of(row, "improved_share"));
    put_gain(l->cells[8], number_of(row, "reward_mean"), number_of(row, "reward_sem"));
    put_gain(l->cells[9], number_of(row, "gain_mean"), NAN);
    put_share(l->cells[10], number_of(row, "distinct_share"));
    put_score(l->cells[11], number_of(row, "entropy"));
    if (json_object_get(row, "ideas")) {
        snprintf(l->cells[12], CELL, "%lld of %lld", mla_json_get_int(row, "ideas_covered", 0),
                 mla_json_get_int(row, "ideas", 0));
    }
}

static void print_actions(const json_t *rows, FILE *out) {
    lines all = lines_begin(action_headings, MLA_COUNT(action_headings), 3);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        put_action_row(&all, json_array_get(rows, i));
    }
    print_lines(&all, out);
    free(all.items);
}

int mla_eval_print(const mla_run *run, FILE *out, mla_err *err) {
    json_t *table = read_rows(run, "eval/table.json", true, err);
    if (!table) return mla_err_wrap(err, "no evaluation to print");
    mla_err none = {0};
    json_t *actions = read_rows(run, "eval/actions.json", false, &none);
    const json_t *rows = json_object_get(table, "rows");
    print_trajectories(rows, out);
    if (actions) {
        if (json_array_size(rows)) fputc('\n', out);
        print_actions(json_object_get(actions, "rows"), out);
    }
    const char *note = mla_json_get_text(table, "note", "");
    if (*note) fprintf(out, "%s\n", note);
    json_decref(actions);
    json_decref(table);
    return 0;
}
