// AdamW (Loshchilov and Hutter, 2019) over all parameters of a model, in pieces that threads share;
// the sums are taken in the order of the pieces, so the threads' number does not show in the
// result.
//
// The state's file: "MLAADAM1", then u64 steps taken, parameters, floats; for each parameter u64
// name hash, rows, columns; then the two moments as fp32; then a u64 checksum of all before it.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"

#define PIECE 65536 // floats

typedef struct piece {
    float *data, *grad; // [n]
    size_t at, n;       // in the moments
    bool decays;
} piece;

struct mla_adamw {
    mla_model *model;
    mla_adamw_options options;
    uint64_t steps;
    float *m, *v; // [n_floats] each: the parameters', one after the other in whole cache lines
    size_t n_floats;
    piece *pieces;
    size_t n_pieces, cap_pieces;
    double *sums; // [n_pieces]
};

mla_adamw_options mla_adamw_options_default(void) {
    return (mla_adamw_options){.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .clip_norm = 1.0f};
}

static void cut_pieces(mla_adamw *opt) {
    for (size_t i = 0; i < mla_model_params(opt->model); i++) {
        const mla_param *p = mla_model_param(opt->model, i);
        const size_t n = p->rows * p->cols;
        for (size_t at = 0; at < n; at += PIECE) {
            MLA_GROW(opt->pieces, opt->cap_pieces, opt->n_pieces + 1);
            opt->pieces[opt->n_pieces++] =
                (piece){p->data + at, p->grad + at, opt->n_floats + at,
                        n - at < PIECE ? n - at : PIECE, p->rows > 1};
        }
        opt->n_floats += mla__round_up(n, 16);
    }
    opt->sums = MLA_NEW_ARRAY(double, opt->n_pieces);
}

mla_adamw *mla_adamw_create(mla_model *model, const mla_adamw_options *options) {
    MLA_ASSERT(mla_model_params(model));
    mla_adamw *opt = MLA_NEW(mla_adamw);
    opt->model = model;
    opt->options = *options;
    cut_pieces(opt);
    opt->m = mla_alloc_aligned(opt->n_floats * sizeof *opt->m);
    opt->v = mla_alloc_aligned(opt->n_floats * sizeof *opt->v);
    return opt;
}

void mla_adamw_free(mla_adamw *opt) {
    if (!opt) return;
    free(opt->m);
    free(opt->v);
    free(opt->pieces);
    free(opt->sums);
    free(opt);
}

static double gradient_norm(mla_adamw *opt) {
    const mla_model *m = opt->model;
    double total = 0;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < opt->n_pieces; i++)
        opt->sums[i] = m->kernels->norm2(opt->pieces[i].grad, opt->pieces[i].n);
    for (size_t i = 0; i < opt->n_pieces; i++) total += opt->sums[i];
    return sqrt(total);
}

double mla_adamw_step(mla_adamw *opt, double lr) {
    mla_model *m = opt->model;
    const mla_adamw_options *o = &opt->options;
    const double norm = gradient_norm(opt);
    if (!isfinite(norm)) {
        mla_model_zero_grad(m);
        return norm;
    }
    opt->steps++;
    mla__adam how = {
        .lr = (float)lr, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .clip = 1};
    how.bias1 = (float)(1 - pow((double)o->beta1, (double)opt->steps));
    how.bias2 = (float)(1 - pow((double)o->beta2, (double)opt->steps));
    if (o->clip_norm > 0 && norm > (double)o->clip_norm)
        how.clip = (float)((double)o->clip_norm / (norm + 1e-6));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < opt->n_pieces; i++) {
        const piece *p = &opt->pieces[i];
        mla__adam mine = how;
        mine.decay = p->decays ? (float)(lr * (double)o->weight_decay) : 0;
        m->kernels->adam(p->data, p->grad, opt->m + p->at, opt->v + p->at, p->n, &mine);
    }
    mla_model_refresh(m);
    return norm;
}

// ---- the state's file ------------------------------------------------------------------------

static const char magic[8] = {'M', 'L', 'A', 'A', 'D', 'A', 'M', '1'};

