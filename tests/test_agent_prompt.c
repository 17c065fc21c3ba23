// What the policy reads, pinned to the byte: what a model was trained on must not change under it.
// The texts in tests/vectors/agent_prompt were written by `test_agent_prompt write`.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "tiny_policy.h"

#define VECTORS "tests/vectors/agent_prompt"

static mla_policy *policy;
static bool writes;

static const mla_task task = {
    .name = "toy", .description = "Tell good wine from bad.", .metric = MLA_METRIC_ACCURACY,
    .direction = 1, .id_column = "id", .target_columns = (char *[]){"good"},
    .target_count = 1, .splits = 1, .script = "train.py",
    .init = {0.75, 0.7}};

// One step of each kind of outcome that the history tells in its own way.
static void fill_history(mla_step steps[3]) {
    for (int i = 0; i < 3; i++) {
        mla_step_init(&steps[i]);
        steps[i].index = i;
    }
    steps[0].kind = MLA_ACTION_LIST_FILES;
    steps[0].outcome = MLA_OUTCOME_OK;
    steps[0].text = "Thought: look\nAction: List Files\nAction Input: {\"dir_path\": \".\"}";
    steps[1].kind = MLA_ACTION_EDIT_SCRIPT;
    steps[1].outcome = MLA_OUTCOME_OK;
    steps[1].text = "Thought: a deeper tree fits better\nAction: Edit Script";
    steps[1].reward.score_before = 0.75;
    steps[1].reward.score_after = 0.8125;
    steps[2].outcome = MLA_OUTCOME_INVALID_ACTION;
    steps[2].feedback = "The reply could not be read: it has no line \"Action: ...\".";
}

static char *render_task(const mla_task *of, const mla_prompt_options *options) {
    mla_step steps[3];
    fill_history(steps);
    const mla_view view = {.task = of, .state = {.score = 0.8125, .best = 0.8125},
                           .script = "depth = 3\nprint(depth)\n", .history = steps, .n_history = 3,
                           .steps_left = 4};
    mla_ids ids = {0};
    mla_prompt_render(policy, &view, options, &ids);
    char *text = mla_tokenizer_decode(mla_policy_tokenizer(policy), ids.data, ids.len, NULL);
    mla_ids_clear(&ids);
    return text;
}

static char *render(const mla_prompt_options *options) {
    return render_task(&task, options);
}

static void expect(const char *name, const mla_prompt_options *options) {
    mla_err err = {{0}};
    char *text = render(options);
    char *path = mla_format(VECTORS "/%s.txt", name);
    mla_buf pinned;
    if (writes && mla_fs_write(path, text, strlen(text), &err) < 0) fail_msg("%s", err.text);
    if (mla_fs_read(path, 1 << 20, &pinned, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(text, mla_buf_text(&pinned));
    mla_buf_clear(&pinned);
    free(path);
    free(text);
}

static void test_default(void **state) {
    (void)state;
    const mla_prompt_options options = mla_prompt_options_default();
    expect("default", &options);
}

// All actions and the paper's six entries.
static void test_paper(void **state) {
    (void)state;
    mla_prompt_options options = mla_prompt_options_default();
    options.actions = MLA_ACTIONS_ALL;
    options.entries = MLA_PROMPT_SIX;
    expect("paper", &options);
}

// All columns of a submission are named: the targets, or the classes instead.
static void test_columns(void **state) {
    (void)state;
    const mla_prompt_options options = mla_prompt_options_default();
    mla_task other = task;
    other.metric = MLA_METRIC_MCRMSE;
    other.target_columns = (char *[]){"good", "sweet"};
    other.target_count = 2;
    char *text = render_task(&other, &options);
    assert_non_null(strstr(text, "\nsubmission.csv: id, good, sweet for each row of "));
    free(text);
    other = task;
    other.metric = MLA_METRIC_LOG_LOSS;
    other.classes = (char *[]){"bad", "fair", "good"};
    other.class_count = 3;
    text = render_task(&other, &options);
    assert_non_null(strstr(text, "\nsubmission.csv: id, bad, fair, good for each row of "));
    free(text);
}

// What is not offered is not named; without Edit Script no block is shown; more of a feedback.
static void test_profile(void **state) {
    (void)state;
    mla_prompt_options options = mla_prompt_options_default();
    options.actions = MLA_ACTION_BIT(LIST_FILES) | MLA_ACTION_BIT(EDIT_SCRIPT_AI);
    options.feedback_bytes = 20;
    char *text = render(&options);
    assert_non_null(strstr(text, "Actions:\n- List Files {\"dir_path\"}: list a folder\n"
                                 "- Edit Script (AI) {\"script_name\", \"edit_instruction\", "
                                 "\"save_name\"}: "));
    assert_null(strstr(text, "Execute Script"));
    assert_null(strstr(text, "SEARCH"));
    assert_non_null(strstr(text, "# Last result\nThe reply \n... ("));
    free(text);
}

static int open_policy(void **state) {
    (void)state;
    char dir[] = "/tmp/mlagent-prompt-XXXXXX";
    mla_err err = {{0}};
    if (!mkdtemp(dir) || tiny_policy_write(dir, 1) < 0) return -1;
    const mla_policy_options options = {.compute = MLA_COMPUTE_F32, .kv_bytes = 1 << 20};
    policy = mla_policy_open(dir, &options, &err);
    if (!policy) print_error("%s\n", err.text);
    return mla_fs_remove_tree(dir, &err) < 0 || !policy ? -1 : 0;
}

static int close_policy(void **state) {
    (void)state;
    mla_policy_free(policy);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_paper),
        cmocka_unit_test(test_profile),
    };
    writes = argc == 2 && strcmp(argv[1], "write") == 0;
    char *model = default_model();
    bool there = access(model, R_OK) == 0;
    if (!there) print_message("skipped: no model at %s (mlagent model fetch)\n", model);
    free(model);
    return there ? cmocka_run_group_tests(tests, open_policy, close_policy) : 0;
}
