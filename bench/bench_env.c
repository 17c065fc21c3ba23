// What the environment itself costs: a run beyond its script's own compute, a run that the cache
// answers, restoring a state's files, and whole cached steps on one core. A state is 10 files of
// 100 kB together. The peer of a warm run is a fresh Python in bubblewrap that imports the same
// libraries, in the same program's run.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "bench.h"
#include "env/env.h"
#include "env/internal.h"
#include "env/sandbox.h"
#include "record/store.h"

enum {
    FILES = 10, FILE_BYTES = 10000, ROWS = 1000,
    WARM_RUNS = 40, FRESH_RUNS = 5,
    TEXTS = 32,           // different scripts whose runs the cache holds
    CHAINS = 16, STEPS = 6000, CACHED = 600,
    STATES = 100,
};

static const char imports[] =
    "import time\nbegan = time.perf_counter()\n"
    "import numpy, pandas, scipy.stats, sklearn.ensemble, sklearn.linear_model\n"
    "import sklearn.model_selection, sklearn.preprocessing, sklearn.svm, sklearn.neighbors\n";
static const char script[] =
    "NUMBER = 0\n"
    "began = time.perf_counter()\n"
    "test = pandas.read_csv('data/test.csv')\n"
    "model = sklearn.linear_model.LogisticRegression().fit(test[['x']], test.x > 500)\n"
    "y = model.predict(test[['x']]).astype(int)\n"
    "pandas.DataFrame({'id': test.id, 'y': y}).to_csv('submission.csv', index=False)\n"
    "print('compute', time.perf_counter() - began)\n";

typedef struct {
    char root[64];
    char *python;
    mla_task task;
    mla_env *env;
    mla_state start;
} bed;

_Noreturn static void give_up(const char *what) {
    fprintf(stderr, "bench_env: %s\n", what);
    exit(1);
}

static char *in(const bed *b, const char *name) {
    return mla_fs_join(b->root, name);
}

static void write_file(const bed *b, const char *name, const mla_buf *text) {
    mla_err err;
    char *path = in(b, name), *folder = mla_strdup(path);
    *strrchr(folder, '/') = '\0';
    if (mla_fs_mkdirs(folder, &err) || mla_fs_write(path, mla_buf_text(text), text->len, &err)) {
        give_up(err.text);
    }
    free(folder);
    free(path);
}

// ---- the task --------------------------------------------------------------------------------

// A script of FILE_BYTES bytes: `opening`, what it does, and comments.
static mla_buf script_text(const char *opening) {
    mla_buf text;
    mla_buf_init(&text, FILE_BYTES);
    mla_buf_puts(&text, opening);
    mla_buf_puts(&text, script);
    for (int i = 0; text.len + 40 < FILE_BYTES; i++) mla_buf_printf(&text, "# %d %08x\n", i,
                                                                    (unsigned)i * 2654435761u);
    return text;
}

static void write_files(const bed *b) {
    mla_buf text = script_text(imports);
    write_file(b, "env/train.py", &text);
    for (int i = 1; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "env/part_%d.py", i);
        text.data[text.len - 2] = (char)('a' + i);
        write_file(b, name, &text);
    }
    mla_buf_clear(&text);
    mla_buf test, answers;
    mla_buf_init(&test, 1 << 20);
    mla_buf_init(&answers, 1 << 20);
    mla_buf_puts(&test, "id,x\n");
    mla_buf_puts(&answers, "id,y,half\n");
    for (int i = 0; i < ROWS; i++) {
        mla_buf_printf(&test, "%d,%d\n", i, (i * 7919) % ROWS);
        mla_buf_printf(&answers, "%d,%d,%s\n", i, (i * 7919) % ROWS > ROWS / 2,
                       i % 2 ? "public" : "private");
    }
    write_file(b, "data/toy/test.csv", &test);
    write_file(b, "answers/toy.csv", &answers);
    mla_buf_clear(&test);
    mla_buf_clear(&answers);
}

