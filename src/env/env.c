// The environment as its users see it: worker threads, each with a runner of its own, take replies
// from one bounded queue and give facts back one by one as they are ready. Leaves out what an
// action does: step.c.
#include "env/env.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/internal.h"

#define DIFF_MAX ((size_t)8 << 20)      // bytes of the diff of two states
#define QUEUE_MAX MLA_ENV_QUEUE
#define WORKERS_MAX 1024

typedef struct job {
    const mla_task *task;
    const mla_answers *answers;
    mla_state from;
    char *reply;              // owned
    mla__wish wish;           // of an Edit Script (AI)
    size_t tag;
    bool awaited;             // by mla_env_step, not to be collected
    bool ended;
    atomic_bool cancelled;    // nobody wants its result
    int rc;
    mla_facts facts;
    mla_err err;
    struct job *next;
} job;

typedef struct {              // first in, first out
    job *head, *tail;
    size_t len;
} job_list;

typedef struct {
    mla_env *env;
    int index;
    pthread_t thread;
    bool started;             // the thread was created
    job *job;                 // that it works on, or NULL
    size_t replaced;          // warm Pythons replaced, as of its last job
} worker;

typedef struct answers_entry {
    const mla_task *task;
    mla_answers *answers;
} answers_entry;

struct mla_env {
    char *python, *data_root;
    bool private_scores, allow_weaker;
    uint64_t seed;            // of scripts
    mla_submission_tap tap;
    mla_action_set actions;
    mla_editor editor;
    mla__snapshots *snapshots;
    mla__cache *cache;        // NULL: none
    pthread_mutex_t lock;     // of everything below
    pthread_cond_t work;      // a job came, or stopping
    pthread_cond_t room;      // a job left the queue
    pthread_cond_t ready;     // a job ended or asks for the editor, or a worker is up or failed
    job_list waiting, results;
    job_list asking;          // for the editor, to be asked on a thread that waits for results
    job *edited;              // one that is, or NULL
    size_t outstanding;       // submitted and not yet collected
    bool stopping;
    worker *workers;
    int n_workers, n_up, n_failed;
    int threads;              // of a script
    mla_err start_err;        // of the first worker that failed
    answers_entry *answers;
    size_t n_answers, cap_answers;
    mla_env_stats stats;
};

mla_env_options mla_env_options_default(void) {
    return (mla_env_options){.workers = 2, .actions = MLA_ACTIONS_DEFAULT};
}

void mla_facts_clear(mla_facts *facts) {
    mla_action_clear(&facts->action);
    free(facts->error_type);
    free(facts->feedback);
    free(facts->out);
    free(facts->err);
    *facts = (mla_facts){.action.kind = MLA_ACTION_NONE};
}

// --- jobs --------------------------------------------------------------------------------------

static void push(job_list *list, job *j) {
    j->next = NULL;
    if (list->tail) list->tail->next = j;
    else list->head = j;
    list->tail = j;
    list->len++;
}

static job *pop(job_list *list) {
    job *j = list->head;
    if (!j) return NULL;
    list->head = j->next;
    if (!list->head) list->tail = NULL;
    list->len--;
    return j;
}

static void job_free(job *j) {
    mla_facts_clear(&j->facts);
    mla__wish_clear(&j->wish);
    free(j->reply);
    free(j);
}

static void list_free(job_list *list) {
    for (job *j; (j = pop(list));) job_free(j);
}

// --- workers -----------------------------------------------------------------------------------

static void count(mla_env *env, const job *j) {
    mla_env_stats *s = &env->stats;
    s->steps++;
    if (!j->facts.ran) return;
    if (j->facts.cost.cached) {
        s->cache_hits++;
        s->saved_seconds += j->facts.cost.run_seconds;
    } else {
        s->runs++;
        s->run_seconds += j->facts.cost.run_seconds;
    }
}

static void finish(worker *w, const mla_runner *runner, job *j) {
    mla_env *env = w->env;
    w->replaced = mla__runner_replaced(runner);
    if (j->cancelled) {
        job_free(j);
    } else {
        if (j->rc == 0) count(env, j);
        j->ended = true;
        if (!j->awaited) push(&env->results, j);
    }
    pthread_cond_broadcast(&env->ready);
}

