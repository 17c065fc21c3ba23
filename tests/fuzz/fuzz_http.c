// Fuzzes the reader of request bodies, as every kind of request. What is accepted is within its
// bounds; whatever is refused says why and which status it has; no body's tree is larger than its
// weight said. libFuzzer, by `make fuzz`.
#include <malloc.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "serve/request.h"

#define SMALL 2048      // what the parser itself holds

static size_t held, most;

static void *counting_malloc(size_t size) {
    void *p = malloc(size);
    held += malloc_usable_size(p);
    if (held > most) most = held;
    return p;
}

static void counting_free(void *p) {
    held -= p ? malloc_usable_size(p) : 0;
    free(p);
}

static void check_accepted(const mla_ask *ask) {
    size_t samples = mla_ask_prompts(ask) * (size_t)ask->n;
    MLA_ASSERT(ask->n >= 1 && ask->max_new >= 0 && ask->n_stop <= MLA_ASK_STOPS);
    MLA_ASSERT(ask->n_inputs <= MLA_ASK_INPUTS);
    MLA_ASSERT(ask->kind == MLA_ASK_EMBEDDING || (samples >= 1 && samples <= MLA_ASK_SAMPLES));
    MLA_ASSERT(ask->temperature >= 0 && ask->temperature <= 10);
    MLA_ASSERT(ask->top_p > 0 && ask->top_p <= 1 && ask->min_p >= 0 && ask->min_p <= 1);
    MLA_ASSERT(ask->top_k >= 0 && ask->top_logprobs >= 0);
    MLA_ASSERT(ask->top_logprobs <= MLA_ASK_LIKELY);
    MLA_ASSERT(ask->kind == MLA_ASK_EMBEDDING || !ask->top_logprobs ||
               samples * (size_t)(1 + ask->top_logprobs) <= MLA_ASK_LISTED);
    MLA_ASSERT(ask->stream || !ask->include_usage);
    for (size_t i = 0; i < ask->n_stop; i++) MLA_ASSERT(ask->stop[i][0]);
    for (size_t i = 0; i < ask->n_messages; i++) {
        MLA_ASSERT(ask->messages[i].role && ask->messages[i].text);
    }
    MLA_ASSERT(!ask->messages != !ask->inputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const mla_ask_kind kinds[] = {MLA_ASK_CHAT, MLA_ASK_COMPLETION, MLA_ASK_EMBEDDING,
                                         MLA_ASK_LINE};
    json_set_alloc_funcs(counting_malloc, counting_free);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        mla_ask ask;
        mla_fault fault = {0};
        held = most = 0;
        if (mla_ask_read(&ask, kinds[i], (const char *)data, size, &fault) == 0) {
            check_accepted(&ask);
        } else {
            MLA_ASSERT(fault.status == 400 && fault.message[0] && fault.type && fault.code);
        }
        mla_ask_clear(&ask);
        MLA_ASSERT(held == 0 && most <= mla_json_weight((const char *)data, size) + SMALL);
    }
    return 0;
}
