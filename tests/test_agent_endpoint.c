// Asking an endpoint that misbehaves, on a server of our own: what is tried again and what is not,
// what it costs, that the budget is never passed, that answers are paid once, and that the key is
// never written down.
#include <math.h>
#include <signal.h>
#include <sys/time.h>

#include "chat_fixture.h"

#include "agent/agent.h"
#include "agent/endpoint.h"
#include "base/fs.h"
#include "base/log.h"

#define KEY "sk-a-secret-of-some-length"
#define KEY_ENV "MLAGENT_TEST_KEY"

static char dir[64], path[128];

static int open_group(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/mlagent-endpoint-XXXXXX");
    setenv(KEY_ENV, KEY, 1);
    mla_log_set_level(MLA_LOG_WARN);
    return mkdtemp(dir) ? 0 : -1;
}

static int close_group(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(dir, &err);
}

static int fresh_file(void **state) {
    static int n;
    (void)state;
    snprintf(path, sizeof path, "%s/calls-%d.jsonl", dir, n++);
    return 0;
}

#define SERVER(...)                                                                    \
    static const chat_reply script[] = {__VA_ARGS__};                                  \
    chat_server server = {.script = script, .n_script = MLA_COUNT(script)};            \
    chat_start(&server, NULL)

static mla_ledger *open_ledger(mla_ledger_options limits) {
    mla_err err = {{0}};
    mla_ledger *ledger = mla_ledger_open(path, &limits, &err);
    if (!ledger) fail_msg("%s", err.text);
    return ledger;
}

static mla_endpoint *connect_to(const char *url, mla_ledger *ledger, int attempts, double seconds) {
    mla_endpoint *endpoint;
    mla_err err;
    const mla_endpoint_options o = {.who = "the endpoint", .key = "endpoint.url", .url = url,
                                    .model = "m", .key_env = KEY_ENV, .seconds = seconds,
                                    .attempts = attempts, .ledger = ledger};
    assert_int_equal(mla_endpoint_create(&endpoint, &o, &err), 0);
    return endpoint;
}

// Asks the question number `seed`; its text, or NULL with the message in `err`. Caller frees.
static char *ask(const mla_endpoint *endpoint, uint64_t seed, mla_err *err) {
    const mla_question q = {.system = "You are a test.", .user = "Say something.", .seed = &seed,
                            .max_tokens = 40, .temperature = 1};
    mla_answer answer;
    *err = (mla_err){{0}};
    int rc = mla_endpoint_ask(endpoint, &q, &answer, err);
    if (rc < 0) assert_null(answer.text);
    return answer.text;
}

static void expect(const mla_endpoint *endpoint, uint64_t seed, const char *text) {
    mla_err err;
    char *said = ask(endpoint, seed, &err);
    if (!said) fail_msg("%s", err.text);
    assert_string_equal(said, text);
    free(said);
}

static void expect_error(const mla_endpoint *endpoint, uint64_t seed, const char *words) {
    mla_err err;
    assert_null(ask(endpoint, seed, &err));
    if (!strstr(err.text, words)) fail_msg("no \"%s\" in: %s", words, err.text);
    assert_null(strstr(err.text, KEY));
}

// --- what goes wrong ----------------------------------------------------------------------------

static void what_may_pass_is_tried_again(void **state) {
    (void)state;
    SERVER({.status = 429, .body = "{\"error\": \"slow down\"}", .retry_after = "0"},
           {.status = 500, .body = "oops"}, {.body = "<html>no JSON</html>"},
           {.body = "{\"choices\": []}"}, {.content = "at last", .tokens_in = 20, .tokens_out = 2});
    mla_endpoint *endpoint = connect_to(server.url, NULL, 6, 20);
    expect(endpoint, 1, "at last");
    assert_int_equal(server.calls, 5);
    mla_endpoint_free(endpoint);
    chat_stop(&server);
}

static void not_for_ever(void **state) {
    (void)state;
    SERVER({.body = "{\"choices\": [{\"message\": {\"content\": 7}}]}"});
    mla_endpoint *endpoint = connect_to(server.url, NULL, 2, 20);
    expect_error(endpoint, 1, "2 answers could not be read");
    assert_int_equal(server.calls, 2);
    mla_endpoint_free(endpoint);
    chat_stop(&server);
}

static void what_will_not_pass_is_told(void **state) {
    (void)state;
    SERVER({.status = 404, .body = "{\"error\": {\"message\": \"no model m\"}}"},
           {.status = 402, .body = "{\"detail\": \"pay first\"}"});
    mla_endpoint *endpoint = connect_to(server.url, NULL, 5, 20);
    expect_error(endpoint, 1, "status 404 (no model m)");
    expect_error(endpoint, 2, "status 402 (pay first)");
    assert_int_equal(server.calls, 2);
    mla_endpoint_free(endpoint);
    chat_stop(&server);
    // Nobody is there any more.
    endpoint = connect_to(server.url, NULL, 1, 20);
    expect_error(endpoint, 1, "is the service running there?");
    mla_endpoint_free(endpoint);
}

