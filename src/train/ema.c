// The exponential moving average of what is trained. Its file: "MLAEMA01", the number of floats as
// u64, the floats, in the order of the model's parameters. It stands in checkpoints, which are
// whole or not there, so the file has no checksum of its own.
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "train/internal.h"

static const char magic[8] = {'M', 'L', 'A', 'E', 'M', 'A', '0', '1'};
enum { HEAD = sizeof magic + sizeof(uint64_t) };

struct mla_ema {
    mla_model *model;
    float decay;
    float *mean;               // [n], parameter by parameter
    size_t n;
};

// Calls `each` on every parameter and its part of the average.
static void visit(mla_ema *ema, void (*each)(float *mean, float *value, size_t n, float decay)) {
    float *mean = ema->mean;
    for (size_t i = 0; i < mla_model_params(ema->model); i++) {
        const mla_param *p = mla_model_param(ema->model, i);
        each(mean, p->data, p->rows * p->cols, ema->decay);
        mean += p->rows * p->cols;
    }
}

static void take(float *mean, float *value, size_t n, float decay) {
    (void)decay;
    memcpy(mean, value, n * sizeof *mean);
}

static void mix(float *mean, float *value, size_t n, float decay) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) mean[i] = decay * mean[i] + (1 - decay) * value[i];
}

static void swap(float *mean, float *value, size_t n, float decay) {
    (void)decay;
    for (size_t i = 0; i < n; i++) {
        float kept = value[i];
        value[i] = mean[i];
        mean[i] = kept;
    }
}

mla_ema *mla__ema_create(mla_model *model, double decay) {
    mla_ema *ema = MLA_NEW(mla_ema);
    *ema = (mla_ema){.model = model, .decay = (float)decay};
    for (size_t i = 0; i < mla_model_params(model); i++) {
        const mla_param *p = mla_model_param(model, i);
        ema->n += p->rows * p->cols;
    }
    ema->mean = MLA_NEW_ARRAY(float, ema->n);
    visit(ema, take);
    return ema;
}

void mla__ema_free(mla_ema *ema) {
    if (!ema) return;
    free(ema->mean);
    free(ema);
}

void mla__ema_update(mla_ema *ema) {
    visit(ema, mix);
}

void mla__ema_swap(mla_ema *ema) {
    visit(ema, swap);
    mla_model_refresh(ema->model);
}

int mla__ema_save(const mla_ema *ema, const char *path, mla_err *err) {
    const uint64_t n = ema->n;
    const size_t bytes = ema->n * sizeof *ema->mean;
    char *all = MLA_NEW_ARRAY(char, HEAD + bytes);
    memcpy(all, magic, sizeof magic);
    memcpy(all + sizeof magic, &n, sizeof n);
    memcpy(all + HEAD, ema->mean, bytes);
    int rc = mla_fs_write(path, all, HEAD + bytes, err);
    free(all);
    return rc;
}

int mla__ema_load(mla_ema *ema, const char *path, mla_err *err) {
    const uint64_t n = ema->n;
    const size_t bytes = ema->n * sizeof *ema->mean;
    mla_buf all;
    if (mla_fs_read(path, HEAD + bytes, &all, err) < 0) return -1;
    int rc = 0;
    if (all.len != HEAD + bytes || memcmp(all.data, magic, sizeof magic) ||
        memcmp(all.data + sizeof magic, &n, sizeof n)) {
        rc = mla_err_set(err, "%s: is no average of this model's weights; remove the checkpoint",
                         path);
    } else {
        memcpy(ema->mean, all.data + HEAD, bytes);
    }
    mla_buf_clear(&all);
    return rc;
}
