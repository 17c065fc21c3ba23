// The open weight file: mappings, the table of tensors, reading one of them, and the check that the
// tensors are those of the architecture. The formats are read in gguf.c and huggingface.c and
// written from convert.c.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/weights_internal.h"

int mla__weights_map(mla_weights *weights, const char *path, size_t min_size, mla__mapping *out,
                     mla_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mla_err_set(err, "%s: %s; check the path", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        close(fd);
        return mla_err_set(err, "%s: not a regular file; name a GGUF file or a model folder", path);
    }
    size_t size = (size_t)info.st_size;
    if (size < min_size) {
        close(fd);
        return mla_err_set(err, "%s: only %zu bytes long, cut off; fetch it again", path, size);
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int saved = errno;
    close(fd);
    if (data == MAP_FAILED)
        return mla_err_set(err, "%s: cannot be mapped: %s", path, strerror(saved));
    MLA_GROW(weights->maps, weights->cap_maps, weights->n_maps + 1);
    *out = weights->maps[weights->n_maps++] = (mla__mapping){data, size};
    return 0;
}

// Rows and columns of a tensor: leading ones are dropped, at most two dimensions may stay.
static bool matrix_shape(const uint64_t *dims, size_t n_dims, mla__tensor *tensor) {
    while (n_dims > 2 && *dims == 1) dims++, n_dims--;
    if (n_dims < 1 || n_dims > 2) return false;
    for (size_t i = 0; i < n_dims; i++)
        if (dims[i] < 1 || dims[i] > INT_MAX) return false;
    tensor->is_vector = n_dims == 1;
    tensor->rows = n_dims == 1 ? 1 : (size_t)dims[0];
    tensor->cols = (size_t)dims[n_dims - 1];
    return true;
}

static size_t row_bytes(const mla__tensor *tensor) {
    return tensor->cols / tensor->type->block * tensor->type->bytes;
}

static int place(mla__tensor *tensor, const mla__mapping *map, const char *path,
                 const uint64_t *dims, size_t n_dims, uint64_t offset, mla_err *err) {
    if (!matrix_shape(dims, n_dims, tensor))
        return mla_err_set(err, "%s: tensor '%s' is neither a vector nor a matrix of a sane size; "
                           "the file is damaged or not a text model", path, tensor->name);
    if (tensor->cols % tensor->type->block)
        return mla_err_set(err, "%s: tensor '%s' has %zu columns, no multiple of %s's block of "
                           "%zu; the file is damaged", path, tensor->name, tensor->cols,
                           tensor->type->name, tensor->type->block);
    size_t bytes;
    if (__builtin_mul_overflow(tensor->rows, row_bytes(tensor), &bytes) || offset > map->size ||
        bytes > map->size - offset)
        return mla_err_set(err, "%s: tensor '%s' ends beyond the end of the file; "
                           "the file is cut off: fetch it again", path, tensor->name);
    tensor->data = map->data + offset;
    return 0;
}

int mla__weights_add(mla_weights *weights, const mla__mapping *map, const char *path, char *name,
                     const mla__dtype *type, const uint64_t *dims, size_t n_dims, uint64_t offset,
                     mla_err *err) {
    mla__tensor tensor = {.name = name, .type = type};
    if (place(&tensor, map, path, dims, n_dims, offset, err)) {
        free(name);
        return -1;
    }
    MLA_GROW(weights->tensors, weights->cap_tensors, weights->n_tensors + 1);
    weights->tensors[weights->n_tensors++] = tensor;
    return 0;
}

void mla__weights_alloc_vocab(mla_weights *weights, size_t n, size_t n_merges) {
    MLA_ASSERT(!weights->tokens);
    weights->tokens = MLA_NEW_ARRAY(char *, n + 1);
    weights->special = MLA_NEW_ARRAY(uint8_t, n + 1);
    weights->types = MLA_NEW_ARRAY(uint8_t, n + 1);
    weights->merges = MLA_NEW_ARRAY(char *, n_merges + 1);
    weights->vocab.n = n;
    weights->vocab.n_merges = n_merges;
}

// ---- checks ----------------------------------------------------------------------------------

static int by_name(const void *a, const void *b) {
    return strcmp(((const mla__tensor *)a)->name, ((const mla__tensor *)b)->name);
}

const mla__tensor *mla__weights_find(const mla_weights *weights, const char *name) {
    mla__tensor key = {.name = (char *)name};
    if (!weights->n_tensors) return NULL;
    return bsearch(&key, weights->tensors, weights->n_tensors, sizeof key, by_name);
}

static int sort_tensors(mla_weights *weights, mla_err *err) {
    if (weights->n_tensors)
        qsort(weights->tensors, weights->n_tensors, sizeof *weights->tensors, by_name);
    for (size_t i = 1; i < weights->n_tensors; i++)
        if (!strcmp(weights->tensors[i - 1].name, weights->tensors[i].name))
            return mla_err_set(err, "%s: tensor '%s' is there twice; the file is damaged",
                               weights->path, weights->tensors[i].name);
    return 0;
}

static int check_range(const mla_weights *weights, const char *what, long long value,
                       long long most, mla_err *err) {
    if (value >= 1 && value <= most) return 0;
    return mla_err_set(err, "%s: %s is %lld, not within 1 to %lld; the file is damaged",
                       weights->path, what, value, most);
}

static int check_config(const mla_weights *weights, mla_err *err) {
    const mla_model_config *c = &weights->config;
    if (check_range(weights, "vocabulary size", c->vocab, 1 << 24, err) ||
        check_range(weights, "embedding width", c->dim, 1 << 20, err) ||
        check_range(weights, "layer count", c->layers, 1 << 12, err) ||
        check_range(weights, "head count", c->heads, 1 << 12, err) ||
        check_range(weights, "key and value head count", c->kv_heads, c->heads, err) ||
        check_range(weights, "head width", c->head_dim, 1 << 12, err) ||
        check_range(weights, "hidden width", c->hidden, 1 << 22, err) ||
        check_range(weights, "context length", c->max_context, 1 << 20, err))
        return -1;
    if (c->heads % c->kv_heads || c->head_dim % 2)
        return mla_err_set(err, "%s: %d heads over %d key heads of width %d do not fit together; "
                           "the file is damaged", weights->path, c->heads, c->kv_heads,
                           c->head_dim);
    if (!(c->rope_theta > 0 && c->norm_eps > 0 && c->norm_eps < 1))
        return mla_err_set(err, "%s: RoPE base %g or norm epsilon %g makes no sense; "
                           "the file is damaged", weights->path, (double)c->rope_theta,
                           (double)c->norm_eps);
    return 0;
}

static int expect(const mla_weights *weights, const char *name, size_t rows, size_t cols,
                  mla_err *err) {
    const mla__tensor *tensor = mla__weights_find(weights, name);
    if (!tensor)
        return mla_err_set(err, "%s: tensor '%s' is missing; the file is incomplete or not a %s "
                           "model", weights->path, name,
                           weights->config.arch == MLA_ARCH_QWEN2 ? "Qwen2" : "Llama");
    if (tensor->rows == rows && tensor->cols == cols && tensor->is_vector == (rows == 1)) return 0;
    return mla_err_set(err, "%s: tensor '%s' is %zu x %zu where the configuration needs %zu x %zu; "
                       "the file is damaged", weights->path, name, tensor->rows, tensor->cols,
                       rows, cols);
}

static size_t layer_parts(const mla_model_config *config) {
    return config->arch == MLA_ARCH_QWEN2 ? 12 : 9;
}

// Part `at` of a layer; the biases, which Llama lacks, come last.
static mla__shape layer_part(const mla_model_config *c, size_t layer, size_t at) {
    size_t dim = (size_t)c->dim, hidden = (size_t)c->hidden;
    size_t width = (size_t)c->head_dim, q = (size_t)c->heads * width;
    size_t kv = (size_t)c->kv_heads * width;
    const struct { const char *name; size_t rows, cols; } parts[] = {
        {"input_layernorm.weight", 1, dim},      {"post_attention_layernorm.weight", 1, dim},
        {"self_attn.q_proj.weight", q, dim},     {"self_attn.k_proj.weight", kv, dim},
        {"self_attn.v_proj.weight", kv, dim},    {"self_attn.o_proj.weight", dim, q},
        {"mlp.gate_proj.weight", hidden, dim},   {"mlp.up_proj.weight", hidden, dim},
        {"mlp.down_proj.weight", dim, hidden},   {"self_attn.q_proj.bias", 1, q},
        {"self_attn.k_proj.bias", 1, kv},        {"self_attn.v_proj.bias", 1, kv},
    };
    mla__shape shape = {.rows = parts[at].rows, .cols = parts[at].cols};
    snprintf(shape.name, sizeof shape.name, "model.layers.%zu.%s", layer, parts[at].name);
    return shape;
}

size_t mla__shape_count(const mla_model_config *config) {
    return layer_parts(config) * (size_t)config->layers + (config->tied ? 2 : 3);
}

mla__shape mla__shape_at(const mla_model_config *config, size_t at) {
    size_t per_layer = layer_parts(config), inner = per_layer * (size_t)config->layers;
    size_t vocab = (size_t)config->vocab, dim = (size_t)config->dim;
    if (at == 0) return (mla__shape){"model.embed_tokens.weight", vocab, dim};
    if (at <= inner) return layer_part(config, (at - 1) / per_layer, (at - 1) % per_layer);
    if (at == inner + 1) return (mla__shape){"model.norm.weight", 1, dim};
    return (mla__shape){"lm_head.weight", vocab, dim};
}

// No other tensors in the layers: an extra one would mean a network that this program would compute
// wrongly.
static int check_extra(const mla_weights *weights, mla_err *err) {
    size_t per_layer = layer_parts(&weights->config), in_layers = 0;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const char *name = weights->tensors[i].name;
        if (strncmp(name, "model.layers.", 13)) continue;
        if (strstr(name, ".rotary_emb.inv_freq")) continue;   // older checkpoints; computed anew
        in_layers++;
    }
    if (in_layers == per_layer * (size_t)weights->config.layers) return 0;
    return mla_err_set(err, "%s: %zu layer tensors where %d layers have %zu; a variant of the "
                       "architecture that is not known here (biases, adapters or extra norms)",
                       weights->path, in_layers, weights->config.layers,
                       per_layer * (size_t)weights->config.layers);
}

