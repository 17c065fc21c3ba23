// The editors of Edit Script (AI): what an endpoint is asked and how its replies are taken, on a
// server of our own; what a policy without the gift answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/editor.h"
#include "base/json.h"
#include "net/server.h"
#include "tiny_policy.h"

#define KEY "MLAGENT_TEST_KEY"
#define SCRIPT "import os\nK = 2\nprint(K)\n"

static const mla_edit_request request = {.name = "t.py", .script = SCRIPT,
                                         .instruction = "raise K"};

typedef struct {
    int status;
    const char *reply;           // the whole body; NULL: a completion of `content`
    const char *content, *reason;
    char *asked;                 // owned: the last body
    atomic_int calls;
} endpoint;

static void on_chat(void *ctx, mla_http_call *call) {
    endpoint *e = ctx;
    const mla_buf *body = mla_http_call_body(call);
    e->calls++;
    free(e->asked);
    e->asked = mla_strndup(mla_buf_text(body), body->len);
    json_t *o = json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "choices", "finish_reason",
                          e->reason ? e->reason : "stop", "message", "role", "assistant", "content",
                          e->content ? e->content : "");
    char *text = e->reply ? mla_strdup(e->reply) : mla_json_line(o);
    json_decref(o);
    mla_http_call_reply_take(call, e->status, "application/json", text);
}

static char *error_body(void *ctx, int status, const char *message) {
    (void)ctx;
    return mla_format("{\"error\": \"%d %s\"}", status, message);
}

static mla_http_server *serve(endpoint *e) {
    static const mla_http_route routes[] = {
        {"POST", "/v1/chat/completions", false, "application/json", on_chat}};
    const mla_http_server_options options = {
        .host = "127.0.0.1", .port = 0, .key = "secret", .body_max = 1 << 20,
        .max_connections = 8, .idle_seconds = 20, .routes = routes, .n_routes = 1, .ctx = e,
        .error_body = error_body};
    mla_err err;
    mla_http_server *server = mla_http_server_start(&options, &err);
    if (!server) fail_msg("%s", err.text);
    return server;
}

static mla_editor open_editor(const mla_http_server *server, const char *slash) {
    mla_editor_options o = mla_editor_options_default();
    snprintf(o.url, sizeof o.url, "http://127.0.0.1:%d/v1%s", mla_http_server_port(server), slash);
    snprintf(o.model, sizeof o.model, "an-editor");
    snprintf(o.key_env, sizeof o.key_env, KEY);
    o.attempts = 1;
    o.seconds = 20;
    mla_editor editor;
    mla_err err;
    if (mla_endpoint_editor_make(&editor, &o, &err) < 0) fail_msg("%s", err.text);
    assert_true(editor.any_thread);
    return editor;
}

static void test_asks(void **state) {
    (void)state;
    endpoint e = {.status = 200,
                  .content = "<<<<<<< SEARCH\nK = 2\n=======\nK = 3\n>>>>>>> REPLACE"};
    mla_http_server *server = serve(&e);
    setenv(KEY, "secret", 1);
    mla_editor editor = open_editor(server, "/");
    char *text = NULL;
    mla_err why = {{0}};
    if (editor.edit(editor.self, &request, &text, &why)) fail_msg("%s", why.text);
    assert_string_equal(text, "import os\nK = 3\nprint(K)\n");
    free(text);
    json_t *body = mla_json_parse(e.asked, strlen(e.asked), "body", &why);
    assert_string_equal(mla_json_get_text(body, "model", ""), "an-editor");
    assert_int_equal(mla_json_get_int(body, "temperature", -1), 0);
    assert_int_equal(mla_json_get_int(body, "max_tokens", -1), 4000);
    const json_t *user = json_array_get(json_object_get(body, "messages"), 1);
    assert_string_equal(mla_json_get_text(user, "content", ""),
                        "The script t.py:\n```python\n" SCRIPT "```\nThe instruction: raise K\n");
    json_decref(body);
    mla_endpoint_editor_free(&editor);
    unsetenv(KEY);
    editor = open_editor(server, "");                      // no key: the server says 401
    assert_int_equal(editor.edit(editor.self, &request, &text, &why), -1);
    assert_non_null(strstr(why.text, "status 401"));
    mla_endpoint_editor_free(&editor);
    mla_http_server_free(server);
    free(e.asked);
}

