// ChatML: turns between <|im_start|> and <|im_end|>. Only this file writes those tokens; the text
// between them is encoded as plain text, whatever it says.
#include <string.h>

#include "policy/internal.h"

static void plain(const mla_policy *policy, mla_ids *ids, const char *text) {
    mla_tokenizer_encode(policy->voice->tok, text, strlen(text), ids);
}

static void open_turn(const mla_policy *policy, mla_ids *ids, const char *role) {
    mla_ids_push(ids, policy->voice->im_start);
    plain(policy, ids, role);
    plain(policy, ids, "\n");
}

void mla_chat_turn(const mla_policy *policy, mla_ids *ids, const char *role, const char *text) {
    open_turn(policy, ids, role);
    plain(policy, ids, text);
    mla_ids_push(ids, policy->voice->im_end);
    plain(policy, ids, "\n");
}

void mla_chat_open_reply(const mla_policy *policy, mla_ids *ids) {
    open_turn(policy, ids, "assistant");
}

int32_t mla_chat_end_of_turn(const mla_policy *policy) {
    return policy->voice->im_end;
}
