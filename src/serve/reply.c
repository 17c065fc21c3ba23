// The JSON of replies, as OpenAI's API has them. A stream's pieces together say what the whole
// reply says.
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "serve/internal.h"

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static char *line_of_take(json_t *value) {
    MLA_ASSERT(value);
    char *line = mla_json_line(value);
    json_decref(value);
    return line;
}

char *mla__reply_error(const mla_fault *fault) {
    return line_of_take(json_pack("{s:{s:o, s:s, s:o, s:o}}", "error", "message",
                                  mla_json_text(fault->message, strlen(fault->message)), "type",
                                  fault->type, "param", text_or_null(fault->param), "code",
                                  text_or_null(fault->code)));
}

// ---- log-probabilities -----------------------------------------------------------------------

typedef struct {                    // tokens [from, to) of a choice
    const mla_choice *choice;
    size_t from, to;
} span;

static mla_likely sampled(const mla_choice *c, size_t at) {
    return (mla_likely){c->ids.data[at], c->logprobs[at]};
}

// [c->n_likely], those of place `at`.
static const mla_likely *likely_at(const mla_choice *c, size_t at) {
    return c->likely + at * c->n_likely;
}

// Of a token that is a part of a character the bytes say more than the text.
static json_t *chat_token(const mla_choice *c, mla_likely token) {
    size_t len;
    const char *text = mla_tokenizer_bytes(c->text.tok, token.id, &len);
    json_t *bytes = json_array();
    for (size_t i = 0; i < len; i++) {
        json_array_append_new(bytes, json_integer((unsigned char)text[i]));
    }
    return json_pack("{s:o, s:o, s:o}", "token", mla_json_text(text, len), "logprob",
                     mla_json_number((double)token.logprob), "bytes", bytes);
}

static json_t *chat_logprobs(span s) {
    json_t *content = json_array();
    for (size_t i = s.from; i < s.to; i++) {
        json_t *token = chat_token(s.choice, sampled(s.choice, i)), *top = json_array();
        for (size_t k = 0; k < s.choice->n_likely; k++) {
            json_array_append_new(top, chat_token(s.choice, likely_at(s.choice, i)[k]));
        }
        json_object_set_new(token, "top_logprobs", top);
        json_array_append_new(content, token);
    }
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

static size_t characters(const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

// A token as text; a part of a character as "bytes:\xE4\xBA", for text would not tell it from
// others. Caller frees.
static char *token_name(const mla_tokenizer *tok, int32_t id) {
    size_t len, good_len;
    const char *bytes = mla_tokenizer_bytes(tok, id, &len);
    char *good = mla_utf8_repair(bytes, len, &good_len);
    if (good_len == len && !memcmp(good, bytes, len)) return good;
    free(good);
    mla_buf name;
    mla_buf_init(&name, 4 * len + 16);
    mla_buf_puts(&name, "bytes:");
    for (size_t i = 0; i < len; i++) mla_buf_printf(&name, "\\x%02x", (unsigned char)bytes[i]);
    return mla_buf_take(&name);
}

static void set_token(json_t *object, const mla_tokenizer *tok, mla_likely token) {
    char *name = token_name(tok, token.id);
    json_object_set_new(object, name, mla_json_number((double)token.logprob));
    free(name);
}

// The likely tokens, and the sampled one where it is not among them.
static json_t *completion_top(const mla_choice *c, size_t at) {
    json_t *top = json_object();
    for (size_t k = 0; k < c->n_likely; k++) set_token(top, c->text.tok, likely_at(c, at)[k]);
    set_token(top, c->text.tok, sampled(c, at));
    return top;
}

static json_t *completion_logprobs(const mla_ask *ask, span s) {
    const mla_choice *c = s.choice;
    json_t *tokens = json_array(), *logprobs = json_array(), *offsets = json_array(),
           *tops = ask->top_logprobs ? json_array() : json_null();
    for (size_t i = s.from; i < s.to; i++) {
        char *name = token_name(c->text.tok, c->ids.data[i]);
        const char *before = mla_buf_text(&c->text.text);
        json_array_append_new(tokens, json_string(name));
        json_array_append_new(logprobs, mla_json_number((double)c->logprobs[i]));
        json_array_append_new(offsets, json_integer((json_int_t)characters(before, c->starts[i])));
        if (ask->top_logprobs) json_array_append_new(tops, completion_top(c, i));
        free(name);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", logprobs,
                     "top_logprobs", tops, "text_offset", offsets);
}

static json_t *logprobs_of(const mla_ask *ask, span s) {
    if (!ask->logprobs) return json_null();
    return ask->kind == MLA_ASK_CHAT ? chat_logprobs(s) : completion_logprobs(ask, s);
}

// ---- whole replies ---------------------------------------------------------------------------

static json_t *finish_of(const mla_choice *choice) {
    return choice->finish ? json_string(choice->finish == MLA_FINISH_STOP ? "stop" : "length")
                          : json_null();
}

static json_t *usage_of(const mla__job *job) {
    json_int_t asked = 0, cached = 0, fresh = 0;
    for (size_t i = 0; i < job->n_prompts; i++) {
        asked += (json_int_t)job->prompts[i].len;
        cached += (json_int_t)job->cached[i];
    }
    for (size_t i = 0; i < job->n_choices; i++) fresh += (json_int_t)job->choices[i].ids.len;
    json_t *usage = json_pack("{s:I, s:I}", "prompt_tokens", asked, "total_tokens", asked + fresh);
    if (!job->n_choices) return usage;
    json_object_set_new(usage, "completion_tokens", json_integer(fresh));
    json_object_set_new(usage, "prompt_tokens_details",
                        json_pack("{s:I}", "cached_tokens", cached));
    return usage;
}

// The frame around choices.
static json_t *frame_take(const mla__job *job, const mla__names *names, bool piece,
                          json_t *choices) {
    const char *object = job->ask.kind == MLA_ASK_COMPLETION ? "text_completion"
                       : piece ? "chat.completion.chunk" : "chat.completion";
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", names->id, "object", object, "created",
                     (json_int_t)names->created, "model", names->model, "choices", choices);
}

static json_t *whole_choice(const mla__job *job, size_t at) {
    const mla_choice *c = &job->choices[at];
    const span all = {c, 0, mla_choice_shown(c)};
    json_t *text = mla_json_text(mla_buf_text(&c->text.text), c->text.text.len);
    json_t *choice = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)at, "finish_reason",
                               finish_of(c), "logprobs", logprobs_of(&job->ask, all));
    if (job->ask.kind == MLA_ASK_CHAT) {
        text = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content", text, "refusal");
    }
    json_object_set_new(choice, job->ask.kind == MLA_ASK_CHAT ? "message" : "text", text);
    return choice;
}