static void make_bed(bed *b) {
    const char *tmp = getenv("TMPDIR");
    snprintf(b->root, sizeof b->root, "%.40s/mla-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(b->root)) give_up("cannot make a temporary folder");
    char *home = mla_home();
    b->python = mla_fs_join(home, "venv/bin/python");
    free(home);
    write_files(b);
    b->task = (mla_task){.name = mla_strdup("toy"), .script = mla_strdup("train.py"),
                         .id_column = mla_strdup("id"), .target_count = 1, .splits = 1,
                         .target_columns = MLA_NEW_ARRAY(char *, 1),
                         .metric = MLA_METRIC_ACCURACY, .direction = 1, .init = {0.5, 0.5},
                         .best = {1, 1}, .limits = {60, 2048}, .env_dir = in(b, "env"),
                         .data_dir = in(b, "data/toy"), .prepared_dir = in(b, "data/toy"),
                         .answers_path = in(b, "answers/toy.csv")};
    b->task.target_columns[0] = mla_strdup("y");
}

static void clear_bed(bed *b) {
    mla_err err;
    mla_env_free(b->env);
    if (mla_fs_remove_tree(b->root, &err) < 0) mla_warn("%s", err.text);
    free(b->python);
    free(b->task.name);
    free(b->task.script);
    free(b->task.id_column);
    free(b->task.target_columns[0]);
    free(b->task.target_columns);
    free(b->task.env_dir);
    free(b->task.data_dir);
    free(b->task.prepared_dir);
    free(b->task.answers_path);
}

static void open_env(bed *b) {
    mla_err err;
    mla_env_options options = mla_env_options_default();
    char *states = in(b, "states.git"), *cache = in(b, "exec.sqlite");
    options.workers = 1;
    options.home = b->root;
    options.python = b->python;
    options.states_path = states;
    options.cache_path = cache;
    b->env = mla_env_create(&options, &err);
    if (!b->env || mla_env_begin(b->env, &b->task, &b->start, &err) < 0) give_up(err.text);
    free(states);
    free(cache);
}

// ---- runs ------------------------------------------------------------------------------------

static char *edit_reply(int from, int to) {
    return mla_format("Thought: another number may be better.\nAction: Edit Script\n"
                      "Action Input: {\"script_name\": \"train.py\"}\n<<<<<<< SEARCH\nNUMBER = %d\n"
                      "=======\nNUMBER = %d\n>>>>>>> REPLACE\n", from, to);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_size);
    return values[n / 2];
}

static double compute_of(const char *out) {
    const char *said = out ? strstr(out, "compute ") : NULL;
    if (!said) give_up(out && *out ? out : "a script did not say how long it took");
    return strtod(said + strlen("compute "), NULL);
}

// Edits the number from -> to and runs; the seconds that it took, less those of the script itself
// where it ran. `state` moves on.
static double edit(bed *b, mla_state *state, int from, int to, bool cached) {
    mla_facts facts;
    mla_err err;
    char *reply = edit_reply(from, to);
    double began = mla_clock();
    if (mla_env_step(b->env, &b->task, state, reply, &facts, &err) < 0) give_up(err.text);
    double took = mla_clock() - began;
    free(reply);
    if (facts.outcome != MLA_OUTCOME_OK || facts.cost.cached != cached) give_up(facts.feedback);
    if (!cached) took -= compute_of(facts.out);
    *state = facts.state_after;
    mla_facts_clear(&facts);
    return took;
}

// The same script in a fresh Python in a sandbox of its own, in seconds beyond the script's own.
static double fresh_run(const bed *b) {
    char *code = in(b, "env/train.py");
    char *argv[] = {"bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs",
                    "/mnt", "--symlink", in(b, "data/toy"), "/mnt/data", "--unshare-all",
                    "--die-with-parent", "--chdir", "/mnt", b->python, code, NULL};
    mla_buf out;
    mla_proc_result result;
    mla_err err;
    mla_buf_init(&out, 1 << 16);
    double began = mla_clock();
    if (mla_proc_run(argv, NULL, NULL, 120, &out, &result, &err) < 0) give_up(err.text);
    double took = mla_clock() - began - compute_of(mla_buf_text(&out));
    mla_buf_clear(&out);
    free(argv[11]);
    free(code);
    return took;
}

static void bench_runs(bed *b) {
    double warm[WARM_RUNS], fresh[FRESH_RUNS], cached[CACHED];
    mla_state state = b->start;
    for (int i = 0; i < WARM_RUNS; i++) warm[i] = edit(b, &state, i, i + 1, false);
    for (int i = 0; i < FRESH_RUNS; i++) fresh[i] = fresh_run(b);
    state = b->start;
    for (int i = 0, at = 0; i < CACHED; i++) {
        int to = (at * 7 + i) % WARM_RUNS + 1;
        if (to == at) to = at % WARM_RUNS + 1;
        cached[i] = edit(b, &state, at, to, true);
        at = to;
    }
    double ms = median(warm, WARM_RUNS) * 1000;
    fprintf(stderr, "bench: a warm run's overhead: nine of ten below %.1f ms\n",
            warm[WARM_RUNS * 9 / 10] * 1000);
    bench_print("env_run_warm_overhead", ms, "ms", 0, median(fresh, FRESH_RUNS) * 1000, false);
    double hit = median(cached, CACHED) * 1000;
    fprintf(stderr, "bench: a cached run: nine of ten below %.2f ms\n",
            cached[CACHED * 9 / 10] * 1000);
    bench_print("env_run_cached", hit, "ms", 0, 0, false);
}

// ---- restoring -------------------------------------------------------------------------------

static void make_states(const bed *b, mla__snapshots *store, char ids[STATES][MLA_OID_HEX]) {
    mla_err err;
    for (int i = 0; i < STATES; i++) {
        mla__files files = {.len = 0};
        mla__snapshot s = {.task = "toy", .subject = "toy: bench", .state = {.score = i}};
        if (mla__files_load(&files, b->task.env_dir, &err) < 0) give_up(err.text);
        for (size_t k = 0; k < files.len; k++) {
            snprintf(files.items[k].bytes, 16, "# %d %zu", i, k);
            files.items[k].bytes[strlen(files.items[k].bytes)] = '\n';
        }
        if (mla__snapshots_put(store, &s, "", &files, &err) < 0) give_up(err.text);
        memcpy(ids[i], s.state.commit, MLA_OID_HEX);
        mla__files_clear(&files);
    }
}

