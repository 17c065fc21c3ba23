// The model as a set of weights: creation, loading, freezing, saving, and the repacking that
// follows every update. What the weights compute is in transformer.c and head.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"

// Gives a parameter its values; the sources of weights differ only here.
typedef int fill_fn(void *from, const mla_param *param, float *out, mla_err *err);

// ---- the list of parameters ------------------------------------------------------------------

static mla_param *add_param(mla_model *m, size_t *cap, char *name, int rows, int cols) {
    MLA_GROW(m->params, *cap, m->n_params + 1);
    mla_param *p = &m->params[m->n_params++];
    *p = (mla_param){.name = name, .rows = (size_t)rows, .cols = (size_t)cols};
    return p;
}

static void list_layer(mla_model *m, size_t *cap, int layer) {
    const mla_model_config *c = &m->config;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const bool bias = c->arch == MLA_ARCH_QWEN2;
    const struct {
        const char *name;
        int rows, cols;
        bool present;
    } all[] = {
        {"input_layernorm.weight", 1, c->dim, true},
        {"self_attn.q_proj.weight", q, c->dim, true},
        {"self_attn.k_proj.weight", kv, c->dim, true},
        {"self_attn.v_proj.weight", kv, c->dim, true},
        {"self_attn.q_proj.bias", 1, q, bias},
        {"self_attn.k_proj.bias", 1, kv, bias},
        {"self_attn.v_proj.bias", 1, kv, bias},
        {"self_attn.o_proj.weight", c->dim, q, true},
        {"post_attention_layernorm.weight", 1, c->dim, true},
        {"mlp.gate_proj.weight", c->hidden, c->dim, true},
        {"mlp.up_proj.weight", c->hidden, c->dim, true},
        {"mlp.down_proj.weight", c->dim, c->hidden, true},
    };
    for (size_t i = 0; i < MLA_COUNT(all); i++)
        if (all[i].present)
            add_param(m, cap, mla_format("model.layers.%d.%s", layer, all[i].name), all[i].rows,
                      all[i].cols);
}

static void list_params(mla_model *m) {
    const mla_model_config *c = &m->config;
    size_t cap = 0;
    add_param(m, &cap, mla_strdup("model.embed_tokens.weight"), c->vocab, c->dim);
    for (int i = 0; i < c->layers; i++) list_layer(m, &cap, i);
    add_param(m, &cap, mla_strdup("model.norm.weight"), 1, c->dim);
    if (!c->tied) add_param(m, &cap, mla_strdup("lm_head.weight"), c->vocab, c->dim);
}

// Q, K and V follow one another without a gap, and gate and up: one product serves each group.
static bool begins_group(const mla_param *p) {
    static const char *const inner[] = {"k_proj.weight", "v_proj.weight", "k_proj.bias",
                                        "v_proj.bias", "up_proj.weight"};
    for (size_t i = 0; i < MLA_COUNT(inner); i++)
        if (strstr(p->name, inner[i])) return false;
    return true;
}

// Memory for all parameters of a trainable model, for the vectors only of another.
static void place_params(mla_model *m) {
    const bool all = m->options.trainable;
    size_t total = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            m->n_master = total;
            m->master = mla_alloc_aligned(total * sizeof *m->master);
            if (all) m->grad = mla_alloc_aligned(total * sizeof *m->grad);
        }
        total = 0;
        for (size_t i = 0; i < m->n_params; i++) {
            mla_param *p = &m->params[i];
            if (!all && p->rows > 1) continue;
            if (begins_group(p)) total = mla__round_up(total, 16);
            if (pass == 1) {
                p->data = m->master + total;
                p->grad = all ? m->grad + total : NULL;
            }
            total += p->rows * p->cols;
        }
        total = mla__round_up(total, 16);
    }
}

static mla_param *next_param(mla_model *m, size_t *at, size_t parts) {
    mla_param *p = &m->params[*at];
    *at += parts;
    return p;
}