static int check_tensors(mla_weights *weights, mla_err *err) {
    for (size_t i = 0; i < mla__shape_count(&weights->config); i++) {
        mla__shape shape = mla__shape_at(&weights->config, i);
        if (expect(weights, shape.name, shape.rows, shape.cols, err)) return -1;
    }
    return check_extra(weights, err);
}

static int check_vocab(mla_weights *weights, mla_err *err) {
    mla_vocab *vocab = &weights->vocab;
    if (vocab->n > (size_t)weights->config.vocab)
        return mla_err_set(err, "%s: %zu tokens for an embedding of %d; the file is damaged",
                           weights->path, vocab->n, weights->config.vocab);
    int32_t known = vocab->n ? (int32_t)vocab->n : weights->config.vocab;
    int32_t *const ids[] = {&vocab->eos, &vocab->bos, &vocab->pad};
    for (size_t i = 0; i < MLA_COUNT(ids); i++)
        if (*ids[i] < 0 || *ids[i] >= known) *ids[i] = -1;
    for (size_t i = 0; i < vocab->n; i++)
        if (!weights->tokens[i]) weights->tokens[i] = mla_strdup("");
    vocab->tokens = (const char *const *)weights->tokens;
    vocab->merges = (const char *const *)weights->merges;
    vocab->special = weights->special;
    vocab->types = weights->types;
    vocab->chat_template = weights->chat_template;
    vocab->pre = weights->pre ? weights->pre : "";
    return 0;
}

