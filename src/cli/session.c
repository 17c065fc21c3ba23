// Opening what a walk by hand and a model's work on a task need, from the command's options.
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "task/prepare.h"

static int open_task(mla_session *s, const mla_options *o, mla_err *err) {
    char *dir = mla_options_task(o, o->rest[0], err);
    if (!dir) return -1;
    mla_task *bare = mla_task_load(dir, s->home, false, err);
    int made = bare ? 0 : -1;
    if (bare && !bare->data_version) {
        char *python = o->python ? mla_strdup(o->python) : mla_fs_join(s->home, "venv/bin/python");
        made = mla_task_prepare(dir, s->home, python, err);
        if (made > 0) mla_info("prepared the data of %s", o->rest[0]);
        free(python);
    }
    mla_task_free(bare);
    if (made >= 0) s->task = mla_task_load(dir, s->home, true, err);
    free(dir);
    return s->task ? 0 : -1;
}

static int open_model(mla_session *s, const mla_options *o, mla_err *err) {
    if (!o->model || o->endpoint) return 0;       // an endpoint's model is not here
    char *path = mla_options_model(o, o->model);
    mla_policy_options options = mla_policy_options_default();
    options.compute = o->compute;
    options.adapter = o->adapter;
    int rc = mla_fs_exists(path) ? 0 : mla_err_set(err, "%s: no such model; see: mlagent model "
                                                   "list", path);
    if (rc == 0) s->policy = mla_policy_open(path, &options, err);
    free(path);
    return s->policy ? 0 : -1;
}

static int fill_endpoint(mla_editor_options *editor, const mla_options *o, mla_err *err) {
    if (!o->editor_url || !o->editor_model) {
        return mla_err_set(err, "--editor endpoint needs --editor-url URL and --editor-model NAME");
    }
    snprintf(editor->url, sizeof editor->url, "%s", o->editor_url);
    snprintf(editor->model, sizeof editor->model, "%s", o->editor_model);
    return 0;
}

static int open_editor(mla_session *s, const mla_options *o, mla_err *err) {
    mla_editor_options editor = mla_editor_options_default();
    int kind = o->editor ? mla_editor_kind_parse(o->editor) : (int)MLA_EDITOR_NONE;
    if (kind < 0) {
        return mla_err_set(err, "--editor: \"%s\" is not none, policy or endpoint", o->editor);
    }
    s->policy_editor = (mla_policy_editor){.max_tokens = editor.max_tokens};
    if (kind == MLA_EDITOR_ENDPOINT) {
        if (fill_endpoint(&editor, o, err) < 0) return -1;
        return mla_endpoint_editor_make(&s->editor, &editor, err);
    }
    if (kind == MLA_EDITOR_POLICY) {
        if (!s->policy) return mla_err_set(err, "--editor policy needs --model");
        s->policy_editor.policy = s->policy;
        s->editor = mla_policy_editor_make(&s->policy_editor);
    }
    return 0;
}

static int open_env(mla_session *s, const mla_options *o, const char *dir, int workers,
                    bool private_scores, mla_err *err) {
    char *states = mla_fs_join(dir, "states.git"), *cache = mla_fs_join(dir, "exec.sqlite");
    mla_env_options options = mla_env_options_default();
    options.workers = workers;
    options.actions = s->actions;
    options.home = s->home;
    options.python = o->python;
    options.states_path = states;
    options.cache_path = cache;
    options.private_scores = private_scores;
    options.editor = s->editor;
    options.allow_weaker_sandbox = o->allow_weaker_sandbox;
    s->env = mla_fs_mkdirs(dir, err) < 0 ? NULL : mla_env_create(&options, err);
    free(states);
    free(cache);
    return s->env ? 0 : -1;
}

int mla_session_open(mla_session *out, const mla_options *o, const char *dir,
                     mla_action_set actions, int workers, bool private_scores, mla_err *err) {
    *out = (mla_session){.home = mla_options_home(o), .actions = actions};
    int rc = o->actions ? mla_action_set_parse(&out->actions, o->actions, err) : 0;
    if (rc == 0) rc = open_task(out, o, err);
    if (rc == 0) rc = open_model(out, o, err);
    if (rc == 0) rc = open_editor(out, o, err);
    if (rc == 0) rc = open_env(out, o, dir, workers, private_scores, err);
    const mla_reward_options reward = mla_reward_options_default();
    if (rc == 0) out->agent = mla_agent_create(out->env, &reward);
    else mla_session_close(out);
    return rc;
}

void mla_session_close(mla_session *s) {
    mla_agent_free(s->agent);
    mla_env_free(s->env);
    if (s->editor.any_thread) mla_endpoint_editor_free(&s->editor);
    mla_policy_free(s->policy);
    mla_task_free(s->task);
    free(s->home);
    *s = (mla_session){.home = NULL};
}