static mla__vector vector_of(const mla_param *p) {
    return (mla__vector){p->data, p->grad};
}

static mla__linear linear_of(const mla_param *p, size_t parts) {
    mla__linear l = {.in = (int)p->cols, .master = p->data, .grad = p->grad};
    for (size_t i = 0; i < parts; i++) l.out += (int)p[i].rows;
    return l;
}

static void name_parts(mla_model *m) {
    size_t at = 0;
    m->embed = linear_of(next_param(m, &at, 1), 1);
    m->layers = MLA_NEW_ARRAY(mla__layer, (size_t)m->config.layers);
    for (int i = 0; i < m->config.layers; i++) {
        mla__layer *l = &m->layers[i];
        l->norm1 = vector_of(next_param(m, &at, 1));
        l->qkv = linear_of(next_param(m, &at, 3), 3);
        if (m->config.arch == MLA_ARCH_QWEN2) l->qkv_bias = vector_of(next_param(m, &at, 3));
        l->o = linear_of(next_param(m, &at, 1), 1);
        l->norm2 = vector_of(next_param(m, &at, 1));
        l->gate_up = linear_of(next_param(m, &at, 2), 2);
        l->down = linear_of(next_param(m, &at, 1), 1);
    }
    m->norm = vector_of(next_param(m, &at, 1));
    m->head = m->config.tied ? m->embed : linear_of(next_param(m, &at, 1), 1);
}

// transformers computes the angles in fp32; so do we, or long contexts drift from it.
static void make_angles(mla_model *m) {
    const int half = m->config.head_dim / 2, n = m->config.max_context;
    m->cosine = MLA_NEW_ARRAY(float, (size_t)n * (size_t)half);
    m->sine = MLA_NEW_ARRAY(float, (size_t)n * (size_t)half);
    for (int i = 0; i < half; i++) {
        float inverse =
            (float)(1.0 / pow((double)m->config.rope_theta, 2.0 * i / m->config.head_dim));
        for (int pos = 0; pos < n; pos++) {
            float angle = (float)pos * inverse;
            m->cosine[pos * half + i] = (float)cos((double)angle);
            m->sine[pos * half + i] = (float)sin((double)angle);
        }
    }
}

static int check_config(const mla_model_config *c, mla_err *err) {
    bool sizes = c->vocab > 0 && c->dim > 0 && c->layers > 0 && c->hidden > 0 && c->max_context > 0;
    if (!sizes || c->heads < 1 || c->kv_heads < 1 || c->heads % c->kv_heads)
        return mla_err_set(err,
                           "model shape is impossible: vocab %d, dim %d, layers %d, heads %d, "
                           "kv heads %d, hidden %d",
                           c->vocab, c->dim, c->layers, c->heads, c->kv_heads, c->hidden);
    if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > MLA__HEAD_MAX)
        return mla_err_set(err, "head size %d is not supported (an even number up to %d)",
                           c->head_dim, MLA__HEAD_MAX);
    if (c->heads / c->kv_heads > MLA__GROUP_MAX)
        return mla_err_set(err, "%d query heads to one key head are not supported (at most %d)",
                           c->heads / c->kv_heads, MLA__GROUP_MAX);
    return 0;
}

static int check_options(const mla_model_config *c, const mla_model_options *options,
                         mla_err *err) {
    if (options->compute == MLA_COMPUTE_BF16 && mla_compute_best() != MLA_COMPUTE_BF16)
        return mla_err_set(err, "bf16 needs a processor with AVX-512 (and ONEDNN_MAX_CPU_ISA to "
                                "allow it); use fp32");
    if (options->compute == MLA_COMPUTE_INT8 && (options->trainable || options->adaptable))
        return mla_err_set(err, "int8 weights cannot be trained; use bf16 or fp32");
    const int width = c->heads * c->head_dim;
    if (options->compute == MLA_COMPUTE_INT8 &&
        (c->dim > MLA__LONGEST || c->hidden > MLA__LONGEST || width > MLA__LONGEST))
        return mla_err_set(err, "a width above %d is not supported in int8; use bf16 or fp32",
                           MLA__LONGEST);
    return 0;
}

