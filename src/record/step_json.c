// A step as a JSON object and back (docs/formats.md lists the fields). Every field is always there,
// and of one type or null, so that tools which infer a schema from the lines find one.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "record/step.h"

static json_t *text_or_null(const char *text) {
    return text ? mla_json_text(text, strlen(text)) : json_null();
}

static json_t *oid_or_null(const char *oid) {
    return *oid ? json_string(oid) : json_null();
}

static json_t *ids_or_null(const int32_t *ids, size_t n) {
    if (!ids) return json_null();
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static json_t *floats_or_null(const float *values, size_t n) {
    if (!values) return json_null();
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, mla_json_number(values[i]));
    return array;
}

static json_t *state_to_json(const mla_state *state) {
    json_t *o = json_object();
    json_object_set_new(o, "commit", oid_or_null(state->commit));
    json_object_set_new(o, "undo", oid_or_null(state->undo));
    json_object_set_new(o, "score", mla_json_number(state->score));
    json_object_set_new(o, "best", mla_json_number(state->best));
    return o;
}

static json_t *reward_to_json(const mla_reward_parts *parts) {
    json_t *o = json_object();
    json_object_set_new(o, "reward", mla_json_number(parts->reward));
    json_object_set_new(o, "gain", mla_json_number(parts->gain));
    json_object_set_new(o, "score_before", mla_json_number(parts->score_before));
    json_object_set_new(o, "score_after", mla_json_number(parts->score_after));
    return o;
}

static json_t *cost_to_json(const mla_cost *cost) {
    json_t *o = json_object();
    json_object_set_new(o, "run_seconds", mla_json_number(cost->run_seconds));
    json_object_set_new(o, "generate_seconds", mla_json_number(cost->generate_seconds));
    json_object_set_new(o, "peak_mb", mla_json_number(cost->peak_mb));
    json_object_set_new(o, "prompt_tokens", json_integer(cost->prompt_tokens));
    json_object_set_new(o, "action_tokens", json_integer(cost->action_tokens));
    json_object_set_new(o, "cached", json_boolean(cost->cached));
    return o;
}

json_t *mla_flag_to_json(unsigned flags) {
    json_t *array = json_array();
    for (int i = 0; i < MLA_FLAG_COUNT; i++) {
        if (flags >> i & 1) json_array_append_new(array, json_string(mla_flag_name(i)));
    }
    return array;
}

json_t *mla_step_to_json(const mla_step *step) {
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, step->seed);
    json_t *o = json_object();
    json_object_set_new(o, "version", json_integer(MLA_STEP_VERSION));
    json_object_set_new(o, "task", text_or_null(step->task));
    json_object_set_new(o, "trajectory", text_or_null(step->trajectory));
    json_object_set_new(o, "actor", text_or_null(step->actor));
    json_object_set_new(o, "index", json_integer(step->index));
    json_object_set_new(o, "seed", json_string(seed));
    json_object_set_new(o, "state", state_to_json(&step->state));
    json_object_set_new(o, "state_after", state_to_json(&step->state_after));
    json_object_set_new(o, "prompt_ids", ids_or_null(step->prompt_ids, step->n_prompt));
    json_object_set_new(o, "action_ids", ids_or_null(step->action_ids, step->n_action));
    json_object_set_new(o, "logprobs", floats_or_null(step->logprobs, step->n_action));
    json_object_set_new(o, "ended", json_boolean(step->ended));
    json_object_set_new(o, "text", text_or_null(step->text));
    json_object_set_new(o, "edit", text_or_null(step->edit));
    json_object_set_new(o, "action", json_string(mla_action_name(step->kind)));
    json_object_set_new(o, "outcome", json_string(mla_outcome_name(step->outcome)));
    json_object_set_new(o, "error_type", text_or_null(step->error_type));
    json_object_set_new(o, "feedback", text_or_null(step->feedback));
    json_object_set_new(o, "reward", reward_to_json(&step->reward));
    json_object_set_new(o, "score_private", mla_json_number(step->score_private));
    json_object_set_new(o, "cost", cost_to_json(&step->cost));
    json_object_set_new(o, "flags", mla_flag_to_json(step->flags));
    json_object_set_new(o, "final", json_boolean(step->final));
    json_object_set_new(o, "idea", text_or_null(step->idea));
    return o;
}

