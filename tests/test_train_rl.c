// Step-wise reinforcement learning from end to end on a toy task, with the real sandbox and a tiny
// policy that was fine-tuned enough to earn some reward: the weights move, the log-probabilities of
// sampling and training agree, and a run that was stopped and resumed ends with the same bits as
// one that was not. Needs the task Python and the default model's vocabulary (scripts/setup).
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "collect/collect.h"
#include "collect/data.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "toy_task.h"
#include "train/internal.h"

#define ITERATIONS 4

static fixture place;

static char *at(const char *relative) {
    return mla_fs_join(place.root, relative);
}

// ---- the children: a stop cannot be taken back, and forks must not inherit a thread pool -------

typedef struct {
    mla_task *task;
    const mla_task *tasks[1];
    mla_env *env;
    mla_agent *agent;
    mla_run *run;
} world;

static mla_reward_form form = MLA_REWARD_PAPER;      // of the next child

static int open_world(world *w, const char *run, mla_err *err) {
    char *python = toy_python(), *states = at("states.git"), *dir = at(run);
    mla_env_options o = mla_env_options_default();
    o.python = python, o.home = place.home, o.states_path = states;
    mla_reward_options reward = mla_reward_options_default();
    reward.form = form;
    w->task = mla_task_load(place.dir, place.home, true, err);
    w->tasks[0] = w->task;
    w->env = w->task ? mla_env_create(&o, err) : NULL;
    w->agent = w->env ? mla_agent_create(w->env, &reward) : NULL;
    w->run = w->agent ? mla_run_open(dir, err) : NULL;
    free(python), free(states), free(dir);
    return w->run ? 0 : -1;
}

static void close_world(world *w) {
    mla_run_close(w->run);
    mla_agent_free(w->agent);
    mla_env_free(w->env);
    mla_task_free(w->task);
}

// A reply that is valid everywhere, and short enough to be learned by heart nearly.
static const char reply[] = "Action: Final Answer\nAction Input: {\"final_answer\": \"done\"}";
// One that gains where it fits, which is in the starter script, and is flagged.
static const char trick[] = "Action: Edit Script\nAction Input: train.py\n<<<<<<< SEARCH\nK = 2\n"
                            "=======\nK = 4; '/etc/'\n>>>>>>> REPLACE";

// The data set at `from`, with `text` in place of all actions, as the run's own.
static int teach_reply(world *w, const mla_policy *policy, const char *from, const char *text,
                       mla_err *err) {
    char *path = mla_run_path(w->run, "sft/steps.jsonl");
    mla_steps samples = {0};
    int rc = mla_store_read(from, &samples, err);
    remove(path);
    mla_lines *lines = rc == 0 ? mla_lines_open(path, err) : NULL;
    for (size_t i = 0; lines && rc == 0 && i < samples.len; i++) {
        mla_ids ids = {0};
        mla_tokenizer_encode(mla_policy_tokenizer(policy), text, strlen(text), &ids);
        mla_ids_push(&ids, mla_chat_end_of_turn(policy));
        free(samples.items[i].action_ids);
        samples.items[i].action_ids = ids.data;
        samples.items[i].n_action = ids.len;
        rc = mla_store_append(lines, &samples.items[i], err);
    }
    mla_lines_close(lines);
    mla_steps_clear(&samples);
    free(path);
    return lines ? rc : -1;
}

static mla_policy *open_tiny(const char *model, mla_err *err) {
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = MLA_COMPUTE_F32;
    return mla_policy_open(model, &wanted, err);
}

// Fine-tunes a policy that gives the text more often than not.
static int teach(world *w, const char *text, mla_err *err) {
    char *model = at("model"), *from = at("expert/sft/steps.jsonl");
    mla_policy *policy = open_tiny(model, err);
    mla_sft_options sft = mla_sft_options_default();
    sft.schedule.lr = 1e-2, sft.epochs = 30, sft.batch = 1, sft.val_actions = 0;
    sft.compute = MLA_COMPUTE_F32;
    int rc = policy ? teach_reply(w, policy, from, text, err) : -1;
    if (rc == 0) rc = mla_sft_run(w->run, model, &sft, err) == 1 ? 0 : -1;
    mla_policy_free(policy);
    free(model), free(from);
    return rc;
}