// A model without values. NULL when its shape or number format cannot be had here.
static mla_model *create(const mla_model_config *config, const mla_model_options *options,
                         mla_err *err) {
    if (check_config(config, err)) return NULL;
    if (check_options(config, options, err)) return NULL;
    MLA_ASSERT(!(options->trainable && options->adaptable));
    mla_model *m = MLA_NEW(mla_model);
    m->config = *config;
    m->options = *options;
    m->kernels = mla__kernels_best();
    m->gemm = mla__gemm_create(options->compute);
    m->version = 1;
    m->eos = -1;
    list_params(m);
    place_params(m);
    name_parts(m);
    make_angles(m);
    return m;
}

// ---- packing ---------------------------------------------------------------------------------

static void *to_compute(const mla_model *m, const float *w, void *out, const mla__linear *l) {
    mla__ops_to_compute(m->kernels, m->options.compute, w, out, (size_t)l->out, (size_t)l->in);
    return out;
}

static size_t plain_bytes(const mla_model *m, const mla__linear *l) {
    return (size_t)l->out * (size_t)l->in * mla__element(m->options.compute);
}

static void drop_plain(mla__linear *l) {
    if (l->owns_plain) free(l->plain);
    l->plain = NULL;
    l->owns_plain = false;
}

// w [out, in] in the compute type, in memory of `l` unless it is that already.
static void make_plain(mla_model *m, mla__linear *l, const float *w) {
    if (!mla__is_half(m->options.compute) && w == l->master) {
        l->plain = l->master;
        return;
    }
    if (!l->plain) l->plain = mla_alloc_aligned(plain_bytes(m, l));
    l->owns_plain = true;
    to_compute(m, w, l->plain, l);
}

// From fp32 values w [out, in]: packs them, and keeps a plain copy where one is needed.
static void set_linear(mla_model *m, mla__linear *l, const float *w, bool packed, bool plain) {
    const bool from_floats = m->options.compute != MLA_COMPUTE_BF16;
    if (plain || !from_floats) make_plain(m, l, w);
    if (packed) {
        if (!l->packed) l->packed = mla__packed_create(m->gemm, l->out, l->in);
        mla__packed_fill(m->gemm, l->packed, from_floats ? (const void *)w : l->plain);
    }
    if (!plain) drop_plain(l);
}

// Whether the embedding's rows can be read from the head that it shares.
static bool rows_are_packed(const mla_model *m) {
    return m->config.tied && !m->options.trainable && !m->options.adaptable &&
           mla__packed_has_rows(m->embed.packed);
}

// Visits the linears in the order of the parameters; the tied head comes with its embedding.
static void set_embed(mla_model *m, const float *w) {
    const bool frozen_int8 = m->config.tied && m->options.compute == MLA_COMPUTE_INT8;
    set_linear(m, &m->embed, w, m->config.tied, !frozen_int8);
    if (rows_are_packed(m)) drop_plain(&m->embed);
    if (!m->config.tied) return;
    m->head = m->embed;
    m->head.owns_plain = false;
}

static void pack_all(mla_model *m) {
    set_embed(m, m->embed.master);
    for (int i = 0; i < m->config.layers; i++) {
        mla__layer *l = &m->layers[i];
        mla__linear *all[] = {&l->qkv, &l->o, &l->gate_up, &l->down};
        for (size_t k = 0; k < MLA_COUNT(all); k++)
            set_linear(m, all[k], all[k]->master, true, true);
    }
    if (!m->config.tied) set_linear(m, &m->head, m->head.master, true, true);
}