// Reads fields until one is wrong; from then on it returns nothing and keeps the first message.
typedef struct reader {
    const json_t *object;
    const char *within;     // "" or "state." and the like, for messages
    mla_err *err;
    bool bad;
} reader;

static const json_t *complain(reader *r, const char *key, const char *wanted) {
    if (!r->bad) mla_err_set(r->err, "step: \"%s%s\" is not %s", r->within, key, wanted);
    r->bad = true;
    return NULL;
}

// The field when it has the wanted type, NULL when it is null (allowed) or wrong.
static const json_t *field(reader *r, const char *key, json_type type, bool may_be_null,
                           const char *wanted) {
    const json_t *v = r->bad ? NULL : json_object_get(r->object, key);
    if (v && json_typeof(v) == type) return v;
    if (v && json_is_null(v) && may_be_null) return NULL;
    return complain(r, key, wanted);
}

static char *get_text(reader *r, const char *key, bool may_be_null) {
    const json_t *v = field(r, key, JSON_STRING, may_be_null, "a text");
    return v ? mla_strdup(json_string_value(v)) : NULL;
}

static double get_number(reader *r, const char *key) {
    const json_t *v = r->bad ? NULL : json_object_get(r->object, key);
    if (json_is_number(v)) return json_number_value(v);
    if (!json_is_null(v)) complain(r, key, "a number or null");
    return NAN;
}

static int get_int(reader *r, const char *key) {
    const json_t *v = field(r, key, JSON_INTEGER, false, "a whole number");
    json_int_t n = v ? json_integer_value(v) : 0;
    if (n < 0 || n > INT32_MAX) complain(r, key, "a whole number from 0 to 2147483647");
    return r->bad ? 0 : (int)n;
}

static bool get_bool(reader *r, const char *key) {
    const json_t *v = r->bad ? NULL : json_object_get(r->object, key);
    if (!json_is_boolean(v)) complain(r, key, "true or false");
    return json_is_true(v);
}

static uint64_t get_seed(reader *r, const char *key) {
    const json_t *v = field(r, key, JSON_STRING, false, "a seed (decimal digits in a text)");
    const char *text = v ? json_string_value(v) : "0";
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 20 || text[digits]) complain(r, key, "a seed (decimal digits)");
    return r->bad ? 0 : strtoull(text, NULL, 10);
}

static void get_oid(reader *r, const char *key, char out[MLA_OID_HEX]) {
    const json_t *v = field(r, key, JSON_STRING, true, "a commit id or null");
    const char *text = v ? json_string_value(v) : "";
    size_t n = strlen(text);
    if (n && (n != MLA_OID_HEX - 1 || strspn(text, "0123456789abcdef") != n)) {
        complain(r, key, "a commit id of 40 hex digits");
    }
    snprintf(out, MLA_OID_HEX, "%s", r->bad ? "" : text);
}

static int32_t *get_ids(reader *r, const char *key, size_t *n) {
    *n = 0;
    const json_t *array = field(r, key, JSON_ARRAY, true, "a list of token ids or null");
    if (!array) return NULL;
    int32_t *ids = MLA_NEW_ARRAY(int32_t, json_array_size(array) + 1);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX) complain(r, key, "a list of token ids");
        ids[i] = r->bad ? 0 : (int32_t)id;
    }
    *n = json_array_size(array);
    return ids;
}

static float *get_floats(reader *r, const char *key, size_t n) {
    const json_t *array = field(r, key, JSON_ARRAY, true, "a list of numbers or null");
    if (!array) return NULL;
    if (json_array_size(array) != n) complain(r, key, "as long as action_ids");
    float *values = MLA_NEW_ARRAY(float, n + 1);
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *v = json_array_get(array, i);
        if (!json_is_number(v) && !json_is_null(v)) complain(r, key, "a list of numbers");
        values[i] = json_is_number(v) ? (float)json_number_value(v) : NAN;
    }
    return values;
}

// A name of one of our tables, as its enum; `none` when it is not one.
static int get_enum(reader *r, const char *key, int (*parse)(const char *), int none) {
    const json_t *v = field(r, key, JSON_STRING, false, "a name");
    if (!v) return none;
    int found = parse(json_string_value(v));
    if (found < 0) complain(r, key, "a name this version knows");
    return found < 0 ? none : found;
}

