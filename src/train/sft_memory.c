// Whether fine-tuning fits the memory that there is, said before it starts.
#include <stdio.h>

#include "base/buf.h"
#include "model/footprint.h"
#include "train/sft_internal.h"

#define SLACK ((uint64_t)256 << 20)    // the program, the data set, the libraries' scratch

static bool is_lora(const mla_sft_options *o) {
    return o->method == MLA_SFT_LORA;
}

uint64_t mla__sft_memory(const mla_model_config *config, const mla_sft_options *o, int tokens) {
    const mla_use use = is_lora(o) ? MLA_USE_LORA : MLA_USE_FULL;
    const mla_footprint f =
        mla_footprint_of(config, o->compute, use, tokens, o->lora.rank, o->recompute);
    const mla_footprint sample = mla_footprint_of(
        config, o->compute, MLA_USE_SAMPLE, o->val_actions * (tokens + o->val_max_new), 0, false);
    uint64_t trained = is_lora(o) ? mla_footprint_lora_params(config, o->lora.rank)
                                  : mla_footprint_params(config);
    uint64_t kv_ceiling = (uint64_t)mla_policy_options_default().kv_bytes;
    uint64_t cache = sample.cache < kv_ceiling ? sample.cache : kv_ceiling;
    return f.total + cache + (o->ema > 0 ? 4 * trained : 0) + SLACK;
}

static double gb(uint64_t bytes) {
    return (double)bytes / 1e9;
}

// Adds one way that fits to the list, in the words of the configuration.
static void suggest(mla_buf *out, const char *words, const mla_model_config *config,
                    const mla_sft_options *o, int tokens, uint64_t available) {
    uint64_t takes = mla__sft_memory(config, o, tokens);
    if (takes > available) return;
    mla_buf_printf(out, "%s%s (%.1f GB)", out->len ? ", or " : "", words, gb(takes));
}

// The mildest first. Smaller passes cost little, computing again a quarter more time; LoRA is
// another method.
static void suggest_all(mla_buf *out, const mla_model_config *config, const mla_sft_options *given,
                        int tokens, int longest, uint64_t available) {
    mla_sft_options o = *given;
    char words[96];
    snprintf(words, sizeof words, "sft.pack_tokens: %d", longest);
    if (longest < tokens) suggest(out, words, config, &o, longest, available);
    o.recompute = 1;
    if (!given->recompute) suggest(out, "sft.recompute: 1", config, &o, tokens, available);
    snprintf(words, sizeof words, "sft.pack_tokens: %d with sft.recompute: 1", longest);
    if (longest < tokens) suggest(out, words, config, &o, longest, available);
    if (is_lora(given)) return;
    o.method = MLA_SFT_LORA;
    o.recompute = given->recompute;
    suggest(out, "sft.method: lora", config, &o, tokens, available);
    o.recompute = 1;
    if (!given->recompute)
        suggest(out, "sft.method: lora with sft.recompute: 1", config, &o, tokens, available);
}

int mla__sft_memory_check(const mla_model_config *config, const mla_sft_options *options,
                          int tokens, int longest, uint64_t available, mla_err *err) {
    const uint64_t takes = mla__sft_memory(config, options, tokens);
    if (takes <= available) return 0;
    mla_buf ways;
    mla_buf_init(&ways, 1024);
    suggest_all(&ways, config, options, tokens, longest, available);
    const char *fits = ways.len ? mla_buf_text(&ways) : "a smaller model, or shorter samples "
                                                        "(sft.cutoff)";
    int rc = mla_err_set(err, "fine-tuning (%s) takes about %.1f GB and %.1f GB are free; what "
                         "would fit: %s", mla_sft_method_name(options->method), gb(takes),
                         gb(available), fits);
    mla_buf_clear(&ways);
    return rc;
}
