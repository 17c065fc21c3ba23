// The reader of requests. Each field has a line in a table: its name, which kinds of request have
// it, and how it is read; what is refused is refused by name.
#include "serve/request.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

#define TEXT_MAX ((size_t)64 << 20)     // of a message's parts; the body's ceiling is below

// A body's tree may take so many bytes, and so many times the body: lists of token ids take 11
// times, a conversation less; a body of brackets alone would take 100 times.
#define TREE_MIN ((size_t)1 << 20)
#define TREE_TIMES 16

typedef int (*reader)(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault);

typedef struct {
    const char *name;
    unsigned kinds;             // bits of mla_ask_kind
    reader read;
} field;

#define OF(kind) (1u << (kind))
enum { CHAT = OF(MLA_ASK_CHAT), COMPLETION = OF(MLA_ASK_COMPLETION),
       EMBEDDING = OF(MLA_ASK_EMBEDDING), LINE = OF(MLA_ASK_LINE),
       SAMPLED = CHAT | COMPLETION | LINE, SERVED = CHAT | COMPLETION };

int mla_fault_set(mla_fault *fault, int status, const char *param, const char *code,
                  const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    *fault = (mla_fault){.status = status, .param = param, .code = code,
                         .type = status == 429 ? "rate_limit_error"
                               : status >= 500 ? "server_error" : "invalid_request_error"};
    vsnprintf(fault->message, sizeof fault->message, fmt, args);
    va_end(args);
    return -1;
}

static int wrong_type(mla_fault *fault, const char *name, const char *wanted) {
    return mla_fault_set(fault, 400, name, "invalid_type", "'%s' must be %s", name, wanted);
}

// ---- single values ---------------------------------------------------------------------------

static int read_int(const json_t *value, const char *name, long long lo, long long hi,
                    long long *out, mla_fault *fault) {
    if (!json_is_integer(value)) return wrong_type(fault, name, "an integer");
    *out = json_integer_value(value);
    if (*out >= lo && *out <= hi) return 0;
    return mla_fault_set(fault, 400, name, "invalid_value", "'%s' must be from %lld to %lld", name,
                         lo, hi);
}

static int read_real(const json_t *value, const char *name, double lo, double hi, float *out,
                     mla_fault *fault) {
    if (!json_is_number(value)) return wrong_type(fault, name, "a number");
    double number = json_number_value(value);
    if (!(number >= lo && number <= hi)) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' must be from %g to %g", name,
                             lo, hi);
    }
    *out = (float)number;
    return 0;
}

static int read_bool(const json_t *value, const char *name, bool *out, mla_fault *fault) {
    if (!json_is_boolean(value)) return wrong_type(fault, name, "true or false");
    *out = json_is_true(value);
    return 0;
}

static int read_model(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (!json_is_string(value)) return wrong_type(fault, name, "a string");
    ask->model = mla_strdup(json_string_value(value));
    return 0;
}

static int read_n(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    long long n = 1;
    int rc = read_int(value, name, 1, MLA_ASK_SAMPLES, &n, fault);
    ask->n = (int)n;
    return rc;
}

static int read_max_new(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    long long n = 0;
    int rc = read_int(value, name, 1, 1 << 24, &n, fault);
    ask->max_new = (int)n;
    return rc;
}

static int read_temperature(mla_ask *ask, const json_t *value, const char *name,
                            mla_fault *fault) {
    ask->has_temperature = true;
    return read_real(value, name, 0, 10, &ask->temperature, fault);
}

static int read_top_p(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    int rc = read_real(value, name, 0, 1, &ask->top_p, fault);
    if (ask->top_p <= 0) ask->top_p = 1e-6f;    // the likeliest token; to the engine 0 means all
    return rc;
}

static int read_min_p(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    return read_real(value, name, 0, 1, &ask->min_p, fault);
}

static int read_top_k(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    long long k = 0;
    int rc = read_int(value, name, -1, 1 << 24, &k, fault);    // -1: all, as others have it
    ask->top_k = k > 0 ? (int)k : 0;
    return rc;
}

static int read_seed(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (!json_is_integer(value)) return wrong_type(fault, name, "an integer");
    ask->seed = (uint64_t)json_integer_value(value);
    ask->has_seed = true;
    return 0;
}

static int read_stream(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    return read_bool(value, name, &ask->stream, fault);
}

static int read_stream_options(mla_ask *ask, const json_t *value, const char *name,
                               mla_fault *fault) {
    if (!json_is_object(value)) return wrong_type(fault, name, "an object");
    const json_t *usage = json_object_get(value, "include_usage");
    if (!usage || json_is_null(usage)) return 0;
    return read_bool(usage, "stream_options.include_usage", &ask->include_usage, fault);
}