// Four independent multiply-and-rotate chains over 8-byte words; len is a multiple of 8.
static uint64_t checksum(uint64_t seed, const void *bytes, size_t len) {
    uint64_t h[4] = {seed, seed + 1, seed + 2, seed + 3};
    for (size_t i = 0; i < len / 8; i++) {
        uint64_t word;
        memcpy(&word, (const char *)bytes + 8 * i, 8);
        uint64_t x = (h[i % 4] ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        h[i % 4] = x << 29 | x >> 35;
    }
    return ((h[0] * 31 + h[1]) * 31 + h[2]) * 31 + h[3];
}

// magic, steps, parameters, floats, then three words a parameter. Caller frees.
static uint64_t *header_of(const mla_adamw *opt, size_t *words) {
    const size_t n = mla_model_params(opt->model);
    *words = 4 + 3 * n;
    uint64_t *h = MLA_NEW_ARRAY(uint64_t, *words);
    memcpy(h, magic, sizeof magic);
    h[1] = opt->steps;
    h[2] = n;
    h[3] = opt->n_floats;
    for (size_t i = 0; i < n; i++) {
        const mla_param *p = mla_model_param(opt->model, i);
        h[4 + 3 * i] = mla_rng_hash(p->name);
        h[5 + 3 * i] = p->rows;
        h[6 + 3 * i] = p->cols;
    }
    return h;
}

static int write_state(const mla_adamw *opt, int fd, mla_err *err) {
    size_t words, bytes = opt->n_floats * sizeof(float);
    uint64_t *header = header_of(opt, &words);
    uint64_t sum = checksum(0, header, words * 8);
    sum = checksum(checksum(sum, opt->m, bytes), opt->v, bytes);
    int rc = mla_fs_write_all(fd, header, words * 8, err);
    free(header);
    if (rc || mla_fs_write_all(fd, opt->m, bytes, err) || mla_fs_write_all(fd, opt->v, bytes, err))
        return -1;
    return mla_fs_write_all(fd, &sum, sizeof sum, err);
}

int mla_adamw_save(const mla_adamw *opt, const char *path, mla_err *err) {
    char *part = mla_format("%s.tmp", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc = -1;
    if (fd < 0) {
        mla_err_set(err, "%s: cannot be written: %s", part, strerror(errno));
    } else {
        rc = write_state(opt, fd, err);
        if (!rc && fsync(fd)) rc = mla_err_set(err, "%s", strerror(errno));
        if (close(fd) && !rc) rc = mla_err_set(err, "%s", strerror(errno));
        if (!rc && rename(part, path)) rc = mla_err_set(err, "%s", strerror(errno));
        if (rc) {
            mla_err_wrap(err, "%s", path);
            unlink(part);
        }
    }
    free(part);
    return rc;
}

static int read_all(int fd, void *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t got = read(fd, (char *)bytes + at, len - at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        at += (size_t)got;
    }
    return 0;
}

// Reads into m and v [n_floats each]; 0, or -1 with a message that names what is wrong.
static int read_state(mla_adamw *opt, int fd, float *m, float *v, mla_err *err) {
    size_t words, bytes = opt->n_floats * sizeof *m;
    uint64_t *want = header_of(opt, &words), *have = MLA_NEW_ARRAY(uint64_t, words), sum, stored;
    int rc = read_all(fd, have, words * 8);
    if (rc || memcmp(have, magic, sizeof magic)) {
        rc = mla_err_set(err, "is no optimiser state");
    } else if (memcmp(have + 2, want + 2, (words - 2) * 8)) {
        rc = mla_err_set(err, "is the optimiser state of a model of another shape");
    } else if (read_all(fd, m, bytes) || read_all(fd, v, bytes) || read_all(fd, &stored, 8)) {
        rc = mla_err_set(err, "ends too early; the file is damaged");
    } else {
        sum = checksum(0, have, words * 8);
        sum = checksum(checksum(sum, m, bytes), v, bytes);
        if (sum != stored) rc = mla_err_set(err, "has a wrong checksum; the file is damaged");
    }
    if (!rc) opt->steps = have[1];
    free(want);
    free(have);
    return rc;
}

int mla_adamw_load(mla_adamw *opt, const char *path, mla_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mla_err_set(err, "%s: cannot be read: %s", path, strerror(errno));
    size_t n = opt->n_floats;
    float *m = mla_alloc_aligned(n * sizeof *m), *v = mla_alloc_aligned(n * sizeof *v);
    int rc = read_state(opt, fd, m, v, err);
    close(fd);
    if (rc) {
        mla_err_wrap(err, "%s", path);
        free(m);
        free(v);
        return -1;
    }
    free(opt->m);
    free(opt->v);
    opt->m = m;
    opt->v = v;
    return 0;
}
