// `mlagent chat`: a person and a model, turn by turn. The history is kept as token ids, so that
// what was sampled is never encoded again. On a terminal Ctrl-C ends the reply, not the program:
// the signal is blocked and read from a descriptor.
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "policy/engine.h"
#include "serve/request.h"
#include "serve/text.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)

typedef struct {
    const mla_options *options;
    mla_policy *policy;
    mla_engine *engine;
    char *system;           // or NULL
    mla_ids history;
    uint64_t turn;
    bool terminal;
    int interrupts;         // a signalfd of Ctrl-C, or -1 off the terminal
    mla_choice reply;
    size_t printed;         // bytes of the reply's text
} talk;

// ---- the keyboard ----------------------------------------------------------------------------

static int catch_interrupts(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);     // before any other thread is made
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool was_interrupted(const talk *t) {
    struct signalfd_siginfo info;
    bool any = mla_stop_wanted();
    while (t->interrupts >= 0 && read(t->interrupts, &info, sizeof info) > 0) any = true;
    return any;
}

static void ask(const talk *t) {
    if (!t->terminal) return;
    fputs("\n> ", stdout);
    fflush(stdout);
}

// As mla_lines_next; Ctrl-C asks anew.
static int next_line(const talk *t, mla_lines *lines, char **line, size_t *len, mla_err *err) {
    ask(t);
    for (;;) {
        struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = t->interrupts, .events = POLLIN}};
        int kind = mla_lines_next(lines, false, line, len, err);
        if (kind != MLA_LINE_LATER) return kind;
        if (mla_stop_wanted()) return MLA_LINE_END;
        poll(p, 2, 1000);
        if (t->terminal && was_interrupted(t)) ask(t);
    }
}

// ---- a reply ---------------------------------------------------------------------------------

static void print_news(talk *t) {
    size_t fresh = t->reply.text.safe - t->printed;
    if (!fresh) return;
    fwrite(mla_buf_text(&t->reply.text.text) + t->printed, 1, fresh, stdout);
    if (t->terminal) fflush(stdout);
    t->printed = t->reply.text.safe;
}

static void on_token(void *ctx, size_t request, int sample, const mla_token *token) {
    talk *t = ctx;
    (void)request, (void)sample;
    mla_choice_push(&t->reply, token);
    print_news(t);
}

static void on_end(void *ctx, size_t request, int sample, mla_sample *take) {
    talk *t = ctx;
    (void)request, (void)sample;
    mla_choice_end(&t->reply, take->ended);
    mla_sample_clear(take);
}

static int sample_reply(talk *t, const mla_prompt_request *request, mla_err *err) {
    uint64_t handle;
    int rc = mla_engine_submit(t->engine, request, 0, on_token, on_end, t, &handle, err);
    while (rc == 0 && !t->reply.finish) {
        if (was_interrupted(t)) {
            mla_engine_cancel(t->engine, handle);
            mla_choice_end(&t->reply, false);
        } else if (mla_engine_step(t->engine, err) < 0) {
            rc = -1;
        }
    }
    print_news(t);
    if (rc == 0) putchar('\n');
    fflush(stdout);
    return rc;
}

// The reply as it was sampled, closed if it was cut.
static void remember(talk *t) {
    const mla_ids *ids = &t->reply.ids;
    int32_t end = mla_chat_end_of_turn(t->policy);
    mla_ids_append(&t->history, ids->data, ids->len);
    if (!ids->len || ids->data[ids->len - 1] != end) mla_ids_push(&t->history, end);
    mla_tokenizer_encode(mla_policy_tokenizer(t->policy), "\n", 1, &t->history);
}

