// A step as JSON and back; the action and outcome tables.
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "record/step.h"

static const char *const commit_a = "0123456789abcdef0123456789abcdef01234567";
static const char *const commit_b = "89abcdef0123456789abcdef0123456789abcdef";

static void fill(mla_step *step) {
    mla_step_init(step);
    step->task = mla_strdup("wine");
    step->trajectory = mla_strdup("rl-1-2-3");
    step->actor = mla_strdup("policy");
    step->index = 7;
    step->seed = UINT64_MAX;
    memcpy(step->state.commit, commit_a, MLA_OID_HEX);
    step->state.score = 0.1;
    memcpy(step->state_after.commit, commit_b, MLA_OID_HEX);
    memcpy(step->state_after.undo, commit_a, MLA_OID_HEX);
    step->state_after.score = step->state_after.best = 1.0 / 3.0;
    step->n_prompt = 3;
    step->prompt_ids = MLA_NEW_ARRAY(int32_t, 3);
    step->prompt_ids[1] = INT32_MAX;
    step->n_action = 4;
    step->action_ids = MLA_NEW_ARRAY(int32_t, 4);
    step->action_ids[3] = 151645;
    step->logprobs = MLA_NEW_ARRAY(float, 4);
    step->logprobs[0] = -0.1f;
    step->logprobs[1] = -FLT_MIN;
    step->logprobs[2] = -FLT_TRUE_MIN;
    step->logprobs[3] = -0.0f;
    step->ended = true;
    step->text = mla_strdup("Thought: \"caf\xC3\xA9\"\n\ttab \x01 end");
    step->kind = MLA_ACTION_EDIT_SCRIPT;
    step->outcome = MLA_OUTCOME_OK;
    step->feedback = mla_strdup("score 0.5");
    step->reward = (mla_reward_parts){0.75, 0.25, 0.1, 1.0 / 3.0};
    step->cost = (mla_cost){1.5, 0.25, 300.0, 900, 40, true};
    step->flags = MLA_FLAG_CONSTANT_PREDICTIONS | MLA_FLAG_FAKE_SCORES;
    step->final = true;
}

static void assert_same_number(double a, double b) {
    assert_true(a == b || (isnan(a) && isnan(b)));
}

static void assert_same_text(const char *a, const char *b) {
    assert_true(!a == !b);
    if (a) assert_string_equal(a, b);
}

static void assert_same_state(const mla_state *a, const mla_state *b) {
    assert_string_equal(a->commit, b->commit);
    assert_string_equal(a->undo, b->undo);
    assert_same_number(a->score, b->score);
    assert_same_number(a->best, b->best);
}

static void assert_same_tokens(const mla_step *a, const mla_step *b) {
    assert_int_equal(a->n_prompt, b->n_prompt);
    assert_int_equal(a->n_action, b->n_action);
    assert_true(!a->prompt_ids == !b->prompt_ids && !a->action_ids == !b->action_ids);
    assert_true(!a->logprobs == !b->logprobs);
    if (a->prompt_ids) assert_memory_equal(a->prompt_ids, b->prompt_ids, a->n_prompt * 4);
    if (a->action_ids) assert_memory_equal(a->action_ids, b->action_ids, a->n_action * 4);
    if (a->logprobs) assert_memory_equal(a->logprobs, b->logprobs, a->n_action * 4);
}

static void assert_same_step(const mla_step *a, const mla_step *b) {
    assert_same_text(a->task, b->task);
    assert_same_text(a->trajectory, b->trajectory);
    assert_same_text(a->actor, b->actor);
    assert_same_text(a->text, b->text);
    assert_same_text(a->error_type, b->error_type);
    assert_same_text(a->feedback, b->feedback);
    assert_same_text(a->edit, b->edit);
    assert_same_text(a->idea, b->idea);
    assert_int_equal(a->index, b->index);
    assert_true(a->seed == b->seed);
    assert_same_state(&a->state, &b->state);
    assert_same_state(&a->state_after, &b->state_after);
    assert_same_tokens(a, b);
    assert_int_equal(a->ended, b->ended);
    assert_int_equal(a->final, b->final);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->outcome, b->outcome);
    assert_same_number(a->reward.reward, b->reward.reward);
    assert_same_number(a->reward.gain, b->reward.gain);
    assert_same_number(a->reward.score_before, b->reward.score_before);
    assert_same_number(a->reward.score_after, b->reward.score_after);
    assert_same_number(a->score_private, b->score_private);
    assert_same_number(a->cost.run_seconds, b->cost.run_seconds);
    assert_same_number(a->cost.generate_seconds, b->cost.generate_seconds);
    assert_same_number(a->cost.peak_mb, b->cost.peak_mb);
    assert_int_equal(a->cost.prompt_tokens, b->cost.prompt_tokens);
    assert_int_equal(a->cost.action_tokens, b->cost.action_tokens);
    assert_int_equal(a->cost.cached, b->cost.cached);
    assert_int_equal(a->flags, b->flags);
}

