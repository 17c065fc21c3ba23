// `mlagent env TASK`: a person takes the walk of one step by hand, action by action; and
// `mlagent env --check`: which protections scripts are held by on this machine.
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "env/action.h"
#include "env/protections.h"

#define REPLY_MAX 65536
#define LOOK_SECONDS 0.2      // between two looks at Ctrl-C while a script runs

typedef struct {
    mla_session *session;
    const mla_task *task;
    mla_state state;
    mla_steps history;
    bool json, terminal;
} walk;

// ---- what can be typed -----------------------------------------------------------------------

// X(word, kind of action, what follows, what it does). The words that are no action are below.
#define COMMANDS(X)                                                                          \
    X("list", LIST_FILES, "[DIR]", "the files of the workspace, or of data")                 \
    X("describe", UNDERSTAND_FILE, "FILE [WORDS]", "a CSV's columns, a script's outline")    \
    X("show", INSPECT_LINES, "FROM TO", "lines of the script, numbered")                     \
    X("edit", EDIT_SCRIPT, "", "blocks as below, ended by a \".\"; runs it")               \
    X("ask", EDIT_SCRIPT_AI, "INSTRUCTION", "have the editor change the script (--editor)")  \
    X("run", EXECUTE_SCRIPT, "", "run and score the script")                                 \
    X("undo", UNDO_EDIT, "", "take back the last edit")                                      \
    X("copy", COPY_FILE, "FILE NAME", "copy a file")                                         \
    X("done", FINAL_ANSWER, "[WORDS]", "the final answer: the end")

static const struct {
    const char *word;
    mla_action_kind kind;
    const char *rest, *help;
} commands[] = {
#define X(word, kind, rest, help) {word, MLA_ACTION_##kind, rest, help},
    COMMANDS(X)
#undef X
};

static void print_command(const char *word, const char *rest, const char *help) {
    char *both = mla_format("%s %s", word, rest);
    printf("  %-22s %s\n", both, help);
    free(both);
}

static void print_help(const walk *w) {
    for (size_t i = 0; i < MLA_COUNT(commands); i++) {
        if (!mla_action_set_has(w->session->actions, commands[i].kind)) continue;
        print_command(commands[i].word, commands[i].rest, commands[i].help);
    }
    print_command("script", "", "the whole script as it is now");
    print_command("diff", "", "what changed since the start");
    print_command("reply", "", "a whole reply as agents write it, ended by a \".\"");
    print_command("help", "", "this; Ctrl-D or Ctrl-C leaves");
    puts("An edit:\n  <<<<<<< SEARCH\n  lines of the script as they are\n  =======\n"
         "  lines to put there\n  >>>>>>> REPLACE\n  .");
}

static void print_task(const walk *w) {
    printf("Task %s: %s, %s is better\nstarter %.6g, reference %.6g (public half)\n%s\n"
           "Type help for what can be done.\n", w->task->name, mla_metric_name(w->task->metric),
           w->task->direction > 0 ? "higher" : "lower", w->task->init.public_half,
           w->task->best.public_half, w->task->description);
}

// ---- reading ---------------------------------------------------------------------------------

// A line as getline reads it; false at the end of the input or at Ctrl-C, for which a terminal's
// read, begun again after a signal, would wait.
static bool read_line(const walk *w, const char *prompt, char **line, size_t *cap) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (w->terminal) fputs(prompt, stdout);
    fflush(stdout);
    while (w->terminal && poll(&input, 1, -1) < 0) {
        if (errno != EINTR || mla_stop_wanted()) return false;
    }
    return !mla_stop_wanted() && getline(line, cap, stdin) > 0;
}

static char *read_block(const walk *w) {
    mla_buf text;
    mla_buf_init(&text, REPLY_MAX);
    char *line = NULL;
    size_t cap = 0;
    while (read_line(w, "", &line, &cap) && strcmp(line, ".\n") != 0 && strcmp(line, ".") != 0) {
        mla_buf_puts(&text, line);
    }
    free(line);
    return mla_buf_take(&text);
}