// Chat says whether; completions say how many likely tokens.
static int read_logprobs(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (ask->kind == MLA_ASK_CHAT) return read_bool(value, name, &ask->logprobs, fault);
    long long k = 0;
    int rc = read_int(value, name, 0, MLA_ASK_LIKELY, &k, fault);
    ask->logprobs = rc == 0;
    ask->top_logprobs = (int)k;
    return rc;
}

static int read_top_logprobs(mla_ask *ask, const json_t *value, const char *name,
                             mla_fault *fault) {
    long long k = 0;
    int rc = read_int(value, name, 0, MLA_ASK_LIKELY, &k, fault);
    ask->top_logprobs = (int)k;
    return rc;
}

static int read_encoding(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    const char *text = json_string_value(value);
    ask->base64 = text && !strcmp(text, "base64");
    if (ask->base64 || (text && !strcmp(text, "float"))) return 0;
    return mla_fault_set(fault, 400, name, "invalid_value", "'%s' must be \"float\" or \"base64\"",
                         name);
}

static int read_dimensions(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    long long n = 0;
    int rc = read_int(value, name, 1, 1 << 24, &n, fault);
    ask->dimensions = (int)n;
    return rc;
}

static int read_id(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    (void)name, (void)fault;
    ask->id = json_deep_copy(value);
    return 0;
}

// What would change the answer is not passed over in silence; what says "no" is welcome.
static int refuse_unless_neutral(mla_ask *ask, const json_t *value, const char *name,
                                 mla_fault *fault) {
    (void)ask;
    const char *text = json_string_value(value);
    bool neutral = json_is_false(value) || (text && (!*text || !strcmp(text, "none"))) ||
                   (json_is_number(value) && json_number_value(value) == 0) ||
                   (json_is_array(value) && !json_array_size(value)) ||
                   (json_is_object(value) && !json_object_size(value));
    if (neutral) return 0;
    return mla_fault_set(fault, 400, name, "unsupported_parameter",
                         "'%s' is not supported by this service", name);
}

static int read_format(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    const char *type = json_string_value(json_object_get(value, "type"));
    if (type && !strcmp(type, "text")) return 0;
    return refuse_unless_neutral(ask, value, name, fault);
}

static int read_modalities(mla_ask *ask, const json_t *value, const char *name,
                           mla_fault *fault) {
    const char *only = json_string_value(json_array_get(value, 0));
    if (json_array_size(value) == 1 && only && !strcmp(only, "text")) return 0;
    return refuse_unless_neutral(ask, value, name, fault);
}

// As many as are asked for leave nothing to choose from.
static int read_best_of(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (json_is_integer(value) && json_integer_value(value) == ask->n) return 0;
    return refuse_unless_neutral(ask, value, name, fault);
}

// ---- stop strings ----------------------------------------------------------------------------

static int add_stop(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (!json_is_string(value)) return wrong_type(fault, name, "a string or an array of strings");
    if (!json_string_length(value)) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' holds an empty string", name);
    }
    ask->stop[ask->n_stop++] = mla_strdup(json_string_value(value));
    return 0;
}

static int read_stop(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n > MLA_ASK_STOPS) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' holds more than %d strings",
                             name, MLA_ASK_STOPS);
    }
    ask->stop = MLA_NEW_ARRAY(char *, n + 1);
    if (!json_is_array(value)) return add_stop(ask, value, name, fault);
    for (size_t i = 0; i < n; i++) {
        if (add_stop(ask, json_array_get(value, i), name, fault) < 0) return -1;
    }
    return 0;
}

// ---- messages --------------------------------------------------------------------------------

static const char *role_of(const json_t *value) {
    static const char *const roles[][2] = {{"system", "system"}, {"developer", "system"},
                                           {"user", "user"}, {"assistant", "assistant"}};
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < MLA_COUNT(roles); i++) {
        if (!strcmp(name, roles[i][0])) return roles[i][1];
    }
    return NULL;
}

// Text as one string, or as parts {"type": "text", "text": "..."}. NULL: neither.
static char *text_of(const json_t *content) {
    if (json_is_string(content)) return mla_strdup(json_string_value(content));
    if (!json_is_array(content)) return NULL;
    mla_buf text;
    mla_buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const char *words = json_string_value(json_object_get(part, "text"));
        if (!type || strcmp(type, "text") || !words) {
            mla_buf_clear(&text);
            return NULL;
        }
        mla_buf_puts(&text, words);
    }
    return mla_buf_take(&text);
}

