// The arithmetic of evaluation: pure. It leaves out files and tables.
#include <math.h>

#include "eval/internal.h"

double mla__mean(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    return n ? sum / (double)n : NAN;
}

double mla__sem(const double *values, size_t n) {
    if (n < 2) return NAN;
    double mean = mla__mean(values, n), squares = 0;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(n - 1) / (double)n);
}

double mla__best(const double *values, size_t n, int direction) {
    double best = NAN;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || direction * (values[i] - best) > 0) best = values[i];
    }
    return best;
}

// Choosing by the private half would count luck as skill: what is reported must not choose.
double mla__trajectory_score(const mla_trajectory *trajectory) {
    const mla_task *task = trajectory->task;
    double chosen = task->init.public_half, score = task->init.private_half;
    for (size_t i = 0; i < trajectory->n_steps; i++) {
        const mla_step *step = &trajectory->steps[i];
        double after = step->reward.score_after;
        if (step->outcome != MLA_OUTCOME_OK || !isfinite(after)) continue;
        if (task->direction * (after - chosen) <= 0) continue;
        chosen = after;
        score = step->score_private;
    }
    return score;
}

double mla__gain(const mla_task *task, double score) {
    return task->direction * (score - task->init.private_half) /
           fabs(task->best.private_half - task->init.private_half);
}
