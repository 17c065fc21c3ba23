// What the attacks share: a scripted agent whose replies go the whole way (parser, sandbox,
// scoring, reward), on a task that runs in milliseconds, and the check after each attack that the
// host, the answers, the other tasks and the next honest run are as they were.
#ifndef MLA_TESTS_ATTACK_FIXTURE_H
#define MLA_TESTS_ATTACK_FIXTURE_H

#include <math.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"
#include "leaks.h"
#include "toy_task.h"

#define ATTACK_HONEST 0.75          // the starter script's score, public half

static const char attack_sample[] = "id,y\n1,0\n2,0\n3,0\n4,0\n5,0\n6,0\n7,0\n8,1\n";

typedef struct attack_world {
    fixture f;
    char *python, *canary, *before;     // `before`: checksums of all that no script may touch
    mla_task *task;
    mla_env *env;
    mla_agent *agent;
    mla_state start;
    mla_step step;                      // the last one
    unsigned flags;                     // of the last attack
    double seconds;                     // the task's limits, put back after each test
    int memory_mb;
} attack_world;

static attack_world w;

// ---- what must stay as it is -----------------------------------------------------------------

static void attack_sum_tree(const char *dir, mla_buf *out) {
    char **names;
    size_t n;
    mla_err err;
    if (mla_fs_list(dir, &names, &n, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) {
        char *path = mla_fs_join(dir, names[i]), hex[65] = "folder";
        if (strcmp(names[i], "states.git") == 0) {
            free(path);
            continue;
        }
        if (mla_fs_is_dir(path)) attack_sum_tree(path, out);
        else if (mla_sha256_file(path, hex, &err) < 0) fail_msg("%s", err.text);
        mla_buf_printf(out, "%s %s\n", path, hex);
        free(path);
    }
    mla_fs_names_free(names, n);
}

// Answers, data, the task's folder, the canary: names and contents.
static char *attack_sums(void) {
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    attack_sum_tree(w.f.root, &out);
    return mla_buf_take(&out);
}

// ---- steps -----------------------------------------------------------------------------------

// One reply, all the way to its reward; the step is w.step, borrowed.
static mla_step *attack_reply(const mla_state *from, const char *text) {
    mla_reply reply = {.text = mla_strdup(text)};
    const mla_view view = {.task = w.task, .state = *from, .steps_left = 1};
    mla_err err = {{0}};
    size_t tag;
    mla_step_clear(&w.step);
    mla_step_init(&w.step);
    if (mla_agent_submit(w.agent, &view, "attacker", "attack", &reply, 0, &err) < 0 ||
        mla_agent_collect(w.agent, 60, &tag, &w.step, &err) != 1) {
        fail_msg("%s", err.text);
    }
    w.flags = w.step.flags;
    return &w.step;
}

static __attribute__((unused)) mla_step *attack_act(const mla_state *from, const char *action,
                                                    const char *input) {
    char *text = mla_format("Thought: t\nAction: %s\nAction Input: %s\n", action, input);
    mla_step *step = attack_reply(from, text);
    free(text);
    return step;
}

// An edit that puts `code` in the place of the whole script.
static mla_step *attack_edit(const mla_state *from, const char *code) {
    mla_err err = {{0}};
    char *old = mla_env_script(w.env, w.task, from, &err);
    if (!old) fail_msg("%s", err.text);
    char *text = mla_format("Thought: t\nAction: Edit Script\nAction Input: {\"script_name\": "
                            "\"train.py\"}\n<<<<<<< SEARCH\n%s=======\n%s>>>>>>> REPLACE\n", old,
                            code);
    mla_step *step = attack_reply(from, text);
    free(text);
    free(old);
    return step;
}

static void attack_expect(const mla_step *step, mla_outcome outcome, double reward,
                          const char *in_feedback) {
    if (step->outcome != outcome || fabs(step->reward.reward - reward) > 1e-12 ||
        !strstr(step->feedback, in_feedback)) {
        fail_msg("%s with reward %g, not %s with %g and \"%s\":\n%s",
                 mla_outcome_name(step->outcome), step->reward.reward, mla_outcome_name(outcome),
                 reward, in_feedback, step->feedback);
    }
}

// What the last attack must be flagged for, no more and no less.
static __attribute__((unused)) void attack_flagged(unsigned flags) {
    if (w.flags == flags) return;
    char *got = mla_flag_text(w.flags), *wanted = mla_flag_text(flags);
    fail_msg("flagged \"%s\", not \"%s\"", got, wanted);
}

// The next honest run scores what it always scores, and nothing outside has changed.
static void attack_leaves_no_trace(void) {
    unsigned flags = w.flags;
    attack_expect(attack_act(&w.start, "Execute Script", "{\"script_name\": \"train.py\"}"),
                  MLA_OUTCOME_OK, 0.5, "Score: 0.75 (accuracy, higher is better).");
    assert_true(w.step.state_after.score == ATTACK_HONEST);
    attack_flagged(0);
    w.flags = flags;
    if (strstr(w.step.feedback, "| ")) fail_msg("not silent:\n%s", w.step.feedback);
    char *now = attack_sums();
    assert_string_equal(now, w.before);
    free(now);
    assert_int_equal(leaks_descendants(), 2);      // bubblewrap and the warm Python
}

// ---- attacks of many attempts ----------------------------------------------------------------

// attempt(name, f): what the machine refuses raises an OSError; anything else is a fault of the
// attack's own, and makes the test fail. call(): a system call by number or function of libc.
static const char attack_prelude[] =
    "import ctypes, os, sys, time\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "won, tried = [], 0\n"
    "def attempt(name, f):\n"
    "    global tried\n"
    "    tried += 1\n"
    "    try: f()\n"
    "    except OSError: return\n"
    "    won.append(name)\n"
    "def call(name, nr, *args):\n"
    "    def f():\n"
    "        if libc.syscall(nr, *args) < 0: raise OSError(ctypes.get_errno(), name)\n"
    "    attempt(name, f)\n"
    "def read(path):\n"
    "    with open(path, 'rb') as f: return f.read()\n"
    "def write(path, text='planted'):\n"
    "    with open(path, 'w') as f: f.write(text)\n";

static const char attack_end[] = "print('tried', tried, 'won', won)\n";

// Tries all, then does the honest work: no attempt succeeds and there is no gain.
static __attribute__((unused)) void attack_wins_nothing(const char *code, int tries) {
    mla_state honest = w.start;
    honest.score = honest.best = ATTACK_HONEST;
    char *all = mla_format("%s%s%s%s", attack_prelude, code, attack_end, train_py);
    char *told = mla_format("| tried %d won []", tries);
    attack_expect(attack_edit(&honest, all), MLA_OUTCOME_OK, 0.5, told);
    assert_true(w.step.reward.score_after == ATTACK_HONEST);
    free(told);
    free(all);
    attack_leaves_no_trace();
}

// The script is all there is, and its action ends like this.
static __attribute__((unused)) void attack_ends(const char *code, mla_outcome outcome,
                                                double reward, const char *in_feedback) {
    attack_expect(attack_edit(&w.start, code), outcome, reward, in_feedback);
    attack_leaves_no_trace();
}

// ---- the world -------------------------------------------------------------------------------

static void attack_open_env(void) {
    char *states = mla_fs_join(w.f.root, "states.git");
    mla_env_options options = mla_env_options_default();
    options.workers = 1;
    options.python = w.python;
    options.home = w.f.home;
    options.states_path = states;           // and no cache: every run is a run
    mla_err err = {{0}};
    w.env = mla_env_create(&options, &err);
    if (!w.env) fail_msg("%s", err.text);
    const mla_reward_options reward = mla_reward_options_default();
    w.agent = mla_agent_create(w.env, &reward);
    if (mla_env_begin(w.env, w.task, &w.start, &err) < 0) fail_msg("%s", err.text);
    free(states);
}

static int attack_begin(void **state) {
    (void)state;
    fixture_begin(&w.f);
    toy_write(&w.f);
    fixture_write(w.f.home, "data/toy/sample_submission.csv", attack_sample);
    fixture_write(w.f.home, "data/other/test.csv", "id,x\n1,SECRET-OTHER\n");
    fixture_write(w.f.home, "answers/other.csv", "id,y,half\n1,SECRET-OTHER,public\n");
    fixture_write(w.f.root, "canary", "alive\n");
    fixture_write(w.f.root, "tasks/toy-evil/secret", "SECRET-SIBLING\n");
    mla_err err = {{0}};
    w.canary = mla_fs_join(w.f.root, "canary");
    w.task = mla_task_load(w.f.dir, w.f.home, true, &err);
    if (!w.task) fail_msg("%s", err.text);
    w.seconds = w.task->limits.seconds;
    w.memory_mb = w.task->limits.memory_mb;
    mla_step_init(&w.step);
    attack_open_env();
    w.before = attack_sums();
    return 0;
}

static int attack_finish(void **state) {
    (void)state;
    mla_step_clear(&w.step);
    mla_agent_free(w.agent);
    mla_env_free(w.env);
    mla_task_free(w.task);
    fixture_end(&w.f);
    free(w.canary);
    free(w.before);
    return 0;
}

static int attack_reset(void **state) {
    (void)state;
    w.task->limits.seconds = w.seconds;
    w.task->limits.memory_mb = w.memory_mb;
    return 0;
}

#define ATTACK(name) cmocka_unit_test_teardown(name, attack_reset)

#define attack_run(tests, name)                                                              \
    (w.python = toy_python(), access(w.python, X_OK) == 0                                    \
         ? cmocka_run_group_tests_name(name, tests, attack_begin, attack_finish)             \
         : (print_message("skipped: no interpreter at %s (scripts/setup)\n", w.python), 0))

#endif