static void a_hanging_endpoint_is_given_up(void **state) {
    (void)state;
    SERVER({.content = "too late", .hang_seconds = 3});
    mla_ledger *ledger = open_ledger((mla_ledger_options){.budget_tokens = 1e6});
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 0.3);
    expect_error(endpoint, 1, "Timeout");
    // It may send a bill all the same: all that it could have cost is counted.
    mla_ledger_totals t = mla_ledger_get(ledger);
    assert_true(t.tokens_out == 40 && t.tokens_in > 20);
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    chat_stop(&server);
}

static void nothing_said_is_an_answer(void **state) {
    (void)state;
    SERVER({.body = "{\"choices\": [{\"finish_reason\": \"length\", \"message\": "
                    "{\"content\": null}}]}"});
    mla_endpoint *endpoint = connect_to(server.url, NULL, 2, 20);
    expect(endpoint, 1, "");
    assert_int_equal(server.calls, 1);
    mla_endpoint_free(endpoint);
    chat_stop(&server);
}

// --- the ledger ---------------------------------------------------------------------------------

static void answers_are_paid_once(void **state) {
    (void)state;
    SERVER({.content = "one", .tokens_in = 100, .tokens_out = 7},
           {.content = "two", .tokens_in = 200, .tokens_out = 9, .cut = true});
    const mla_ledger_options limits = {.price_in = 2, .price_out = 1000, .budget_money = 1};
    mla_ledger *ledger = open_ledger(limits);
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 1, "one");
    expect(endpoint, 2, "two");
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    // A killed program leaves half a line; what is whole is not asked for again.
    int64_t size = mla_fs_size(path);
    FILE *file = fopen(path, "a");
    fputs("{\"key\": \"torn", file);
    fclose(file);
    ledger = open_ledger(limits);
    endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 2, "two");
    expect(endpoint, 1, "one");
    assert_int_equal(server.calls, 2);
    mla_ledger_totals t = mla_ledger_get(ledger);
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.kept, 2);
    assert_true(t.tokens_in == 300 && t.tokens_out == 16);
    assert_true(fabs(t.money - (300 * 2 + 16 * 1000) / 1e6) < 1e-12);
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    assert_int_equal(mla_fs_size(path), size);
    chat_stop(&server);
}

static void the_budget_is_never_passed(void **state) {
    (void)state;
    SERVER({.content = "x", .tokens_in = 50, .tokens_out = 10});
    mla_ledger_options limits = {.budget_tokens = 400};
    mla_ledger *ledger = open_ledger(limits);
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    uint64_t asked = 0;
    mla_err err;
    for (char *said; (said = ask(endpoint, asked, &err)); asked++) free(said);
    // A call is claimed with its prompt and 40 tokens: five fit in 400, and it stops before 400.
    mla_ledger_totals t = mla_ledger_get(ledger);
    assert_int_equal(t.calls, asked);
    assert_int_equal(server.calls, asked);
    assert_true(asked >= 3 && t.tokens_in + t.tokens_out <= 400);
    assert_non_null(strstr(err.text, "budget of 400 tokens"));
    assert_non_null(strstr(err.text, "--budget-tokens"));
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    // A restart spends nothing more; a higher budget goes on.
    ledger = open_ledger(limits);
    endpoint = connect_to(server.url, ledger, 1, 20);
    expect_error(endpoint, 99, "budget");
    expect(endpoint, 0, "x");
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    limits.budget_tokens = 800;
    ledger = open_ledger(limits);
    endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 99, "x");
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    chat_stop(&server);
}

static void an_endpoint_that_bills_more_than_it_may_is_stopped(void **state) {
    (void)state;
    SERVER({.content = "x", .tokens_in = 50, .tokens_out = 100000});
    mla_ledger *ledger = open_ledger((mla_ledger_options){.budget_money = 0.1, .price_in = 1,
                                                          .price_out = 10});
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 1, "x");
    expect_error(endpoint, 2, "budget of 0.1");
    assert_int_equal(server.calls, 1);
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    chat_stop(&server);
}

static void a_budget_in_money_needs_prices(void **state) {
    (void)state;
    mla_err err;
    assert_null(mla_ledger_open(path, &(mla_ledger_options){.budget_money = 1}, &err));
    assert_non_null(strstr(err.text, "price_in"));
    const char foreign[] = "{\"what\": \"is this\"}\n";
    assert_int_equal(mla_fs_write(path, foreign, sizeof foreign - 1, &err), 0);
    assert_null(mla_ledger_open(path, &(mla_ledger_options){.budget_tokens = 1}, &err));
    assert_non_null(strstr(err.text, path));
}