// An editor that is a policy is asked where the policy lives: by whoever waits for results. The
// worker takes another job meanwhile, and the job comes back to the queue with its answer.
static void pass_on(mla_env *env, job *j) {
    mla_facts_clear(&j->facts);
    push(&env->asking, j);
    pthread_cond_broadcast(&env->ready);
}

// Has the next asking job answered; false when there is none or one is being answered. The lock is
// held on entry and on return, but not while the editor works.
static bool answer_one(mla_env *env) {
    if (env->edited || !env->asking.head) return false;
    job *j = env->edited = pop(&env->asking);
    pthread_mutex_unlock(&env->lock);
    mla__wish_ask(&j->wish, &env->editor);
    pthread_mutex_lock(&env->lock);
    env->edited = NULL;
    if (j->cancelled) {
        job_free(j);
    } else {
        push(&env->waiting, j);
        pthread_cond_signal(&env->work);
    }
    pthread_cond_broadcast(&env->ready);      // another may be asking
    return true;
}

// Takes jobs until the environment stops. The lock is held on entry and on return.
static void serve(worker *w, mla_runner *runner) {
    mla_env *env = w->env;
    mla__stage stage = {.snapshots = env->snapshots, .cache = env->cache, .runner = runner,
                        .threads = env->threads, .private_scores = env->private_scores,
                        .tap = env->tap, .offered = env->actions, .editor = env->editor};
    while (!env->stopping) {
        job *j = pop(&env->waiting);
        if (!j) {
            pthread_cond_wait(&env->work, &env->lock);
            continue;
        }
        w->job = j;
        stage.seed = env->seed;
        pthread_cond_signal(&env->room);
        pthread_mutex_unlock(&env->lock);
        stage.answers = j->answers;
        stage.cancelled = &j->cancelled;
        j->rc = mla__step(&stage, j->task, &j->from, j->reply, &j->wish, &j->facts, &j->err);
        pthread_mutex_lock(&env->lock);
        w->job = NULL;
        bool asks = j->rc == 0 && j->wish.status == MLA__WISH_ASKED;
        if (asks && !j->cancelled) pass_on(env, j);
        else finish(w, runner, j);
    }
}

// The cores that this process may use, shared among the workers.
static int threads_per_script(const mla_env *env) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) < 0) return 1;
    int n = CPU_COUNT(&cores) / env->n_workers;
    return n > 1 ? n : 1;
}

// A sandbox dies with the thread that started it, so each worker starts its own.
static void *worker_main(void *arg) {
    worker *w = arg;
    mla_env *env = w->env;
    mla_err err = {{0}};
    mla_runner_options options = {.python = env->python, .data_root = env->data_root,
                                  .index = w->index, .threads = env->threads,
                                  .allow_weaker = env->allow_weaker};
    mla_runner *runner = mla__runner_create(&options, &err);
    pthread_mutex_lock(&env->lock);
    if (!runner && !env->n_failed++) env->start_err = err;
    if (runner) env->n_up++;
    pthread_cond_broadcast(&env->ready);
    if (runner) serve(w, runner);
    pthread_mutex_unlock(&env->lock);
    mla__runner_free(runner);
    return NULL;
}

static int start_workers(mla_env *env, mla_err *err) {
    for (int i = 0; i < env->n_workers; i++) {
        worker *w = &env->workers[i];
        *w = (worker){.env = env, .index = i};
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc) return mla_err_set(err, "cannot start a worker thread: %s", strerror(rc));
        w->started = true;
    }
    pthread_mutex_lock(&env->lock);
    while (env->n_up + env->n_failed < env->n_workers) pthread_cond_wait(&env->ready, &env->lock);
    int rc = env->n_failed ? mla_err_set(err, "%s", env->start_err.text) : 0;
    pthread_mutex_unlock(&env->lock);
    return rc;
}

static void stop_workers(mla_env *env) {
    pthread_mutex_lock(&env->lock);
    env->stopping = true;
    for (int i = 0; i < env->n_workers; i++) {
        if (env->workers[i].job) env->workers[i].job->cancelled = true;
    }
    pthread_cond_broadcast(&env->work);
    pthread_mutex_unlock(&env->lock);
    for (int i = 0; i < env->n_workers; i++) {
        if (env->workers[i].started) pthread_join(env->workers[i].thread, NULL);
    }
}

