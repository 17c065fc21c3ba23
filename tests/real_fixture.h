// What the tests on real models share: the model's file, the vectors of tools/vectors_real.py, and
// the two comparisons with transformers.
#ifndef MLA_TESTS_REAL_FIXTURE_H
#define MLA_TESTS_REAL_FIXTURE_H

#include "base/fs.h"
#include "model_fixture.h"

#define REAL_VECTORS "tests/vectors/model_real/"
enum {
    REAL_POSITIONS = 40, REAL_TOP = 32, REAL_COLUMNS = 64,    // as in tools/vectors_real.py
    REAL_WINDOWS = 4, REAL_WINDOW = 512,
    REAL_ROWS = 64                                            // of the head at a time
};

// The path of a fetched model; NULL where it is not there.
static inline char *real_path(const char *name) {
    char *home = mla_home(), *file = mla_format("models/%s.gguf", name);
    char *path = mla_fs_join(home, file);
    if (!mla_fs_exists(path)) {
        print_message("%s is not there; `mlagent model fetch` fetches it\n", path);
        free(path);
        path = NULL;
    }
    free(file);
    free(home);
    return path;
}

// NULL where the model's file is not there.
static inline mla_model *real_model(const char *name, mla_compute compute) {
    char *path = real_path(name);
    if (!path) return NULL;
    const mla_model_options options = {.compute = compute};
    mla_err err;
    mla_model *m = mla_model_load(path, &options, &err);
    if (!m) fail_msg("%s", err.text);
    free(path);
    return m;
}

// A record of whole numbers, whose shape must be as given. Caller frees.
static inline int32_t *real_ids(const char *file, const char *name, size_t rows, size_t cols) {
    float *values = vector_read(file, name, rows, cols);
    int32_t *ids = MLA_NEW_ARRAY(int32_t, rows * cols);
    for (size_t i = 0; i < rows * cols; i++) ids[i] = (int32_t)values[i];
    free(values);
    return ids;
}

// The length of the file's first record, `name`, which has one row.
static inline size_t real_length(const char *file, const char *name) {
    FILE *f = fopen(file, "rb");
    if (!f) fail_msg("%s: cannot be read; run the tests from the repository's root", file);
    uint32_t len, shape[2];
    char have[256] = {0};
    assert_int_equal(fread(&len, 4, 1, f), 1);
    assert_true(len < sizeof have && fread(have, 1, len, f) == len);
    assert_string_equal(have, name);
    assert_int_equal(fread(shape, 4, 2, f), 2);
    assert_int_equal(shape[0], 1);
    fclose(f);
    return shape[1];
}

// ---- logits ----------------------------------------------------------------------------------

typedef struct real_prompt {
    const char *file;
    size_t n;
    int32_t *ids;              // [n]
    int32_t *positions;        // [REAL_POSITIONS]
    int32_t *top_ids;          // [REAL_POSITIONS, REAL_TOP]
    int32_t *columns;          // [REAL_COLUMNS]
    float *top_logits;         // [REAL_POSITIONS, REAL_TOP]
    float *logits;             // [REAL_POSITIONS, REAL_COLUMNS]
    float gap;                 // transformers' own, between eager and sdpa
} real_prompt;

static inline real_prompt real_prompt_read(const char *file) {
    real_prompt p = {.file = file, .n = real_length(file, "ids")};
    p.ids = real_ids(file, "ids", 1, p.n);
    p.positions = real_ids(file, "positions", 1, REAL_POSITIONS);
    p.top_ids = real_ids(file, "top_ids", REAL_POSITIONS, REAL_TOP);
    p.columns = real_ids(file, "columns", 1, REAL_COLUMNS);
    p.top_logits = vector_read(file, "top_logits", REAL_POSITIONS, REAL_TOP);
    p.logits = vector_read(file, "logits", REAL_POSITIONS, REAL_COLUMNS);
    float *gap = vector_read(file, "eager_sdpa", 1, 1);
    p.gap = *gap;
    free(gap);
    return p;
}

static inline void real_prompt_clear(real_prompt *p) {
    free(p->ids);
    free(p->positions);
    free(p->top_ids);
    free(p->columns);
    free(p->top_logits);
    free(p->logits);
}

// Infinite where there is a NaN.
static inline double largest_gap_at(const float *logits, const int32_t *at, const float *want,
                                    size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double gap = largest_gap(logits + at[i], want + i, 1);
        if (!(gap <= most)) most = isnan(gap) ? INFINITY : gap;
    }
    return most;
}

