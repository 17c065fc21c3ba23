// The reader of requests: what is asked for is understood, what is wrong is refused by name.
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "serve/request.h"

static mla_ask read_good(mla_ask_kind kind, const char *body) {
    mla_ask ask;
    mla_fault fault;
    if (mla_ask_read(&ask, kind, body, strlen(body), &fault) < 0) {
        fail_msg("%s: %s", body, fault.message);
    }
    return ask;
}

static void a_chat_is_read(void **state) {
    (void)state;
    mla_ask ask = read_good(MLA_ASK_CHAT,
        "{\"model\": \"m\", \"messages\": ["
        " {\"role\": \"developer\", \"content\": \"be brief\"},"
        " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"one \"},"
        "                                    {\"type\": \"text\", \"text\": \"two\"}]},"
        " {\"role\": \"assistant\", \"content\": \"\"}],"
        " \"n\": 3, \"max_tokens\": 5, \"max_completion_tokens\": 7, \"temperature\": 0,"
        " \"top_p\": 0.5, \"top_k\": -1, \"min_p\": 0.25, \"seed\": -1, \"stop\": [\"a\", \"bc\"],"
        " \"stream\": true, \"stream_options\": {\"include_usage\": true}, \"logprobs\": true,"
        " \"top_logprobs\": 2, \"user\": \"u\", \"tools\": [], \"presence_penalty\": 0,"
        " \"response_format\": {\"type\": \"text\"}, \"modalities\": [\"text\"],"
        " \"logit_bias\": null, \"unknown\": {}}");
    assert_string_equal(ask.model, "m");
    assert_int_equal(ask.n_messages, 3);
    assert_string_equal(ask.messages[0].role, "system");
    assert_string_equal(ask.messages[1].text, "one two");
    assert_string_equal(ask.messages[2].text, "");
    assert_int_equal(ask.n, 3);
    assert_int_equal(ask.max_new, 7);
    assert_true(ask.temperature <= 0 && ask.has_temperature);
    assert_float_equal(ask.top_p, 0.5, 0);
    assert_float_equal(ask.min_p, 0.25, 0);
    assert_int_equal(ask.top_k, 0);
    assert_true(ask.has_seed && ask.seed == UINT64_MAX);
    assert_int_equal(ask.n_stop, 2);
    assert_string_equal(ask.stop[1], "bc");
    assert_true(ask.stream && ask.include_usage && ask.logprobs);
    assert_int_equal(ask.top_logprobs, 2);
    mla_ask_clear(&ask);
}

static void defaults_are_those_of_openai(void **state) {
    (void)state;
    mla_ask chat = read_good(MLA_ASK_CHAT, "{\"model\": \"m\", \"messages\": [{\"role\": \"user\","
                                           " \"content\": \"x\"}]}");
    assert_int_equal(chat.n, 1);
    assert_int_equal(chat.max_new, 0);
    assert_float_equal(chat.temperature, 1, 0);
    assert_float_equal(chat.top_p, 1, 0);
    assert_false(chat.stream || chat.logprobs || chat.has_seed || chat.include_usage);
    mla_ask_clear(&chat);
    mla_ask text = read_good(MLA_ASK_COMPLETION, "{\"model\": \"m\", \"prompt\": \"x\", "
                             "\"n\": 2, \"best_of\": 2, \"echo\": false, \"suffix\": \"\"}");
    assert_int_equal(text.max_new, 16);
    mla_ask_clear(&text);
}

static void prompts_have_four_forms(void **state) {
    (void)state;
    static const struct {
        const char *prompt;
        size_t n, ids;          // prompts; ids of the last one, 0: text
    } forms[] = {{"\"one\"", 1, 0}, {"[\"one\", \"two\"]", 2, 0}, {"[1, 2, 3]", 1, 3},
                 {"[[1, 2], [3, 4, 5, 6]]", 2, 4}};
    for (size_t i = 0; i < MLA_COUNT(forms); i++) {
        char *body = mla_format("{\"model\": \"m\", \"prompt\": %s, \"logprobs\": 0}",
                                forms[i].prompt);
        mla_ask ask = read_good(MLA_ASK_COMPLETION, body);
        assert_int_equal(mla_ask_prompts(&ask), forms[i].n);
        const mla_input *last = &ask.inputs[ask.n_inputs - 1];
        assert_int_equal(last->ids.len, forms[i].ids);
        assert_int_equal(last->text == NULL, forms[i].ids > 0);
        assert_true(ask.logprobs && !ask.top_logprobs);
        mla_ask_clear(&ask);
        free(body);
    }
}