// --- life --------------------------------------------------------------------------------------

static int open_stores(mla_env *env, const mla_env_options *options, mla_err *err) {
    if (!options->states_path) return mla_err_set(err, "no path of states.git was given");
    env->snapshots = mla__snapshots_open(options->states_path, err);
    if (!env->snapshots) return -1;
    if (options->cache_path) env->cache = mla__cache_open(options->cache_path, err);
    return options->cache_path && !env->cache ? -1 : 0;
}

static void set_paths(mla_env *env, const mla_env_options *options) {
    char *home = options->home ? mla_strdup(options->home) : mla_home();
    env->data_root = mla_fs_join(home, "data");
    env->python = options->python ? mla_strdup(options->python)
                                  : mla_fs_join(home, "venv/bin/python");
    free(home);
}

static void init_waits(mla_env *env) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&env->lock, NULL);
    pthread_cond_init(&env->work, NULL);
    pthread_cond_init(&env->room, NULL);
    pthread_cond_init(&env->ready, &attr);
    pthread_condattr_destroy(&attr);
}

mla_env *mla_env_create(const mla_env_options *options, mla_err *err) {
    if (options->workers < 1 || options->workers > WORKERS_MAX) {
        mla_err_set(err, "the number of workers is %d; it must be 1 to %d", options->workers,
                    WORKERS_MAX);
        return NULL;
    }
    if (!(options->actions & MLA_ACTIONS_ALL)) {
        mla_err_set(err, "agents are offered no action");
        return NULL;
    }
    mla_env *env = MLA_NEW(mla_env);
    init_waits(env);
    set_paths(env, options);
    env->private_scores = options->private_scores;
    env->tap = options->tap;
    env->allow_weaker = options->allow_weaker_sandbox;
    env->actions = options->actions & MLA_ACTIONS_ALL;
    env->editor = options->editor;
    env->n_workers = options->workers;
    env->threads = threads_per_script(env);
    env->workers = MLA_NEW_ARRAY(worker, (size_t)options->workers);
    if (open_stores(env, options, err) == 0 && start_workers(env, err) == 0) return env;
    mla_env_free(env);
    return NULL;
}

void mla_env_free(mla_env *env) {
    if (!env) return;
    stop_workers(env);
    list_free(&env->waiting);
    list_free(&env->asking);
    list_free(&env->results);
    for (size_t i = 0; i < env->n_answers; i++) mla_answers_free(env->answers[i].answers);
    free(env->answers);
    free(env->workers);
    mla__cache_free(env->cache);
    mla__snapshots_free(env->snapshots);
    pthread_mutex_destroy(&env->lock);
    pthread_cond_destroy(&env->work);
    pthread_cond_destroy(&env->room);
    pthread_cond_destroy(&env->ready);
    free(env->python);
    free(env->data_root);
    free(env);
}

// --- states ------------------------------------------------------------------------------------

// Its scripts' further packages go when the venv is built anew.
static int check_wheels(const mla_env *env, const mla_task *task, mla_err *err) {
    char *folder = mla_task_wheels_dir(task, env->python);
    int rc = 0;
    if (folder && !mla_fs_is_dir(folder)) {
        rc = mla_err_set(err, "task %s: the packages of its requirements.txt are not in %s: run: "
                         "mlagent tasks prepare %s", task->name, folder, task->name);
    }
    free(folder);
    return rc;
}

int mla_env_begin(mla_env *env, const mla_task *task, mla_state *out, mla_err *err) {
    mla__files files = {.len = 0};
    int rc = check_wheels(env, task, err);
    if (rc == 0) rc = mla__files_load(&files, task->env_dir, err);
    if (rc == 0 && !mla__files_get(&files, task->script)) {
        rc = mla_err_set(err, "%s: the starter script %s is not there", task->env_dir,
                         task->script);
    }
    mla__snapshot start = {.state = {.score = NAN, .best = NAN}};
    snprintf(start.task, sizeof start.task, "%s", task->name);
    snprintf(start.subject, sizeof start.subject, "%.60s: start", task->name);
    if (rc == 0) rc = mla__snapshots_put(env->snapshots, &start, "", &files, err);
    if (rc == 0) *out = start.state;
    mla__files_clear(&files);
    return rc;
}