// Logits [REAL_POSITIONS, vocab] at the chosen positions of the prompt. Caller frees.
static inline float *real_logits(const mla_model *m, const real_prompt *p) {
    const mla_segment whole = {0, (int)p->n, -1};
    const mla_token_batch batch = {p->ids, (int)p->n, &whole, 1};
    const size_t vocab = (size_t)m->config.vocab, dim = (size_t)m->config.dim;
    mla_activations *acts = mla_activations_create(m);
    const float *hidden = mla_transformer_forward(m, &batch, acts, false);
    float *chosen = MLA_NEW_ARRAY(float, REAL_POSITIONS * dim);
    for (size_t i = 0; i < REAL_POSITIONS; i++)
        memcpy(chosen + i * dim, hidden + (size_t)p->positions[i] * dim, dim * sizeof *chosen);
    float *logits = mla_alloc_aligned(REAL_POSITIONS * vocab * sizeof *logits);
    mla_head_logits(m, chosen, REAL_POSITIONS, logits);
    free(chosen);
    mla_activations_free(acts);
    return logits;
}

// The largest difference from transformers at the chosen positions, among the 32 likeliest tokens
// and 64 from all over.
static inline double real_logits_gap(const mla_model *m, const real_prompt *p) {
    const size_t vocab = (size_t)m->config.vocab;
    float *logits = real_logits(m, p);
    double most = 0;
    for (size_t i = 0; i < REAL_POSITIONS; i++) {
        const float *row = logits + i * vocab;
        double top = largest_gap_at(row, p->top_ids + i * REAL_TOP, p->top_logits + i * REAL_TOP,
                                    REAL_TOP);
        double others = largest_gap_at(row, p->columns, p->logits + i * REAL_COLUMNS,
                                       REAL_COLUMNS);
        most = fmax(most, fmax(top, others));
    }
    free(logits);
    return most;
}

// ---- the likeliest token ---------------------------------------------------------------------

static inline int32_t likeliest(const float *logits, size_t vocab) {
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

// The likeliest token after each of ids [REAL_WINDOW].
static inline void real_likeliest(const mla_model *m, const int32_t *ids, int32_t *best) {
    const mla_segment whole = {0, REAL_WINDOW, -1};
    const mla_token_batch batch = {ids, REAL_WINDOW, &whole, 1};
    const size_t vocab = (size_t)m->config.vocab, dim = (size_t)m->config.dim;
    mla_activations *acts = mla_activations_create(m);
    const float *hidden = mla_transformer_forward(m, &batch, acts, false);
    float *logits = mla_alloc_aligned(REAL_ROWS * vocab * sizeof *logits);
    for (size_t at = 0; at < REAL_WINDOW; at += REAL_ROWS) {
        mla_head_logits(m, hidden + at * dim, REAL_ROWS, logits);
        for (size_t i = 0; i < REAL_ROWS; i++) best[at + i] = likeliest(logits + i * vocab, vocab);
    }
    free(logits);
    mla_activations_free(acts);
}

typedef struct real_agreement {
    size_t agree, positions;   // ties under `tie` nats left out
    double worst;              // the largest margin among those that disagree
} real_agreement;

static inline real_agreement real_agree(const mla_model *m, const char *file, float tie) {
    int32_t *code = real_ids(file, "code", REAL_WINDOWS, REAL_WINDOW);
    int32_t *want = real_ids(file, "best", REAL_WINDOWS, REAL_WINDOW);
    float *margin = vector_read(file, "margin", REAL_WINDOWS, REAL_WINDOW);
    real_agreement a = {0};
    for (size_t w = 0; w < REAL_WINDOWS; w++) {
        int32_t best[REAL_WINDOW];
        real_likeliest(m, code + w * REAL_WINDOW, best);
        for (size_t i = 0; i < REAL_WINDOW; i++) {
            size_t at = w * REAL_WINDOW + i;
            if (margin[at] < tie) continue;
            a.positions++;
            if (best[i] == want[at]) a.agree++;
            else a.worst = fmax(a.worst, (double)margin[at]);
        }
    }
    free(code);
    free(want);
    free(margin);
    return a;
}

// At least 99 of 100 positions agree, of at least 1,900 of the 2,048.
static inline void assert_agreement(const char *name, const mla_model *m, const char *file) {
    real_agreement a = real_agree(m, file, 0.02f);
    print_message("%s: the same token is likeliest at %zu of %zu positions; largest margin of the "
                  "others %.3f nats\n", name, a.agree, a.positions, a.worst);
    assert_in_range(a.positions, 1900, REAL_WINDOWS * REAL_WINDOW);
    assert_true(100 * a.agree >= 99 * a.positions);
}

// Within 1e-3 of transformers; with `or_twice`, within twice transformers' own gap if that is more.
static inline void assert_logits(const char *name, const mla_model *m, const char *file,
                                 bool or_twice) {
    real_prompt p = real_prompt_read(file);
    double gap = real_logits_gap(m, &p), limit = or_twice ? fmax(1e-3, 2.0 * (double)p.gap) : 1e-3;
    print_message("%s: largest difference of a logit %.3g over %d positions of %zu tokens "
                  "(transformers' own, eager to sdpa: %.3g)\n", name, gap, REAL_POSITIONS, p.n,
                  (double)p.gap);
    if (!(gap <= limit)) fail_msg("%s: %g, allowed %g", name, gap, limit);
    real_prompt_clear(&p);
}

#endif