// Expert trajectories and their data set.
static int collect(world *w, mla_err *err) {
    char *model = at("model");
    mla_policy *policy = tiny_policy_write(model, 5) == 0 ? open_tiny(model, err) : NULL;
    mla_collect_options options = mla_collect_options_default();
    options.trajectories = 6, options.ideas_kept = 3;
    mla_dataset_options data = mla_dataset_options_default();
    data.max_tokens = 3000;
    int rc = policy ? mla_collect_run(w->run, w->agent, policy, w->tasks, 1, &options, err) : -1;
    if (rc == 0) rc = mla_dataset_build(w->run, w->env, policy, w->tasks, 1, &data, err);
    mla_policy_free(policy);
    free(model);
    return rc;
}

static int prepare(world *w, mla_err *err) {
    return collect(w, err) == 0 ? teach(w, reply, err) : -1;
}

static int prepare_trick(world *w, mla_err *err) {
    return teach(w, trick, err);
}

static mla_rl_options few_iterations(int n) {
    mla_rl_options o = mla_rl_options_default();
    o.iterations = n, o.states = 2, o.samples = 4, o.max_new = 32, o.lr = 1e-3;
    o.critic_warmup = 1, o.compute = MLA_COMPUTE_F32, o.checkpoint_every = 100;
    return o;
}

// Leaves the states in which the expert begins.
static void keep_starts(mla_steps *steps) {
    size_t kept = 0;
    for (size_t i = 0; i < steps->len; i++) {
        if (steps->items[i].index) mla_step_clear(&steps->items[i]);
        else steps->items[kept++] = steps->items[i];
    }
    steps->len = kept;
}

static int learn_by(world *w, const char *taught, const mla_rl_options *o, mla_err *err) {
    char *start = mla_format("%s/%s/sft/model", place.root, taught);
    char *expert = at("expert/expert/steps.jsonl");
    mla_steps steps = {0};
    int rc = mla_store_read(expert, &steps, err);
    if (strcmp(taught, "trick") == 0) keep_starts(&steps);      // where it fits
    if (rc == 0) {
        mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
        rc = mla_rl_run(w->run, w->agent, start, pool, w->tasks, 1, o, err);
        mla_pool_free(pool);
    }
    free(start), free(expert);
    return rc;
}

static int learn(world *w, mla_err *err) {
    const mla_rl_options o = few_iterations(ITERATIONS);
    return learn_by(w, "expert", &o, err);
}

static int learn_in_int8(world *w, mla_err *err) {
    mla_rl_options o = few_iterations(ITERATIONS);
    o.sample_int8 = 1;
    return learn_by(w, "expert", &o, err);
}

static int learn_tricks(world *w, mla_err *err) {
    mla_rl_options o = few_iterations(2);
    o.max_new = 64;
    return learn_by(w, "trick", &o, err);
}

static int learn_tricks_from_all(world *w, mla_err *err) {
    mla_rl_options o = few_iterations(2);
    o.max_new = 64, o.drop_flagged = 0;
    return learn_by(w, "trick", &o, err);
}

// Sends SIGTERM once an iteration is in the metrics.
static void *stop_after_one(void *path) {
    for (int tries = 0; tries < 120000; tries++) {
        struct stat info;
        if (stat(path, &info) == 0 && info.st_size > 0) break;
        usleep(500);
    }
    raise(SIGTERM);
    return NULL;
}

// What `work` returned in a process of its own, or 99.
static int in_child(const char *run, int (*work)(world *, mla_err *), bool stop) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        mla_err err = {{0}};
        world w = {0};
        char *metrics = mla_format("%s/%s/rl/metrics.jsonl", place.root, run);
        mla_log_set_level(MLA_LOG_ERROR);
        mla_stop_install();
        pthread_t thread;
        if (stop) pthread_create(&thread, NULL, stop_after_one, metrics);
        int rc = open_world(&w, run, &err);
        if (rc == 0) rc = work(&w, &err);
        if (rc < 0) fprintf(stderr, "%s\n", err.text);
        close_world(&w);
        _exit(rc < 0 ? 99 : rc);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