static void round_trip(const mla_step *step) {
    json_t *written = mla_step_to_json(step);
    char *line = mla_json_line(written);
    assert_null(strchr(line, '\n'));
    mla_err err = {0};
    json_t *read = mla_json_parse(line, strlen(line), "line", &err);
    assert_non_null(read);
    mla_step back;
    assert_int_equal(mla_step_from_json(&back, read, &err), 0);
    assert_same_step(step, &back);
    mla_step_clear(&back);
    json_decref(read);
    json_decref(written);
    free(line);
}

static void test_round_trip(void **state) {
    (void)state;
    mla_step step;
    fill(&step);
    round_trip(&step);
    mla_step copy;
    mla_step_copy(&copy, &step);
    assert_same_step(&step, &copy);
    assert_ptr_not_equal(step.text, copy.text);
    assert_ptr_not_equal(step.logprobs, copy.logprobs);
    mla_step_clear(&copy);
    mla_step_clear(&step);
    assert_null(step.task);
    assert_true(isnan(step.reward.reward));
}

// An actor that speaks text has neither ids nor log-probabilities; most numbers may be unknown.
static void test_round_trip_of_text_actor(void **state) {
    (void)state;
    mla_step step;
    mla_step_init(&step);
    step.task = mla_strdup("wine");
    step.trajectory = mla_strdup("t");
    step.actor = mla_strdup("expert");
    step.outcome = MLA_OUTCOME_SANDBOX_FAILED;
    step.error_type = mla_strdup("ValueError");
    step.idea = mla_strdup("a1 b2");
    step.edit = mla_strdup("<<<<<<< SEARCH");
    round_trip(&step);
    mla_step_clear(&step);
}

// Any float log-probability reads back to the same bits.
static void test_logprobs_are_bit_equal(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 1);
    mla_step step;
    fill(&step);
    free(step.action_ids);
    free(step.logprobs);
    step.n_action = 2000;
    step.action_ids = MLA_NEW_ARRAY(int32_t, step.n_action);
    step.logprobs = MLA_NEW_ARRAY(float, step.n_action);
    for (size_t i = 0; i < step.n_action; i++) {
        do {
            uint32_t bits = (uint32_t)mla_rng_u64(&rng);
            memcpy(&step.logprobs[i], &bits, 4);
        } while (!isfinite(step.logprobs[i]));
    }
    round_trip(&step);
    mla_step_clear(&step);
}

// Bytes that are not UTF-8 (a model may sample half a character) must not make a line unreadable.
static void test_bad_utf8_is_repaired(void **state) {
    (void)state;
    mla_step step, back;
    fill(&step);
    free(step.text);
    step.text = mla_strdup("a\xC3(\xFF");
    json_t *o = mla_step_to_json(&step);
    mla_err err = {0};
    assert_int_equal(mla_step_from_json(&back, o, &err), 0);
    assert_string_equal(back.text, "a\xEF\xBF\xBD(\xEF\xBF\xBD");
    json_decref(o);
    mla_step_clear(&back);
    mla_step_clear(&step);
}

// The order of the fields is part of the format.
static void test_field_order(void **state) {
    (void)state;
    static const char *const names[] = {
        "version", "task", "trajectory", "actor", "index", "seed", "state", "state_after",
        "prompt_ids", "action_ids", "logprobs", "ended", "text", "edit", "action",
        "outcome",
        "error_type", "feedback", "reward", "score_private", "cost", "flags", "final",
        "idea"};
    mla_step step;
    fill(&step);
    json_t *o = mla_step_to_json(&step);
    size_t at = 0;
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
        assert_true(at < MLA_COUNT(names));
        assert_string_equal(json_object_iter_key(it), names[at++]);
    }
    assert_int_equal(at, MLA_COUNT(names));
    json_decref(o);
    mla_step_clear(&step);
}

static void assert_refused(const char *path, const char *value, const char *words) {
    mla_step step, back;
    fill(&step);
    json_t *o = mla_step_to_json(&step);
    const char *dot = strchr(path, '.');
    json_t *in = o;
    if (dot) {
        char outer[32] = {0};
        memcpy(outer, path, (size_t)(dot - path));
        in = json_object_get(o, outer);
        assert_non_null(in);
    }
    const char *key = dot ? dot + 1 : path;
    mla_err err = {0};
    if (value) {
        json_object_set_new(in, key, mla_json_parse(value, strlen(value), "value", &err));
    } else {
        json_object_del(in, key);
    }
    assert_int_equal(mla_step_from_json(&back, o, &err), -1);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    json_decref(o);
    mla_step_clear(&step);
}

