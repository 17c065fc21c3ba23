// The adapters that a model carries: their values and gradients, packing, copies, and merging into
// the weights. What they add to a pass is in low_rank.c, their files are in adapter_file.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/adapter_file.h"
#include "model/internal.h"

#define REFERENCE (UINT64_C(1) << 63) // of a version: trainable adapters are left out

// The targets that one linear serves.
static const struct {
    mla_target first;
    int n;
} served[MLA__LINEARS] = {{MLA_TARGET_Q, 3}, {MLA_TARGET_O, 1}, {MLA_TARGET_GATE, 2},
                          {MLA_TARGET_DOWN, 1}};

mla__low_rank *mla__adapter_part(const mla__adapter *a, int layer, mla__which which) {
    mla__low_rank *r = &a->parts[layer * MLA__LINEARS + (int)which];
    return r->n_parts ? r : NULL;
}

// ---- layout ----------------------------------------------------------------------------------

static void measure(const mla_model *m, const mla__adapter *a, mla__which which,
                    mla__low_rank *r) {
    for (int i = 0; i < served[which].n; i++) {
        const mla_target target = (mla_target)((int)served[which].first + i);
        int out;
        mla__target_shape(&m->config, target, &out, &r->in);
        if (a->options.targets >> target & 1)
            r->parts[r->n_parts++] = (mla__low_part){.at = r->out, .out = out};
        r->out += out;
    }
    r->inner = r->n_parts * a->padded;
}

// Gives [from, from + n) of master and gradient away; from grows by n in whole cache lines.
static void place(const mla__adapter *a, size_t *from, size_t n, float **data, float **grad) {
    if (a->master) *data = a->master + *from;
    if (a->grad) *grad = a->grad + *from;
    *from += mla__round_up(n, 16);
}

// Called first without memory, to learn how much it takes.
static size_t place_all(mla__adapter *a, int layers) {
    size_t from = 0;
    for (int i = 0; i < layers * (int)MLA__LINEARS; i++) {
        mla__low_rank *r = &a->parts[i];
        if (!r->n_parts) continue;
        place(a, &from, (size_t)r->inner * (size_t)r->in, &r->a, &r->da);
        for (int p = 0; p < r->n_parts; p++)
            place(a, &from, (size_t)r->parts[p].out * (size_t)a->options.rank, &r->parts[p].b,
                  &r->parts[p].db);
    }
    return from;
}

static void name_one(mla__adapter *a, int layer, mla__which which) {
    mla__low_rank *r = mla__adapter_part(a, layer, which);
    const size_t rank = (size_t)a->options.rank;
    for (int i = 0, part = 0; r && i < served[which].n; i++) {
        const mla_target target = (mla_target)((int)served[which].first + i);
        if (!(a->options.targets >> target & 1)) continue;
        const size_t at = (size_t)(part * a->padded) * (size_t)r->in;
        const mla__low_part *p = &r->parts[part++];
        a->params[a->n_params++] = (mla_param){mla__adapter_tensor(layer, target, 'A'), r->a + at,
                                               r->da ? r->da + at : NULL, rank, (size_t)r->in};
        a->params[a->n_params++] = (mla_param){mla__adapter_tensor(layer, target, 'B'), p->b, p->db,
                                               (size_t)p->out, rank};
    }
}

// All values zero.
static mla__adapter *create(const mla_model *m, const mla_adapter_options *options,
                            bool trainable) {
    const int layers = m->config.layers;
    mla__adapter *a = MLA_NEW(mla__adapter);
    a->options = *options;
    a->options.base = mla_strdup(options->base);
    a->trainable = trainable;
    a->scale = mla_adapter_scale(options);
    a->padded = (int)mla__round_up((size_t)options->rank, 16);
    a->parts = MLA_NEW_ARRAY(mla__low_rank, (size_t)layers * MLA__LINEARS);
    for (int i = 0; i < layers * (int)MLA__LINEARS; i++)
        measure(m, a, (mla__which)(i % (int)MLA__LINEARS), &a->parts[i]);
    a->n_master = place_all(a, layers);
    a->master = mla_alloc_aligned(a->n_master * sizeof *a->master);
    if (trainable) a->grad = mla_alloc_aligned(a->n_master * sizeof *a->grad);
    place_all(a, layers);
    a->params = MLA_NEW_ARRAY(mla_param, (size_t)layers * MLA_TARGET_COUNT * 2);
    for (int i = 0; i < layers * (int)MLA__LINEARS; i++)
        name_one(a, i / (int)MLA__LINEARS, (mla__which)(i % (int)MLA__LINEARS));
    return a;
}

static void free_one(mla__adapter *a, int layers) {
    for (int i = 0; i < layers * (int)MLA__LINEARS; i++) {
        mla__low_rank *r = &a->parts[i];
        free(r->down);
        free(r->back_down);
        for (int p = 0; p < r->n_parts; p++) {
            free(r->parts[p].up);
            free(r->parts[p].back_up);
        }
    }
    for (size_t i = 0; i < a->n_params; i++) free((void *)(uintptr_t)a->params[i].name);
    free((void *)(uintptr_t)a->options.base);
    free(a->params);
    free(a->parts);
    free(a->master);
    free(a->grad);
    free(a);
}