static void fill(mla_action *action, const walk *w, char *rest) {
    const char *script = w->task->script;
    size_t first = strcspn(rest, " ");
    const char *second = rest[first] ? rest + first + 1 : "";
    switch (action->kind) {
    case MLA_ACTION_LIST_FILES: action->inputs[0] = mla_strdup(*rest ? rest : "."); break;
    case MLA_ACTION_FINAL_ANSWER: action->inputs[0] = mla_strdup(*rest ? rest : "done"); break;
    case MLA_ACTION_UNDERSTAND_FILE:
    case MLA_ACTION_COPY_FILE:
        action->inputs[0] = mla_strndup(rest, first);
        action->inputs[1] = mla_strdup(second);
        break;
    case MLA_ACTION_INSPECT_LINES:
        action->inputs[1] = mla_strndup(rest, first);
        action->inputs[2] = mla_strdup(second);
        action->inputs[0] = mla_strdup(script);
        break;
    case MLA_ACTION_EDIT_SCRIPT_AI:
        action->inputs[1] = mla_strdup(rest);
        action->inputs[0] = mla_strdup(script);
        break;
    case MLA_ACTION_EDIT_SCRIPT:
        action->blocks = read_block(w);
        action->inputs[0] = mla_strdup(script);
        break;
    default: action->inputs[0] = mla_strdup(script);
    }
}

// A short command as the reply that an agent would write; NULL when it is none. Caller frees.
static char *read_action(const walk *w, const char *word, char *rest) {
    for (size_t i = 0; i < MLA_COUNT(commands); i++) {
        if (strcmp(word, commands[i].word) != 0) continue;
        mla_action action = {.kind = commands[i].kind, .thought = mla_strdup("a person's action")};
        fill(&action, w, rest);
        char *text = mla_action_format(&action);
        mla_action_clear(&action);
        return text;
    }
    return NULL;
}

// ---- showing ---------------------------------------------------------------------------------

static void print_record(const mla_step *step) {
    json_t *object = mla_step_to_json(step);
    char *line = mla_json_line(object);
    puts(line);
    free(line);
    json_decref(object);
}

// What a script printed, or its text: raw only where no terminal reads it.
static void print_text(const char *text) {
    char *shown = isatty(STDOUT_FILENO) ? mla_terminal_text(text) : mla_strdup(text);
    fputs(shown, stdout);
    free(shown);
}

static void print_step(const mla_step *step) {
    const mla_reward_parts *r = &step->reward;
    const char *colour = !mla_colour_wanted(stdout) ? "" : r->reward > 0.5 ? "\033[32m" :
                         r->reward < 0.5 ? "\033[31m" : "\033[33m";
    print_text(step->feedback ? step->feedback : "");
    printf("\n%soutcome: %s", colour, mla_outcome_name(step->outcome));
    if (isfinite(r->score_after)) printf("   score: %.6g", r->score_after);
    if (isfinite(step->state_after.best)) printf("   best: %.6g", step->state_after.best);
    if (isfinite(r->reward)) printf("   reward: %.4f", r->reward);
    if (step->cost.run_seconds > 0) {
        printf("   %.2f s%s", step->cost.run_seconds, step->cost.cached ? " (cached)" : "");
    }
    char *flags = mla_flag_text(step->flags);
    if (*flags) printf("   flagged: %s", flags);
    free(flags);
    puts(*colour ? "\033[0m" : "");
}

static int print_script(walk *w, mla_err *err) {
    char *script = mla_env_script(w->session->env, w->task, &w->state, err);
    if (!script) return -1;
    print_text(script);
    free(script);
    return 0;
}

static int print_diff(walk *w, mla_err *err) {
    mla_state start;
    if (mla_env_begin(w->session->env, w->task, &start, err) < 0) return -1;
    char *diff = mla_env_diff(w->session->env, &start, &w->state, err);
    if (!diff) return -1;
    print_text(*diff ? diff : "nothing changed\n");
    free(diff);
    return 0;
}