char *mla__reply_whole(const mla__job *job, const mla__names *names) {
    json_t *choices = json_array();
    for (size_t i = 0; i < job->n_choices; i++) {
        json_array_append_new(choices, whole_choice(job, i));
    }
    json_t *reply = frame_take(job, names, false, choices);
    json_object_set_new(reply, "usage", usage_of(job));
    return line_of_take(reply);
}

// ---- pieces of a stream ------------------------------------------------------------------------

static char *piece_line(const mla__job *job, const mla__names *names, json_t *choices) {
    json_t *piece = frame_take(job, names, true, choices);
    if (job->ask.include_usage) json_object_set_new(piece, "usage", json_null());
    return line_of_take(piece);
}

char *mla__reply_piece(const mla__job *job, const mla__names *names, size_t at,
                       mla__shown *shown) {
    const mla_choice *c = &job->choices[at];
    bool chat = job->ask.kind == MLA_ASK_CHAT, role = chat && !shown->role;
    size_t fresh = c->text.safe - shown->text;
    bool finish = c->finish && !shown->finish;
    if (!role && !fresh && !finish) return NULL;
    const span tokens = {c, shown->tokens, mla_choice_shown(c)};
    json_t *text = mla_json_text(mla_buf_text(&c->text.text) + shown->text, fresh);
    json_t *choice = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)at, "finish_reason",
                               finish_of(c), "logprobs", logprobs_of(&job->ask, tokens));
    if (chat) {
        text = json_pack("{s:o}", "content", text);
        if (role) json_object_set_new(text, "role", json_string("assistant"));
    }
    json_object_set_new(choice, chat ? "delta" : "text", text);
    *shown = (mla__shown){.text = c->text.safe, .tokens = tokens.to, .role = true,
                          .finish = c->finish != MLA_FINISH_NONE};
    return piece_line(job, names, json_pack("[o]", choice));
}

char *mla__reply_usage(const mla__job *job, const mla__names *names) {
    json_t *piece = frame_take(job, names, true, json_array());
    json_object_set_new(piece, "usage", usage_of(job));
    return line_of_take(piece);
}

// ---- models, vectors ---------------------------------------------------------------------------

static json_t *model_of(const mla__names *names) {
    return json_pack("{s:s, s:s, s:I, s:s}", "id", names->model, "object", "model", "created",
                     (json_int_t)names->created, "owned_by", "mlagent");
}

char *mla__reply_model(const mla__names *names) {
    return line_of_take(model_of(names));
}

char *mla__reply_models(const mla__names *names) {
    return line_of_take(json_pack("{s:s, s:[o]}", "object", "list", "data", model_of(names)));
}

// Little-endian float32, as this program's machines have them.
static json_t *base64_of(const float *vector, size_t dim) {
    size_t n = dim * sizeof *vector;
    unsigned char *text = mla_alloc(n / 3 * 4 + 5, 1);
    EVP_EncodeBlock(text, (const unsigned char *)vector, (int)n);
    json_t *value = json_string((const char *)text);
    free(text);
    return value;
}

static json_t *numbers_of(const float *vector, size_t dim) {
    json_t *list = json_array();
    for (size_t i = 0; i < dim; i++) {
        json_array_append_new(list, mla_json_number((double)vector[i]));
    }
    return list;
}

char *mla__reply_vectors(const mla__job *job, const mla__names *names, int dim) {
    json_t *data = json_array();
    for (size_t i = 0; i < job->n_prompts; i++) {
        const float *vector = job->vectors + i * (size_t)dim;
        json_t *value = job->ask.base64 ? base64_of(vector, (size_t)dim)
                                        : numbers_of(vector, (size_t)dim);
        json_array_append_new(data, json_pack("{s:s, s:I, s:o}", "object", "embedding", "index",
                                              (json_int_t)i, "embedding", value));
    }
    return line_of_take(json_pack("{s:s, s:o, s:s, s:o}", "object", "list", "data", data, "model",
                                  names->model, "usage", usage_of(job)));
}