// ---- what a run left -------------------------------------------------------------------------

typedef struct {
    int iterations;
    double reward[ITERATIONS], kl[ITERATIONS], grad_norm[ITERATIONS], correction[ITERATIONS];
    double improved[ITERATIONS];
    int flagged[ITERATIONS], dropped[ITERATIONS], outside[ITERATIONS];
    double gap_max;
} curve;

static int read_line(void *ctx, json_t *line, mla_err *err) {
    (void)err;
    curve *c = ctx;
    int i = (int)mla_json_get_int(line, "iteration", 0) - 1;
    if (i < 0 || i >= ITERATIONS) return -1;
    c->iterations++;
    c->reward[i] = mla_json_get_number(line, "reward_mean", NAN);
    c->kl[i] = mla_json_get_number(line, "kl", NAN);
    c->grad_norm[i] = mla_json_get_number(line, "grad_norm", NAN);
    c->correction[i] = mla_json_get_number(line, "correction_mean", NAN);
    c->improved[i] = mla_json_get_number(line, "improved_share", NAN);
    c->flagged[i] = (int)mla_json_get_int(line, "flagged", -1);
    c->dropped[i] = (int)mla_json_get_int(line, "dropped", -1);
    c->outside[i] = (int)mla_json_get_int(json_object_get(line, "flags"), "read_outside", -1);
    c->gap_max = fmax(c->gap_max, mla_json_get_number(line, "logprob_gap_max", NAN));
    return 0;
}

static curve read_curve(const char *relative) {
    curve c = {0};
    mla_err err;
    char *path = at(relative);
    assert_int_equal(mla_lines_read(path, read_line, &c, &err), 0);
    free(path);
    return c;
}

static void hash_of(const char *relative, char hex[65]) {
    mla_err err;
    char *path = at(relative);
    if (mla_sha256_file(path, hex, &err) < 0) fail_msg("%s", err.text);
    free(path);
}

static void same_steps(const char *relative_a, const char *relative_b) {
    mla_err err;
    mla_steps a = {0}, b = {0};
    char *path_a = at(relative_a), *path_b = at(relative_b);
    assert_int_equal(mla_store_read(path_a, &a, &err), 0);
    assert_int_equal(mla_store_read(path_b, &b, &err), 0);
    assert_int_equal(a.len, ITERATIONS * 2 * 4);
    assert_int_equal(a.len, b.len);
    for (size_t i = 0; i < a.len; i++) {
        const mla_step *p = &a.items[i], *q = &b.items[i];
        assert_string_equal(p->trajectory, q->trajectory);
        assert_int_equal(p->n_action, q->n_action);
        assert_memory_equal(p->action_ids, q->action_ids, p->n_action * sizeof *p->action_ids);
        assert_memory_equal(p->logprobs, q->logprobs, p->n_action * sizeof *p->logprobs);
        assert_float_equal(p->reward.reward, q->reward.reward, 0);
    }
    mla_steps_clear(&a);
    mla_steps_clear(&b);
    free(path_a), free(path_b);
}

// ---- the tests -------------------------------------------------------------------------------

static void the_policy_moves_by_what_it_earned(void **state) {
    (void)state;
    assert_int_equal(in_child("whole", learn, false), 1);
    curve c = read_curve("whole/rl/metrics.jsonl");
    assert_int_equal(c.iterations, ITERATIONS);
    double earned = 0, moved = 0;
    for (int i = 0; i < ITERATIONS; i++) {
        earned += c.reward[i];
        moved += c.grad_norm[i];
    }
    assert_true(earned > 0 && moved > 0);
    // In the warm-up of the critic and in the first update the policy is still the reference.
    assert_float_equal(c.grad_norm[0], 0, 0);
    assert_float_equal(c.kl[0], 0, 0);
    assert_true(c.kl[ITERATIONS - 1] > 0);
    assert_true(c.gap_max < 1e-3);
    char before[65], after[65];
    hash_of("expert/sft/model/model.safetensors", before);
    hash_of("whole/rl/model/model.safetensors", after);
    assert_string_not_equal(before, after);
}