void mla__linear_set(mla_model *m, mla__linear *l, const float *w) {
    set_linear(m, l, w, true, m->options.adaptable);
}

int mla__linear_get(const mla_model *m, const mla__linear *l, float *w) {
    const size_t in = (size_t)l->in, n = (size_t)l->out * in;
    const bool rows = m->options.compute == MLA_COMPUTE_BF16 && mla__packed_has_rows(l->packed);
    if (l->plain && mla__is_half(m->options.compute))
        m->kernels->from_bf16(l->plain, w, n);
    else if (l->plain)
        memcpy(w, l->plain, n * sizeof *w);
    else
        for (int i = 0; rows && i < l->out; i++) mla__packed_row(l->packed, i, w + (size_t)i * in);
    return l->plain || rows ? 0 : -1;
}

// ---- filling ---------------------------------------------------------------------------------

// A frozen model's linear: its parts are read into one fp32 block, packed, and let go.
static int fill_frozen(mla_model *m, size_t *at, size_t parts, mla__linear *l, fill_fn *fill,
                       void *from, mla_err *err) {
    float *w = mla_alloc_aligned((size_t)l->out * (size_t)l->in * sizeof *w), *to = w;
    int rc = 0;
    for (size_t i = 0; i < parts && !rc; i++) {
        const mla_param *p = &m->params[*at + i];
        rc = fill(from, p, to, err);
        to += p->rows * p->cols;
    }
    *at += parts;
    if (!rc && l == &m->embed)
        set_embed(m, w);
    else if (!rc)
        mla__linear_set(m, l, w);
    free(w);
    return rc;
}

static int fill_vectors(mla_model *m, size_t *at, size_t n, fill_fn *fill, void *from,
                        mla_err *err) {
    for (size_t i = 0; i < n; i++) {
        const mla_param *p = &m->params[(*at)++];
        if (fill(from, p, p->data, err)) return -1;
    }
    return 0;
}

static int fill_frozen_layer(mla_model *m, size_t *at, mla__layer *l, fill_fn *fill, void *from,
                             mla_err *err) {
    const size_t biases = m->config.arch == MLA_ARCH_QWEN2 ? 3 : 0;
    if (fill_vectors(m, at, 1, fill, from, err)) return -1;
    if (fill_frozen(m, at, 3, &l->qkv, fill, from, err)) return -1;
    if (fill_vectors(m, at, biases, fill, from, err)) return -1;
    if (fill_frozen(m, at, 1, &l->o, fill, from, err)) return -1;
    if (fill_vectors(m, at, 1, fill, from, err)) return -1;
    if (fill_frozen(m, at, 2, &l->gate_up, fill, from, err)) return -1;
    return fill_frozen(m, at, 1, &l->down, fill, from, err);
}

// A head of its own comes before the layers: the memory in which it is turned over is the largest.
static int fill_model(mla_model *m, fill_fn *fill, void *from, mla_err *err) {
    size_t at = 0, head = m->n_params - 1;
    if (m->options.trainable) {
        if (fill_vectors(m, &at, m->n_params, fill, from, err)) return -1;
        pack_all(m);
        return 0;
    }
    if (fill_frozen(m, &at, 1, &m->embed, fill, from, err)) return -1;
    if (!m->config.tied && fill_frozen(m, &head, 1, &m->head, fill, from, err)) return -1;
    for (int i = 0; i < m->config.layers; i++)
        if (fill_frozen_layer(m, &at, &m->layers[i], fill, from, err)) return -1;
    return fill_vectors(m, &at, 1, fill, from, err);
}

static int fill_from_weights(void *from, const mla_param *p, float *out, mla_err *err) {
    return mla_weights_read(from, p->name, out, p->rows, p->cols, err);
}