static int say(talk *t, const char *text, mla_err *err) {
    size_t before = t->history.len;
    int context = mla_model_get_config(mla_policy_model(t->policy))->max_context;
    int32_t stop[2];
    mla_chat_turn(t->policy, &t->history, "user", text);
    mla_chat_open_reply(t->policy, &t->history);
    int room = context - (int)t->history.len;
    if (room < 1) {
        fprintf(stderr, "this would be longer than the model's context of %d tokens; "
                "/reset begins anew\n", context);
        t->history.len = before;
        return 0;
    }
    const mla_prompt_request request = {
        .ids = t->history.data, .n = t->history.len, .samples = 1,
        .max_new = t->options->max_new < room ? t->options->max_new : room,
        .temperature = (float)t->options->temperature,
        .stop = stop, .n_stop = mla_ask_stop_ids(t->policy, stop),
        .seed = mla_rng_derive(t->options->seed, t->turn++, 0, 0)};
    mla_choice_init(&t->reply, mla_policy_tokenizer(t->policy), NULL, 0);
    t->printed = 0;
    int rc = sample_reply(t, &request, err);
    if (rc == 0) remember(t);
    mla_choice_clear(&t->reply);
    return rc;
}

// ---- commands --------------------------------------------------------------------------------

static void begin_anew(talk *t) {
    t->history.len = 0;
    if (t->system) mla_chat_turn(t->policy, &t->history, "system", t->system);
}

static void set_system(talk *t, const char *text) {
    free(t->system);
    t->system = *text ? mla_strdup(text) : NULL;
    begin_anew(t);
}

// 1: go on, 0: quit.
static int obey(talk *t, const char *line) {
    if (!strcmp(line, "/quit") || !strcmp(line, "/exit")) return 0;
    if (!strcmp(line, "/reset")) {
        begin_anew(t);
    } else if (!strncmp(line, "/system", 7) && (line[7] == ' ' || !line[7])) {
        set_system(t, line[7] ? line + 8 : "");
    } else {
        fputs("/reset         forget what was said\n"
              "/system TEXT   give the model this system message, and begin anew\n"
              "/quit          end (Ctrl-D too); Ctrl-C ends a reply\n", stdout);
        fflush(stdout);
    }
    return 1;
}

static int converse(talk *t, mla_err *err) {
    mla_lines lines;
    char *line;
    size_t len;
    int rc = 1;
    mla_lines_init(&lines, STDIN_FILENO, LINE_MAX_BYTES);
    while (rc > 0 && !mla_stop_wanted()) {
        int kind = next_line(t, &lines, &line, &len, err);
        if (kind == MLA_LINE_END) break;
        if (kind < 0) rc = -1;
        else if (kind == MLA_LINE_TOO_LONG) fputs("this line is too long\n", stderr);
        else if (line[0] == '/') rc = obey(t, line);
        else if (len && say(t, line, err) < 0) rc = -1;
    }
    if (t->terminal) putchar('\n');
    mla_lines_clear(&lines);
    return rc < 0 ? -1 : 0;
}

static int open_and_talk(const mla_options *o, mla_err *err) {
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    talk t = {.options = o, .terminal = terminal,
              .interrupts = terminal ? catch_interrupts() : -1};
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = o->compute;
    wanted.adapter = o->adapter;
    char *path = mla_options_model(o, o->rest[0]);
    t.policy = mla_policy_open(path, &wanted, err);
    free(path);
    int rc = -1;
    if (t.policy) {
        t.engine = mla_engine_create(t.policy, wanted.kv_bytes);
        if (terminal) fputs("Say something; /help lists commands.\n", stdout);
        rc = converse(&t, err);
    }
    if (t.interrupts >= 0) close(t.interrupts);
    mla_engine_free(t.engine);
    mla_policy_free(t.policy);
    mla_ids_clear(&t.history);
    free(t.system);
    return rc;
}

int mla_cmd_chat(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fputs("mlagent: usage: mlagent chat MODEL\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {{0}};
    if (open_and_talk(&o, &err) < 0) return mla_fail(&err);
    return mla_stop_wanted() ? MLA_EXIT_STOPPED : MLA_EXIT_OK;
}