static void lines_and_texts_to_embed_are_read(void **state) {
    (void)state;
    mla_ask line = read_good(MLA_ASK_LINE, "{\"id\": [7], \"prompt\": \"x\", \"max_new\": 9,"
                                           " \"logprobs\": true, \"stop\": \"s\"}");
    assert_int_equal(line.max_new, 9);
    assert_int_equal(json_integer_value(json_array_get(line.id, 0)), 7);
    assert_null(line.model);
    assert_int_equal(line.n_stop, 1);
    mla_ask_clear(&line);
    mla_ask texts = read_good(MLA_ASK_EMBEDDING, "{\"model\": \"m\", \"input\": [\"a\", \"b\"],"
                                                 " \"encoding_format\": \"base64\"}");
    assert_true(texts.base64);
    assert_int_equal(texts.n_inputs, 2);
    mla_ask_clear(&texts);
    static const struct {
        const char *input;
        size_t n, ids;
    } forms[] = {{"[5, 6, 7]", 1, 3}, {"[[1], [2, 3]]", 2, 2}};
    for (size_t i = 0; i < MLA_COUNT(forms); i++) {
        char *body = mla_format("{\"model\": \"m\", \"input\": %s}", forms[i].input);
        mla_ask ask = read_good(MLA_ASK_EMBEDDING, body);
        assert_int_equal(ask.n_inputs, forms[i].n);
        assert_int_equal(ask.inputs[ask.n_inputs - 1].ids.len, forms[i].ids);
        mla_ask_clear(&ask);
        free(body);
    }
}

#define M "\"model\": \"m\", "
#define U "\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], "