mla_model *mla_model_from_weights(const mla_weights *weights, const mla_model_options *options,
                                  mla_err *err) {
    mla_model *m = create(mla_weights_config(weights), options, err);
    if (!m) return NULL;
    const mla_vocab *vocab = mla_weights_vocab(weights);
    if (vocab) m->eos = vocab->eos;
    if (fill_model(m, fill_from_weights, (void *)(uintptr_t)weights, err)) {
        mla_model_free(m);
        return NULL;
    }
    return m;
}

mla_model *mla_model_load(const char *path, const mla_model_options *options, mla_err *err) {
    mla_weights *weights = mla_weights_open(path, err);
    if (!weights) return NULL;
    mla_model *m = mla_model_from_weights(weights, options, err);
    if (!m) mla_err_wrap(err, "%s", path);
    mla_weights_close(weights);
    return m;
}

static int fill_random(void *from, const mla_param *p, float *out, mla_err *err) {
    (void)err;
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(*(uint64_t *)from, mla_rng_hash(p->name), 0, 0));
    bool norm = strstr(p->name, "norm") != NULL;
    for (size_t i = 0; i < p->rows * p->cols; i++)
        out[i] = norm ? 1.0f : (float)(0.02 * mla_rng_normal(&rng));
    return 0;
}

mla_model *mla_model_random(const mla_model_config *config, const mla_model_options *options,
                            uint64_t seed) {
    mla_err err;
    mla_model *m = create(config, options, &err);
    if (!m) mla_panic(__FILE__, __LINE__, "%s", err.text);
    MLA_ASSERT(fill_model(m, fill_random, &seed, &err) == 0);
    return m;
}

// ---- copies ----------------------------------------------------------------------------------

static void copy_linear(mla_model *to, mla__linear *t, const mla__linear *f, bool plain) {
    if (f->packed) t->packed = mla__packed_copy(to->gemm, f->packed);
    if (!plain || !f->plain) return;
    t->plain = mla_alloc_aligned(plain_bytes(to, f));
    t->owns_plain = true;
    memcpy(t->plain, f->plain, plain_bytes(to, f));
}

// The values of a linear of `from`, rounded anew for `to`.
static void round_linear(mla_model *to, mla__linear *t, const mla_model *from,
                         const mla__linear *f) {
    const size_t bytes = (size_t)f->out * (size_t)f->in * sizeof(float);
    float *w = mla_alloc_aligned(bytes);
    if (f->master)
        memcpy(w, f->master, bytes);
    else
        MLA_ASSERT(mla__linear_get(from, f, w) == 0);
    if (t == &to->embed)
        set_embed(to, w);
    else
        mla__linear_set(to, t, w);
    free(w);
}

static void freeze_linear(mla_model *to, mla__linear *t, const mla_model *from,
                          const mla__linear *f) {
    if (to->options.compute != from->options.compute)
        round_linear(to, t, from, f);
    else
        copy_linear(to, t, f, t == &to->embed);
}

static void freeze_head(mla_model *m, const mla_model *from) {
    if (!m->config.tied) {
        freeze_linear(m, &m->head, from, &from->head);
        return;
    }
    if (rows_are_packed(m)) drop_plain(&m->embed);
    m->head = m->embed;
    m->head.owns_plain = false;
}

mla_model *mla_model_freeze(const mla_model *model, mla_compute compute) {
    MLA_ASSERT(compute == model->options.compute || compute == MLA_COMPUTE_INT8);
    const mla_model_options options = {.compute = compute, .trainable = false};
    mla_model *m = create(&model->config, &options, NULL);
    MLA_ASSERT(m);
    m->eos = model->eos;
    for (size_t i = 0; i < m->n_params; i++)
        if (m->params[i].data)
            memcpy(m->params[i].data, model->params[i].data,
                   m->params[i].cols * sizeof *m->params[i].data);
    freeze_linear(m, &m->embed, model, &model->embed);
    for (int i = 0; i < m->config.layers; i++) {
        mla__layer *t = &m->layers[i];
        const mla__layer *f = &model->layers[i];
        freeze_linear(m, &t->qkv, model, &f->qkv);
        freeze_linear(m, &t->o, model, &f->o);
        freeze_linear(m, &t->gate_up, model, &f->gate_up);
        freeze_linear(m, &t->down, model, &f->down);
    }
    freeze_head(m, model);
    mla__adapters_copy(m, model);
    return m;
}

