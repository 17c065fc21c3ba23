// The reader of requests: what is asked for is understood, what is wrong is refused by name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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
        " \"response_format\": {\"type\": \"text\"}, \"logit_bias\": null, \"unknown\": {}}");
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
    mla_ask text = read_good(MLA_ASK_COMPLETION, "{\"model\": \"m\", \"prompt\": \"x\"}");
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
}

#define M "\"model\": \"m\", "
#define U "\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], "

static void what_is_wrong_is_refused_by_name(void **state) {
    (void)state;
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
        {MLA_ASK_EMBEDDING, "{" M "\"input\": [[1, 2]]}", "input", "invalid_type"},
        {MLA_ASK_EMBEDDING, "{" M "\"input\": \"x\", \"encoding_format\": \"hex\"}",
         "encoding_format", "invalid_value"},
        {MLA_ASK_LINE, "{\"max_new\": 5}", "prompt", "missing_required_parameter"},
        {MLA_ASK_LINE, "{" U "\"prompt\": \"x\"}", "prompt", "missing_required_parameter"},
        {MLA_ASK_LINE, "{\"prompt\": [\"x\"]}", "prompt", "invalid_type"},
    };
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_read),
        cmocka_unit_test(defaults_are_those_of_openai),
        cmocka_unit_test(prompts_have_four_forms),
        cmocka_unit_test(lines_and_texts_to_embed_are_read),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
