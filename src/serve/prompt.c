// From what is asked for to token ids and sampling settings.
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "serve/request.h"

static int take_ids(const mla_input *input, mla_policy *policy, const char *param, mla_ids *ids,
                    mla_fault *fault) {
    size_t vocab = mla_tokenizer_vocab(mla_policy_tokenizer(policy));
    for (size_t i = 0; i < input->ids.len; i++) {
        if ((size_t)input->ids.data[i] < vocab) continue;
        return mla_fault_set(fault, 400, param, "invalid_value",
                             "token id %d is not in the vocabulary of %zu",
                             (int)input->ids.data[i], vocab);
    }
    mla_ids_append(ids, input->ids.data, input->ids.len);
    return 0;
}

static void take_messages(const mla_ask *ask, mla_policy *policy, mla_ids *ids) {
    for (size_t i = 0; i < ask->n_messages; i++) {
        mla_chat_turn(policy, ids, ask->messages[i].role, ask->messages[i].text);
    }
    mla_chat_open_reply(policy, ids);
}

static int take_prompt(const mla_ask *ask, mla_policy *policy, size_t at, const char *param,
                       mla_ids *ids, mla_fault *fault) {
    if (ask->messages) {
        take_messages(ask, policy, ids);
        return 0;
    }
    const mla_input *input = &ask->inputs[at];
    if (!input->text) return take_ids(input, policy, param, ids, fault);
    if (ask->kind == MLA_ASK_LINE) {
        mla_chat_turn(policy, ids, "user", input->text);
        mla_chat_open_reply(policy, ids);
    } else {
        mla_tokenizer_encode(mla_policy_tokenizer(policy), input->text, strlen(input->text), ids);
    }
    return 0;
}

static int check_length(const mla_ask *ask, mla_policy *policy, size_t n, const char *param,
                        mla_fault *fault) {
    size_t context = (size_t)mla_model_get_config(mla_policy_model(policy))->max_context;
    bool embeds = ask->kind == MLA_ASK_EMBEDDING;
    size_t fresh = embeds ? 0 : ask->max_new ? (size_t)ask->max_new : 1;
    if (n + fresh <= context) return 0;
    if (embeds) {
        return mla_fault_set(fault, 400, param, "context_length_exceeded",
                             "this model's context is %zu tokens; a text has %zu", context, n);
    }
    return mla_fault_set(fault, 400, param, "context_length_exceeded",
                         "this model's context is %zu tokens; the prompt has %zu and %zu new ones "
                         "are asked for", context, n, fresh);
}

int mla_ask_encode(const mla_ask *ask, mla_policy *policy, size_t at, mla_ids *ids,
                   mla_fault *fault) {
    const char *param = ask->messages                  ? "messages"
                      : ask->kind == MLA_ASK_EMBEDDING ? "input" : "prompt";
    if (take_prompt(ask, policy, at, param, ids, fault) < 0) return -1;
    if (!ids->len) {
        return mla_fault_set(fault, 400, param, "invalid_value", "'%s' has no tokens", param);
    }
    return check_length(ask, policy, ids->len, param, fault);
}

size_t mla_ask_stop_ids(const mla_policy *policy, int32_t out[2]) {
    const mla_tokenizer *tok = mla_policy_tokenizer(policy);
    const int32_t ids[2] = {mla_tokenizer_eos(tok), mla_tokenizer_special(tok, "<|endoftext|>")};
    size_t n = 0;
    for (size_t i = 0; i < MLA_COUNT(ids); i++) {
        if (ids[i] >= 0 && !(n && out[0] == ids[i])) out[n++] = ids[i];
    }
    return n;
}

mla_prompt_request mla_ask_request(const mla_ask *ask, mla_policy *policy, size_t at,
                                   const mla_ids *ids, const int32_t *stop, size_t n_stop) {
    int context = mla_model_get_config(mla_policy_model(policy))->max_context;
    return (mla_prompt_request){.ids = ids->data, .n = ids->len, .samples = ask->n,
                                .max_new = ask->max_new ? ask->max_new : context - (int)ids->len,
                                .temperature = ask->temperature, .top_k = ask->top_k,
                                .top_p = ask->top_p, .min_p = ask->min_p,
                                .stop = stop, .n_stop = n_stop,
                                .n_likely = ask->top_logprobs,
                                .seed = at ? mla_rng_derive(ask->seed, at, 1, 0) : ask->seed};
}