static void a_resumed_run_ends_with_the_same_bits(void **state) {
    (void)state;
    assert_int_equal(in_child("parts", learn, true), 0);
    char *model = at("parts/rl/model"), *kept = at("parts/rl/checkpoint");
    assert_false(mla_fs_exists(model));
    assert_true(mla_fs_exists(kept));
    assert_int_equal(in_child("parts", learn, false), 1);
    assert_false(mla_fs_exists(kept));
    char whole[65], parts[65];
    hash_of("whole/rl/model/model.safetensors", whole);
    hash_of("parts/rl/model/model.safetensors", parts);
    assert_string_equal(whole, parts);
    curve a = read_curve("whole/rl/metrics.jsonl"), b = read_curve("parts/rl/metrics.jsonl");
    assert_memory_equal(&a, &b, sizeof a);
    same_steps("whole/rl/steps.jsonl", "parts/rl/steps.jsonl");
    free(model), free(kept);
}

// Sampled in int8, the tokens' log-probabilities are others than training's, and weigh accordingly;
// in the numbers of training nothing is corrected.
static void samples_in_int8_are_corrected(void **state) {
    (void)state;
    assert_int_equal(in_child("int8", learn_in_int8, false), 1);
    curve exact = read_curve("whole/rl/metrics.jsonl"), c = read_curve("int8/rl/metrics.jsonl");
    assert_int_equal(c.iterations, ITERATIONS);
    assert_true(c.gap_max > 1e-3);
    for (int i = 0; i < ITERATIONS; i++) {
        assert_float_equal(exact.correction[i], 1, 0);
        assert_true(c.correction[i] != 1 && c.correction[i] > 0.5 && c.correction[i] <= 2);
    }
    // On policy after the correction: nothing is clipped before the first update, KL is 0.
    assert_float_equal(c.kl[0], 0, 0);
}

// The metrics of a run against its steps, whatever the reward: shares by gain, counts by flag. The
// number of flagged ones.
static int counts_are_of_the_steps(const char *run, bool drops, mla_steps *out) {
    char *metrics = mla_format("%s/rl/metrics.jsonl", run),
         *steps = mla_format("%s/%s/rl/steps.jsonl", place.root, run);
    curve c = read_curve(metrics);
    int all_flagged = 0;
    mla_err err;
    assert_int_equal(mla_store_read(steps, out, &err), 0);
    assert_int_equal((int)out->len, c.iterations * 2 * 4);
    for (int i = 0; i < c.iterations; i++) {
        int improved = 0, flagged = 0;
        char name[16];
        snprintf(name, sizeof name, "rl-%d-", i + 1);
        for (size_t k = (size_t)i * 8; k < (size_t)(i + 1) * 8; k++) {
            const mla_step *step = &out->items[k];
            assert_int_equal(strncmp(step->trajectory, name, strlen(name)), 0);
            improved += step->reward.gain > 0;
            flagged += step->flags == MLA_FLAG_READ_OUTSIDE;
        }
        assert_float_equal(c.improved[i], improved / 8.0, 1e-12);
        assert_int_equal(c.flagged[i], flagged);
        assert_int_equal(c.outside[i], flagged);
        assert_int_equal(c.dropped[i], drops ? flagged : 0);
        all_flagged += flagged;
    }
    free(metrics), free(steps);
    return all_flagged;
}

static void flagged_actions_are_counted(void **state) {
    (void)state;
    mla_steps steps = {0};
    assert_int_equal(in_child("trick", prepare_trick, false), 0);
    assert_int_equal(in_child("screened", learn_tricks, false), 1);
    assert_true(counts_are_of_the_steps("screened", true, &steps) > 0);
    mla_steps_clear(&steps);
}

