// Who carries out the instruction of an Edit Script (AI), and how it is asked. Reading the answer
// is env/editor.c.
#include "agent/editor.h"

#include <stdlib.h>
#include <string.h>

#include "agent/endpoint.h"
#include "base/buf.h"
#include "base/mem.h"

#define PROMPT_MAX ((size_t)1 << 20)

static const char *const kind_names[] = {
#define X(id, name) name,
    MLA_EDITOR_KINDS(X)
#undef X
};

const char *mla_editor_kind_name(mla_editor_kind kind) {
    MLA_ASSERT((size_t)kind < MLA_COUNT(kind_names));
    return kind_names[kind];
}

int mla_editor_kind_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(kind_names); i++)
        if (strcmp(name, kind_names[i]) == 0) return (int)i;
    return -1;
}

mla_editor_options mla_editor_options_default(void) {
    return (mla_editor_options){.kind = MLA_EDITOR_NONE, .key_env = "OPENAI_API_KEY", .seconds = 60,
                                .attempts = 3, .max_tokens = 4000};
}

// --- what is asked -----------------------------------------------------------------------------

static const char system_text[] =
    "You edit a Python script as you are told and change nothing else. Answer with blocks whose "
    "SEARCH part copies whole lines of the script:\n"
    "<<<<<<< SEARCH\nold lines\n=======\nnew lines\n>>>>>>> REPLACE\n"
    "or with the whole new script in one ```python fence.";

static char *user_text(const mla_edit_request *request) {
    mla_buf out;
    mla_buf_init(&out, PROMPT_MAX);
    mla_buf_printf(&out, "The script %s:\n```python\n%s```\nThe instruction: %s\n", request->name,
                   request->script, request->instruction);
    return mla_buf_take(&out);
}

static int of_no_use(mla_err *why, const char *what) {
    mla_err_set(why, "%s", what);
    return 1;
}

// --- an endpoint -------------------------------------------------------------------------------

typedef struct {
    mla_endpoint *at;
    int max_tokens;
} endpoint;

static int ask_endpoint(void *self, const mla_edit_request *request, char **text, mla_err *why) {
    const endpoint *e = self;
    char *user = user_text(request);
    const mla_question question = {.system = system_text, .user = user,
                                    .max_tokens = e->max_tokens};
    mla_answer answer;
    int rc = mla_endpoint_ask(e->at, &question, &answer, why);
    if (rc == 0 && answer.cut) rc = of_no_use(why, "its answer was cut at its limit");
    else if (rc == 0) rc = mla_editor_read(request, answer.text, text, why);
    free(answer.text);
    free(user);
    return rc;
}

int mla_endpoint_editor_make(mla_editor *out, const mla_editor_options *options, mla_err *err) {
    *out = (mla_editor){.edit = NULL};
    const mla_endpoint_options o = {
        .who = "the editor", .key = "editor.url", .url = options->url, .model = options->model,
        .key_env = options->key_env, .seconds = options->seconds, .attempts = options->attempts};
    mla_endpoint *at;
    if (mla_endpoint_create(&at, &o, err) < 0) return -1;
    if (!*options->model) {
        mla_endpoint_free(at);
        return mla_err_set(err, "editor.model: the endpoint's model has no name");
    }
    endpoint *e = MLA_NEW(endpoint);
    *e = (endpoint){.at = at, .max_tokens = options->max_tokens};
    *out = (mla_editor){.edit = ask_endpoint, .self = e, .any_thread = true};
    return 0;
}

void mla_endpoint_editor_free(mla_editor *editor) {
    endpoint *e = editor->self;
    if (e) mla_endpoint_free(e->at);
    free(e);
    *editor = (mla_editor){.edit = NULL};
}

// --- a policy ----------------------------------------------------------------------------------

static void keep_sample(void *ctx, size_t request, int sample, mla_sample *take) {
    (void)request, (void)sample;
    *(mla_sample *)ctx = *take;
    *take = (mla_sample){0};
}

static int read_sample(const mla_policy *policy, const mla_edit_request *request,
                       const mla_sample *sample, char **text, mla_err *why) {
    if (!sample->ids) return mla_err_set(why, "the policy was stopped");
    if (!sample->ended) return of_no_use(why, "its answer was cut at its limit");
    char *answer = mla_tokenizer_decode(mla_policy_tokenizer(policy), sample->ids, sample->n, NULL);
    int rc = mla_editor_read(request, answer, text, why);
    free(answer);
    return rc;
}

static void render(const mla_policy *policy, const mla_edit_request *request, mla_ids *out) {
    char *user = user_text(request);
    mla_chat_turn(policy, out, "system", system_text);
    mla_chat_turn(policy, out, "user", user);
    mla_chat_open_reply(policy, out);
    free(user);
}

static int ask_policy(void *self, const mla_edit_request *request, char **text, mla_err *why) {
    const mla_policy_editor *e = self;
    if (!e->policy) return mla_err_set(why, "there is no policy at work");
    mla_ids prompt = {0};
    mla_sample sample = {0};
    render(e->policy, request, &prompt);
    int room = mla_model_get_config(mla_policy_model(e->policy))->max_context - (int)prompt.len;
    const mla_prompt_request ask = {.ids = prompt.data, .n = prompt.len, .samples = 1,
                                    .max_new = room < e->max_tokens ? room : e->max_tokens};
    int rc = room < 1 ? of_no_use(why, "the script is too long for it")
                      : mla_policy_generate(e->policy, &ask, 1, keep_sample, &sample, why);
    if (rc == 0) rc = read_sample(e->policy, request, &sample, text, why);
    mla_sample_clear(&sample);
    mla_ids_clear(&prompt);
    return rc;
}

mla_editor mla_policy_editor_make(mla_policy_editor *self) {
    return (mla_editor){.edit = ask_policy, .self = self};
}