void mla__adapters_free(mla_model *m) {
    for (size_t i = 0; i < m->n_adapters; i++) free_one(m->adapters[i], m->config.layers);
    free(m->adapters);
}

// ---- packing ---------------------------------------------------------------------------------

static void pack_one(const mla_model *m, const mla__adapter *a, mla__low_rank *r) {
    const size_t in = (size_t)r->in, rank = (size_t)a->options.rank;
    const bool back = m->options.adaptable;
    r->down = mla__low_pack(m, r->down, r->a, 1, in, 1, r->in, r->inner);
    if (back) r->back_down = mla__low_pack(m, r->back_down, r->a, in, 1, 1, r->inner, r->in);
    for (int i = 0; i < r->n_parts; i++) {
        mla__low_part *p = &r->parts[i];
        p->up = mla__low_pack(m, p->up, p->b, 1, rank, a->scale, a->options.rank, p->out);
        if (back)
            p->back_up =
                mla__low_pack(m, p->back_up, p->b, rank, 1, a->scale, p->out, a->options.rank);
    }
}

void mla__adapter_pack(const mla_model *m, mla__adapter *a) {
    const int n = m->config.layers * (int)MLA__LINEARS;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++)
        if (a->parts[i].n_parts) pack_one(m, a, &a->parts[i]);
}

// Takes it over.
static int append(mla_model *m, mla__adapter *a) {
    MLA_ASSERT(!m->apart && !m->reference);
    mla__adapter_pack(m, a);
    MLA_GROW(m->adapters, m->cap_adapters, m->n_adapters + 1);
    m->adapters[m->n_adapters++] = a;
    m->version++;
    return (int)m->n_adapters - 1;
}

void mla__adapters_copy(mla_model *to, const mla_model *from) {
    MLA_ASSERT(!from->apart);
    for (size_t i = 0; i < from->n_adapters; i++) {
        const mla__adapter *a = from->adapters[i];
        if (from->reference && a->trainable) continue;
        mla__adapter *copy = create(to, &a->options, false);
        memcpy(copy->master, a->master, a->n_master * sizeof *a->master);
        append(to, copy);
    }
}

// ---- adding ----------------------------------------------------------------------------------

static int check_model(const mla_model *m, bool trainable, mla_err *err) {
    if (m->options.trainable)
        return mla_err_set(err, "an adapter goes on frozen weights; these are trained themselves");
    if (trainable && !m->options.adaptable)
        return mla_err_set(err, "the model was opened for sampling only; open it adaptable to "
                                "train an adapter on it");
    return 0;
}

static int check_options(const mla_adapter_options *o, mla_err *err) {
    if (o->rank < 1 || o->rank > MLA_RANK_MAX)
        return mla_err_set(err, "an adapter's rank is from 1 to %d, not %d", MLA_RANK_MAX, o->rank);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return mla_err_set(err, "an adapter's dropout is from 0 to below 1, not %g",
                           (double)o->dropout);
    if (!isfinite(o->alpha)) return mla_err_set(err, "an adapter's alpha must be a finite number");
    if (!o->targets || o->targets > MLA_TARGETS_ALL)
        return mla_err_set(err, "an adapter needs at least one of the seven targets");
    return 0;
}

int mla_adapter_add(mla_model *model, const mla_adapter_options *options, uint64_t seed,
                    mla_err *err) {
    if (check_model(model, true, err) || check_options(options, err)) return -1;
    mla__adapter *a = create(model, options, true);
    for (size_t i = 0; i < a->n_params; i += 2) {
        const mla_param *p = &a->params[i];
        const double bound = 1 / sqrt((double)p->cols);
        mla_rng rng;
        mla_rng_init(&rng, mla_rng_derive(seed, mla_rng_hash(p->name), 0, 0));
        for (size_t k = 0; k < p->rows * p->cols; k++)
            p->data[k] = (float)((2 * mla_rng_uniform(&rng) - 1) * bound);
    }
    return append(model, a);
}

// The parameters are in the order of layers and targets, A before B.
static int fill(const mla_model *m, mla__adapter *a, const mla__adapter_file *file, mla_err *err) {
    size_t at = 0;
    for (int layer = 0; layer < m->config.layers; layer++)
        for (int t = 0; t < MLA_TARGET_COUNT; t++) {
            if (!(a->options.targets >> t & 1)) continue;
            for (const char *which = "AB"; *which; which++)
                if (mla__adapter_file_read(file, &m->config, layer, (mla_target)t, *which,
                                           a->params[at++].data, err))
                    return -1;
        }
    return 0;
}

int mla_adapter_load(mla_model *model, const char *dir, bool trainable, mla_err *err) {
    mla__adapter_file file;
    if (check_model(model, trainable, err) || mla__adapter_file_open(&file, dir, err)) return -1;
    int rc = mla__adapter_file_check(&file, &model->config, err);
    mla__adapter *a = rc ? NULL : create(model, &file.options, trainable);
    if (a && (rc = fill(model, a, &file, err))) free_one(a, model->config.layers);
    mla__adapter_file_close(&file);
    return rc ? -1 : append(model, a);
}

