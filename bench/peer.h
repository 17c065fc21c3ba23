// The peers of the figures: scripts in bench/peers, run by the Python of the venv that PEERS names,
// llama.cpp's by that of PEERS_LLAMA where it has one of its own. Which peer gave what is said on
// standard error.
#ifndef MLA_BENCH_PEER_H
#define MLA_BENCH_PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "model/weights.h"

// Peers set their threads' waiting up as they like: ours to sleep soon is no wish of theirs.
static inline double bench_peer_run(const char *venv, const char *script, const char *what,
                                    const char *model) {
    char *python = mla_format("%s/bin/python", venv);
    char *file = mla_format("bench/peers/%s", script);
    char *argv[] = {"env", "-u", "GOMP_SPINCOUNT", python, file, (char *)(uintptr_t)what,
                    (char *)(uintptr_t)model, NULL};
    mla_buf output;
    mla_proc_result result;
    mla_err err;
    double value = 0;
    mla_buf_init(&output, 1 << 20);
    int rc = mla_proc_run(argv, NULL, NULL, 600, &output, &result, &err);
    const char *line = strstr(mla_buf_text(&output), "figure ");
    if (rc == 0 && result.exit_code == 0 && line)
        value = strtod(line + strlen("figure "), NULL);
    else
        fprintf(stderr, "bench: %s gave no figure for %s: %s\n", script, what,
                rc ? err.text : mla_buf_text(&output));
    mla_buf_clear(&output);
    free(python);
    free(file);
    return value;
}

// The figure that `script` prints for `what` and the model in the file `model`, or 0 where no peer
// is named by PEERS or it fails.
static inline double bench_peer_on(const char *script, const char *what, const char *model) {
    const char *venv = getenv("PEERS");
    if (!venv || !*venv) return 0;
    double value = bench_peer_run(venv, script, what, model);
    if (value > 0) fprintf(stderr, "bench: %s, %s: %.4g\n", what, script, value);
    return value;
}

// ---- llama.cpp -------------------------------------------------------------------------------

static inline int bench_convert(const char *from, const char *to, const char *type, mla_err *err) {
    mla_weights *weights = mla_weights_open(from, err);
    int rc = weights ? mla_weights_convert(weights, to, mla_weights_to_parse(type), "bench", err)
                     : -1;
    mla_weights_close(weights);
    return rc;
}

// The figure of llama.cpp with the model's weights in a GGUF type, converted for the while; or 0.
static inline double bench_llama(const char *what, const char *model, const char *type) {
    const char *venv = getenv("PEERS_LLAMA"), *tmp = getenv("TMPDIR");
    if (!venv || !*venv) venv = getenv("PEERS");
    if (!venv || !*venv || !mla_fs_exists(model)) return 0;
    char *folder = mla_format("%s/mlagent-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) mla_panic(__FILE__, __LINE__, "cannot make %s", folder);
    char *file = mla_fs_join(folder, "model.gguf");
    mla_err err;
    double value = 0;
    if (bench_convert(model, file, type, &err))
        fprintf(stderr, "bench: %s\n", err.text);
    else
        value = bench_peer_run(venv, "llamacpp_speed.py", what, file);
    if (value > 0) fprintf(stderr, "bench: %s, llama.cpp %s: %.4g\n", what, type, value);
    if (mla_fs_remove_tree(folder, &err)) fprintf(stderr, "bench: %s\n", err.text);
    free(file);
    free(folder);
    return value;
}

// The best figure for `what` of transformers in bf16 and of llama.cpp in `types` (NULL at the
// end); 0 where no peer gives one.
static inline double bench_best_peer(const char *what, const char *model,
                                     const char *const types[], bool more_is_better) {
    double best = bench_peer_on("transformers_speed.py", what, model);
    for (; *types; types++) {
        double value = bench_llama(what, model, *types);
        if (value > 0 && (best <= 0 || (value > best) == more_is_better)) best = value;
    }
    return best;
}

#define BENCH_BF16 (const char *const[]){"bf16", NULL}
#define BENCH_QUANTISED (const char *const[]){"q8_0", "q4_0", NULL}

#endif