static int action_or_none(const char *name) {
    int kind = mla_action_kind_parse(name);
    bool none = strcmp(name, mla_action_name(MLA_ACTION_NONE)) == 0;
    return none ? MLA_ACTION_COUNT : kind;   // "none" is a name too, and its enum is negative
}

static reader enter(reader *r, const char *key, const char *within) {
    const json_t *v = field(r, key, JSON_OBJECT, false, "an object");
    return (reader){.object = v, .within = within, .err = r->err, .bad = r->bad};
}

static void get_state(reader *r, const char *key, const char *within, mla_state *out) {
    reader in = enter(r, key, within);
    get_oid(&in, "commit", out->commit);
    get_oid(&in, "undo", out->undo);
    out->score = get_number(&in, "score");
    out->best = get_number(&in, "best");
    r->bad |= in.bad;
}

static void get_reward(reader *r, mla_reward_parts *out) {
    reader in = enter(r, "reward", "reward.");
    out->reward = get_number(&in, "reward");
    out->gain = get_number(&in, "gain");
    out->score_before = get_number(&in, "score_before");
    out->score_after = get_number(&in, "score_after");
    r->bad |= in.bad;
}

static void get_cost(reader *r, mla_cost *out) {
    reader in = enter(r, "cost", "cost.");
    out->run_seconds = get_number(&in, "run_seconds");
    out->generate_seconds = get_number(&in, "generate_seconds");
    out->peak_mb = get_number(&in, "peak_mb");
    out->prompt_tokens = get_int(&in, "prompt_tokens");
    out->action_tokens = get_int(&in, "action_tokens");
    out->cached = get_bool(&in, "cached");
    r->bad |= in.bad;
}

// Records of old lack it: nothing was flagged in them.
static unsigned get_flags(reader *r, const char *key) {
    if (r->bad || !json_object_get(r->object, key)) return 0;
    const json_t *array = field(r, key, JSON_ARRAY, false, "a list of flags");
    unsigned flags = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        int bit = mla_flag_parse(json_string_value(json_array_get(array, i)));
        if (bit < 0) complain(r, key, "a list of flags that this version knows");
        else flags |= 1u << bit;
    }
    return flags;
}

static void get_action(reader *r, mla_step *step) {
    step->prompt_ids = get_ids(r, "prompt_ids", &step->n_prompt);
    step->action_ids = get_ids(r, "action_ids", &step->n_action);
    step->logprobs = get_floats(r, "logprobs", step->n_action);
    step->ended = get_bool(r, "ended");
    step->text = get_text(r, "text", true);
    // Records of old lack it.
    if (json_object_get(r->object, "edit")) step->edit = get_text(r, "edit", true);
    int kind = get_enum(r, "action", action_or_none, MLA_ACTION_COUNT);
    step->kind = kind == MLA_ACTION_COUNT ? MLA_ACTION_NONE : (mla_action_kind)kind;
}

int mla_step_from_json(mla_step *step, const json_t *object, mla_err *err) {
    mla_step_init(step);
    if (!json_is_object(object)) return mla_err_set(err, "step: not a JSON object");
    reader r = {.object = object, .within = "", .err = err};
    int version = get_int(&r, "version");
    if (!r.bad && version != MLA_STEP_VERSION) {
        return mla_err_set(err, "step: version %d, but this program reads version %d", version,
                           MLA_STEP_VERSION);
    }
    step->task = get_text(&r, "task", false);
    step->trajectory = get_text(&r, "trajectory", false);
    step->actor = get_text(&r, "actor", false);
    step->index = get_int(&r, "index");
    step->seed = get_seed(&r, "seed");
    get_state(&r, "state", "state.", &step->state);
    get_state(&r, "state_after", "state_after.", &step->state_after);
    get_action(&r, step);
    step->outcome = (mla_outcome)get_enum(&r, "outcome", mla_outcome_parse,
                                          MLA_OUTCOME_INVALID_ACTION);
    step->error_type = get_text(&r, "error_type", true);
    step->feedback = get_text(&r, "feedback", true);
    get_reward(&r, &step->reward);
    step->score_private = get_number(&r, "score_private");
    get_cost(&r, &step->cost);
    step->flags = get_flags(&r, "flags");
    step->final = get_bool(&r, "final");
    step->idea = get_text(&r, "idea", true);
    if (r.bad) mla_step_clear(step);
    return r.bad ? -1 : 0;
}
