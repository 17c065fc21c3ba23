// `mlagent generate`: one prompt, one reply; or JSON lines in and out, all batched by one engine.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "policy/engine.h"
#include "serve/request.h"
#include "serve/text.h"

#define PROMPT_MAX ((size_t)1 << 20)

static int read_prompt(const mla_options *o, mla_buf *out, mla_err *err) {
    if (!o->prompt) return mla_fs_read("/dev/stdin", PROMPT_MAX, out, err);
    mla_buf_init(out, PROMPT_MAX);
    mla_buf_puts(out, o->prompt);
    return 0;
}

static void keep(void *ctx, size_t request, int k, mla_sample *take) {
    (void)request, (void)k;
    *(mla_sample *)ctx = *take;
    *take = (mla_sample){0};
}

static void print_json(const mla_ids *prompt, const mla_sample *sample, const char *text,
                       double seconds) {
    json_t *ids = json_array(), *logprobs = json_array();
    for (size_t i = 0; i < sample->n; i++) {
        json_array_append_new(ids, json_integer(sample->ids[i]));
        json_array_append_new(logprobs, json_real((double)sample->logprobs[i]));
    }
    json_t *out = json_pack("{s:o, s:o, s:o, s:b, s:I, s:f}", "text",
                            mla_json_text(text, strlen(text)), "ids", ids, "logprobs", logprobs,
                            "ended", sample->ended, "prompt_tokens", (json_int_t)prompt->len,
                            "seconds", seconds);
    char *line = mla_json_line(out);
    puts(line);
    free(line);
    json_decref(out);
}

static int generate(const mla_options *o, mla_policy *policy, const char *prompt, mla_err *err) {
    mla_ids ids = {0};
    mla_sample sample = {0};
    mla_chat_turn(policy, &ids, "user", prompt);
    mla_chat_open_reply(policy, &ids);
    const mla_prompt_request request = {.ids = ids.data, .n = ids.len, .samples = 1,
                                        .max_new = o->max_new, .seed = o->seed,
                                        .temperature = (float)o->temperature};
    double began = mla_clock();
    int rc = mla_policy_generate(policy, &request, 1, keep, &sample, err);
    double seconds = mla_clock() - began;
    if (rc == 0) {
        char *text = mla_tokenizer_decode(mla_policy_tokenizer(policy), sample.ids, sample.n, NULL);
        if (o->json) print_json(&ids, &sample, text, seconds);
        else puts(text);
        if (isatty(STDERR_FILENO)) {
            mla_info("%zu + %zu tokens in %.2f s", ids.len, sample.n, seconds);
        }
        free(text);
    }
    mla_sample_clear(&sample);
    mla_ids_clear(&ids);
    return rc;
}

static int generate_one(const mla_options *o, mla_policy *policy, mla_err *err) {
    mla_buf prompt;
    int rc = read_prompt(o, &prompt, err);
    if (rc == 0) rc = generate(o, policy, mla_buf_text(&prompt), err);
    mla_buf_clear(&prompt);
    return rc;
}

// ---- many prompts: JSON lines in, JSON lines out -----------------------------------------------

#define WINDOW 512              // lines that are read ahead of the oldest without its answer
#define LINE_MAX_BYTES ((size_t)4 << 20)

typedef struct {                // a line on its way to its answer
    mla_ask ask;
    mla_fault fault;            // status 0: none
    mla_ids prompt;
    mla_choice *choices;        // [ask.n]
    int finished;
    uint64_t handle;
} work;

typedef struct {
    const mla_options *options;
    mla_policy *policy;
    mla_engine *engine;
    work window[WINDOW];        // a ring
    size_t first, n;            // lines from `first` on, the oldest first; counted from 0
    bool ended;                 // no more input
    bool faulty;                // some line had an error
} batch;

static work *work_of(batch *b, size_t line) {
    return &b->window[line % WINDOW];
}

static void on_token(void *ctx, size_t line, int sample, const mla_token *token) {
    work *w = work_of(ctx, line);
    mla_choice *choice = &w->choices[sample];
    mla_choice_push(choice, token);
    if (!choice->finish) return;
    w->finished++;
    mla_engine_cancel_sample(((batch *)ctx)->engine, w->handle, sample);
}

static void on_end(void *ctx, size_t line, int sample, mla_sample *take) {
    work *w = work_of(ctx, line);
    mla_choice_end(&w->choices[sample], take->ended);
    w->finished++;
    mla_sample_clear(take);
}

static int submit(batch *b, work *w, size_t line) {
    int32_t stop[2];
    mla_err err = {{0}};
    if (mla_ask_encode(&w->ask, b->policy, 0, &w->prompt, &w->fault) < 0) return -1;
    w->choices = MLA_NEW_ARRAY(mla_choice, (size_t)w->ask.n);
    for (int k = 0; k < w->ask.n; k++) {
        mla_choice_init(&w->choices[k], mla_policy_tokenizer(b->policy), w->ask.stop,
                        w->ask.n_stop);
    }
    const mla_prompt_request request = mla_ask_request(&w->ask, b->policy, 0, &w->prompt, stop,
                                                       mla_ask_stop_ids(b->policy, stop));
    if (mla_engine_submit(b->engine, &request, line, on_token, on_end, b, &w->handle, &err) == 0) {
        return 0;
    }
    return mla_fault_set(&w->fault, 400, NULL, NULL, "%s", err.text);
}

// What a line leaves out comes from the options; each line has a seed of its own.
static void fill_in(const mla_options *o, mla_ask *ask, size_t line) {
    if (!ask->max_new) ask->max_new = o->max_new;
    if (!ask->has_temperature) ask->temperature = (float)o->temperature;
    if (!ask->has_seed) ask->seed = mla_rng_derive(o->seed, line, 0, 0);
}