static const struct {
    mla_ask_kind kind;
    const char *body, *param, *code;
} wrong[] = {
    {MLA_ASK_CHAT, "", NULL, "invalid_json"},
    {MLA_ASK_CHAT, "{\"model\": \"m\"", NULL, "invalid_json"},
    {MLA_ASK_CHAT, "{} x", NULL, "invalid_json"},
    {MLA_ASK_CHAT, "{\"model\": \"\\u0000\"}", NULL, "invalid_json"},
    {MLA_ASK_CHAT, "{\"model\": \"a\", \"model\": \"b\"}", NULL, "invalid_json"},
    {MLA_ASK_CHAT, "[]", NULL, "invalid_type"},
    {MLA_ASK_CHAT, "7", NULL, "invalid_type"},
    {MLA_ASK_CHAT, "{" U "\"n\": 1}", "model", "missing_required_parameter"},
    {MLA_ASK_CHAT, "{\"model\": 7}", "model", "invalid_type"},
    {MLA_ASK_CHAT, "{" M "\"n\": 1}", "messages", "missing_required_parameter"},
    {MLA_ASK_CHAT, "{" M "\"messages\": []}", "messages", "invalid_value"},
    {MLA_ASK_CHAT, "{" M "\"messages\": {}}", "messages", "invalid_type"},
    {MLA_ASK_CHAT, "{" M "\"messages\": [7]}", "messages", "invalid_type"},
    {MLA_ASK_CHAT, "{" M "\"messages\": [{\"content\": \"x\"}]}", "messages[].role",
     "invalid_type"},
    {MLA_ASK_CHAT, "{" M "\"messages\": [{\"role\": \"wizard\", \"content\": \"x\"}]}",
     "messages", "invalid_value"},
    {MLA_ASK_CHAT, "{" M "\"messages\": [{\"role\": \"user\"}]}", "messages[].content",
     "invalid_type"},
    {MLA_ASK_CHAT, "{" M "\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
                   "\"image_url\"}]}]}", "messages[].content", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"temperature\": \"hot\"}", "temperature", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"temperature\": -1}", "temperature", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"top_p\": 1.5}", "top_p", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"n\": 0}", "n", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"n\": 1.5}", "n", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"n\": 1000}", "n", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"max_tokens\": 0}", "max_tokens", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"max_tokens\": 99999999999999999}", "max_tokens",
     "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"max_completion_tokens\": true}", "max_completion_tokens",
     "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"seed\": 0.5}", "seed", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"stop\": \"\"}", "stop", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"stop\": [1]}", "stop", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"stop\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\","
                   "\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}", "stop",
     "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"stream\": 1}", "stream", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"stream_options\": 1}", "stream_options", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"logprobs\": 1}", "logprobs", "invalid_type"},
    {MLA_ASK_CHAT, "{" M U "\"top_logprobs\": 3}", "top_logprobs", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"tools\": [{}]}", "tools", "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"logit_bias\": {\"5\": 1}}", "logit_bias",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"presence_penalty\": 0.1}", "presence_penalty",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"frequency_penalty\": -1}", "frequency_penalty",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"modalities\": [\"text\", \"audio\"]}", "modalities",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"audio\": {\"voice\": \"x\"}}", "audio",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"stream_options\": {\"include_usage\": true}}",
     "stream_options", "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"logprobs\": true, \"top_logprobs\": 21}", "top_logprobs",
     "invalid_value"},
    {MLA_ASK_CHAT, "{" M U "\"logprobs\": true, \"top_logprobs\": 20, \"n\": 13}",
     "top_logprobs", "invalid_value"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": \"x\", \"logprobs\": 21}", "logprobs",
     "invalid_value"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": \"x\", \"suffix\": \"y\"}", "suffix",
     "unsupported_parameter"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": \"x\", \"n\": 2, \"best_of\": 3}", "best_of",
     "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"response_format\": {\"type\": \"json_schema\", "
                   "\"json_schema\": {}}}", "response_format", "unsupported_parameter"},
    {MLA_ASK_CHAT, "{" M U "\"response_format\": {\"type\": \"json_object\"}}",
     "response_format", "unsupported_parameter"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": []}", "prompt", "invalid_value"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": 7}", "prompt", "invalid_type"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": [1, \"x\"]}", "prompt", "invalid_type"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": [[1], {}]}", "prompt", "invalid_type"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": [-1]}", "prompt", "invalid_value"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": [\"a\", \"b\"], \"n\": 100}", "n",
     "invalid_value"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": \"x\", \"echo\": true}", "echo",
     "unsupported_parameter"},
    {MLA_ASK_COMPLETION, "{" M "\"prompt\": \"x\", \"best_of\": 2}", "best_of",
     "unsupported_parameter"},
    {MLA_ASK_COMPLETION, "{" M "\"n\": 1}", "prompt", "missing_required_parameter"},
    {MLA_ASK_EMBEDDING, "{" M "\"n\": 1}", "input", "missing_required_parameter"},
    {MLA_ASK_EMBEDDING, "{" M "\"input\": [[1, \"x\"]]}", "input", "invalid_type"},
    {MLA_ASK_EMBEDDING, "{" M "\"input\": {}}", "input", "invalid_type"},
    {MLA_ASK_EMBEDDING, "{" M "\"input\": [-5]}", "input", "invalid_value"},
    {MLA_ASK_EMBEDDING, "{" M "\"input\": \"x\", \"encoding_format\": \"hex\"}",
     "encoding_format", "invalid_value"},
    {MLA_ASK_LINE, "{\"max_new\": 5}", "prompt", "missing_required_parameter"},
    {MLA_ASK_LINE, "{" U "\"prompt\": \"x\"}", "prompt", "missing_required_parameter"},
    {MLA_ASK_LINE, "{\"prompt\": [\"x\"]}", "prompt", "invalid_type"},
};

static void what_is_wrong_is_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(wrong); i++) {
        mla_ask ask;
        mla_fault fault = {0};
        print_message("%s\n", wrong[i].body);
        assert_int_equal(mla_ask_read(&ask, wrong[i].kind, wrong[i].body, strlen(wrong[i].body),
                                      &fault), -1);
        mla_ask_clear(&ask);
        assert_int_equal(fault.status, 400);
        assert_string_equal(fault.type, "invalid_request_error");
        assert_string_equal(fault.code, wrong[i].code);
        assert_true(fault.message[0]);
        if (wrong[i].param) assert_string_equal(fault.param, wrong[i].param);
        else assert_null(fault.param);
    }
}

// ---- memory ------------------------------------------------------------------------------------

// Each block is counted with what malloc rounds it up to and keeps before it.
static size_t held, most;

static void *counting_malloc(size_t size) {
    void *p = malloc(size);
    held += malloc_usable_size(p) + sizeof(size_t);
    if (held > most) most = held;
    return p;
}

static void counting_free(void *p) {
    if (p) held -= malloc_usable_size(p) + sizeof(size_t);
    free(p);
}

