// `mlagent generate`: one prompt, one reply.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

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

int mla_cmd_generate(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fputs("mlagent: usage: mlagent generate MODEL [--prompt TEXT]\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {0};
    mla_buf prompt;
    char *home = mla_options_home(&o);
    bool is_path = strchr(o.rest[0], '/') || mla_fs_exists(o.rest[0]);
    char *path = is_path ? mla_strdup(o.rest[0])
                         : mla_format("%s/models/%s.gguf", home, o.rest[0]);
    const mla_policy_options wanted = mla_policy_options_default();
    int rc = read_prompt(&o, &prompt, &err);
    if (rc == 0) {
        mla_policy *policy = mla_policy_open(path, &wanted, &err);
        rc = policy ? generate(&o, policy, mla_buf_text(&prompt), &err) : -1;
        mla_policy_free(policy);
        mla_buf_clear(&prompt);
    }
    free(path);
    free(home);
    if (rc < 0) return mla_fail(&err);
    return mla_stop_wanted() ? MLA_EXIT_STOPPED : MLA_EXIT_OK;
}
