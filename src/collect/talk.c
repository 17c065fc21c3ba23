// Conversations in LLaMA-Factory's ShareGPT form (data/README.md there) and in OpenAI's (API
// reference, fine-tuning, chat format).
#include "collect/talk.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define TEXT_MAX ((size_t)64 << 20)
#define IMPORTED "imported"

static const char *const format_names[] = {
#define X(id, name, meaning) name,
    MLA_FORMAT_MAP(X)
#undef X
};

const char *mla_data_format_name(mla_data_format format) {
    MLA_ASSERT((size_t)format < MLA_COUNT(format_names));
    return format_names[format];
}

int mla_data_format_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(format_names); i++) {
        if (strcmp(name, format_names[i]) == 0) return (int)i;
    }
    return -1;
}

// ---- roles -------------------------------------------------------------------------------------

static const struct {
    const char *chat, *sharegpt;
} role_names[MLA_ROLE_COUNT] = {
    [MLA_ROLE_SYSTEM] = {"system", "system"},
    [MLA_ROLE_USER] = {"user", "human"},
    [MLA_ROLE_ASSISTANT] = {"assistant", "gpt"},
    [MLA_ROLE_TOOL] = {"tool", "observation"},
};

const char *mla_role_name(mla_role role) {
    MLA_ASSERT((size_t)role < MLA_ROLE_COUNT);
    return role_names[role].chat;
}

int mla_role_parse(const char *name) {
    for (int i = 0; i < MLA_ROLE_COUNT; i++) {
        if (!strcmp(name, role_names[i].chat) || !strcmp(name, role_names[i].sharegpt)) return i;
    }
    return strcmp(name, "developer") == 0 ? MLA_ROLE_SYSTEM : -1;
}

// ---- turns -------------------------------------------------------------------------------------

void mla_talk_clear(mla_talk *talk) {
    for (size_t i = 0; i < talk->n_turns; i++) free(talk->turns[i].text);
    free(talk->turns);
    free(talk->id);
    json_decref(talk->steps);
    *talk = (mla_talk){0};
}

void mla_talk_push_take(mla_talk *talk, mla_role role, char *text, bool learn) {
    MLA_GROW(talk->turns, talk->cap, talk->n_turns + 1);
    talk->turns[talk->n_turns++] = (mla_turn){.role = role, .text = text, .learn = learn};
}

bool mla_talk_begins(const mla_talk *talk, const mla_talk *with) {
    bool same = talk->n_turns <= with->n_turns;
    for (size_t i = 0; same && i < talk->n_turns; i++) {
        same = talk->turns[i].role == with->turns[i].role &&
               strcmp(talk->turns[i].text, with->turns[i].text) == 0;
    }
    return same;
}

static size_t learned(const mla_talk *talk) {
    size_t n = 0;
    for (size_t i = 0; i < talk->n_turns; i++) n += talk->turns[i].learn;
    return n;
}

// ---- reading -----------------------------------------------------------------------------------

// OpenAI's content is a text or a list of parts; NULL, with a message, for what is no text.
static char *content_text(const json_t *content, size_t turn, mla_err *err) {
    if (json_is_string(content)) return mla_strdup(json_string_value(content));
    if (!json_is_array(content)) {
        mla_err_set(err, "turn %zu has no text", turn);
        return NULL;
    }
    mla_buf text;
    mla_buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        const char *piece = mla_json_get_text(part, "text", NULL);
        if (!piece || strcmp(mla_json_get_text(part, "type", "text"), "text") != 0) {
            mla_err_set(err, "turn %zu has a part that is no text", turn);
            mla_buf_clear(&text);
            return NULL;
        }
        mla_buf_puts(&text, piece);
    }
    return mla_buf_take(&text);
}

static bool is_there(const json_t *message, const char *key) {
    const json_t *value = json_object_get(message, key);
    return value && !json_is_null(value) && !(json_is_array(value) && !json_array_size(value));
}

static int read_turn(mla_talk *out, const json_t *message, size_t turn, mla_err *err) {
    const char *name = mla_json_get_text(message, "role", NULL);
    if (!name) name = mla_json_get_text(message, "from", NULL);
    if (!name) return mla_err_set(err, "turn %zu has no \"role\" or \"from\"", turn);
    int role = mla_role_parse(name);
    if (role < 0) {
        return mla_err_set(err, "turn %zu is of \"%.40s\"; known are system, user or human, "
                           "assistant or gpt, tool or observation", turn, name);
    }
    if (role == MLA_ROLE_SYSTEM && out->n_turns) {
        return mla_err_set(err, "turn %zu is of the system, which can only begin", turn);
    }
    if (is_there(message, "tool_calls") || is_there(message, "function_call")) {
        return mla_err_set(err, "turn %zu calls a tool, which is not taught", turn);
    }
    const json_t *content = json_object_get(message, "content");
    char *text = content_text(content ? content : json_object_get(message, "value"), turn, err);
    if (!text) return -1;
    bool learn = role == MLA_ROLE_ASSISTANT && mla_json_get_number(message, "weight", 1) != 0;
    mla_talk_push_take(out, (mla_role)role, text, learn);
    return 0;
}