// ---- open, read, close -----------------------------------------------------------------------

void mla__weights_one_line(mla_err *err) {
    for (char *at = err ? err->text : ""; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127) *at = '?';
}

mla_weights *mla_weights_open(const char *path, mla_err *err) {
    mla_weights *weights = MLA_NEW(mla_weights);
    weights->path = mla_strdup(path);
    weights->vocab.eos = weights->vocab.bos = weights->vocab.pad = -1;
    bool folder = mla_fs_is_dir(path);
    int failed = folder ? mla__hf_open(weights, err) : mla__gguf_open(weights, err);
    // A folder's vocabulary comes last: the embedding says how many tokens there can be.
    if (failed || sort_tensors(weights, err) || check_config(weights, err) ||
        check_tensors(weights, err) || (folder && mla__hf_vocab(weights, err)) ||
        check_vocab(weights, err)) {
        mla__weights_one_line(err);
        mla_weights_close(weights);
        return NULL;
    }
    return weights;
}

mla_weights *mla__weights_open_tensors(const char *path, mla_err *err) {
    mla_weights *weights = MLA_NEW(mla_weights);
    weights->path = mla_strdup(path);
    if (mla__safetensors_open(weights, path, err) == 0 && sort_tensors(weights, err) == 0)
        return weights;
    mla__weights_one_line(err);
    mla_weights_close(weights);
    return NULL;
}