static int read_message(mla_ask *ask, const json_t *value, mla_fault *fault) {
    if (!json_is_object(value)) return wrong_type(fault, "messages", "an array of objects");
    const json_t *role = json_object_get(value, "role");
    mla_message message = {.role = role_of(role)};
    if (!json_is_string(role)) return wrong_type(fault, "messages[].role", "a string");
    if (!message.role) {
        return mla_fault_set(fault, 400, "messages", "invalid_value", "unknown role '%.40s'; "
                             "system, developer, user and assistant are known",
                             json_string_value(role));
    }
    message.text = text_of(json_object_get(value, "content"));
    if (!message.text) {
        return wrong_type(fault, "messages[].content", "a string or an array of text parts");
    }
    ask->messages[ask->n_messages++] = message;
    return 0;
}

static int read_messages(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (!json_is_array(value)) return wrong_type(fault, name, "an array of messages");
    size_t n = json_array_size(value);
    if (!n) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' is empty", name);
    }
    ask->messages = MLA_NEW_ARRAY(mla_message, n);
    for (size_t i = 0; i < n; i++) {
        if (read_message(ask, json_array_get(value, i), fault) < 0) return -1;
    }
    return 0;
}

// ---- prompts and texts -----------------------------------------------------------------------

static int read_ids(mla_input *out, const json_t *list, const char *name, mla_fault *fault) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        long long id = 0;
        const json_t *value = json_array_get(list, i);
        if (read_int(value, name, 0, INT32_MAX, &id, fault) < 0) return -1;
        mla_ids_push(&out->ids, (int32_t)id);
    }
    return 0;
}

static int read_input(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    mla_input *out = &ask->inputs[ask->n_inputs];
    if (json_is_string(value)) {
        out->text = mla_strdup(json_string_value(value));
    } else if (json_is_array(value)) {
        ask->n_inputs++;        // so that what is read is freed
        return read_ids(out, value, name, fault);
    } else {
        return wrong_type(fault, name, "a string, token ids, or an array of either");
    }
    ask->n_inputs++;
    return 0;
}

static int read_inputs(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    bool one = !json_is_array(value) || json_is_integer(json_array_get(value, 0));
    size_t n = one ? 1 : json_array_size(value);
    if (!n) return mla_fault_set(fault, 400, name, "invalid_value", "'%s' is empty", name);
    if (n > MLA_ASK_INPUTS) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' holds more than %d texts",
                             name, MLA_ASK_INPUTS);
    }
    ask->inputs = MLA_NEW_ARRAY(mla_input, n);
    if (one) return read_input(ask, value, name, fault);
    for (size_t i = 0; i < n; i++) {
        if (read_input(ask, json_array_get(value, i), name, fault) < 0) return -1;
    }
    return 0;
}

static int read_prompt(mla_ask *ask, const json_t *value, const char *name, mla_fault *fault) {
    if (ask->kind == MLA_ASK_LINE && !json_is_string(value)) {
        return wrong_type(fault, name, "a string");
    }
    return read_inputs(ask, value, name, fault);
}

// ---- the table -------------------------------------------------------------------------------

static const field fields[] = {
    {"model", SERVED | EMBEDDING, read_model},
    {"messages", CHAT | LINE, read_messages},
    {"prompt", COMPLETION | LINE, read_prompt},
    {"input", EMBEDDING, read_inputs},
    {"encoding_format", EMBEDDING, read_encoding},
    {"dimensions", EMBEDDING, read_dimensions},
    {"n", SAMPLED, read_n},
    {"max_tokens", SAMPLED, read_max_new},
    {"max_completion_tokens", CHAT, read_max_new},     // the newer name wins
    {"max_new", LINE, read_max_new},
    {"temperature", SAMPLED, read_temperature},
    {"top_p", SAMPLED, read_top_p},
    {"min_p", SAMPLED, read_min_p},
    {"top_k", SAMPLED, read_top_k},
    {"seed", SAMPLED, read_seed},
    {"stop", SAMPLED, read_stop},
    {"stream", SERVED, read_stream},
    {"stream_options", SERVED, read_stream_options},
    {"logprobs", SERVED, read_logprobs},
    {"top_logprobs", CHAT, read_top_logprobs},
    {"id", LINE, read_id},
    {"response_format", CHAT, read_format},
    {"best_of", COMPLETION, read_best_of},
    {"modalities", CHAT, read_modalities},
    {"audio", CHAT, refuse_unless_neutral},
    {"web_search_options", CHAT, refuse_unless_neutral},
    {"echo", COMPLETION, refuse_unless_neutral},
    {"suffix", COMPLETION, refuse_unless_neutral},
    {"tools", CHAT, refuse_unless_neutral},
    {"functions", CHAT, refuse_unless_neutral},
    {"tool_choice", CHAT, refuse_unless_neutral},
    {"function_call", CHAT, refuse_unless_neutral},
    {"logit_bias", SERVED, refuse_unless_neutral},
    {"presence_penalty", SERVED, refuse_unless_neutral},
    {"frequency_penalty", SERVED, refuse_unless_neutral},
};

