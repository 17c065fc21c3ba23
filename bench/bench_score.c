// How long scoring a submission of 100,000 rows takes: parse, look up every id, compute both
// halves. AUC with 17-digit scores in shuffled order, the dearest of the metrics; the best of 15
// runs.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "task/score.h"

enum { ROWS = 100000, RUNS = 15 };

// id,target rows in the order of `order` [ROWS]; as answers (with halves) or as a submission.
static mla_buf make_csv(mla_rng *rng, const size_t *order, bool answers) {
    mla_buf csv;
    mla_buf_init(&csv, (size_t)16 << 20);
    mla_buf_puts(&csv, answers ? "id,target,half\n" : "id,target\n");
    for (size_t i = 0; i < ROWS; i++) {
        if (answers) {
            mla_buf_printf(&csv, "%zu,%d,%s\n", order[i], mla_rng_uniform(rng) < 0.3,
                           mla_rng_uniform(rng) < 0.5 ? "public" : "private");
        } else {
            mla_buf_printf(&csv, "%zu,%.17g\n", order[i], mla_rng_uniform(rng));
        }
    }
    return csv;
}

static mla_answers *load_answers(const mla_buf *csv, mla_err *err) {
    char dir[] = "/tmp/mla-bench-XXXXXX";
    if (!mkdtemp(dir)) {
        mla_err_set(err, "cannot make a temporary folder");
        return NULL;
    }
    mla_task task = {.metric = MLA_METRIC_AUC, .id_column = "id", .splits = 1,
                     .target_columns = (char *[]){"target"}, .target_count = 1};
    task.answers_path = mla_fs_join(dir, "answers.csv");
    mla_answers *answers = NULL;
    if (mla_fs_write(task.answers_path, mla_buf_text(csv), csv->len, err) == 0) {
        answers = mla_answers_load(&task, err);
    }
    mla_err ignored;
    if (mla_fs_remove_tree(dir, &ignored) < 0) mla_warn("%s", ignored.text);
    free(task.answers_path);
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

int main(void) {
    mla_rng rng;
    mla_rng_init(&rng, 1);
    size_t *order = MLA_NEW_ARRAY(size_t, ROWS);
    for (size_t i = 0; i < ROWS; i++) order[i] = i;
    mla_buf truth = make_csv(&rng, order, true);
    mla_rng_shuffle(&rng, order, ROWS);
    mla_buf guesses = make_csv(&rng, order, false);
    mla_err err = {0};
    mla_answers *answers = load_answers(&truth, &err);
    double best = answers ? measure(answers, &guesses, &err) : -1;
    if (best >= 0) {
        printf("score_csv_100k\t%.1f\tms\t-\t-\n", best);
    } else {
        fprintf(stderr, "bench_score: %s\n", err.text);
    }
    mla_answers_free(answers);
    mla_buf_clear(&truth);
    mla_buf_clear(&guesses);
    free(order);
    return best < 0;
}
