// `mlagent env TASK`: a person takes the walk of one step by hand, action by action; and
// `mlagent env --check`: which protections scripts are held by on this machine.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "env/action.h"
#include "env/protections.h"

#define REPLY_MAX 65536

typedef struct {
    mla_agent *agent;
    const mla_task *task;
    mla_state state;
    mla_steps history;
    bool json, terminal;
} walk;

static void print_hints(const walk *w) {
    printf("Task %s: %s, %s is better; starter %.6g, reference %.6g (public half)\n",
           w->task->name, mla_metric_name(w->task->metric),
           w->task->direction > 0 ? "higher" : "lower", w->task->init.public_half,
           w->task->best.public_half);
    puts("Short commands: list [DIR], describe FILE [WORDS], show FROM TO, copy FILE NAME, "
         "ask INSTRUCTION, run, undo, done, script. `edit` reads SEARCH/REPLACE blocks, `reply` a "
         "whole ReAct reply; both end with a line \".\".");
}

static char *read_block(void) {
    mla_buf text;
    mla_buf_init(&text, REPLY_MAX);
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0 && strcmp(line, ".\n") != 0) mla_buf_puts(&text, line);
    free(line);
    return mla_buf_take(&text);
}

static mla_action make(mla_action_kind kind, const char *first) {
    mla_action action = {.kind = kind, .inputs = {mla_strdup(first)}};
    action.thought = mla_strdup("a person's action");
    return action;
}

// Two words: the first to the blank, the second to the end.
static mla_action make_two(mla_action_kind kind, const char *rest) {
    size_t n = strcspn(rest, " ");
    char *first = mla_strndup(rest, n);
    mla_action action = make(kind, first);
    action.inputs[1] = mla_strdup(rest[n] ? rest + n + 1 : "");
    free(first);
    return action;
}

// A short command as an action; false when it is none.
static bool read_action(const walk *w, char *line, mla_action *out) {
    char *rest = line + strcspn(line, " ");
    if (*rest) *rest++ = '\0';
    if (strcmp(line, "list") == 0) {
        *out = make(MLA_ACTION_LIST_FILES, *rest ? rest : ".");
    } else if (strcmp(line, "show") == 0) {
        *out = make(MLA_ACTION_INSPECT_LINES, w->task->script);
        char *end = rest + strcspn(rest, " ");
        out->inputs[1] = mla_strndup(rest, (size_t)(end - rest));
        out->inputs[2] = mla_strdup(*end ? end + 1 : "");
    } else if (strcmp(line, "describe") == 0) {
        *out = make_two(MLA_ACTION_UNDERSTAND_FILE, rest);
    } else if (strcmp(line, "copy") == 0) {
        *out = make_two(MLA_ACTION_COPY_FILE, rest);
    } else if (strcmp(line, "ask") == 0) {
        *out = make(MLA_ACTION_EDIT_SCRIPT_AI, w->task->script);
        out->inputs[1] = mla_strdup(rest);
    } else if (strcmp(line, "run") == 0) {
        *out = make(MLA_ACTION_EXECUTE_SCRIPT, w->task->script);
    } else if (strcmp(line, "undo") == 0) {
        *out = make(MLA_ACTION_UNDO_EDIT, w->task->script);
    } else if (strcmp(line, "done") == 0) {
        *out = make(MLA_ACTION_FINAL_ANSWER, *rest ? rest : "done");
    } else if (strcmp(line, "edit") == 0) {
        *out = make(MLA_ACTION_EDIT_SCRIPT, w->task->script);
        out->blocks = read_block();
    } else {
        return false;
    }
    return true;
}

// What a script printed, or its text: raw only where no terminal reads it.
static void print_text(const char *text) {
    char *shown = isatty(STDOUT_FILENO) ? mla_terminal_text(text) : mla_strdup(text);
    fputs(shown, stdout);
    free(shown);
}

static void print_step(const walk *w, const mla_step *step) {
    if (w->json) {
        json_t *object = mla_step_to_json(step);
        char *line = mla_json_line(object);
        puts(line);
        free(line);
        json_decref(object);
        return;
    }
    bool colour = mla_colour_wanted(stdout);
    double reward = step->reward.reward;
    print_text(step->feedback ? step->feedback : "");
    printf("\n%soutcome: %s   score: %.6g   reward: %.4f   %.2f s%s%s\n",
           !colour ? "" : reward > 0.5 ? "\033[32m" : reward < 0.5 ? "\033[31m" : "\033[33m",
           mla_outcome_name(step->outcome), step->reward.score_after, reward,
           step->cost.run_seconds, step->cost.cached ? " (cached)" : "", colour ? "\033[0m" : "");
}

static int take_step(walk *w, char *text, mla_err *err) {
    mla_reply reply = {.text = text};
    const mla_view view = {.task = w->task, .state = w->state, .history = w->history.items,
                           .n_history = w->history.len, .steps_left = 1};
    size_t tag;
    mla_step step;
    if (mla_agent_submit(w->agent, &view, "person", "by-hand", &reply, 0, err) < 0) return -1;
    if (mla_agent_collect(w->agent, 3600, &tag, &step, err) != 1) return -1;
    print_step(w, &step);
    w->state = step.state_after;
    return mla_steps_push_take(&w->history, &step)->final ? 1 : 0;
}

static int print_script(walk *w, mla_err *err) {
    char *script = mla_env_script(mla_agent_env(w->agent), w->task, &w->state, err);
    if (!script) return -1;
    print_text(script);
    free(script);
    return 0;
}

