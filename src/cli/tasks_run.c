// The environment in which tasks are measured, and what was measured last.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/tasks.h"
#include "env/action.h"

#define SCRIPT_MAX ((size_t)256 << 10)
#define FOLDER_PREFIX "mlagent-trial-"

// --- opening and closing ------------------------------------------------------------------------

static char *make_temporary(mla_err *err) {
    const char *tmp = getenv("TMPDIR");
    char *folder = mla_format("%s/" FOLDER_PREFIX "XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
    if (mkdtemp(folder)) return folder;
    mla_err_set(err, "cannot make a folder like %s", folder);
    free(folder);
    return NULL;
}

static int open_env(mla_trial *t, const mla_options *o, const mla_submission_tap *tap,
                    mla_err *err) {
    char *states = mla_fs_join(t->folder, "states.git");
    char *cache = mla_fs_join(t->folder, "exec.sqlite");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    mla_env_options options = mla_env_options_default();
    options.workers = cores > 1 ? (int)cores : 1;      // one core a script, as in collection
    options.home = t->home;
    options.python = o->python;
    options.states_path = states;
    options.cache_path = tap ? NULL : cache;
    options.private_scores = true;
    options.allow_weaker_sandbox = o->allow_weaker_sandbox;
    if (tap) options.tap = *tap;
    t->env = mla_env_create(&options, err);
    free(states);
    free(cache);
    return t->env ? 0 : -1;
}

int mla_trial_open(mla_trial *out, const mla_options *o, const mla_submission_tap *tap,
                   mla_err *err) {
    *out = (mla_trial){.home = mla_options_home(o), .temporary = tap != NULL};
    out->scratch = make_temporary(err);
    if (out->scratch && tap) out->folder = make_temporary(err);
    else if (out->scratch) out->folder = o->run ? mla_strdup(o->run)
                                                : mla_fs_join(out->home, "trials");
    int rc = out->folder ? mla_fs_mkdirs(out->folder, err) : -1;
    if (rc == 0) rc = open_env(out, o, tap, err);
    if (rc < 0) mla_trial_close(out);
    return rc;
}

static void remove_folder(const char *folder) {
    mla_err err;
    if (folder && mla_fs_remove_tree(folder, &err) < 0) mla_warn("%s", err.text);
}

void mla_trial_close(mla_trial *t) {
    mla_env_free(t->env);
    for (size_t i = 0; i < t->n_tasks; i++) mla_task_free(t->tasks[i]);
    remove_folder(t->scratch);
    if (t->temporary) remove_folder(t->folder);
    free(t->tasks);
    free(t->scratch);
    free(t->folder);
    free(t->home);
    *t = (mla_trial){.home = NULL};
}

// --- scripts ------------------------------------------------------------------------------------

mla_task *mla_trial_task(mla_trial *t, const mla_options *o, const char *name, mla_err *err) {
    char *dir = mla_options_task(o, name, err);
    mla_task *task = dir ? mla_task_load(dir, t->home, true, err) : NULL;
    free(dir);
    return mla_trial_adopt(t, task);
}

mla_task *mla_trial_adopt(mla_trial *t, mla_task *task) {
    if (!task) return NULL;
    MLA_GROW(t->tasks, t->cap, t->n_tasks + 1);
    t->tasks[t->n_tasks++] = task;
    return task;
}

// The task's files with this text as its script, in the scratch folder.
static int fill_scratch(const mla_trial *t, const mla_task *task, const char *script,
                        mla_err *err) {
    char **names = NULL;
    size_t n = 0;
    int rc = mla_fs_remove_tree(t->scratch, err);
    if (rc == 0) rc = mla_fs_mkdirs(t->scratch, err);
    if (rc == 0) rc = mla_fs_list(task->env_dir, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *from = mla_fs_join(task->env_dir, names[i]), *to = mla_fs_join(t->scratch, names[i]);
        if (!mla_fs_is_dir(from)) rc = mla_fs_copy_file(from, to, err);
        free(from);
        free(to);
    }
    mla_fs_names_free(names, n);
    char *path = mla_fs_join(t->scratch, task->script);
    if (rc == 0) rc = mla_fs_write(path, script, strlen(script), err);
    free(path);
    return rc;
}

int mla_trial_run(mla_trial *t, mla_task *task, const char *script, mla_facts *out, mla_err *err) {
    *out = (mla_facts){.score_after = NAN, .score_private = NAN};
    if (fill_scratch(t, task, script, err) < 0) return -1;
    char *kept = task->env_dir;
    task->env_dir = t->scratch;
    int rc = mla_env_try(t->env, task, out, err);
    task->env_dir = kept;
    return rc;
}

static char *read_script(const char *dir, const char *name, mla_err *err) {
    mla_buf text = {0};
    char *path = mla_fs_join(dir, name);
    int rc = mla_fs_read(path, SCRIPT_MAX, &text, err);
    free(path);
    if (rc == 0) return mla_buf_take(&text);
    mla_buf_clear(&text);
    return NULL;
}

char *mla_trial_starter(const mla_task *task, mla_err *err) {
    return read_script(task->env_dir, task->script, err);
}

char *mla_trial_reference(const mla_task *task, mla_err *err) {
    return read_script(task->dir, "reference.py", err);
}

bool mla_trial_has_reference(const mla_task *task) {
    char *path = mla_fs_join(task->dir, "reference.py");
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

// --- names and lines ----------------------------------------------------------------------------

// A task that cannot be loaded counts: what is wrong with it is to be said.
static bool wants_data(const char *root, const char *name, const char *home) {
    mla_err ignored;
    char *dir = mla_fs_join(root, name);
    mla_task *task = mla_task_load(dir, home, false, &ignored);
    bool wants = task && !task->data_version;
    mla_task_free(task);
    free(dir);
    return wants;
}

static int add_root(const char *root, const char *home, char ***names, size_t *count, size_t *cap,
                    mla_err *err) {
    char **more = NULL;
    size_t n = 0;
    if (!mla_fs_is_dir(root)) return 0;
    if (mla_task_list(root, &more, &n, err) < 0) return -1;
    for (size_t i = 0; i < n; i++) {
        if (wants_data(root, more[i], home)) continue;
        MLA_GROW(*names, *cap, *count + 1);
        (*names)[(*count)++] = mla_strdup(more[i]);
    }
    mla_fs_names_free(more, n);
    return 0;
}

int mla_tasks_named(const mla_options *o, char ***names, size_t *count, mla_err *err) {
    size_t cap = 0;
    int rc = 0;
    *names = NULL;
    *count = 0;
    for (int i = 1; i < o->n_rest; i++) {
        MLA_GROW(*names, cap, *count + 1);
        (*names)[(*count)++] = mla_strdup(o->rest[i]);
    }
    if (o->n_rest > 1) {
        rc = mla_task_names_expand(names, count, o, err);
        if (rc < 0) mla_fs_names_free(*names, *count);
        return rc;
    }
    char *root = mla_options_tasks(o), *own = mla_options_own_tasks(o);
    char *home = mla_options_home(o);
    rc = add_root(root, home, names, count, &cap, err);
    if (rc == 0 && strcmp(own, root)) rc = add_root(own, home, names, count, &cap, err);
    free(home);
    free(root);
    free(own);
    if (rc < 0) mla_fs_names_free(*names, *count);
    return rc;
}

void mla_tasks_print_line(json_t *object) {
    char *line = mla_json_line(object);
    puts(line);
    fflush(stdout);
    free(line);
    json_decref(object);
}

// --- what was measured --------------------------------------------------------------------------

static char *measured_path(const mla_task *task, const char *home) {
    return mla_format("%s/measured/%s.json", home, task->name);
}

static mla_measured measured_from(const json_t *o) {
    return (mla_measured){{mla_json_get_number(o, "public", NAN),
                           mla_json_get_number(o, "private", NAN)},
                          mla_json_get_number(o, "seconds", NAN),
                          mla_json_get_number(o, "peak_mb", NAN)};
}

static json_t *measured_to(const mla_measured *m) {
    return json_pack("{s:o, s:o, s:o, s:o}", "public", mla_json_number(m->score.public_half),
                     "private", mla_json_number(m->score.private_half), "seconds",
                     mla_json_number(m->seconds), "peak_mb", mla_json_number(m->peak_mb));
}

mla_measured_pair mla_measured_read(const mla_task *task, const char *home) {
    char *path = measured_path(task, home);
    mla_err ignored;
    json_t *o = mla_fs_exists(path) ? mla_json_read_file(path, 1 << 16, &ignored) : NULL;
    const char *data = mla_json_get_text(o, "data", "");
    bool same = task->data_version && strcmp(data, task->data_version) == 0;
    mla_measured_pair pair = {measured_from(same ? json_object_get(o, "starter") : NULL),
                              measured_from(same ? json_object_get(o, "reference") : NULL)};
    json_decref(o);
    free(path);
    return pair;
}

int mla_measured_write(const mla_task *task, const char *home, const mla_measured_pair *m,
                       mla_err *err) {
    char *folder = mla_fs_join(home, "measured"), *path = measured_path(task, home);
    json_t *o = json_pack("{s:s, s:o, s:o}", "data", task->data_version, "starter",
                          measured_to(&m->starter), "reference", measured_to(&m->reference));
    int rc = mla_fs_mkdirs(folder, err);
    if (rc == 0) rc = mla_json_write_file(path, o, err);
    json_decref(o);
    free(folder);
    free(path);
    return rc;
}
