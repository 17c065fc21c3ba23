// A task, an environment for it and who acts or edits in it: what `env` and `solve` both open.
#ifndef MLA_CLI_SESSION_H
#define MLA_CLI_SESSION_H

#include "cli/cli.h"

typedef struct mla_session {
    char *home;
    mla_task *task;
    mla_policy *policy;            // NULL: no model was asked for
    mla_env *env;
    mla_agent *agent;
    mla_action_set actions;
    mla_editor editor;
    mla_policy_editor policy_editor;
} mla_session;

// Opens the task `options->rest[0]`, whose data is prepared if need be; the model, when one is
// named; the environment with its states and run cache in `dir`. `actions` are offered unless the
// options name others.
MLA_MUST_USE int mla_session_open(mla_session *out, const mla_options *options, const char *dir,
                                  mla_action_set actions, int workers, bool private_scores,
                                  mla_err *err);
void mla_session_close(mla_session *session);

#endif
