// The configuration's profile of prompts and its editor: read, refused with what is wanted, written
// as used and read again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/config.h"

#define HEAD "name: x\nmodel: m\ntasks: {train: [a], evaluate: [b]}\n"

static char dir[] = "/tmp/mlagent-config-XXXXXX";

static int load(mla_config *out, const char *more, mla_err *err) {
    char *path = mla_fs_join(dir, "config.yaml"), *text = mla_format("%s%s", HEAD, more);
    assert_int_equal(mla_fs_write(path, text, strlen(text), err), 0);
    int rc = mla_config_load(out, path, err);
    free(text);
    free(path);
    return rc;
}

static void test_defaults(void **state) {
    (void)state;
    mla_config c;
    mla_err err = {{0}};
    if (load(&c, "", &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(c.prompt.actions, MLA_ACTIONS_DEFAULT);
    assert_int_equal(c.prompt.entries, MLA_PROMPT_THREE);
    assert_int_equal(c.prompt.feedback_bytes, 480);
    assert_int_equal(c.editor.kind, MLA_EDITOR_NONE);
    mla_config_clear(&c);
}

static void expect_set(const mla_config *c) {
    assert_int_equal(c->prompt.actions,
                     MLA_ACTION_BIT(LIST_FILES) | MLA_ACTION_BIT(EDIT_SCRIPT_AI));
    assert_int_equal(c->prompt.entries, MLA_PROMPT_SIX);
    assert_int_equal(c->rl.prompt.actions, c->prompt.actions);
    assert_int_equal(c->rl.prompt.entries, c->prompt.entries);
    assert_int_equal(c->editor.kind, MLA_EDITOR_ENDPOINT);
    assert_string_equal(c->editor.url, "http://127.0.0.1:8080/v1");
    assert_string_equal(c->editor.model, "a-model");
    assert_string_equal(c->editor.key_env, "MY_KEY");
    assert_true(c->editor.seconds == 12.5 && c->editor.max_tokens == 900);
}

static void test_round_trip(void **state) {
    (void)state;
    mla_config c, again;
    mla_err err = {{0}};
    if (load(&c, "prompt:\n  actions: \"List Files, Edit Script (AI)\"\n  entries: paper\neditor:\n"
                 "  kind: endpoint\n  url: http://127.0.0.1:8080/v1\n  model: a-model\n"
                 "  key_env: MY_KEY\n  seconds: 12.5\n  max_tokens: 900\n", &err) < 0) {
        fail_msg("%s", err.text);
    }
    expect_set(&c);
    char *path = mla_fs_join(dir, "saved.yaml");
    assert_int_equal(mla_config_save(&c, path, &err), 0);
    if (mla_config_load(&again, path, &err) < 0) fail_msg("%s", err.text);
    expect_set(&again);
    free(path);
    mla_config_clear(&c);
    mla_config_clear(&again);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"prompt: {actions: Dance}\n", "prompt.actions: \"Dance\" is not"},
        {"prompt: {entries: seven}\n", "is not \"default\" or \"paper\""},
        {"editor: {kind: human}\n", "is not \"none\", \"policy\" or \"endpoint\""},
        {"editor: {colour: red}\n", "colour"},
        {"prompt: {feedback_bytes: 3}\n", "from 64 to 100000"},
        {"reward: {form: lenient}\n", "\"lenient\" is none of paper no_scaling binary"},
        {"rl: {drop_flagged: 2}\n", "from 0 to 1"},
        {"sft: {method: qlora}\n", "sft.method: \"qlora\" is not \"full\" or \"lora\""},
        {"sft: {preset: best}\n", "is not \"none\" or \"paper\""},
        {"sft: {schedule: step}\n", "is not \"cosine\", \"linear\" or \"constant\""},
        {"sft: {lora_targets: lm_head}\n", "names of linear layers"},
        {"sft: {keep: best}\n", "is not \"last\", \"val_loss\" or \"action_accuracy\""},
        {"sft: {lora_rank: 0}\n", "from 1 to 1024"},
    };
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_config c;
        mla_err err = {{0}};
        assert_int_equal(load(&c, rows[i][0], &err), -1);
        if (!strstr(err.text, rows[i][1])) fail_msg("%s", err.text);
    }
}

// Every form of the reward is kept by its name; flagged actions give no gradient unless told.
static void test_reward_and_flags(void **state) {
    (void)state;
    for (int form = 0; form < MLA_REWARD_FORM_COUNT; form++) {
        mla_config c, again;
        mla_err err = {{0}};
        char *more = mla_format("reward: {form: %s, alpha: 3}\n%s",
                                mla_reward_form_name((mla_reward_form)form),
                                form % 2 ? "rl: {drop_flagged: 0}\n" : "");
        char *path = mla_fs_join(dir, "saved.yaml");
        if (load(&c, more, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(mla_config_save(&c, path, &err), 0);
        if (mla_config_load(&again, path, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(again.reward.form, form);
        assert_true(again.reward.alpha == 3);
        assert_int_equal(c.rl.drop_flagged, !(form % 2));
        assert_int_equal(again.rl.drop_flagged, c.rl.drop_flagged);
        mla_config_clear(&c);
        mla_config_clear(&again);
        free(path);
        free(more);
    }
}

static void expect_paper(const mla_sft_options *o) {
    assert_int_equal(o->preset, MLA_SFT_PAPER);
    assert_int_equal(o->method, MLA_SFT_LORA);
    assert_true(o->schedule.lr == 1e-4 && o->schedule.floor == 0 && !o->schedule.warmup_steps);
    assert_int_equal(o->schedule.shape, MLA_SCHEDULE_LINEAR);
    assert_true(o->epochs == 2 && o->batch == 64 && o->lora.rank == 8 && o->lora.rslora);
    assert_int_equal(o->lora.targets, 1u << MLA_TARGET_Q | 1u << MLA_TARGET_V);
    assert_int_equal(o->actions, MLA_ACTION_BIT(LIST_FILES));
}

// A preset is what the keys beside it start from, wherever it stands among them.
static void test_preset(void **state) {
    (void)state;
    mla_config c, again;
    mla_err err = {{0}};
    if (load(&c, "prompt: {actions: List Files}\nsft:\n  lr: 1e-4\n  schedule: linear\n"
                 "  method: lora\n  lora_rank: 8\n  lora_rslora: 1\n"
                 "  lora_targets: \"q_proj, v_proj\"\n  preset: paper\n", &err) < 0) {
        fail_msg("%s", err.text);
    }
    expect_paper(&c.sft);
    char *path = mla_fs_join(dir, "saved.yaml");
    assert_int_equal(mla_config_save(&c, path, &err), 0);
    if (mla_config_load(&again, path, &err) < 0) fail_msg("%s", err.text);
    expect_paper(&again.sft);
    free(path);
    mla_config_clear(&c);
    mla_config_clear(&again);
}

static int make_dir(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    return mla_fs_remove_tree(dir, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reward_and_flags),
        cmocka_unit_test(test_preset),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
