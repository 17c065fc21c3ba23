// Benchmark of collection: a thousand scripted trajectories on generated variants, from a cold
// cache, ideas embedded and chosen: all that `mlagent collect` does before the data set. It takes
// the fast variants that lie in the home (mlagent tasks vary --fast --count N NAME...), as many
// trajectories of each. COLLECT_COUNT asks for another number than 1000: a figure for trying.
#include <math.h>
#include <time.h>

#include "bench.h"
#include "collect/collect.h"
#include "record/store.h"

#define COUNT 1000
#define WORKERS 2

static void give_up(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static bool is_fast_variant(const char *name) {
    const char *dash = strrchr(name, '-');
    return dash && dash[1] == 'f' && strspn(dash + 2, "0123456789") == strlen(dash + 2) && dash[2];
}

// The fast variants of the home, by turns of their families: [*n].
static const mla_task **load_variants(const char *home, size_t *n) {
    char *root = mla_fs_join(home, "variants");
    char **names = NULL;
    size_t count = 0;
    mla_err err;
    *n = 0;
    if (!mla_fs_is_dir(root) || mla_task_list(root, &names, &count, &err) < 0) count = 0;
    const mla_task **tasks = MLA_NEW_ARRAY(const mla_task *, count + 1);
    for (size_t i = 0; i < count; i++) {
        if (!is_fast_variant(names[i])) continue;
        char *dir = mla_fs_join(root, names[i]);
        tasks[*n] = mla_task_load(dir, home, true, &err);
        if (tasks[*n]) ++*n;
        else fprintf(stderr, "bench: left out: %s\n", err.text);
        free(dir);
    }
    mla_fs_names_free(names, count);
    free(root);
    return tasks;
}

static int by_family(const void *a, const void *b) {
    const mla_task *x = *(const mla_task *const *)a, *y = *(const mla_task *const *)b;
    const char *p = strrchr(x->name, '-'), *q = strrchr(y->name, '-');
    int order = strcmp(p, q);
    return order ? order : strcmp(x->name, y->name);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// What the records say of the runs that were made.
static void tell_runs(const char *dir, size_t *trajectories) {
    char *path = mla_fs_join(dir, "expert/steps.jsonl");
    mla_steps steps;
    mla_err err;
    size_t n = 0;
    if (mla_store_read(path, &steps, &err) < 0) give_up(err.text);
    double *seconds = MLA_NEW_ARRAY(double, steps.len + 1), sum = 0;
    *trajectories = 0;
    for (size_t i = 0; i < steps.len; i++) {
        const mla_cost *cost = &steps.items[i].cost;
        *trajectories += steps.items[i].final;
        if (cost->cached || !(cost->run_seconds > 0)) continue;
        sum += cost->run_seconds;
        seconds[n++] = cost->run_seconds;
    }
    qsort(seconds, n, sizeof *seconds, by_size);
    fprintf(stderr, "bench: %zu trajectories, %zu steps; %zu scripts ran, %.0f s, median %.3f s\n",
            *trajectories, steps.len, n, sum, n ? seconds[n / 2] : NAN);
    free(seconds);
    mla_steps_clear(&steps);
    free(path);
}

static mla_env *open_env(const char *home, const char *dir) {
    mla_err err;
    const char *named = getenv("MLAGENT_PYTHON");
    char *python = named ? mla_strdup(named) : mla_fs_join(home, "venv/bin/python");
    char *states = mla_fs_join(dir, "states.git");
    char *cache = mla_fs_join(dir, "exec.sqlite");
    mla_env_options o = mla_env_options_default();
    o.workers = WORKERS;
    o.python = python;
    o.home = home;
    o.states_path = states;
    o.cache_path = cache;
    mla_env *env = mla_env_create(&o, &err);
    if (!env) give_up(err.text);
    free(python);
    free(states);
    free(cache);
    return env;
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double collect(const char *home, const char *dir, const mla_task **tasks, size_t n,
                      int each) {
    mla_err err;
    const mla_reward_options reward = mla_reward_options_default();
    mla_policy_options policy_options = mla_policy_options_default();
    char *model = bench_model_path();
    double began = mla_clock();
    mla_policy *policy = mla_policy_open(model, &policy_options, &err);
    if (!policy) give_up(err.text);
    mla_env *env = open_env(home, dir);
    mla_agent *agent = mla_agent_create(env, &reward);
    mla_run *run = mla_run_open(dir, &err);
    if (!run) give_up(err.text);
    mla_collect_options o = mla_collect_options_default();
    o.trajectories = each;
    if (mla_collect_run(run, agent, policy, tasks, n, &o, &err) < 0) give_up(err.text);
    mla_run_close(run);
    mla_agent_free(agent);
    mla_env_free(env);
    mla_policy_free(policy);
    free(model);
    return mla_clock() - began;
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    const char *asked = getenv("COLLECT_COUNT");
    size_t n, made, count = asked ? strtoul(asked, NULL, 10) : COUNT;
    char *home = mla_home(), dir[] = "/tmp/mlagent-bench-XXXXXX";
    const mla_task **tasks = load_variants(home, &n);
    if (!n || !count) {
        fputs("bench: collect_1000 needs variants: mlagent tasks vary --fast --count 100\n",
              stderr);
        return 0;
    }
    qsort(tasks, n, sizeof *tasks, by_family);
    size_t each = (count + n - 1) / n, used = (count + each - 1) / each;
    mla_err err;
    if (!mkdtemp(dir)) give_up("no temporary folder");
    fprintf(stderr, "bench: %zu variants of %zu, %zu trajectories each\n", used, n, each);
    double seconds = collect(home, dir, tasks, used, (int)each);
    tell_runs(dir, &made);
    if (mla_fs_remove_tree(dir, &err) < 0) give_up(err.text);
    fprintf(stderr, "bench: %.1f s for %zu trajectories; of a processor this program took %.1f s\n",
            seconds, made, processor_seconds());
    bench_print("collect_1000", seconds / 60 * COUNT / (double)made, "min", 0, 0, false);
    for (size_t i = 0; i < n; i++) mla_task_free((mla_task *)tasks[i]);
    free(tasks);
    free(home);
    return 0;
}