static void free_tensor(mla__tensor *tensor) {
    for (size_t i = 0; i < tensor->n_deltas; i++) {
        free(tensor->deltas[i].a);
        free(tensor->deltas[i].b);
    }
    free(tensor->deltas);
    free(tensor->name);
}

void mla_weights_close(mla_weights *weights) {
    if (!weights) return;
    for (size_t i = 0; i < weights->n_maps; i++)
        munmap((void *)weights->maps[i].data, weights->maps[i].size);
    for (size_t i = 0; i < weights->n_tensors; i++) free_tensor(&weights->tensors[i]);
    for (size_t i = 0; i < weights->vocab.n; i++) free(weights->tokens[i]);
    for (size_t i = 0; i < weights->vocab.n_merges; i++) free(weights->merges[i]);
    free(weights->maps);
    free(weights->tensors);
    free(weights->tokens);
    free(weights->merges);
    free(weights->special);
    free(weights->types);
    free(weights->pre);
    free(weights->chat_template);
    free(weights->path);
    free(weights);
}

const mla_model_config *mla_weights_config(const mla_weights *weights) {
    return &weights->config;
}

const mla_vocab *mla_weights_vocab(const mla_weights *weights) {
    return &weights->vocab;
}

int mla_weights_set_eos(mla_weights *weights, const char *text, mla_err *err) {
    mla_vocab *vocab = &weights->vocab;
    for (size_t i = 0; i < vocab->n; i++) {
        if (vocab->special[i] != 1 || strcmp(vocab->tokens[i], text) != 0) continue;
        vocab->eos = (int32_t)i;
        return 0;
    }
    return mla_err_set(err, "%s: '%s' is no special token of its vocabulary; `mlagent model info` "
                       "shows the one that ends a turn", weights->path, text);
}

bool mla_weights_has(const mla_weights *weights, const char *name) {
    return mla__weights_find(weights, name) != NULL;
}

// GGUF's Llama files interleave the two halves of each Q and K head, so that RoPE turns neighbours.
// Row (head, half, at) of ours is row (head, at, half) of theirs.
static size_t stored_row(const mla__tensor *tensor, size_t row) {
    if (!tensor->permuted_heads) return row;
    size_t width = tensor->rows / (size_t)tensor->permuted_heads, within = row % width;
    return row - within + within % (width / 2) * 2 + within / (width / 2);
}

// Exponents of all ones are infinities and what is no number.
static bool all_finite(const float *values, size_t n) {
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0x7f800000;
        worst = bits > worst ? bits : worst;
    }
    return worst != 0x7f800000;
}

