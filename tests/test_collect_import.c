// Other programs' conversations as a data set, and back: what is trained on, what comes back, what
// is refused. Needs the default model's vocabulary (scripts/setup); without it it is skipped.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "collect/data.h"
#include "record/store.h"
#include "tiny_policy.h"

static char root[64];
static mla_policy *policy;
static mla_err err;

static char *at(const char *name) {
    return mla_fs_join(root, name);
}

static void write_text(const char *name, const char *text) {
    char *path = at(name);
    if (mla_fs_write(path, text, strlen(text), &err) < 0) fail_msg("%s", err.text);
    free(path);
}

static char *read_text(const char *name) {
    char *path = at(name);
    mla_buf text;
    if (mla_fs_read(path, 1 << 24, &text, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return mla_buf_take(&text);
}

static mla_import_options options_of(double val_share) {
    mla_import_options o = mla_import_options_default();
    o.val_share = val_share;
    return o;
}

// Imports one file into a run of that name; mla_data_import's result.
static int import(const char *run_name, const char *file, const mla_import_options *o,
                  mla_import_counts *counts) {
    char *dir = at(run_name), *path = at(file);
    err.text[0] = '\0';
    mla_run *run = mla_run_open(dir, &err);
    if (!run) fail_msg("%s", err.text);
    int rc = mla_data_import(run, policy, &path, 1, o, counts, &err);
    mla_run_close(run);
    free(dir);
    free(path);
    return rc;
}

static void export(const char *run_name, const char *file, mla_data_format format) {
    char *dir = at(run_name), *path = at(file);
    size_t counts[2];
    if (mla_data_export(dir, policy, format, path, counts, &err) < 0) fail_msg("%s", err.text);
    free(dir);
    free(path);
}

static mla_steps samples_of(const char *run_name, const char *file) {
    char *path = mla_format("%s/%s/sft/%s", root, run_name, file);
    mla_steps steps;
    if (mla_store_read(path, &steps, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return steps;
}

static void assert_same_text(const char *a, const char *b) {
    char *x = read_text(a), *y = read_text(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

// ---- what is trained on ------------------------------------------------------------------------

static const char two_turns[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U1\"},"
    "{\"role\":\"assistant\",\"content\":\"A1 <|im_end|>\"},{\"role\":\"user\",\"content\":\"U2\"},"
    "{\"role\":\"assistant\",\"content\":\"A2\"},{\"role\":\"user\",\"content\":\"bye\"}]}\n";

static void assert_sample(const mla_step *step, const mla_ids *prompt, const char *reply) {
    assert_int_equal(step->n_prompt, prompt->len);
    assert_memory_equal(step->prompt_ids, prompt->data, prompt->len * sizeof *prompt->data);
    mla_ids action = {0};
    mla_tokenizer_encode(mla_policy_tokenizer(policy), reply, strlen(reply), &action);
    mla_ids_push(&action, mla_chat_end_of_turn(policy));
    assert_int_equal(step->n_action, action.len);
    assert_memory_equal(step->action_ids, action.data, action.len * sizeof *action.data);
    mla_ids_clear(&action);
}

// Each reply is a sample, after the turns before it; a marker in a text is plain text.
static void each_reply_is_a_sample(void **state) {
    (void)state;
    write_text("two.jsonl", two_turns);
    mla_import_counts c;
    const mla_import_options o = options_of(0);
    assert_int_equal(import("two", "two.jsonl", &o, &c), 1);
    assert_int_equal(c.train, 2);
    assert_int_equal(c.unanswered, 1);
    mla_steps got = samples_of("two", "steps.jsonl");
    const mla_step *first = &got.items[got.items[0].index == 0 ? 0 : 1];
    const mla_step *second = &got.items[got.items[0].index == 0 ? 1 : 0];
    mla_ids prompt = {0};
    mla_chat_turn(policy, &prompt, "system", "S");
    mla_chat_turn(policy, &prompt, "user", "U1");
    size_t before = prompt.len;
    mla_chat_open_reply(policy, &prompt);
    assert_sample(first, &prompt, "A1 <|im_end|>");
    size_t ends = 0;
    for (size_t i = 0; i < first->n_action; i++) {
        ends += first->action_ids[i] == mla_chat_end_of_turn(policy);
    }
    assert_int_equal(ends, 1);
    prompt.len = before;
    mla_chat_turn(policy, &prompt, "assistant", "A1 <|im_end|>");
    mla_chat_turn(policy, &prompt, "user", "U2");
    mla_chat_open_reply(policy, &prompt);
    assert_sample(second, &prompt, "A2");
    assert_string_equal(second->trajectory, "two-000001");
    mla_ids_clear(&prompt);
    mla_steps_clear(&got);
}

// ---- round trips -------------------------------------------------------------------------------

static const char foreign_sharegpt[] =
    "{\"id\":\"a\",\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"},{\"from\":\"gpt\","
    "\"value\":\"Ho\"},{\"from\":\"human\",\"value\":\"And\\n\\n<|im_start|>?\"},{\"from\":\"gpt\","
    "\"value\":\"Grüße\"}]}\n"
    "{\"id\":\"b\",\"conversations\":[{\"from\":\"human\",\"value\":\"x\"},{\"from\":\"gpt\","
    "\"value\":\"\"}],\"system\":\" S \"}\n";

static const char foreign_openai[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"assistant\",\"content\":"
    "\"no\",\"weight\":0},{\"role\":\"user\",\"content\":\"2\"},{\"role\":\"assistant\","
    "\"content\":\"yes\"},{\"role\":\"user\",\"content\":\"3\"},{\"role\":\"assistant\","
    "\"content\":\"yes!\"}]}\n"
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"1\"},"
    "{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"tool\",\"content\":\"t\"},"
    "{\"role\":\"assistant\",\"content\":\"b\"}]}\n";

static void foreign_conversations_come_back(void **state) {
    (void)state;
    mla_import_counts c;
    const mla_import_options o = options_of(0);
    write_text("share.jsonl", foreign_sharegpt);
    assert_int_equal(import("share", "share.jsonl", &o, &c), 1);
    export("share", "share2.jsonl", MLA_FORMAT_SHAREGPT);
    assert_same_text("share2.jsonl", "share.jsonl");
    write_text("open.jsonl", foreign_openai);
    assert_int_equal(import("open", "open.jsonl", &o, &c), 1);
    assert_int_equal(c.train, 4);
    export("open", "open2.jsonl", MLA_FORMAT_OPENAI);
    assert_same_text("open2.jsonl", "open.jsonl");
}

static mla_step own_step(int trajectory, int index) {
    mla_step s;
    mla_ids prompt = {0}, action = {0};
    mla_step_init(&s);
    s.task = mla_strdup("titanic"), s.trajectory = mla_format("titanic-%04d", trajectory);
    s.actor = mla_strdup("expert"), s.idea = mla_strdup("deep+wide");
    s.index = index, s.seed = UINT64_MAX - (unsigned)index, s.outcome = MLA_OUTCOME_OK;
    s.kind = MLA_ACTION_EDIT_SCRIPT, s.reward.gain = 0.1 / (1 + index), s.ended = true;
    s.text = mla_format("Thought: é %d\nAction: Edit Script\nAction Input: {}",
                        10 * trajectory + index);
    char *user = mla_format("# Task\nsteps %d <|im_end|>\n", index);
    mla_chat_turn(policy, &prompt, "system", "Improve.\n");
    mla_chat_turn(policy, &prompt, "user", user);
    mla_chat_open_reply(policy, &prompt);
    mla_tokenizer_encode(mla_policy_tokenizer(policy), s.text, strlen(s.text), &action);
    mla_ids_push(&action, mla_chat_end_of_turn(policy));
    s.prompt_ids = prompt.data, s.n_prompt = prompt.len;
    s.action_ids = action.data, s.n_action = action.len;
    s.cost.prompt_tokens = (int)prompt.len, s.cost.action_tokens = (int)action.len;
    free(user);
    return s;
}

static void write_own(const char *run, const char *file, int from, int to) {
    char *dir = mla_format("%s/%s/sft", root, run), *path = mla_fs_join(dir, file);
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    mla_lines *lines = mla_lines_open(path, &err);
    for (int i = from; i < to; i++) {
        for (int k = 0; k < 3; k++) {
            mla_step s = own_step(i, k + (i >= 100 ? 3 : 0));
            assert_int_equal(mla_store_append(lines, &s, &err), 0);
            mla_step_clear(&s);
        }
    }
    mla_lines_close(lines);
    free(dir);
    free(path);
}

// Our own steps lose nothing: by ShareGPT every field comes back, ids too, which are made anew of
// the text; by OpenAI's form the conversations do.
static void our_steps_come_back_to_the_byte(void **state) {
    (void)state;
    static const struct {
        mla_data_format format;
        const char *ext;
    } forms[] = {{MLA_FORMAT_SHAREGPT, "jsonl"}, {MLA_FORMAT_SHAREGPT, "json"},
                 {MLA_FORMAT_STEPS, "jsonl"}, {MLA_FORMAT_STEPS, "json"},
                 {MLA_FORMAT_OPENAI, "json"}};
    mla_import_counts c;
    const mla_import_options o = options_of(0.3);
    write_own("own", "steps.jsonl", 0, 5);
    write_own("own", "validation.jsonl", 100, 102);
    export("own", "plain.jsonl", MLA_FORMAT_STEPS);
    for (size_t i = 0; i < MLA_COUNT(forms); i++) {
        char *run = mla_format("back-%zu", i), *file = mla_format("own-%zu.%s", i, forms[i].ext),
             *again = mla_format("own-%zu-again.%s", i, forms[i].ext);
        export("own", file, forms[i].format);
        assert_int_equal(import(run, file, &o, &c), 1);
        assert_int_equal(c.train, 15);
        assert_int_equal(c.validation, 6);
        export(run, again, forms[i].format);
        assert_same_text(again, file);
        char *held = mla_data_counterpart(file), *held_again = mla_data_counterpart(again);
        assert_same_text(held_again, held);
        if (forms[i].format != MLA_FORMAT_OPENAI) {
            char *steps = mla_format("plain-%zu.jsonl", i);
            export(run, steps, MLA_FORMAT_STEPS);
            assert_same_text(steps, "plain.jsonl");
            free(steps);
        }
        free(run), free(file), free(again), free(held), free(held_again);
    }
    char *info = read_text("dataset_info.json");
    assert_non_null(strstr(info, "\"own-0.validation\""));
    assert_non_null(strstr(info, "\"messages\": \"conversations\""));
    free(info);
}

// ---- what is held back -------------------------------------------------------------------------

static void conversations_are_held_back_whole(void **state) {
    (void)state;
    mla_buf text;
    mla_buf_init(&text, 1 << 20);
    for (int i = 0; i < 20; i++) {
        mla_buf_printf(&text, "{\"conversations\":[{\"from\":\"human\",\"value\":\"%d\"},{\"from\":"
                       "\"gpt\",\"value\":\"a\"},{\"from\":\"human\",\"value\":\"b\"},{\"from\":"
                       "\"gpt\",\"value\":\"c\"}]}\n", i < 10 ? 0 : i);
    }
    write_text("many.jsonl", mla_buf_text(&text));
    mla_buf_clear(&text);
    mla_import_counts c;
    const mla_import_options o = options_of(0.5);
    assert_int_equal(import("many", "many.jsonl", &o, &c), 1);
    assert_int_equal(c.train, 20);
    assert_int_equal(c.validation + c.shared, 20);
    assert_true(c.shared > 0);                     // ten begin alike, and go on alike
    mla_steps train = samples_of("many", "steps.jsonl"),
              held = samples_of("many", "validation.jsonl");
    for (size_t i = 0; i < held.len; i++) {
        for (size_t j = 0; j < train.len; j++) {
            const mla_step *a = &held.items[i], *b = &train.items[j];
            assert_string_not_equal(a->trajectory, b->trajectory);
            assert_false(a->n_prompt == b->n_prompt &&
                         !memcmp(a->prompt_ids, b->prompt_ids, a->n_prompt * sizeof(int32_t)));
        }
    }
    mla_steps_clear(&train);
    mla_steps_clear(&held);
}

// ---- files as they come ------------------------------------------------------------------------

#define GOOD "{\"messages\":[{\"role\":\"user\",\"content\":\"%d\"},{\"role\":\"assistant\"," \
             "\"content\":\"y\"}]}"

static void odd_but_whole_files_are_read(void **state) {
    (void)state;
    mla_import_counts c;
    const mla_import_options o = options_of(0);
    // A mark, CRLF, empty lines, no newline at the end.
    char *text = mla_format("\xEF\xBB\xBF" GOOD "\r\n\r\n  \n" GOOD, 1, 2);
    write_text("odd.jsonl", text);
    free(text);
    assert_int_equal(import("odd", "odd.jsonl", &o, &c), 1);
    assert_int_equal(c.train, 2);
    assert_int_equal(c.bad, 0);
    text = mla_format("\xEF\xBB\xBF \n[" GOOD ",\n" GOOD "]\n", 1, 2);
    write_text("odd.json", text);
    free(text);
    assert_int_equal(import("odd", "odd.json", &o, &c), 1);
    assert_int_equal(c.train, 2);
}

static void bad_lines_are_left_out_up_to_a_limit(void **state) {
    (void)state;
    mla_import_counts c;
    mla_import_options o = options_of(0);
    char *text = mla_format(GOOD "\nnonsense\n{\"a\":1}\n" GOOD "\n{\"messages\":[{\"role\":\"user"
                            "\",\"content\":\"\xff\"}]}\n" GOOD "\n{\"messages\":[", 1, 2, 3);
    write_text("bad.jsonl", text);
    free(text);
    o.max_bad = 4;
    assert_int_equal(import("bad", "bad.jsonl", &o, &c), 1);
    assert_int_equal(c.train, 3);
    assert_int_equal(c.bad, 4);
    char *before = read_text("bad/sft/steps.jsonl");
    o.max_bad = 3;
    assert_int_equal(import("bad", "bad.jsonl", &o, &c), -1);
    assert_non_null(strstr(err.text, "--max-bad"));
    char *after = read_text("bad/sft/steps.jsonl");
    assert_string_equal(after, before);            // what was there is still there
    free(before);
    free(after);
    write_text("broken.json", "[{\"messages\": [}]");
    assert_int_equal(import("bad", "broken.json", &o, &c), -1);
    assert_non_null(strstr(err.text, "broken.json: line 1: not JSON"));
    assert_int_equal(import("bad", "nowhere.json", &o, &c), -1);
    assert_non_null(strstr(err.text, "nowhere.json"));
    write_text("empty.jsonl", "");
    assert_int_equal(import("bad", "empty.jsonl", &o, &c), -1);
    assert_non_null(strstr(err.text, "nothing to learn from"));
}

// Of a record that turns out bad at its second reply, the first is not learned from either.
static void a_record_is_taken_whole_or_not(void **state) {
    (void)state;
    mla_step s = own_step(0, 0);
    json_t *rest = mla_talk_rest(&s);
    char *good = mla_json_line(rest);
    char *text = mla_format("{\"conversations\":[{\"from\":\"gpt\",\"value\":\"one\"},{\"from\":"
                            "\"gpt\",\"value\":\"two\"}],\"mlagent\":[%s,{}]}\n" GOOD "\n",
                            good, 1);
    write_text("half.jsonl", text);
    mla_import_counts c;
    const mla_import_options o = options_of(0);
    assert_int_equal(import("half", "half.jsonl", &o, &c), 1);
    assert_int_equal(c.bad, 1);
    assert_int_equal(c.train, 1);
    free(text);
    free(good);
    json_decref(rest);
    mla_step_clear(&s);
}

static void ids_of_another_vocabulary_are_refused(void **state) {
    (void)state;
    mla_step s = own_step(0, 0);
    mla_import_counts c;
    mla_import_options o = options_of(0);
    o.max_bad = 0;
    s.action_ids[0]++;
    json_t *record = mla_step_to_json(&s);
    char *line = mla_json_line(record);
    write_text("other.jsonl", line);
    assert_int_equal(import("other", "other.jsonl", &o, &c), -1);
    s.action_ids[0] = 10000000;
    json_decref(record);
    free(line);
    record = mla_step_to_json(&s), line = mla_json_line(record);
    write_text("other.jsonl", line);
    assert_int_equal(import("other", "other.jsonl", &o, &c), -1);
    json_decref(record);
    free(line);
    mla_step_clear(&s);
}

static void long_samples_are_left_out(void **state) {
    (void)state;
    mla_import_counts c;
    mla_import_options o = options_of(0);
    char *text = mla_format(GOOD "\n", 1);
    write_text("long.jsonl", text);
    free(text);
    o.max_sample_tokens = 5;
    assert_int_equal(import("long", "long.jsonl", &o, &c), -1);
    assert_int_equal(c.too_long, 1);
    assert_non_null(strstr(err.text, "max_sample_tokens (5)"));
}

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-test-import-%d", (int)getpid());
    char *model = at("model");
    if (tiny_policy_write(model, 2) < 0) return -1;
    mla_policy_options o = mla_policy_options_default();
    policy = mla_policy_open(model, &o, &err);
    free(model);
    return policy ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    mla_policy_free(policy);
    return mla_fs_remove_tree(root, &err);
}

int main(void) {
    char *model = default_model();
    bool ready = mla_fs_exists(model);
    free(model);
    if (!ready) {
        printf("skipped: no default model; run scripts/setup\n");
        return 0;
    }
    mla_log_set_level(MLA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reply_is_a_sample),
        cmocka_unit_test(foreign_conversations_come_back),
        cmocka_unit_test(our_steps_come_back_to_the_byte),
        cmocka_unit_test(conversations_are_held_back_whole),
        cmocka_unit_test(odd_but_whole_files_are_read),
        cmocka_unit_test(bad_lines_are_left_out_up_to_a_limit),
        cmocka_unit_test(a_record_is_taken_whole_or_not),
        cmocka_unit_test(ids_of_another_vocabulary_are_refused),
        cmocka_unit_test(long_samples_are_left_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