// ---- the walk --------------------------------------------------------------------------------

// 1: the end, or Ctrl-C while a script ran; 0, -1.
static int take_step(walk *w, char *take, mla_err *err) {
    mla_reply reply = {.text = take};
    const mla_view view = {.task = w->task, .state = w->state, .history = w->history.items,
                           .n_history = w->history.len, .steps_left = 1};
    mla_agent *agent = w->session->agent;
    size_t tag;
    mla_step step;
    int rc = mla_agent_submit(agent, &view, "person", "by-hand", &reply, 0, err);
    if (rc < 0) return rc;
    while ((rc = mla_agent_collect(agent, LOOK_SECONDS, &tag, &step, err)) == 0) {
        if (!mla_stop_wanted()) continue;
        fprintf(stderr, "the script is waited for, %.0f s at most; Ctrl-C again leaves at once\n",
                w->task->limits.seconds);
        return 1;
    }
    if (rc < 0) return rc;
    if (w->json) print_record(&step);
    else print_step(&step);
    w->state = step.state_after;
    return mla_steps_push_take(&w->history, &step)->final ? 1 : 0;
}

// One line of the person's. 1: the end, 0: go on, -1.
static int obey(walk *w, char *line, mla_err *err) {
    line += strspn(line, " \t");
    line[strcspn(line, "\r\n")] = '\0';
    for (size_t n = strlen(line); n && line[n - 1] == ' '; n--) line[n - 1] = '\0';
    if (!*line) return 0;
    char *rest = line + strcspn(line, " ");
    if (*rest) *rest++ = '\0';
    rest += strspn(rest, " ");
    if (strcmp(line, "help") == 0) return print_help(w), 0;
    if (strcmp(line, "script") == 0) return print_script(w, err);
    if (strcmp(line, "diff") == 0) return print_diff(w, err);
    if (strcmp(line, "reply") == 0) return take_step(w, read_block(w), err);
    char *text = read_action(w, line, rest);
    if (text) return take_step(w, text, err);
    printf("\"%s\" is no command; try help\n", line);
    return 0;
}

static int converse(walk *w, mla_err *err) {
    char *line = NULL;
    size_t cap = 0;
    int rc = mla_env_begin(w->session->env, w->task, &w->state, err);
    if (rc == 0 && !w->json) print_task(w);
    while (rc == 0 && read_line(w, "> ", &line, &cap)) rc = obey(w, line, err);
    if (rc == 0 && w->terminal) puts("");
    free(line);
    mla_steps_clear(&w->history);
    return rc < 0 ? -1 : 0;
}

static int walk_task(const mla_options *o, const char *dir, mla_err *err) {
    mla_session session;
    if (mla_session_open(&session, o, dir, MLA_ACTIONS_ALL, 1, false, err) < 0) return -1;
    walk w = {.session = &session, .task = session.task, .json = o->json,
              .terminal = isatty(STDIN_FILENO)};
    int rc = converse(&w, err);
    mla_session_close(&session);
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

// In the folder given, or in one that is removed in the end.
static int walk_somewhere(const mla_options *o, mla_err *err) {
    char tmp[] = "/tmp/mlagent-env-XXXXXX";
    if (o->run) return walk_task(o, o->run, err);
    if (!mkdtemp(tmp)) return mla_err_set(err, "/tmp: cannot make a folder there");
    int rc = walk_task(o, tmp, err);
    mla_err ignored;
    if (mla_fs_remove_tree(tmp, &ignored) < 0) mla_warn("%s", ignored.text);
    return rc;
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
    if (o.check) {
        char *home = mla_options_home(&o);
        int status = check(&o, home);
        free(home);
        return status;
    }
    if (walk_somewhere(&o, &err) < 0) return mla_fail(&err);
    return mla_stop_wanted() ? MLA_EXIT_STOPPED : MLA_EXIT_OK;
}