bool mla_env_has(mla_env *env, const mla_state *state) {
    mla__files files;
    mla_err ignored;
    if (mla__snapshots_get(env->snapshots, state->commit, NULL, &files, &ignored) < 0) return false;
    mla__files_clear(&files);
    return true;
}

char *mla_env_script(mla_env *env, const mla_task *task, const mla_state *state, mla_err *err) {
    mla__files files;
    if (mla__snapshots_get(env->snapshots, state->commit, NULL, &files, err) < 0) return NULL;
    const mla__file *file = mla__files_get(&files, task->script);
    char *text = file ? mla_strndup(file->bytes, file->len) : NULL;
    if (!text) mla_err_set(err, "state %s has no %s", state->commit, task->script);
    mla__files_clear(&files);
    return text;
}

static void add_diff(mla_buf *out, const mla__file *before, const mla__file *after) {
    const char *name = before ? before->name : after->name;
    char *text = mla__diff_unified(name, before ? before->bytes : "", after ? after->bytes : "",
                                   DIFF_MAX);
    mla_buf_puts(out, text);
    free(text);
}

char *mla_env_diff(mla_env *env, const mla_state *from, const mla_state *to, mla_err *err) {
    mla__files before, after = {.len = 0};
    if (mla__snapshots_get(env->snapshots, from->commit, NULL, &before, err) < 0) return NULL;
    int rc = mla__snapshots_get(env->snapshots, to->commit, NULL, &after, err);
    mla_buf out;
    mla_buf_init(&out, DIFF_MAX);
    for (size_t i = 0; rc == 0 && i < before.len; i++) {
        add_diff(&out, &before.items[i], mla__files_get(&after, before.items[i].name));
    }
    for (size_t i = 0; rc == 0 && i < after.len; i++) {
        if (!mla__files_get(&before, after.items[i].name)) add_diff(&out, NULL, &after.items[i]);
    }
    mla__files_clear(&before);
    if (rc == 0) mla__files_clear(&after);
    char *text = rc == 0 ? mla_buf_take(&out) : NULL;
    mla_buf_clear(&out);
    return text;
}

// --- steps -------------------------------------------------------------------------------------

// The task's answers, loaded on first use; they stay in this process. The lock is held.
static const mla_answers *answers_of(mla_env *env, const mla_task *task, mla_err *err) {
    for (size_t i = 0; i < env->n_answers; i++) {
        if (env->answers[i].task == task) return env->answers[i].answers;
    }
    mla_answers *answers = mla_answers_load(task, err);
    if (!answers) return NULL;
    MLA_GROW(env->answers, env->cap_answers, env->n_answers + 1);
    env->answers[env->n_answers++] = (answers_entry){task, answers};
    return answers;
}

// Queues a job, waiting for room. NULL when the task has no answers. The lock is held.
static job *enqueue(mla_env *env, const mla_task *task, const mla_state *from, const char *reply,
                    mla_err *err) {
    const mla_answers *answers = answers_of(env, task, err);
    if (!answers) return NULL;
    while (env->waiting.len >= QUEUE_MAX) pthread_cond_wait(&env->room, &env->lock);
    job *j = MLA_NEW(job);
    j->task = task;
    j->answers = answers;
    j->from = *from;
    j->reply = mla_strndup(reply, strnlen(reply, MLA__REPLY_MAX + 1));
    j->facts.action.kind = MLA_ACTION_NONE;
    push(&env->waiting, j);
    pthread_cond_signal(&env->work);
    return j;
}

// Moves a job's result out and frees it.
static int take_result(job *j, mla_facts *out, mla_err *err) {
    int rc = j->rc;
    if (rc == 0) {
        *out = j->facts;
        j->facts = (mla_facts){.action.kind = MLA_ACTION_NONE};
    } else {
        *out = (mla_facts){.action.kind = MLA_ACTION_NONE};
        if (err) *err = j->err;
    }
    job_free(j);
    return rc;
}