static int missing(mla_fault *fault, const char *name) {
    return mla_fault_set(fault, 400, name, "missing_required_parameter", "'%s' is missing", name);
}

// What only makes sense beside something else, or not with too much of it.
static int check_extras(const mla_ask *ask, mla_fault *fault) {
    const char *name = ask->kind == MLA_ASK_CHAT ? "top_logprobs" : "logprobs";
    const size_t listed = mla_ask_prompts(ask) * (size_t)ask->n * (size_t)(1 + ask->top_logprobs);
    if (ask->kind == MLA_ASK_CHAT && ask->top_logprobs && !ask->logprobs) {
        return mla_fault_set(fault, 400, name, "invalid_value",
                             "'top_logprobs' needs 'logprobs': true");
    }
    if (ask->top_logprobs && listed > MLA_ASK_LISTED) {
        return mla_fault_set(fault, 400, name, "invalid_value", "'%s' of that many samples is too "
                             "much; ask for fewer of either", name);
    }
    if (ask->include_usage && !ask->stream) {
        return mla_fault_set(fault, 400, "stream_options", "invalid_value",
                             "'stream_options' needs 'stream': true");
    }
    return 0;
}

static int check_whole(const mla_ask *ask, mla_fault *fault) {
    if (ask->kind != MLA_ASK_LINE && !ask->model) return missing(fault, "model");
    if (ask->kind == MLA_ASK_CHAT && !ask->messages) return missing(fault, "messages");
    if (ask->kind == MLA_ASK_COMPLETION && !ask->inputs) return missing(fault, "prompt");
    if (ask->kind == MLA_ASK_EMBEDDING && !ask->inputs) return missing(fault, "input");
    if (ask->kind == MLA_ASK_LINE && !ask->messages == !ask->inputs) {
        return mla_fault_set(fault, 400, "prompt", "missing_required_parameter",
                             "a line has either 'prompt' or 'messages'");
    }
    if (ask->kind != MLA_ASK_EMBEDDING &&
        mla_ask_prompts(ask) * (size_t)ask->n > MLA_ASK_SAMPLES) {
        return mla_fault_set(fault, 400, "n", "invalid_value", "'n' times the prompts is more "
                             "than %d samples", MLA_ASK_SAMPLES);
    }
    return check_extras(ask, fault);
}

int mla_ask_read(mla_ask *out, mla_ask_kind kind, const char *body, size_t len, mla_fault *fault) {
    *out = (mla_ask){.kind = kind, .n = 1, .temperature = 1, .top_p = 1,
                     .max_new = kind == MLA_ASK_COMPLETION ? 16 : 0};    // as OpenAI has it
    mla_err err = {{0}};
    if (mla_json_weight(body, len) > TREE_MIN + TREE_TIMES * len) {
        return mla_fault_set(fault, 400, NULL, "too_many_values",
                             "the body has too many values for its length of %zu bytes", len);
    }
    json_t *root = mla_json_parse(body, len, "the body", &err);
    if (!root) return mla_fault_set(fault, 400, NULL, "invalid_json", "%s", err.text);
    int rc = 0;
    if (!json_is_object(root)) {
        rc = mla_fault_set(fault, 400, NULL, "invalid_type", "the body must be a JSON object");
    }
    for (size_t i = 0; rc == 0 && i < MLA_COUNT(fields); i++) {
        const json_t *value = json_object_get(root, fields[i].name);
        if (!value || json_is_null(value) || !(fields[i].kinds & OF(kind))) continue;
        rc = fields[i].read(out, value, fields[i].name, fault);
    }
    json_decref(root);
    return rc == 0 ? check_whole(out, fault) : rc;
}

size_t mla_ask_prompts(const mla_ask *ask) {
    return ask->messages ? 1 : ask->n_inputs;
}

void mla_ask_clear(mla_ask *ask) {
    for (size_t i = 0; i < ask->n_messages; i++) free(ask->messages[i].text);
    for (size_t i = 0; i < ask->n_inputs; i++) {
        free(ask->inputs[i].text);
        free(ask->inputs[i].ids.data);
    }
    for (size_t i = 0; i < ask->n_stop; i++) free(ask->stop[i]);
    free(ask->messages);
    free(ask->inputs);
    free(ask->stop);
    free(ask->model);
    json_decref(ask->id);
    *ask = (mla_ask){0};
}
