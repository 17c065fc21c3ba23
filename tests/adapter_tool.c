// Our half of tools/check_adapter.py, which compares with PEFT: trains a new adapter on a text, or
// opens one, and scores the text. Not a test by itself.
//
// usage: adapter_tool score MODEL ADAPTER COMPUTE
//        adapter_tool train MODEL OUT COMPUTE STEPS   writes OUT, in fp32, and OUT.bf16
// The text's token ids come on standard input, the log-probabilities that they have go to standard
// output; losses, tokens a second and the peak of resident memory to standard error.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "model/adapter.h"

enum { MOST = 4096 };

typedef struct text {
    int32_t ids[MOST];
    int rows[MOST];
    float logprob[MOST], weight[MOST];
    int n;
} text;

static void read_ids(text *t) {
    t->n = 0;
    while (t->n < MOST && scanf("%d", &t->ids[t->n]) == 1) t->n++;
    for (int i = 0; i + 1 < t->n; i++) {
        t->rows[i] = i;
        t->weight[i] = -1.0f / (float)(t->n - 1);
    }
}

static double run(mla_model *m, mla_activations *acts, text *t, bool back) {
    const mla_segment whole = {0, t->n, -1};
    const mla_token_batch batch = {t->ids, t->n, &whole, 1};
    const mla_head_rows head = {t->rows, t->ids + 1, t->n - 1, 1.0f};
    double loss = 0;
    mla_transformer_forward(m, &batch, acts, back);
    mla_head_forward(m, acts, &head, t->logprob, NULL);
    for (int i = 0; i + 1 < t->n; i++) loss -= (double)t->logprob[i] / (t->n - 1);
    if (!back) return loss;
    mla_head_backward(m, acts, &head, t->weight, NULL);
    mla_transformer_backward(m, &batch, acts);
    return loss;
}

static void train(mla_model *m, mla_activations *acts, text *t, int steps) {
    const mla_adamw_options how = mla_adamw_options_default();
    mla_adamw *opt = mla_adamw_create(m, &how);
    for (int i = 0; i < steps; i++) {
        const double began = mla_clock();
        mla_activations_dropout(acts, (uint64_t)i + 1);
        const double loss = run(m, acts, t, true);
        mla_adamw_step(opt, 1e-3);
        fprintf(stderr, "step %d: loss %.4f, %.0f tok/s\n", i + 1, loss,
                t->n / (mla_clock() - began));
    }
    mla_adamw_free(opt);
}

static int save(const mla_model *m, const char *out, mla_err *err) {
    char *half = mla_format("%s.bf16", out);
    int rc = mla_adapter_save(m, 0, out, true, err);
    if (rc == 0) rc = mla_adapter_save(m, 0, half, false, err);
    free(half);
    return rc;
}

static mla_model *open_model(const char *path, const char *compute, bool trains, mla_err *err) {
    const mla_model_options options = {.compute = !strcmp(compute, "f32")    ? MLA_COMPUTE_F32
                                                  : !strcmp(compute, "int8") ? MLA_COMPUTE_INT8
                                                                             : MLA_COMPUTE_BF16,
                                       .adaptable = trains};
    return mla_model_load(path, &options, err);
}

static int work(char **argv, int steps, mla_err *err) {
    text *t = MLA_NEW(text);
    mla_adapter_options wanted = mla_adapter_options_default();
    wanted.base = "a-base";
    mla_model *m = open_model(argv[2], argv[4], steps > 0, err);
    int rc = !m ? -1
             : steps ? mla_adapter_add(m, &wanted, 1, err)
                     : mla_adapter_load(m, argv[3], false, err);
    read_ids(t);
    if (rc >= 0) {
        mla_activations *acts = mla_activations_create(m);
        if (steps) {
            train(m, acts, t, steps);
            rc = save(m, argv[3], err);
        }
        run(m, acts, t, false);
        for (int i = 0; i + 1 < t->n; i++) printf("%.9g\n", (double)t->logprob[i]);
        mla_activations_free(acts);
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    fprintf(stderr, "peak %.0f MB\n", (double)use.ru_maxrss / 1024);
    mla_model_free(m);
    free(t);
    return rc;
}

int main(int argc, char **argv) {
    const bool trains = argc == 6 && !strcmp(argv[1], "train");
    if (!trains && !(argc == 5 && !strcmp(argv[1], "score"))) {
        fprintf(stderr, "usage: adapter_tool score MODEL ADAPTER COMPUTE | "
                        "train MODEL OUT COMPUTE STEPS\n");
        return 2;
    }
    mla_err err = {{0}};
    const int steps = trains ? (int)strtol(argv[5], NULL, 10) : 0;
    if (work(argv, steps, &err) >= 0) return 0;
    fprintf(stderr, "adapter_tool: %s\n", err.text);
    return 1;
}