// One line of the person's. 1: the end, 0: go on, -1.
static int obey(walk *w, char *line, mla_err *err) {
    mla_action action;
    line[strcspn(line, "\n")] = '\0';
    if (!*line) return 0;
    if (strcmp(line, "script") == 0) return print_script(w, err);
    if (strcmp(line, "reply") == 0) return take_step(w, read_block(), err);
    if (!read_action(w, line, &action)) {
        print_hints(w);
        return 0;
    }
    char *text = mla_action_format(&action);
    mla_action_clear(&action);
    return take_step(w, text, err);
}

static int converse(walk *w, mla_err *err) {
    char *line = NULL;
    size_t cap = 0;
    int rc = mla_env_begin(mla_agent_env(w->agent), w->task, &w->state, err);
    if (rc == 0 && !w->json) print_hints(w);
    while (rc == 0 && !mla_stop_wanted()) {
        if (w->terminal) fputs("> ", stdout);
        fflush(stdout);
        if (getline(&line, &cap, stdin) <= 0) break;
        rc = obey(w, line, err);
    }
    free(line);
    mla_steps_clear(&w->history);
    return rc < 0 ? -1 : 0;
}

// The environment in the run folder given, or in a temporary one.
static mla_env *open_env(const mla_options *o, const char *home, const char *dir, mla_err *err) {
    char *states = mla_fs_join(dir, "states.git"), *cache = mla_fs_join(dir, "exec.sqlite");
    mla_env_options options = mla_env_options_default();
    options.workers = 1;
    options.actions = MLA_ACTIONS_ALL;
    options.home = home;
    options.python = o->python;
    options.states_path = states;
    options.cache_path = cache;
    options.allow_weaker_sandbox = o->allow_weaker_sandbox;
    mla_env *env = mla_fs_mkdirs(dir, err) < 0 ? NULL : mla_env_create(&options, err);
    free(states);
    free(cache);
    return env;
}

static int walk_task(const mla_options *o, mla_env *env, const char *home, mla_err *err) {
    char *root = mla_options_tasks(o);
    char *dir = mla_fs_join(root, o->rest[0]);
    mla_task *task = mla_task_load(dir, home, true, err);
    const mla_reward_options reward = mla_reward_options_default();
    int rc = -1;
    if (task) {
        mla_agent *agent = mla_agent_create(env, &reward);
        walk w = {.agent = agent, .task = task, .json = o->json, .terminal = isatty(STDIN_FILENO)};
        rc = converse(&w, err);
        mla_agent_free(agent);
    }
    mla_task_free(task);
    free(dir);
    free(root);
    return rc;
}

// ---- --check ---------------------------------------------------------------------------------

static void print_protections(const mla_protection *list, size_t n, size_t missing) {
    for (size_t i = 0; i < n; i++) {
        printf("%-4s %-24s %s  %s\n", list[i].given ? "yes" : "no", list[i].name,
               list[i].required ? "required" : "optional", list[i].how);
    }
    if (missing) {
        printf("scripts are not run here: %zu of the required protections %s missing; "
               "--allow-weaker-sandbox runs them nevertheless\n", missing,
               missing == 1 ? "is" : "are");
    } else {
        puts("scripts are run here: every required protection is given");
    }
}

static void print_json(const mla_protection *list, size_t n, bool ok, const char *error) {
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(all, json_pack("{s:s, s:b, s:b, s:s}", "name", list[i].name,
                                             "required", list[i].required, "given", list[i].given,
                                             "how", list[i].how));
    }
    json_t *object = json_pack("{s:b, s:o, s:s?}", "ok", ok, "protections", all, "error", error);
    char *line = mla_json_line(object);
    puts(line);
    free(line);
    json_decref(object);
}

static int check(const mla_options *o, const char *home) {
    mla_env_options options = mla_env_options_default();
    options.home = home;
    options.python = o->python;
    mla_protection list[MLA_PROTECTIONS_MAX];
    size_t n = 0, missing = 0;
    mla_err err = {0};
    int rc = mla_env_protections(&options, list, &n, &err);
    for (size_t i = 0; i < n; i++) missing += list[i].required && !list[i].given;
    if (o->json) print_json(list, n, rc == 0 && !missing, rc < 0 ? err.text : NULL);
    else if (rc == 0) print_protections(list, n, missing);
    if (rc < 0 && !o->json) mla_fail(&err);
    return rc < 0 || missing ? MLA_EXIT_ERROR : MLA_EXIT_OK;
}

int mla_cmd_env(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != (o.check ? 0 : 1)) {
        fputs("mlagent: usage: mlagent env TASK | mlagent env --check\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {0};
    char *home = mla_options_home(&o);
    if (o.check) {
        int status = check(&o, home);
        free(home);
        return status;
    }
    char tmp[] = "/tmp/mlagent-env-XXXXXX";
    if (!o.run && !mkdtemp(tmp)) {
        free(home);
        return mla_fail(&(mla_err){"/tmp: cannot make a folder there"});
    }
    mla_env *env = open_env(&o, home, o.run ? o.run : tmp, &err);
    int rc = env ? walk_task(&o, env, home, &err) : -1;
    mla_env_free(env);
    free(home);
    mla_err ignored;
    if (!o.run && mla_fs_remove_tree(tmp, &ignored) < 0) mla_warn("%s", ignored.text);
    return rc < 0 ? mla_fail(&err) : MLA_EXIT_OK;
}