static void unanswered_usage_is_estimated(void **state) {
    (void)state;
    SERVER({.content = "twelve bytes"});
    mla_ledger *ledger = open_ledger((mla_ledger_options){.budget_tokens = 1e6});
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 1, "twelve bytes");
    mla_ledger_totals t = mla_ledger_get(ledger);
    assert_true(t.tokens_out == 4 && t.tokens_in > 20);
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    mla_buf text;
    mla_err err;
    assert_int_equal(mla_fs_read(path, 1 << 20, &text, &err), 0);
    assert_non_null(strstr(mla_buf_text(&text), "\"estimated\":true"));
    mla_buf_clear(&text);
    chat_stop(&server);
}

// --- the key ------------------------------------------------------------------------------------

static void the_key_is_never_written_down(void **state) {
    (void)state;
    SERVER({.content = "your key is " KEY "!", .tokens_in = 1, .tokens_out = 1},
           {.status = 403, .body = "{\"error\": {\"message\": \"bad key " KEY "\"}}"});
    chat_stop(&server);
    server = (chat_server){.script = script, .n_script = MLA_COUNT(script)};
    chat_start(&server, KEY);
    mla_ledger *ledger = open_ledger((mla_ledger_options){.budget_tokens = 1e6});
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 1, "your key is **************************!");
    expect_error(endpoint, 2, "may this key use the model?");
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    mla_buf text;
    mla_err err;
    assert_int_equal(mla_fs_read(path, 1 << 20, &text, &err), 0);
    assert_null(strstr(mla_buf_text(&text), KEY));
    mla_buf_clear(&text);
    chat_stop(&server);
    // Without it: 401, and where it is looked for.
    unsetenv(KEY_ENV);
    server = (chat_server){.script = script, .n_script = MLA_COUNT(script)};
    chat_start(&server, KEY);
    endpoint = connect_to(server.url, NULL, 1, 20);
    expect_error(endpoint, 1, "key_env");
    mla_endpoint_free(endpoint);
    chat_stop(&server);
    setenv(KEY_ENV, KEY, 1);
}

// --- vectors and models -------------------------------------------------------------------------

static void vectors_come_in_their_places(void **state) {
    (void)state;
    SERVER({.body = "{\"data\": [{\"index\": 1, \"embedding\": [0, 2]}, "
                    "{\"index\": 0, \"embedding\": [1, 0.5]}], \"usage\": {\"prompt_tokens\": 6}}"},
           {.body = "{\"data\": [{\"index\": 0, \"embedding\": [1]}, "
                    "{\"index\": 1, \"embedding\": [1, 2]}]}"});
    mla_endpoint *endpoint = connect_to(server.url, NULL, 1, 20);
    const char *const texts[] = {"a", "b"};
    float *out;
    size_t dim;
    mla_err err;
    assert_int_equal(mla_endpoint_embed(endpoint, texts, 2, &out, &dim, &err), 0);
    assert_int_equal(dim, 2);
    assert_true(out[0] == 1 && out[1] == 0.5f && out[2] == 0 && out[3] == 2);
    free(out);
    assert_int_equal(mla_endpoint_embed(endpoint, texts, 2, &out, &dim, &err), -1);
    assert_null(out);
    char *model = mla_endpoint_only_model(endpoint, &err);
    assert_string_equal(model, "the-only-one");
    free(model);
    mla_endpoint_free(endpoint);
    chat_stop(&server);
}

// --- the actor ----------------------------------------------------------------------------------

typedef struct {
    char *texts[64];
    size_t n;
} heard;

static int hear(void *ctx, size_t place, mla_reply *take, mla_err *err) {
    heard *h = ctx;
    (void)err;
    assert_null(h->texts[place]);
    h->texts[place] = mla_strdup(take->text);
    h->n++;
    mla_reply_clear(take);
    return 0;
}

static void forget(heard *h) {
    for (size_t i = 0; i < 64; i++) free(h->texts[i]);
    *h = (heard){.n = 0};
}

static const mla_task task = {.name = (char *)"toy", .description = (char *)"A toy.",
                              .metric = MLA_METRIC_ACCURACY, .direction = 1,
                              .script = (char *)"train.py", .id_column = (char *)"id",
                              .init = {0.5, 0.5}, .best = {1, 1}};

static mla_view view_of(size_t place) {
    return (mla_view){.task = &task, .script = "pass\n", .steps_left = 3, .seed = place,
                      .trajectory = "toy-0000", .place = place};
}

