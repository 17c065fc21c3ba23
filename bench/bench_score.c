// How long scoring a submission of 100,000 rows takes: parse, look up every id, compute both
// halves, with 17-digit numbers and rows in shuffled order; the best of 15 runs. score_csv_100k is
// AUC of one column, the dearest of the metrics; score_csv_100k_wide log loss over 32 classes.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "task/score.h"

enum { ROWS = 100000, RUNS = 15, CLASSES = 32 };

static void add_header(mla_buf *csv, const mla_task *task, bool answers) {
    size_t count = task->target_count;
    char **names = answers ? task->target_columns : mla_task_guess_columns(task, &count);
    mla_buf_puts(csv, "id");
    for (size_t i = 0; i < count; i++) mla_buf_printf(csv, ",%s", names[i]);
    mla_buf_puts(csv, answers ? ",half\n" : "\n");
}

// The id, the targets and the half, or the id and the guesses.
static void add_row(mla_buf *csv, const mla_task *task, mla_rng *rng, size_t id, bool answers) {
    size_t count;
    (void)mla_task_guess_columns(task, &count);
    mla_buf_printf(csv, "%zu", id);
    if (answers) {
        unsigned label = task->classes ? (unsigned)mla_rng_below(rng, CLASSES)
                                       : mla_rng_uniform(rng) < 0.3;
        mla_buf_printf(csv, task->classes ? ",c%u" : ",%u", label);
        mla_buf_puts(csv, mla_rng_uniform(rng) < 0.5 ? ",public\n" : ",private\n");
        return;
    }
    for (size_t i = 0; i < count; i++) mla_buf_printf(csv, ",%.17g", mla_rng_uniform(rng));
    mla_buf_puts(csv, "\n");
}

// Rows in the order of `order` [ROWS], as answers (with halves) or as a submission.
static mla_buf make_csv(const mla_task *task, mla_rng *rng, const size_t *order, bool answers) {
    mla_buf csv;
    mla_buf_init(&csv, (size_t)128 << 20);
    add_header(&csv, task, answers);
    for (size_t i = 0; i < ROWS; i++) add_row(&csv, task, rng, order[i], answers);
    return csv;
}

static mla_answers *load_answers(mla_task *task, const mla_buf *csv, mla_err *err) {
    char dir[] = "/tmp/mla-bench-XXXXXX";
    if (!mkdtemp(dir)) {
        mla_err_set(err, "cannot make a temporary folder");
        return NULL;
    }
    task->answers_path = mla_fs_join(dir, "answers.csv");
    mla_answers *answers = NULL;
    if (mla_fs_write(task->answers_path, mla_buf_text(csv), csv->len, err) == 0) {
        answers = mla_answers_load(task, err);
    }
    mla_err ignored;
    if (mla_fs_remove_tree(dir, &ignored) < 0) mla_warn("%s", ignored.text);
    free(task->answers_path);
    return answers;
}

// The best time in ms, or -1.
static double measure(const mla_answers *answers, const mla_buf *csv, mla_err *err) {
    double best = -1;
    for (int run = 0; run < RUNS; run++) {
        mla_halves scores;
        double began = mla_clock();
        if (mla_score_submission(answers, 0, mla_buf_text(csv), csv->len, &scores, err) < 0) {
            return -1;
        }
        double took = (mla_clock() - began) * 1000;
        if (best < 0 || took < best) best = took;
    }
    return best;
}

// Prints the line; false when it could not be measured.
static bool bench(const char *name, mla_task *task) {
    mla_rng rng;
    mla_rng_init(&rng, 1);
    size_t *order = MLA_NEW_ARRAY(size_t, ROWS);
    for (size_t i = 0; i < ROWS; i++) order[i] = i;
    mla_buf truth = make_csv(task, &rng, order, true);
    mla_rng_shuffle(&rng, order, ROWS);
    mla_buf guesses = make_csv(task, &rng, order, false);
    mla_err err = {0};
    mla_answers *answers = load_answers(task, &truth, &err);
    double best = answers ? measure(answers, &guesses, &err) : -1;
    if (best >= 0) {
        printf("%s\t%.1f\tms\t-\t-\n", name, best);
    } else {
        fprintf(stderr, "bench_score: %s\n", err.text);
    }
    mla_answers_free(answers);
    mla_buf_clear(&truth);
    mla_buf_clear(&guesses);
    free(order);
    return best >= 0;
}

int main(void) {
    char *target[] = {(char[]){"target"}}, *classes[CLASSES];
    for (int i = 0; i < CLASSES; i++) classes[i] = mla_format("c%d", i);
    mla_task one = {.metric = MLA_METRIC_AUC, .id_column = (char[]){"id"}, .splits = 1,
                    .target_columns = target, .target_count = 1};
    mla_task wide = one;
    wide.metric = MLA_METRIC_LOG_LOSS;
    wide.classes = classes;
    wide.class_count = CLASSES;
    bool done = bench("score_csv_100k", &one);
    done = bench("score_csv_100k_wide", &wide) && done;
    for (int i = 0; i < CLASSES; i++) free(classes[i]);
    return !done;
}
