// `mlagent model info`: everything is gathered as JSON, and the text is a view of that.
#include "cli/model_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/footprint.h"

enum { TOKENS = 2048, RANK = 16 };

static const char *arch_name(const mla_model_config *c) {
    return c->arch == MLA_ARCH_QWEN2 ? "qwen2" : "llama";
}

static json_t *tensors_json(const mla_weights *weights) {
    mla_weights_share shares[MLA_WEIGHTS_TYPES];
    size_t n = mla_weights_shares(weights, shares);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, json_pack("{s:s, s:I, s:I, s:I}", "type", shares[i].type,
                                             "tensors", (json_int_t)shares[i].tensors, "values",
                                             (json_int_t)shares[i].values, "bytes",
                                             (json_int_t)shares[i].bytes));
    return all;
}

// "tied": there is no head. "repeated": there is one that holds the embedding bit for bit.
// "separate": it differs, were it only in type, and stays separate when converted.
static json_t *head_json(const mla_weights *weights) {
    const char *embedding = mla_weights_type(weights, "model.embed_tokens.weight");
    const char *head = mla_weights_type(weights, "lm_head.weight");
    const char *kind = !head || mla_weights_config(weights)->tied ? "tied"
                     : mla_weights_head_repeats_embedding(weights) ? "repeated" : "separate";
    return json_pack("{s:s, s:s, s:s?}", "kind", kind, "embedding_type", embedding, "head_type",
                     strcmp(kind, "tied") ? head : NULL);
}

static json_t *vocab_json(const mla_vocab *v) {
    const char *eos = v->eos >= 0 && v->n ? v->tokens[v->eos] : NULL;
    return json_pack("{s:s, s:I, s:I, s:i, s:o, s:b}", "pre_tokenizer", v->pre, "tokens",
                     (json_int_t)v->n, "merges", (json_int_t)v->n_merges, "end_of_turn_id", v->eos,
                     "end_of_turn", eos ? mla_json_text(eos, strlen(eos)) : json_null(),
                     "chat_template", v->chat_template != NULL);
}

static json_t *memory_json(const mla_model_config *c, mla_compute compute, mla_use use) {
    mla_footprint f = mla_footprint_of(c, compute, use, TOKENS, RANK, false);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)f.total, "weights",
                     (json_int_t)f.weights, "optimiser", (json_int_t)f.optimiser, "cache",
                     (json_int_t)f.cache, "work", (json_int_t)f.work);
}

static json_t *info_json(const mla_weights *weights, const char *path) {
    const mla_model_config *c = mla_weights_config(weights);
    const mla_compute best = mla_compute_best();
    json_t *memory = json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "compute",
                               best == MLA_COMPUTE_BF16 ? "bf16" : "fp32", "tokens", TOKENS,
                               "lora_rank", RANK,
                               "sample", memory_json(c, best, MLA_USE_SAMPLE),
                               "sample_int8", memory_json(c, MLA_COMPUTE_INT8, MLA_USE_SAMPLE),
                               "lora", memory_json(c, best, MLA_USE_LORA),
                               "full", memory_json(c, best, MLA_USE_FULL));
    json_t *shape = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f}", "vocab", c->vocab, "width", c->dim,
        "layers", c->layers, "heads", c->heads, "key_heads", c->kv_heads, "head_width",
        c->head_dim, "hidden", c->hidden, "context", c->max_context, "rope_base",
        (double)c->rope_theta, "norm_epsilon", (double)c->norm_eps);
    json_t *info = json_pack(
        "{s:o, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "path", mla_json_text(path, strlen(path)),
        "format", mla_weights_format(weights), "architecture", arch_name(c), "parameters",
        (json_int_t)mla_footprint_params(c), "shape", shape, "tensors", tensors_json(weights),
        "head", head_json(weights), "tokenizer", vocab_json(mla_weights_vocab(weights)), "memory",
        memory);
    MLA_ASSERT(info);
    return info;
}

// ---- as text ---------------------------------------------------------------------------------

static double mb(const json_t *object, const char *key) {
    return (double)mla_json_get_int(object, key, 0) / 1e6;
}

static void print_tensors(const json_t *all) {
    json_t *share;
    size_t i;
    printf("  tensors       ");
    json_array_foreach(all, i, share)
        printf("%s%lld %s (%.1f MB)", i ? ", " : "", mla_json_get_int(share, "tensors", 0),
               mla_json_get_text(share, "type", ""), mb(share, "bytes"));
    putchar('\n');
}

static void print_head(const json_t *head) {
    const char *kind = mla_json_get_text(head, "kind", "");
    printf("  head          %s; embedding in %s", kind,
           mla_json_get_text(head, "embedding_type", ""));
    if (strcmp(kind, "tied") != 0) printf(", head in %s", mla_json_get_text(head, "head_type", ""));
    puts(!strcmp(kind, "separate") ? ": converted untied" : "");
}

static void print_tokenizer(const json_t *v) {
    printf("  tokenizer     %s, %lld tokens, %lld merges, end of turn %s, %s\n",
           mla_json_get_text(v, "pre_tokenizer", ""), mla_json_get_int(v, "tokens", 0),
           mla_json_get_int(v, "merges", 0), mla_json_get_text(v, "end_of_turn", "not named"),
           mla_json_get_bool(v, "chat_template", false) ? "chat template" : "no chat template");
}

static void print_use(const json_t *memory, const char *use, const char *what) {
    const json_t *m = json_object_get(memory, use);
    printf("    %-16s %8.0f MB = weights %.0f + optimiser %.0f + cache %.0f + work %.0f\n", what,
           mb(m, "total"), mb(m, "weights"), mb(m, "optimiser"), mb(m, "cache"), mb(m, "work"));
}

static void print_text(const json_t *info) {
    const json_t *shape = json_object_get(info, "shape"), *memory = json_object_get(info, "memory");
    printf("%s\n  format        %s\n", mla_json_get_text(info, "path", ""),
           mla_json_get_text(info, "format", ""));
    printf("  architecture  %s: %lld layers, width %lld, %lld heads over %lld key heads of %lld, "
           "hidden %lld\n", mla_json_get_text(info, "architecture", ""),
           mla_json_get_int(shape, "layers", 0), mla_json_get_int(shape, "width", 0),
           mla_json_get_int(shape, "heads", 0), mla_json_get_int(shape, "key_heads", 0),
           mla_json_get_int(shape, "head_width", 0), mla_json_get_int(shape, "hidden", 0));
    printf("  context       %lld tokens, vocabulary %lld\n", mla_json_get_int(shape, "context", 0),
           mla_json_get_int(shape, "vocab", 0));
    printf("  parameters    %.1f million\n", mb(info, "parameters"));
    print_tensors(json_object_get(info, "tensors"));
    print_head(json_object_get(info, "head"));
    print_tokenizer(json_object_get(info, "tokenizer"));
    printf("  memory in %s, %d tokens\n", mla_json_get_text(memory, "compute", ""), TOKENS);
    print_use(memory, "sample", "sample");
    print_use(memory, "sample_int8", "sample, int8");
    print_use(memory, "lora", "tune, LoRA 16");
    print_use(memory, "full", "tune fully");
}

void mla_model_info_print(const mla_weights *weights, const char *path, bool as_json) {
    json_t *info = info_json(weights, path);
    if (as_json) {
        char *line = mla_json_line(info);
        puts(line);
        free(line);
    } else {
        print_text(info);
    }
    json_decref(info);
}