static void take_line(batch *b, const char *text, size_t len, bool too_long) {
    size_t line = b->first + b->n++;
    work *w = work_of(b, line);
    *w = (work){0};
    int rc = too_long ? mla_fault_set(&w->fault, 400, NULL, NULL, "the line is longer than %zu "
                                      "bytes", LINE_MAX_BYTES)
                      : mla_ask_read(&w->ask, MLA_ASK_LINE, text, len, &w->fault);
    fill_in(b->options, &w->ask, line);
    if (rc == 0) rc = submit(b, w, line);
    b->faulty |= rc < 0;
}

// Reads what there is; waits for more only when there is nothing else to do. Skips empty lines.
static int take_lines(batch *b, mla_lines *lines, mla_err *err) {
    while (!b->ended && b->n < WINDOW) {
        char *text;
        size_t len;
        int kind = mla_lines_next(lines, b->n == 0, &text, &len, err);
        if (kind < 0) return -1;
        if (kind == MLA_LINE_LATER) break;
        if (kind == MLA_LINE_END) b->ended = true;
        else if (kind == MLA_LINE_TOO_LONG || text[strspn(text, " \t\r")])
            take_line(b, text, len, kind == MLA_LINE_TOO_LONG);
    }
    return 0;
}

static json_t *sample_json(const mla_choice *c) {
    json_t *ids = json_array(), *logprobs = json_array();
    for (size_t i = 0; i < c->ids.len; i++) {
        json_array_append_new(ids, json_integer(c->ids.data[i]));
        json_array_append_new(logprobs, mla_json_number((double)c->logprobs[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:b}", "text",
                     mla_json_text(mla_buf_text(&c->text.text), c->text.text.len), "ids", ids,
                     "logprobs", logprobs, "ended", c->finish == MLA_FINISH_STOP);
}

static json_t *answer_json(const work *w) {
    if (w->fault.status) {
        return json_pack("{s:o}", "error",
                         mla_json_text(w->fault.message, strlen(w->fault.message)));
    }
    json_t *answer = w->ask.n == 1 ? sample_json(&w->choices[0]) : json_object();
    if (w->ask.n > 1) {
        json_t *samples = json_array();
        for (int k = 0; k < w->ask.n; k++) {
            json_array_append_new(samples, sample_json(&w->choices[k]));
        }
        json_object_set_new(answer, "samples", samples);
    }
    json_object_set_new(answer, "prompt_tokens", json_integer((json_int_t)w->prompt.len));
    return answer;
}

static void clear_work(work *w) {
    for (int k = 0; w->choices && k < w->ask.n; k++) mla_choice_clear(&w->choices[k]);
    free(w->choices);
    mla_ids_clear(&w->prompt);
    mla_ask_clear(&w->ask);
}

static int print_answer(const work *w, mla_err *err) {
    json_t *answer = answer_json(w);
    if (w->ask.id) json_object_set(answer, "id", w->ask.id);
    char *line = mla_json_line(answer);
    puts(line);
    free(line);
    json_decref(answer);
    return ferror(stdout) ? mla_err_set(err, "cannot write the output: %s", strerror(errno)) : 0;
}

// Answers leave in the order of their lines.
static int print_answers(batch *b, mla_err *err) {
    for (; b->n; b->first++, b->n--) {
        work *w = work_of(b, b->first);
        if (!w->fault.status && w->finished < w->ask.n) break;
        if (print_answer(w, err) < 0) return -1;
        clear_work(w);
    }
    if (fflush(stdout) == 0) return 0;
    return mla_err_set(err, "cannot write the output: %s", strerror(errno));
}

static int run_batch(batch *b, mla_err *err) {
    mla_lines lines;
    int rc = 0;
    mla_lines_init(&lines, STDIN_FILENO, LINE_MAX_BYTES);
    while (rc == 0 && !(b->ended && b->n == 0) && !mla_stop_wanted()) {
        rc = take_lines(b, &lines, err);
        if (rc == 0 && b->n) rc = mla_engine_step(b->engine, err) < 0 ? -1 : 0;
        if (rc == 0) rc = print_answers(b, err);
    }
    mla_lines_clear(&lines);
    return rc;
}

// 1 when a line had an error.
static int generate_lines(const mla_options *o, mla_policy *policy, mla_err *err) {
    batch *b = MLA_NEW(batch);
    b->options = o;
    b->policy = policy;
    b->engine = mla_engine_create(policy, mla_policy_options_default().kv_bytes);
    int rc = run_batch(b, err);
    if (rc == 0) rc = b->faulty;
    mla_engine_free(b->engine);
    for (; b->n; b->first++, b->n--) clear_work(work_of(b, b->first));
    free(b);
    return rc;
}

int mla_cmd_generate(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fputs("mlagent: usage: mlagent generate MODEL [--prompt TEXT | --jsonl]\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {{0}};
    char *path = mla_options_model(&o, o.rest[0]);
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = o.compute;
    wanted.adapter = o.adapter;
    mla_policy *policy = mla_policy_open(path, &wanted, &err);
    int rc = !policy ? -1 : o.jsonl ? generate_lines(&o, policy, &err)
                                    : generate_one(&o, policy, &err);
    mla_policy_free(policy);
    free(path);
    if (rc < 0) return mla_fail(&err);
    if (mla_stop_wanted()) return MLA_EXIT_STOPPED;
    return rc ? MLA_EXIT_ERROR : MLA_EXIT_OK;
}