void mla__linear_free(mla__linear *l) {
    mla__packed_free(l->packed);
    if (l->owns_plain) free(l->plain);
}

void mla_model_free(mla_model *model) {
    if (!model) return;
    mla_model_unmerge(model);
    mla__adapters_free(model);
    mla__linear_free(&model->embed);
    for (int i = 0; i < model->config.layers; i++)
        for (int k = 0; k < MLA__LINEARS; k++)
            mla__linear_free(mla__linear_of(&model->layers[i], (mla__which)k));
    if (!model->config.tied) mla__linear_free(&model->head);
    for (size_t i = 0; i < model->n_params; i++) free((void *)(uintptr_t)model->params[i].name);
    free(model->params);
    free(model->layers);
    free(model->master);
    free(model->grad);
    free(model->cosine);
    free(model->sine);
    mla__gemm_free(model->gemm);
    free(model);
}

// ---- the public rest -------------------------------------------------------------------------

const mla_model_config *mla_model_get_config(const mla_model *model) {
    return &model->config;
}

mla_compute mla_model_get_compute(const mla_model *model) {
    return model->options.compute;
}

size_t mla_model_params(const mla_model *model) {
    if (model->options.trainable) return model->n_params;
    size_t n = 0;
    for (size_t i = 0; i < model->n_adapters; i++)
        if (model->adapters[i]->trainable) n += model->adapters[i]->n_params;
    return n;
}

mla_param *mla_model_param(mla_model *model, size_t at) {
    MLA_ASSERT(at < mla_model_params(model));
    if (model->options.trainable) return &model->params[at];
    mla__adapter **a = model->adapters;
    for (; !(*a)->trainable || at >= (*a)->n_params; a++)
        if ((*a)->trainable) at -= (*a)->n_params;
    return &(*a)->params[at];
}

void mla_model_refresh(mla_model *model) {
    MLA_ASSERT(mla_model_params(model) && !model->apart);
    if (model->options.trainable) pack_all(model);
    for (size_t i = 0; i < model->n_adapters; i++)
        if (model->adapters[i]->trainable) mla__adapter_pack(model, model->adapters[i]);
    model->version++;
}

uint64_t mla_model_version(const mla_model *model) {
    return model->version;
}

void mla_model_zero_grad(mla_model *model) {
    MLA_ASSERT(mla_model_params(model));
    if (model->grad) memset(model->grad, 0, model->n_master * sizeof *model->grad);
    for (size_t i = 0; i < model->n_adapters; i++)
        if (model->adapters[i]->grad)
            memset(model->adapters[i]->grad, 0,
                   model->adapters[i]->n_master * sizeof *model->adapters[i]->grad);
}

int mla_model_save(const mla_model *model, const char *dir, bool as_f32, mla_err *err) {
    if (!model->options.trainable)
        return mla_err_set(err,
                           "%s: a frozen model has no master weights to save; save the "
                           "trainable one",
                           dir);
    mla_tensor_out *out = MLA_NEW_ARRAY(mla_tensor_out, model->n_params);
    for (size_t i = 0; i < model->n_params; i++) {
        const mla_param *p = &model->params[i];
        out[i] = (mla_tensor_out){.name = p->name,
                                  .data = p->data,
                                  .rows = p->rows,
                                  .cols = p->cols,
                                  .is_vector = p->rows == 1};
    }
    int rc = mla_weights_save(dir, &model->config, out, model->n_params, as_f32, model->eos, err);
    free(out);
    return rc;
}