// From a store just opened into a workspace that holds the state before.
static void bench_restore(const bed *b) {
    char ids[STATES][MLA_OID_HEX];
    char *path = in(b, "restore.git"), *workspace = in(b, "workspace");
    mla_err err;
    mla__snapshots *store = mla__snapshots_open(path, &err);
    if (!store || mla_fs_mkdirs(workspace, &err) < 0) give_up(err.text);
    make_states(b, store, ids);
    mla__snapshots_free(store);
    store = mla__snapshots_open(path, &err);
    if (!store) give_up(err.text);
    int dir = open(workspace, O_RDONLY | O_DIRECTORY);
    double took[STATES];
    for (int i = 0; i < STATES; i++) {
        mla__files files;
        double began = mla_clock();
        if (mla__folder_empty(dir, &err) < 0 ||
            mla__snapshots_get(store, ids[i], NULL, &files, &err) < 0 ||
            mla__files_write(&files, workspace, &err) < 0) give_up(err.text);
        took[i] = mla_clock() - began;
        mla__files_clear(&files);
    }
    close(dir);
    mla__snapshots_free(store);
    double middle = median(took, STATES) * 1000;
    fprintf(stderr, "bench: restoring a state: at most %.2f ms\n", took[STATES - 1] * 1000);
    bench_print("env_restore", middle, "ms", 0, 0, false);
    free(path);
    free(workspace);
}

// ---- whole steps -----------------------------------------------------------------------------

typedef struct {           // one trajectory under way
    mla_state state;
    int number, steps;
} chain;

static void submit(mla_agent *agent, bed *b, chain *c, size_t tag) {
    mla_err err;
    int to = (c->number * 7 + c->steps + (int)tag) % TEXTS + 1;
    if (to == c->number) to = c->number % TEXTS + 1;
    mla_reply reply = {.text = edit_reply(c->number, to)};
    const mla_view view = {.task = &b->task, .state = c->state, .n_history = (size_t)c->steps};
    char name[32];
    snprintf(name, sizeof name, "chain-%zu", tag);
    if (mla_agent_submit(agent, &view, "bench", name, &reply, tag, &err) < 0) give_up(err.text);
    mla_reply_clear(&reply);
    c->number = to;
    c->steps++;
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Trajectories of edits whose runs the cache knows, from states that were never there before: each
// step makes a commit, its reward and its line in a file of records.
static void bench_steps(bed *b) {
    mla_err err;
    const mla_reward_options reward = mla_reward_options_default();
    mla_agent *agent = mla_agent_create(b->env, &reward);
    char *path = in(b, "steps.jsonl");
    mla_lines *lines = mla_lines_open(path, &err);
    if (!lines) give_up(err.text);
    chain chains[CHAINS];
    double began = mla_clock(), busy = processor_seconds();
    for (size_t i = 0; i < CHAINS; i++) {
        chains[i] = (chain){.state = b->start};
        submit(agent, b, &chains[i], i);
    }
    for (int done = 0; done < STEPS;) {
        size_t at;
        mla_step step;
        if (mla_agent_collect(agent, 60, &at, &step, &err) != 1) give_up(err.text);
        if (!step.cost.cached) give_up("a step of the bench was not cached");
        if (mla_store_append(lines, &step, &err) < 0) give_up(err.text);
        chains[at].state = step.state_after;
        mla_step_clear(&step);
        done++;
        if (done <= STEPS - CHAINS) submit(agent, b, &chains[at], at);
    }
    mla_lines_close(lines);
    busy = processor_seconds() - busy;
    fprintf(stderr, "bench: a cached step takes %.3f ms of a processor\n", busy / STEPS * 1000);
    bench_print("env_cached_steps", STEPS / (mla_clock() - began), "steps/s", 0, 0, true);
    mla_agent_free(agent);
    free(path);
}

// All threads of this process, those of the environment too.
static void keep_to_one_core(void) {
    cpu_set_t core;
    char **threads;
    size_t n;
    mla_err err;
    CPU_ZERO(&core);
    CPU_SET(0, &core);
    if (mla_fs_list("/proc/self/task", &threads, &n, &err) < 0) give_up(err.text);
    for (size_t i = 0; i < n; i++) {
        if (sched_setaffinity((pid_t)strtol(threads[i], NULL, 10), sizeof core, &core) < 0) {
            give_up("cannot keep to one core");
        }
    }
    mla_fs_names_free(threads, n);
}

int main(void) {
    bed b = {.env = NULL};
    make_bed(&b);
    open_env(&b);
    bench_runs(&b);
    bench_restore(&b);
    keep_to_one_core();
    bench_steps(&b);
    clear_bed(&b);
    return 0;
}