static void test_replies(void **state) {
    (void)state;
    static const struct {
        endpoint e;
        int rc;
        const char *expect;      // the text, or a part of why
    } rows[] = {
        {{.status = 200, .content = "Here:\n```python\nK = 9\n```\n"}, 0, "K = 9\n"},
        {{.status = 200, .content = "Here:\n```python\nK = 9\n```\n", .reason = "length"}, 1,
         "cut"},
        {{.status = 200, .content = "```python\nK = 9\n"}, 1, "neither blocks nor"},
        {{.status = 200, .content = "no"}, 1, "neither blocks nor"},
        {{.status = 200, .content = "<<<<<<< SEARCH\nK = 5\n=======\n>>>>>>> REPLACE"}, 1,
         "its blocks do not fit: Block 1: its SEARCH text is not in t.py"},
        {{.status = 200, .reply = "{\"choices\": []}"}, -1, "has no choices[0]"},
        {{.status = 200, .reply = "<html>"}, -1, "the editor's reply"},
        {{.status = 500, .reply = "{}"}, -1, "status 500"},
    };
    setenv(KEY, "secret", 1);
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        endpoint e = rows[i].e;
        mla_http_server *server = serve(&e);
        mla_editor editor = open_editor(server, "");
        char *text = NULL;
        mla_err why = {{0}};
        int rc = editor.edit(editor.self, &request, &text, &why);
        if (rc != rows[i].rc) fail_msg("row %zu: %d %s", i, rc, why.text);
        if (rc == 0) assert_string_equal(text, rows[i].expect);
        else if (!strstr(why.text, rows[i].expect)) fail_msg("row %zu: %s", i, why.text);
        assert_int_equal(e.calls, 1);
        free(text);
        mla_endpoint_editor_free(&editor);
        mla_http_server_free(server);
        free(e.asked);
    }
}

static void test_options(void **state) {
    (void)state;
    mla_editor_options o = mla_editor_options_default();
    mla_editor editor;
    mla_err err;
    assert_int_equal(o.kind, MLA_EDITOR_NONE);
    assert_int_equal(mla_endpoint_editor_make(&editor, &o, &err), -1);
    assert_non_null(strstr(err.text, "editor.url"));
    snprintf(o.url, sizeof o.url, "http://127.0.0.1:9/v1");
    assert_int_equal(mla_endpoint_editor_make(&editor, &o, &err), -1);
    assert_non_null(strstr(err.text, "editor.model"));
    snprintf(o.model, sizeof o.model, "m");
    o.attempts = 1;
    assert_int_equal(mla_endpoint_editor_make(&editor, &o, &err), 0);
    char *text = NULL;
    assert_int_equal(editor.edit(editor.self, &request, &text, &err), -1);   // nobody is there
    mla_endpoint_editor_free(&editor);
    assert_int_equal(mla_editor_kind_parse("endpoint"), MLA_EDITOR_ENDPOINT);
    assert_int_equal(mla_editor_kind_parse("human"), -1);
}

// A random policy says nothing that can be used, and says so; twice the same.
static void test_policy(void **state) {
    (void)state;
    char *model = default_model();
    bool there = access(model, R_OK) == 0;
    free(model);
    if (!there) skip();
    char dir[] = "/tmp/mlagent-editor-XXXXXX";
    mla_err err = {{0}};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(tiny_policy_write(dir, 1), 0);
    mla_policy_options options = mla_policy_options_default();
    options.compute = MLA_COMPUTE_F32;
    mla_policy_editor self = {.max_tokens = 16};
    mla_editor editor = mla_policy_editor_make(&self);
    char *text = NULL;
    assert_false(editor.any_thread);
    assert_int_equal(editor.edit(editor.self, &request, &text, &err), -1);
    assert_non_null(strstr(err.text, "no policy at work"));
    self.policy = mla_policy_open(dir, &options, &err);
    if (!self.policy) fail_msg("%s", err.text);
    mla_err again = {{0}};
    assert_int_equal(editor.edit(editor.self, &request, &text, &err), 1);
    assert_int_equal(editor.edit(editor.self, &request, &text, &again), 1);
    assert_string_equal(err.text, again.text);
    char *script = mla_alloc(200001, 1);
    memset(script, 'a', 200000);
    for (int i = 60; i < 200000; i += 60) script[i] = '\n';
    const mla_edit_request big = {.name = "t.py", .script = script, .instruction = "x"};
    assert_int_equal(editor.edit(editor.self, &big, &text, &err), 1);
    assert_non_null(strstr(err.text, "too long"));
    free(script);
    mla_policy_free(self.policy);
    assert_int_equal(mla_fs_remove_tree(dir, &err), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks), cmocka_unit_test(test_replies),
        cmocka_unit_test(test_options), cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