// What it says tells which view it was asked for: its seed.
static char *say_seed(void *ctx, const json_t *asked) {
    (void)ctx;
    usleep(20000);
    return mla_format("%lld", mla_json_get_int(asked, "seed", -1));
}

static mla_endpoint_actor *make_actor(const chat_server *server, mla_ledger *ledger) {
    mla_endpoint_actor_options o = mla_endpoint_actor_options_default();
    mla_err err;
    o.url = server->url;
    o.model = "m";
    o.attempts = 1;
    o.at_once = 4;
    o.max_new = 40;
    o.ledger = ledger;
    mla_endpoint_actor *actor = mla_endpoint_actor_create(&o, &err);
    if (!actor) fail_msg("%s", err.text);
    return actor;
}

static void replies_come_side_by_side_to_their_places(void **state) {
    (void)state;
    chat_server server = {.answer = say_seed};
    chat_start(&server, NULL);
    mla_endpoint_actor *self = make_actor(&server, NULL);
    mla_actor actor = mla_endpoint_actor_make(self);
    heard h = {.n = 0};
    mla_err err;
    mla_view views[20];
    for (size_t i = 0; i < 20; i++) views[i] = view_of(i + 30);
    assert_int_equal(actor.act(actor.self, views, 20, hear, &h, &err), 0);
    while (h.n < 20) assert_true(actor.poll(actor.self, 5, hear, &h, &err) >= 0);
    for (size_t i = 30; i < 50; i++) assert_int_equal(strtoul(h.texts[i], NULL, 10), i);
    assert_true(server.most_live <= 4);
    forget(&h);
    mla_endpoint_actor_free(self);
    chat_stop(&server);
}

// What is under way when one fails is handed over before the failure is told.
static void a_failure_comes_after_what_was_under_way(void **state) {
    (void)state;
    SERVER({.content = "good", .tokens_in = 5, .tokens_out = 5},
           {.status = 404, .body = "{\"error\": \"gone\"}"});
    mla_endpoint_actor *self = make_actor(&server, NULL);
    mla_actor actor = mla_endpoint_actor_make(self);
    heard h = {.n = 0};
    mla_err err = {{0}};
    mla_view views[8];
    for (size_t i = 0; i < 8; i++) views[i] = view_of(i);
    assert_int_equal(actor.act(actor.self, views, 8, hear, &h, &err), 0);
    int rc;
    while ((rc = actor.poll(actor.self, 5, hear, &h, &err)) >= 0) continue;
    assert_int_equal(h.n, 1);
    assert_non_null(strstr(err.text, "status 404 (gone)"));
    assert_true(server.calls < 8);
    forget(&h);
    mla_endpoint_actor_free(self);
    chat_stop(&server);
}

static void ask_to_stop(int signal) {
    (void)signal;
    raise(SIGTERM);
}

// The third request of a minute waits, for as long as a minute takes: until it is stopped. The last
// test, for what stops it stops all that would come after.
static void rates_are_kept(void **state) {
    (void)state;
    SERVER({.content = "x", .tokens_in = 5, .tokens_out = 5});
    mla_ledger *ledger = open_ledger((mla_ledger_options){.requests_per_minute = 2,
                                                          .tokens_per_minute = 200});
    mla_endpoint *endpoint = connect_to(server.url, ledger, 1, 20);
    expect(endpoint, 1, "x");
    expect(endpoint, 2, "x");
    mla_stop_install();
    const struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    assert_int_equal(signal(SIGALRM, ask_to_stop) == SIG_ERR, 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    expect_error(endpoint, 3, "stopped");
    assert_int_equal(server.calls, 2);
    mla_endpoint_free(endpoint);
    mla_ledger_close(ledger);
    chat_stop(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_pass_is_tried_again),
        cmocka_unit_test(not_for_ever),
        cmocka_unit_test(what_will_not_pass_is_told),
        cmocka_unit_test_setup(a_hanging_endpoint_is_given_up, fresh_file),
        cmocka_unit_test(nothing_said_is_an_answer),
        cmocka_unit_test_setup(answers_are_paid_once, fresh_file),
        cmocka_unit_test_setup(the_budget_is_never_passed, fresh_file),
        cmocka_unit_test_setup(an_endpoint_that_bills_more_than_it_may_is_stopped, fresh_file),
        cmocka_unit_test_setup(a_budget_in_money_needs_prices, fresh_file),
        cmocka_unit_test_setup(unanswered_usage_is_estimated, fresh_file),
        cmocka_unit_test_setup(the_key_is_never_written_down, fresh_file),
        cmocka_unit_test(vectors_come_in_their_places),
        cmocka_unit_test(replies_come_side_by_side_to_their_places),
        cmocka_unit_test(a_failure_comes_after_what_was_under_way),
        cmocka_unit_test_setup(rates_are_kept, fresh_file),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
