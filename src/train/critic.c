// The critic: V(s_t) = b + w . h_t / sqrt(dim) on the policy's last hidden state h_t, by Adam. The
// hidden states are constants to it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/internal.h"

struct mla_critic {
    int dim;
    int steps;
    double *param, *m, *v;   // [dim + 1] each: the weights, then the bias
};

mla_critic *mla__critic_create(int dim) {
    mla_critic *critic = MLA_NEW(mla_critic);
    critic->dim = dim;
    critic->param = MLA_NEW_ARRAY(double, 3 * ((size_t)dim + 1));
    critic->m = critic->param + dim + 1;
    critic->v = critic->m + dim + 1;
    return critic;
}

void mla__critic_free(mla_critic *critic) {
    if (!critic) return;
    free(critic->param);
    free(critic);
}

void mla__critic_set_bias(mla_critic *critic, double bias) {
    critic->param[critic->dim] = bias;
}

static double value_of(const mla_critic *critic, const float *hidden) {
    double dot = 0;
    for (int d = 0; d < critic->dim; d++) dot += critic->param[d] * hidden[d];
    return critic->param[critic->dim] + dot / sqrt(critic->dim);
}

void mla__critic_value(const mla_critic *critic, const float *hidden, int n, float *value) {
    for (int i = 0; i < n; i++) {
        value[i] = (float)value_of(critic, hidden + (size_t)i * (size_t)critic->dim);
    }
}

static void adam(mla_critic *critic, const double *grad, double lr) {
    double c1 = 1 - pow(0.9, ++critic->steps), c2 = 1 - pow(0.999, critic->steps);
    for (int d = 0; d <= critic->dim; d++) {
        critic->m[d] = 0.9 * critic->m[d] + 0.1 * grad[d];
        critic->v[d] = 0.999 * critic->v[d] + 0.001 * grad[d] * grad[d];
        critic->param[d] -= lr * (critic->m[d] / c1) / (sqrt(critic->v[d] / c2) + 1e-8);
    }
}

static double gradient(const mla_critic *critic, const float *hidden, const float *returns, int n,
                       double *grad) {
    double loss = 0;
    memset(grad, 0, ((size_t)critic->dim + 1) * sizeof *grad);
    for (int i = 0; i < n; i++) {
        const float *h = hidden + (size_t)i * (size_t)critic->dim;
        double diff = value_of(critic, h) - returns[i];
        loss += diff * diff;
        double g = 2 * diff / n;
        for (int d = 0; d < critic->dim; d++) grad[d] += g * h[d] / sqrt(critic->dim);
        grad[critic->dim] += g;
    }
    return loss / n;
}

double mla__critic_fit(mla_critic *critic, const float *hidden, const float *returns, int n,
                       double lr, int epochs) {
    double *grad = MLA_NEW_ARRAY(double, (size_t)critic->dim + 1);
    double before = 0;
    for (int e = 0; e < epochs; e++) {
        double loss = gradient(critic, hidden, returns, n, grad);
        if (e == 0) before = loss;
        adam(critic, grad, lr);
    }
    free(grad);
    return before;
}

// critic.bin: int64 dim, int64 steps, then 3 (dim + 1) doubles, little-endian.
int mla__critic_save(const mla_critic *critic, const char *path, mla_err *err) {
    size_t values = 3 * ((size_t)critic->dim + 1);
    int64_t head[2] = {critic->dim, critic->steps};
    char *bytes = mla_alloc(1, sizeof head + values * sizeof(double));
    memcpy(bytes, head, sizeof head);
    memcpy(bytes + sizeof head, critic->param, values * sizeof(double));
    int rc = mla_fs_write(path, bytes, sizeof head + values * sizeof(double), err);
    free(bytes);
    return rc;
}

int mla__critic_load(mla_critic *critic, const char *path, mla_err *err) {
    size_t values = 3 * ((size_t)critic->dim + 1);
    int64_t head[2] = {0};
    mla_buf bytes;
    if (mla_fs_read(path, sizeof head + values * sizeof(double), &bytes, err) < 0) return -1;
    if (bytes.len == sizeof head + values * sizeof(double)) memcpy(head, bytes.data, sizeof head);
    int rc =
        head[0] == critic->dim
            ? 0
            : mla_err_set(err, "%s: not the critic of this model; remove the checkpoint", path);
    if (rc == 0) {
        critic->steps = (int)head[1];
        memcpy(critic->param, bytes.data + sizeof head, values * sizeof(double));
    }
    mla_buf_clear(&bytes);
    return rc;
}