int mla_env_step(mla_env *env, const mla_task *task, const mla_state *from, const char *reply,
                 mla_facts *out, mla_err *err) {
    *out = (mla_facts){.action.kind = MLA_ACTION_NONE};
    pthread_mutex_lock(&env->lock);
    job *j = enqueue(env, task, from, reply, err);
    if (j) j->awaited = true;
    while (j && !j->ended) {
        if (!answer_one(env)) pthread_cond_wait(&env->ready, &env->lock);
    }
    pthread_mutex_unlock(&env->lock);
    return j ? take_result(j, out, err) : -1;
}

int mla_env_submit(mla_env *env, const mla_task *task, const mla_state *from, const char *reply,
                   size_t tag, mla_err *err) {
    pthread_mutex_lock(&env->lock);
    job *j = enqueue(env, task, from, reply, err);
    if (j) {
        j->tag = tag;
        env->outstanding++;
    }
    pthread_mutex_unlock(&env->lock);
    return j ? 0 : -1;
}

static struct timespec after(double seconds) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    double whole = floor(seconds);
    at.tv_sec += (time_t)whole;
    at.tv_nsec += (long)((seconds - whole) * 1e9);
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

int mla_env_collect(mla_env *env, double wait_seconds, size_t *tag, mla_facts *out, mla_err *err) {
    *out = (mla_facts){.action.kind = MLA_ACTION_NONE};
    bool forever = !(wait_seconds < 1e8);
    struct timespec until = after(forever || wait_seconds < 0 ? 0 : wait_seconds);
    pthread_mutex_lock(&env->lock);
    while (env->outstanding && !env->results.head) {
        if (answer_one(env)) continue;
        if (forever) pthread_cond_wait(&env->ready, &env->lock);
        else if (pthread_cond_timedwait(&env->ready, &env->lock, &until) == ETIMEDOUT) break;
    }
    job *j = pop(&env->results);
    if (j) env->outstanding--;
    pthread_mutex_unlock(&env->lock);
    if (!j) return 0;
    *tag = j->tag;
    return take_result(j, out, err) < 0 ? -1 : 1;
}

// --- cancelling --------------------------------------------------------------------------------

static bool is_meant(const job *j, const size_t *tag) {
    return !j->awaited && (!tag || j->tag == *tag);
}

static size_t drop(job_list *list, const size_t *tag) {
    size_t dropped = 0;
    for (size_t n = list->len; n > 0; n--) {
        job *j = pop(list);
        if (is_meant(j, tag)) {
            job_free(j);
            dropped++;
        } else {
            push(list, j);
        }
    }
    return dropped;
}

static size_t mark(job *j, const size_t *tag) {
    if (!j || j->cancelled || !is_meant(j, tag)) return 0;
    j->cancelled = true;
    return 1;
}

static bool any_cancelled(const mla_env *env) {
    for (int i = 0; i < env->n_workers; i++) {
        const job *j = env->workers[i].job;
        if (j && j->cancelled) return true;
    }
    return false;
}

size_t mla_env_cancel(mla_env *env, const size_t *tag) {
    pthread_mutex_lock(&env->lock);
    size_t n = drop(&env->waiting, tag) + drop(&env->asking, tag) + drop(&env->results, tag);
    n += mark(env->edited, tag);
    for (int i = 0; i < env->n_workers; i++) n += mark(env->workers[i].job, tag);
    env->outstanding -= n;
    pthread_cond_broadcast(&env->room);
    while (any_cancelled(env)) pthread_cond_wait(&env->ready, &env->lock);
    pthread_mutex_unlock(&env->lock);
    return n;
}

void mla_env_seed(mla_env *env, uint64_t seed) {
    pthread_mutex_lock(&env->lock);
    MLA_ASSERT(env->outstanding == 0);
    env->seed = seed;
    pthread_mutex_unlock(&env->lock);
}

size_t mla_env_outstanding(const mla_env *env) {
    mla_env *e = (mla_env *)env;      // only its lock is touched
    pthread_mutex_lock(&e->lock);
    size_t n = e->outstanding;
    pthread_mutex_unlock(&e->lock);
    return n;
}

mla_env_stats mla_env_stats_get(const mla_env *env) {
    mla_env *e = (mla_env *)env;
    pthread_mutex_lock(&e->lock);
    mla_env_stats stats = e->stats;
    for (int i = 0; i < e->n_workers; i++) stats.workers_replaced += e->workers[i].replaced;
    pthread_mutex_unlock(&e->lock);
    return stats;
}