const uint8_t *mla__row_bytes(const mla__tensor *tensor, size_t row) {
    return tensor->data + stored_row(tensor, row) * row_bytes(tensor);
}

void mla__weights_add_delta(mla_weights *weights, const char *name, mla__delta delta) {
    mla__tensor *tensor = (mla__tensor *)(uintptr_t)mla__weights_find(weights, name);
    MLA_ASSERT(tensor);
    MLA_GROW(tensor->deltas, tensor->cap_deltas, tensor->n_deltas + 1);
    tensor->deltas[tensor->n_deltas++] = delta;
}

static void add_delta(const mla__delta *d, size_t row, size_t cols, float *out) {
    for (size_t j = 0; j < d->rank; j++) {
        const float by = d->scale * d->b[row * d->rank + j], *a = d->a + j * cols;
        for (size_t k = 0; k < cols; k++) out[k] += by * a[k];
    }
}

bool mla__row_read(const mla__tensor *tensor, size_t row, float *out) {
    tensor->type->read(mla__row_bytes(tensor, row), out, tensor->cols / tensor->type->block);
    for (size_t i = 0; i < tensor->n_deltas; i++)
        add_delta(&tensor->deltas[i], row, tensor->cols, out);
    return all_finite(out, tensor->cols);
}

int mla__row_bad(const mla_weights *weights, const mla__tensor *tensor, size_t row,
                 mla_err *err) {
    return mla_err_set(err, "%s: tensor '%s' holds a value in row %zu that is no finite number; "
                       "the file is damaged, or the training that made it went wrong",
                       weights->path, tensor->name, row);
}

// A tensor that was read is somewhere else now: its pages need not stay resident, and come again
// when they are asked for.
static void let_go(const mla__tensor *tensor) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)tensor->data;
    const uintptr_t from = (first + page - 1) / page * page;
    const uintptr_t to = (first + tensor->rows * row_bytes(tensor)) / page * page;
    if (to > from) madvise((void *)from, to - from, MADV_DONTNEED);
}

int mla_weights_read(const mla_weights *weights, const char *name, float *out, size_t rows,
                     size_t cols, mla_err *err) {
    const mla__tensor *tensor = mla__weights_find(weights, name);
    if (!tensor) return mla_err_set(err, "%s: no tensor '%s'", weights->path, name);
    if (tensor->rows != rows || tensor->cols != cols)
        return mla_err_set(err, "%s: tensor '%s' is %zu x %zu, not %zu x %zu", weights->path, name,
                           tensor->rows, tensor->cols, rows, cols);
    size_t bad = SIZE_MAX;
    #pragma omp parallel for schedule(static) reduction(min : bad) if (rows * cols > 1 << 16)
    for (size_t row = 0; row < rows; row++)
        if (!mla__row_read(tensor, row, out + row * cols) && row < bad) bad = row;
    let_go(tensor);
    return bad == SIZE_MAX ? 0 : mla__row_bad(weights, tensor, bad, err);
}

// ---- what is in the file ---------------------------------------------------------------------

static int by_bytes(const void *a, const void *b) {
    uint64_t left = ((const mla_weights_share *)a)->bytes;
    uint64_t right = ((const mla_weights_share *)b)->bytes;
    return (left < right) - (left > right);
}

size_t mla_weights_shares(const mla_weights *weights, mla_weights_share out[MLA_WEIGHTS_TYPES]) {
    size_t n = 0;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const mla__tensor *tensor = &weights->tensors[i];
        size_t at = 0;
        while (at < n && out[at].type != tensor->type->name) at++;
        if (at == n) out[n++] = (mla_weights_share){.type = tensor->type->name};
        out[at].tensors++;
        out[at].values += tensor->rows * tensor->cols;
        out[at].bytes += tensor->rows * row_bytes(tensor);
    }
    if (n) qsort(out, n, sizeof *out, by_bytes);
    return n;
}