// One update on the steps of a state, of which the first `n_learned` are learned from; the hash of
// the weights after it.
static int update_once(mla_step *steps, int n_steps, int n_learned, char hex[65], mla_err *err) {
    char *start = at("expert/sft/model"), *out = at("updated");
    mla_rl_options o = mla_rl_options_default();
    o.compute = MLA_COMPUTE_F32, o.lr = 1e-3, o.critic_warmup = 0;
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = o.compute, wanted.trainable = true;
    const mla_ids prompt = {.data = steps->prompt_ids, .len = steps->n_prompt};
    mla_rollout_state s = {.branch = {.prompt = prompt, .steps = steps}, .n_steps = n_steps,
                           .n_learned = n_learned};
    const mla_rollout rollout = {.states = &s, .n_states = 1};
    mla_update_stats stats;
    mla_trainer t = {.options = &o, .policy = mla_policy_open(start, &wanted, err)};
    int rc = t.policy ? 0 : -1;
    if (rc == 0) {
        mla_model *model = mla_policy_model(t.policy);
        const mla_adamw_options adamw = mla_adamw_options_default();
        t.opt = mla_adamw_create(model, &adamw);
        t.acts = mla_activations_create(model);
        t.critic = mla__critic_create(mla_model_get_config(model)->dim);
        rc = mla__update_run(&t, &rollout, 2, &stats, err);
        if (rc == 0) rc = mla_policy_save(t.policy, out, false, err);
        mla__critic_free(t.critic);
        mla_activations_free(t.acts);
        mla_adamw_free(t.opt);
    }
    mla_policy_free(t.policy);
    char *file = mla_fs_join(out, "model.safetensors");
    if (rc == 0) rc = mla_sha256_file(file, hex, err);
    free(start), free(out), free(file);
    return rc;
}

// What is not learned from leaves no trace in the weights; where nothing is left they stay.
static int update_by_hand(world *w, mla_err *err) {
    (void)w;
    char *path = at("whole/rl/steps.jsonl"), two[65], three[65], all[65], none[65], start[65];
    mla_steps steps = {0};
    int rc = mla_store_read(path, &steps, err);
    if (rc == 0) {
        for (int i = 0; i < 3; i++) steps.items[i].reward.reward = i / 2.0;
        rc = update_once(steps.items, 2, 2, two, err);
        if (rc == 0) rc = update_once(steps.items, 3, 2, three, err);
        if (rc == 0) rc = update_once(steps.items, 3, 3, all, err);
        if (rc == 0) rc = update_once(steps.items, 3, 0, none, err);
    }
    free(path);
    path = at("expert/sft/model/model.safetensors");
    if (rc == 0) rc = mla_sha256_file(path, start, err);
    free(path);
    mla_steps_clear(&steps);
    if (rc < 0) return rc;
    return !strcmp(two, three) && strcmp(two, all) && strcmp(two, start) && !strcmp(none, start);
}

static void flagged_actions_give_no_gradient(void **state) {
    (void)state;
    assert_int_equal(in_child("by-hand", update_by_hand, false), 1);
}

// Under `strict` only a score beyond the best earns.
static void other_rewards_are_learned_from(void **state) {
    (void)state;
    mla_steps steps = {0};
    form = MLA_REWARD_STRICT;
    assert_int_equal(in_child("strict", learn_tricks_from_all, false), 1);
    form = MLA_REWARD_PAPER;
    assert_true(counts_are_of_the_steps("strict", false, &steps) > 0);
    int earned = 0, gained = 0;
    for (size_t i = 0; i < steps.len; i++) {
        const mla_step *step = &steps.items[i];
        bool beyond = step->reward.gain > 0 && !(step->reward.score_after <= step->state.best);
        assert_float_equal(step->reward.reward, beyond ? tanh(2 * step->reward.gain) : 0, 1e-9);
        earned += beyond;
        gained += step->reward.gain > 0;
    }
    assert_true(earned > 0 && earned <= gained);
    mla_steps_clear(&steps);
}

static int set_up(void **state) {
    (void)state;
    fixture_begin(&place);
    toy_write(&place);
    return in_child("expert", prepare, false);
}

static int tear_down(void **state) {
    (void)state;
    fixture_end(&place);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_policy_moves_by_what_it_earned),
        cmocka_unit_test(a_resumed_run_ends_with_the_same_bits),
        cmocka_unit_test(samples_in_int8_are_corrected),
        cmocka_unit_test(flagged_actions_are_counted),
        cmocka_unit_test(flagged_actions_give_no_gradient),
        cmocka_unit_test(other_rewards_are_learned_from),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