static const mla__adapter *adapter_at(const mla_model *model, int at) {
    MLA_ASSERT(at >= 0 && (size_t)at < model->n_adapters);
    return model->adapters[at];
}

int mla_adapter_save(const mla_model *model, int at, const char *dir, bool as_f32, mla_err *err) {
    const mla__adapter *a = adapter_at(model, at);
    mla_tensor_out *out = MLA_NEW_ARRAY(mla_tensor_out, a->n_params);
    for (size_t i = 0; i < a->n_params; i++)
        out[i] = (mla_tensor_out){.name = a->params[i].name, .data = a->params[i].data,
                                  .rows = a->params[i].rows, .cols = a->params[i].cols};
    char *tmp = mla_format("%s.tmp", dir);
    int rc = mla_fs_remove_tree(tmp, err);
    if (rc == 0) rc = mla_fs_mkdirs(tmp, err);
    if (rc == 0) rc = mla__adapter_file_write(tmp, &a->options, out, a->n_params, as_f32, err);
    if (rc == 0) rc = mla_fs_replace_dir(tmp, dir, err);
    free(tmp);
    free(out);
    return rc;
}

void mla_adapter_freeze(mla_model *model, int at) {
    MLA_ASSERT(!model->reference && adapter_at(model, at));
    mla__adapter *a = model->adapters[at];
    a->trainable = false;
    free(a->grad);
    a->grad = NULL;
    for (int i = 0; i < model->config.layers * (int)MLA__LINEARS; i++) {
        a->parts[i].da = NULL;
        for (int p = 0; p < a->parts[i].n_parts; p++) a->parts[i].parts[p].db = NULL;
    }
    for (size_t i = 0; i < a->n_params; i++) a->params[i].grad = NULL;
}

int mla_adapter_count(const mla_model *model) {
    return (int)model->n_adapters;
}

const mla_adapter_options *mla_adapter_get_options(const mla_model *model, int at) {
    return &adapter_at(model, at)->options;
}

void mla_model_reference(mla_model *model, bool on) {
    model->reference = on;
    model->version = on ? model->version | REFERENCE : model->version & ~REFERENCE;
}

// ---- merging ---------------------------------------------------------------------------------

// w [out, in] += scale B A.
static void add_product(const mla__adapter *a, const mla__low_rank *r, float *w) {
    const size_t in = (size_t)r->in, rank = (size_t)a->options.rank;
    for (int i = 0; i < r->n_parts; i++) {
        const mla__low_part *p = &r->parts[i];
        const float *down = r->a + (size_t)(i * a->padded) * in;
#pragma omp parallel for schedule(static)
        for (int o = 0; o < p->out; o++) {
            float *row = w + (size_t)(p->at + o) * in;
            for (size_t j = 0; j < rank; j++) {
                const float by = a->scale * p->b[(size_t)o * rank + j];
                for (size_t k = 0; k < in; k++) row[k] += by * down[j * in + k];
            }
        }
    }
}

static mla__linear *linear_at(const mla_model *m, int i) {
    return mla__linear_of(&m->layers[i / (int)MLA__LINEARS], (mla__which)(i % (int)MLA__LINEARS));
}

static int merge_one(mla_model *m, int i) {
    mla__linear *l = linear_at(m, i);
    float *w = mla_alloc_aligned((size_t)l->out * (size_t)l->in * sizeof *w);
    int rc = mla__linear_get(m, l, w);
    if (rc == 0) {
        for (size_t k = 0; k < m->n_adapters; k++)
            add_product(m->adapters[k], &m->adapters[k]->parts[i], w);
        *l = (mla__linear){.out = l->out, .in = l->in};
        mla__linear_set(m, l, w);
    }
    free(w);
    return rc;
}

static void put_back(mla_model *m, int n) {
    for (int i = 0; i < n; i++) {
        mla__linear_free(linear_at(m, i));
        *linear_at(m, i) = m->apart[i];
    }
    free(m->apart);
    m->apart = NULL;
}

int mla_model_merge(mla_model *model, mla_err *err) {
    MLA_ASSERT(!model->reference);
    const int n = model->config.layers * (int)MLA__LINEARS;
    if (model->apart || !model->n_adapters) return 0;
    model->apart = MLA_NEW_ARRAY(mla__linear, (size_t)n);
    for (int i = 0; i < n; i++) {
        model->apart[i] = *linear_at(model, i);
        if (merge_one(model, i) == 0) continue;
        put_back(model, i);
        return mla_err_set(err, "these weights cannot be merged with an adapter in memory: use "
                                "`mlagent model merge` and open the result");
    }
    model->version++;
    return 0;
}

void mla_model_unmerge(mla_model *model) {
    if (!model->apart) return;
    put_back(model, model->config.layers * (int)MLA__LINEARS);
    model->version++;
}