const char *mla_weights_type(const mla_weights *weights, const char *name) {
    const mla__tensor *tensor = mla__weights_find(weights, name);
    return tensor ? tensor->type->name : NULL;
}

const char *mla_weights_format(const mla_weights *weights) {
    return weights->format;
}

bool mla_weights_head_repeats_embedding(const mla_weights *weights) {
    const mla__tensor *head = mla__weights_find(weights, "lm_head.weight");
    const mla__tensor *embed = mla__weights_find(weights, "model.embed_tokens.weight");
    return head && embed && head->type == embed->type && head->rows == embed->rows &&
           head->cols == embed->cols &&
           !memcmp(head->data, embed->data, head->rows * row_bytes(head));
}

// ---- rows out --------------------------------------------------------------------------------
//
// Rows are read as fp32, checked, and written in the wanted type; rows that have that type already
// are copied as they are.

enum { CHUNK = 1 << 20 };      // values that are converted between two writes

typedef struct conversion {
    const mla__tensor *tensor;
    const mla__dtype *type;
    int heads;
    size_t stride;                   // bytes of a written row
    size_t not_finite, too_large;    // the first row of each kind; SIZE_MAX: none
} conversion;

// The row of ours that GGUF has at `row`: in each head, the two halves in turn.
static size_t source_row(const conversion *c, size_t row) {
    if (!c->heads) return row;
    size_t width = c->tensor->rows / (size_t)c->heads, within = row % width;
    return row - within + within % 2 * (width / 2) + within / 2;
}

static bool all_fit(const float *values, size_t n, float most) {
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(values[i]) > largest) largest = fabsf(values[i]);
    return largest <= most;
}

static void convert_rows(conversion *c, size_t first, size_t n, uint8_t *out) {
    const size_t cols = c->tensor->cols;
    size_t not_finite = SIZE_MAX, too_large = SIZE_MAX;
    #pragma omp parallel reduction(min : not_finite, too_large)
    {
        float *values = MLA_NEW_ARRAY(float, cols);
        #pragma omp for schedule(static)
        for (size_t i = 0; i < n; i++) {
            size_t row = source_row(c, first + i);
            uint8_t *to = out + i * c->stride;
            if (!mla__row_read(c->tensor, row, values))
                not_finite = row < not_finite ? row : not_finite;
            else if (c->tensor->type == c->type && !c->tensor->n_deltas)
                memcpy(to, mla__row_bytes(c->tensor, row), c->stride);
            else if (!all_fit(values, cols, c->type->most))
                too_large = row < too_large ? row : too_large;
            else
                c->type->write(values, to, cols / c->type->block);
        }
        free(values);
    }
    c->not_finite = not_finite;
    c->too_large = too_large;
}

int mla__rows_write(const mla_weights *weights, const mla__tensor *tensor, const mla__dtype *type,
                    int heads, int fd, mla_err *err) {
    conversion c = {.tensor = tensor, .type = type, .heads = heads,
                    .stride = tensor->cols / type->block * type->bytes};
    MLA_ASSERT(type->write && tensor->cols % type->block == 0);
    const size_t rows = tensor->cols < CHUNK ? CHUNK / tensor->cols : 1;
    uint8_t *bytes = mla_alloc(rows < tensor->rows ? rows : tensor->rows, c.stride);
    int rc = 0;
    for (size_t at = 0; at < tensor->rows && rc == 0; at += rows) {
        size_t n = tensor->rows - at < rows ? tensor->rows - at : rows;
        convert_rows(&c, at, n, bytes);
        if (c.not_finite != SIZE_MAX)
            rc = mla__row_bad(weights, tensor, c.not_finite, err);
        else if (c.too_large != SIZE_MAX)
            rc = mla_err_set(err, "tensor '%s' holds a value in row %zu that %s cannot hold; "
                             "convert to bf16", tensor->name, c.too_large, type->name);
        else
            rc = mla_fs_write_all(fd, bytes, n * c.stride, err);
    }
    free(bytes);
    return rc;
}