static void test_bad_objects_are_refused(void **state) {
    (void)state;
    assert_refused("version", "2", "version 2");
    assert_refused("task", "null", "\"task\"");
    assert_refused("task", NULL, "\"task\"");
    assert_refused("index", "-1", "\"index\"");
    assert_refused("index", "1.5", "\"index\"");
    assert_refused("seed", "12", "\"seed\"");
    assert_refused("seed", "\"12x\"", "\"seed\"");
    assert_refused("state", "[]", "\"state\"");
    assert_refused("state.commit", "\"zz\"", "\"state.commit\"");
    assert_refused("state_after.best", "\"high\"", "\"state_after.best\"");
    assert_refused("prompt_ids", "[1, 2147483648]", "\"prompt_ids\"");
    assert_refused("action_ids", "[1, -1, 3, 4]", "\"action_ids\"");
    assert_refused("logprobs", "[-1.0]", "\"logprobs\"");
    assert_refused("logprobs", "[-1.0, \"a\", 1, 2]", "\"logprobs\"");
    assert_refused("ended", "1", "\"ended\"");
    assert_refused("action", "\"Dance\"", "\"action\"");
    assert_refused("outcome", "\"fine\"", "\"outcome\"");
    assert_refused("reward.gain", "true", "\"reward.gain\"");
    assert_refused("cost.prompt_tokens", "null", "\"cost.prompt_tokens\"");
    assert_refused("cost", NULL, "\"cost\"");
    assert_refused("flags", "[\"read_outside\", \"sloth\"]", "\"flags\"");
    assert_refused("flags", "\"read_outside\"", "\"flags\"");
    assert_refused("flags", "[4]", "\"flags\"");
}

// Records of before there were flags have none.
static void test_flags(void **state) {
    (void)state;
    mla_step step, back;
    mla_err err = {0};
    fill(&step);
    json_t *o = mla_step_to_json(&step);
    char *list = mla_json_line(json_object_get(o, "flags"));
    assert_string_equal(list, "[\"constant_predictions\",\"fake_scores\"]");
    json_object_del(o, "flags");
    assert_int_equal(mla_step_from_json(&back, o, &err), 0);
    assert_int_equal(back.flags, 0);
    mla_step_clear(&back);
    mla_step_clear(&step);
    json_decref(o);
    free(list);
    char *text = mla_flag_text(MLA_FLAG_COPIED_SAMPLE | MLA_FLAG_READ_OUTSIDE),
         *none = mla_flag_text(0);
    assert_string_equal(text, "copied_sample, read_outside");
    assert_string_equal(none, "");
    free(text);
    free(none);
}

static void test_tables(void **state) {
    (void)state;
    for (int i = 0; i < MLA_FLAG_COUNT; i++) assert_int_equal(mla_flag_parse(mla_flag_name(i)), i);
    assert_int_equal(mla_flag_parse("none"), -1);
    for (int i = 0; i < MLA_OUTCOME_COUNT; i++) {
        assert_int_equal(mla_outcome_parse(mla_outcome_name((mla_outcome)i)), i);
        assert_true(*mla_outcome_meaning((mla_outcome)i));
    }
    assert_int_equal(mla_outcome_parse("OK"), -1);
    assert_int_equal(mla_outcome_parse(NULL), -1);
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        assert_int_equal(mla_action_kind_parse(mla_action_name((mla_action_kind)i)), i);
        assert_non_null(mla_action_input_name((mla_action_kind)i, 0));
        assert_int_equal(mla_action_is_edit((mla_action_kind)i),
                         i == MLA_ACTION_EDIT_SCRIPT || i == MLA_ACTION_EDIT_SCRIPT_AI);
    }
    assert_int_equal(mla_action_kind_parse("edit SCRIPT"), MLA_ACTION_EDIT_SCRIPT);
    assert_int_equal(mla_action_kind_parse("none"), -1);
    assert_string_equal(mla_action_name(MLA_ACTION_NONE), "none");
    assert_false(mla_action_is_edit(MLA_ACTION_NONE));
    assert_null(mla_action_input_name(MLA_ACTION_EDIT_SCRIPT, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_text_actor),
        cmocka_unit_test(test_logprobs_are_bit_equal),
        cmocka_unit_test(test_bad_utf8_is_repaired),
        cmocka_unit_test(test_field_order),
        cmocka_unit_test(test_bad_objects_are_refused),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