// The most that the JSON library held while the body was read.
static size_t memory_of(const char *body, size_t len, mla_fault *fault) {
    mla_ask ask;
    json_malloc_t old_malloc;
    json_free_t old_free;
    *fault = (mla_fault){0};
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(counting_malloc, counting_free);
    held = most = 0;
    int rc = mla_ask_read(&ask, MLA_ASK_CHAT, body, len, fault);
    json_set_alloc_funcs(old_malloc, old_free);
    mla_ask_clear(&ask);
    assert_int_equal(held, 0);
    assert_int_equal(rc, fault->status ? -1 : 0);
    return most;
}

// `unit` over and over, %d a number that grows, between `head` and `tail`.
static char *repeated(const char *head, const char *unit, const char *tail, size_t len) {
    mla_buf text;
    mla_buf_init(&text, len + 1024);
    mla_buf_puts(&text, head);
    for (int i = 0; text.len < len; i++) {
        const char *number = strchr(unit, '#');
        mla_buf_append(&text, unit, number ? (size_t)(number - unit) : strlen(unit));
        if (number) mla_buf_printf(&text, "%d%s", i, number + 1);
    }
    mla_buf_puts(&text, tail);
    return mla_buf_take(&text);
}

#define TALK "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\""

// Bodies whose trees would take up to 80 times their bytes.
static void a_hostile_body_takes_a_few_times_its_size(void **state) {
    (void)state;
    static const struct {
        const char *head, *unit, *tail, *code;      // code NULL: a good body
    } bodies[] = {
        {"", "[", "", "too_many_values"},
        {"", "{\"a\":", "", "too_many_values"},
        {"[", "[],", "1]", "too_many_values"},
        {"[", "{},", "1]", "too_many_values"},
        {"[", "1,", "1]", "too_many_values"},
        {"[", "\"\",", "1]", "too_many_values"},
        {"[", "1.5,", "1]", "invalid_type"},
        {"{", "\"#\":1,", "\"a\":1}", "too_many_values"},
        {TALK, "word ", "\"}]}", NULL},
        {TALK, "\\n\\\"", "\"}]}", NULL},
        {TALK, "[{\\\",:", "\"}]}", NULL},
        {"{\"model\":\"m\",\"messages\":[", "{\"role\":\"user\",\"content\":\"a few words each\"},",
         "{\"role\":\"user\",\"content\":\"\"}]}", NULL},
        {"{\"model\":\"m\",\"input\":[", "10#,", "1]}", "missing_required_parameter"},
    };
    for (size_t i = 0; i < MLA_COUNT(bodies); i++) {
        mla_fault fault;
        const size_t size = bodies[i].code || i < 11 ? 1 << 20 : 1 << 16;
        char *body = repeated(bodies[i].head, bodies[i].unit, bodies[i].tail, size);
        const size_t len = strlen(body), bytes = memory_of(body, len, &fault);
        print_message("%.40s... %zu bytes: %.1f times as many (%s)\n", body, len,
                      (double)bytes / (double)len, fault.status ? fault.code : "read");
        assert_int_equal(fault.status, bodies[i].code ? 400 : 0);
        if (bodies[i].code) assert_string_equal(fault.code, bodies[i].code);
        assert_true(bytes <= mla_json_weight(body, len) || !bytes);
        assert_true(bytes <= ((size_t)1 << 20) + 16 * len);
        free(body);
    }
}

// What a tree takes is never more than its weight said, whatever is in it.
static void a_tree_is_not_larger_than_its_weight(void **state) {
    (void)state;
    static const char *const units[] = {"1,", "[],", "{},", "\"\",", "\"a word\",", "1.5,", "null,",
                                        "[1],", "{\"a\":1},", "{\"a\":[{}]},", "12345,",
                                        "{\"role\":\"user\",\"content\":\"hi\"},"};
    for (size_t i = 0; i < MLA_COUNT(units); i++) {
        mla_fault fault;
        for (size_t size = 16; size <= 8192; size *= 2) {
            char *body = repeated("[", units[i], "1]", size);
            assert_true(memory_of(body, strlen(body), &fault) <=
                        mla_json_weight(body, strlen(body)) + 2048);
            free(body);
        }
    }
    mla_fault fault;
    char *deep = repeated("", "[", "", 5000);
    memory_of(deep, 5000, &fault);
    assert_string_equal(fault.code, "invalid_json");
    free(deep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_read),
        cmocka_unit_test(defaults_are_those_of_openai),
        cmocka_unit_test(prompts_have_four_forms),
        cmocka_unit_test(lines_and_texts_to_embed_are_read),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test(a_hostile_body_takes_a_few_times_its_size),
        cmocka_unit_test(a_tree_is_not_larger_than_its_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
