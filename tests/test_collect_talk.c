// Conversations in other programs' forms: what is read, what is written, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "collect/talk.h"

static mla_talk talk_of(const char *text) {
    mla_err err = {{0}};
    json_t *record = mla_json_parse(text, strlen(text), "test", &err);
    assert_non_null(record);
    mla_talk talk;
    if (mla_talk_read(&talk, record, &err) < 0) fail_msg("%s", err.text);
    json_decref(record);
    return talk;
}

static void assert_written(const mla_talk *talk, mla_data_format format, const char *text) {
    json_t *record = mla_talk_write(talk, format);
    char *line = mla_json_line(record);
    assert_string_equal(line, text);
    free(line);
    json_decref(record);
}

static const char sharegpt[] =
    "{\"id\":\"identity_0\",\"conversations\":[{\"from\":\"human\",\"value\":\"Hi <|im_end|>\"},"
    "{\"from\":\"gpt\",\"value\":\"Hello.\\nYes?\"},{\"from\":\"observation\",\"value\":\"42\"},"
    "{\"from\":\"gpt\",\"value\":\"\"}],\"system\":\"Be short.\"}";

static const char openai[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be short.\"},"
    "{\"role\":\"user\",\"content\":\"Grüße \\u20ac\"},"
    "{\"role\":\"assistant\",\"content\":\"no\",\"weight\":0},"
    "{\"role\":\"user\",\"content\":\"again\"},{\"role\":\"assistant\",\"content\":\"yes\"}]}";

static void both_forms_come_back_as_they_were(void **state) {
    (void)state;
    mla_talk talk = talk_of(sharegpt);
    assert_int_equal(talk.n_turns, 5);
    assert_int_equal(talk.turns[0].role, MLA_ROLE_SYSTEM);
    assert_int_equal(talk.turns[3].role, MLA_ROLE_TOOL);
    assert_true(talk.turns[2].learn && talk.turns[4].learn);
    assert_string_equal(talk.id, "identity_0");
    assert_written(&talk, MLA_FORMAT_SHAREGPT, sharegpt);
    mla_talk_clear(&talk);
    talk = talk_of(openai);
    assert_false(talk.turns[2].learn);
    assert_true(talk.turns[4].learn);
    json_t *plain = json_loads(openai, 0, NULL);
    char *line = mla_json_line(plain);         // with the escape resolved
    assert_written(&talk, MLA_FORMAT_OPENAI, line);
    free(line);
    json_decref(plain);
    mla_talk_clear(&talk);
}

static void other_spellings_are_read(void **state) {
    (void)state;
    // A system turn in the list, OpenAI's roles in a ShareGPT list, parts of text, unknown keys.
    mla_talk talk = talk_of(
        "{\"conversations\":[{\"from\":\"system\",\"value\":\"S\"},{\"from\":\"user\",\"value\":"
        "\"U\",\"extra\":1},{\"from\":\"assistant\",\"value\":\"A\"}],\"source\":\"x\",\"id\":7}");
    assert_int_equal(talk.turns[0].role, MLA_ROLE_SYSTEM);
    assert_null(talk.id);
    assert_written(&talk, MLA_FORMAT_OPENAI,
                   "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\","
                   "\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A\"}]}");
    mla_talk_clear(&talk);
    talk = talk_of("{\"messages\":[{\"role\":\"developer\",\"content\":\"D\"},{\"role\":\"user\","
                   "\"content\":[{\"type\":\"text\",\"text\":\"one \"},{\"type\":\"text\",\"text\":"
                   "\"two\"}]},{\"role\":\"assistant\",\"content\":\"A\",\"tool_calls\":[]}]}");
    assert_int_equal(talk.turns[0].role, MLA_ROLE_SYSTEM);
    assert_string_equal(talk.turns[1].text, "one two");
    mla_talk_clear(&talk);
}

static void what_cannot_be_taught_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[]", "not a JSON object"},
        {"{}", "no list"},
        {"{\"messages\":{}}", "no list"},
        {"{\"messages\":[]}", "no turn of an assistant"},
        {"{\"messages\":[1]}", "turn 1 has no \"role\""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "no turn of an assistant"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}]}",
         "no turn of an assistant"},
        {"{\"messages\":[{\"role\":\"clown\",\"content\":\"x\"}]}", "\"clown\""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "turn 1 has no text"},
        {"{\"messages\":[{\"role\":\"user\"}]}", "turn 1 has no text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
         "a part that is no text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"system\",\"content\":"
         "\"x\"}]}", "turn 2 is of the system"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}]}",
         "calls a tool"},
        {"{\"conversations\":[{\"from\":\"function_call\",\"value\":\"x\"}]}", "function_call"},
        {"{\"conversations\":[{\"from\":\"gpt\",\"value\":\"x\"}],\"mlagent\":[]}",
         "describes 0 turns, but 1"},
    };
    for (size_t i = 0; i < MLA_COUNT(bad); i++) {
        mla_err err = {{0}};
        mla_talk talk;
        json_t *record = json_loads(bad[i].text, 0, NULL);
        assert_non_null(record);
        assert_int_equal(mla_talk_read(&talk, record, &err), -1);
        if (!strstr(err.text, bad[i].says)) fail_msg("%s: %s", bad[i].text, err.text);
        json_decref(record);
    }
}

// All that a step record says goes with a turn and comes back, but for ids and text.
static void a_step_record_goes_along(void **state) {
    (void)state;
    mla_err err = {{0}};
    mla_step step, back;
    mla_step_init(&step);
    step.task = mla_strdup("titanic"), step.trajectory = mla_strdup("titanic-0001");
    step.actor = mla_strdup("expert"), step.text = mla_strdup("Thought: x");
    step.seed = UINT64_MAX, step.index = 3, step.reward.gain = 0.1, step.flags = 2;
    step.kind = MLA_ACTION_EDIT_SCRIPT, step.outcome = MLA_OUTCOME_OK;
    step.idea = mla_strdup("a+b");
    mla_talk talk = {.steps = json_array()};
    mla_talk_push_take(&talk, MLA_ROLE_ASSISTANT, mla_strdup(step.text), true);
    json_array_append_new(talk.steps, mla_talk_rest(&step));
    json_t *record = mla_talk_write(&talk, MLA_FORMAT_SHAREGPT);
    mla_talk again;
    assert_int_equal(mla_talk_read(&again, record, &err), 0);
    assert_int_equal(mla_talk_step(&again, &again.turns[0], 0, "unused", &back, &err), 0);
    json_t *a = mla_step_to_json(&step), *b = mla_step_to_json(&back);
    assert_true(json_equal(a, b));
    json_decref(a), json_decref(b), json_decref(record);
    mla_step_clear(&step), mla_step_clear(&back);
    mla_talk_clear(&talk), mla_talk_clear(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_come_back_as_they_were),
        cmocka_unit_test(other_spellings_are_read),
        cmocka_unit_test(what_cannot_be_taught_is_refused),
        cmocka_unit_test(a_step_record_goes_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