static int check(const mla_talk *out, mla_err *err) {
    size_t n = learned(out);
    if (!n) return mla_err_set(err, "no turn of an assistant to learn from");
    if (out->steps && json_array_size(out->steps) != n) {
        return mla_err_set(err, "\"mlagent\" describes %zu turns, but %zu are learned from",
                           json_array_size(out->steps), n);
    }
    return 0;
}

static int read_turns(mla_talk *out, const json_t *record, mla_err *err) {
    const json_t *list = json_object_get(record, "messages");
    if (!list) list = json_object_get(record, "conversations");
    if (!json_is_array(list)) {
        return mla_err_set(err, "no list \"conversations\" (ShareGPT) or \"messages\" (OpenAI)");
    }
    const char *system = mla_json_get_text(record, "system", NULL);
    if (system && *system) {
        mla_talk_push_take(out, MLA_ROLE_SYSTEM, mla_strdup(system), false);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (read_turn(out, json_array_get(list, i), i + 1, err) < 0) return -1;
    }
    return 0;
}

int mla_talk_read(mla_talk *out, const json_t *record, mla_err *err) {
    *out = (mla_talk){0};
    if (!json_is_object(record)) return mla_err_set(err, "not a JSON object");
    out->id = mla_strdup(mla_json_get_text(record, "id", NULL));
    json_t *steps = json_object_get(record, "mlagent");
    if (json_is_array(steps)) out->steps = json_incref(steps);
    if (read_turns(out, record, err) == 0 && check(out, err) == 0) return 0;
    mla_talk_clear(out);
    return -1;
}

// ---- writing -----------------------------------------------------------------------------------

static json_t *write_sharegpt(const mla_talk *talk) {
    json_t *list = json_array(), *record = json_object();
    bool system = talk->n_turns && talk->turns[0].role == MLA_ROLE_SYSTEM;
    for (size_t i = system; i < talk->n_turns; i++) {
        const mla_turn *t = &talk->turns[i];
        json_array_append_new(list, json_pack("{s:s, s:o}", "from", role_names[t->role].sharegpt,
                                              "value", mla_json_text(t->text, strlen(t->text))));
    }
    if (talk->id) json_object_set_new(record, "id", mla_json_text(talk->id, strlen(talk->id)));
    json_object_set_new(record, "conversations", list);
    if (system) {
        const char *text = talk->turns[0].text;
        json_object_set_new(record, "system", mla_json_text(text, strlen(text)));
    }
    if (talk->steps) json_object_set(record, "mlagent", talk->steps);
    return record;
}

// Nothing but messages: OpenAI's service refuses other keys. What is not learned from has weight 0.
static json_t *write_openai(const mla_talk *talk) {
    json_t *list = json_array();
    for (size_t i = 0; i < talk->n_turns; i++) {
        const mla_turn *t = &talk->turns[i];
        json_t *message = json_pack("{s:s, s:o}", "role", role_names[t->role].chat, "content",
                                    mla_json_text(t->text, strlen(t->text)));
        if (t->role == MLA_ROLE_ASSISTANT && !t->learn) {
            json_object_set_new(message, "weight", json_integer(0));
        }
        json_array_append_new(list, message);
    }
    return json_pack("{s:o}", "messages", list);
}

json_t *mla_talk_write(const mla_talk *talk, mla_data_format format) {
    MLA_ASSERT(format == MLA_FORMAT_SHAREGPT || format == MLA_FORMAT_OPENAI);
    return format == MLA_FORMAT_SHAREGPT ? write_sharegpt(talk) : write_openai(talk);
}

// ---- step records ------------------------------------------------------------------------------

static const char *const from_the_turn[] = {"prompt_ids", "action_ids", "logprobs", "text"};

json_t *mla_talk_rest(const mla_step *step) {
    json_t *rest = mla_step_to_json(step);
    for (size_t i = 0; i < MLA_COUNT(from_the_turn); i++) {
        json_object_del(rest, from_the_turn[i]);
    }
    return rest;
}

static int step_of_rest(const json_t *rest, const char *text, mla_step *out, mla_err *err) {
    if (!json_is_object(rest)) return mla_err_set(err, "\"mlagent\" holds something that is no "
                                                  "step record");
    json_t *whole = json_copy((json_t *)rest);
    for (size_t i = 0; i < MLA_COUNT(from_the_turn); i++) {
        json_object_set_new(whole, from_the_turn[i], json_null());
    }
    json_object_set_new(whole, "text", mla_json_text(text, strlen(text)));
    int rc = mla_step_from_json(out, whole, err);
    json_decref(whole);
    return rc < 0 ? mla_err_wrap(err, "\"mlagent\"") : 0;
}

int mla_talk_step(const mla_talk *talk, const mla_turn *turn, size_t k, const char *name,
                  mla_step *out, mla_err *err) {
    if (talk->steps) return step_of_rest(json_array_get(talk->steps, k), turn->text, out, err);
    mla_step_init(out);
    out->task = mla_strdup(IMPORTED);
    out->trajectory = mla_strdup(name);
    out->actor = mla_strdup(IMPORTED);
    out->index = (int)k;
    out->text = mla_strdup(turn->text);
    out->kind = MLA_ACTION_NONE;
    out->outcome = MLA_OUTCOME_OK;
    out->ended = true;
    return 0;
}
