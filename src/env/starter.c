// A task's script as it is before anybody has edited it: does it run and score?
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/env.h"

char *mla_facts_fault(const mla_facts *facts) {
    if (facts->outcome == MLA_OUTCOME_OK) return NULL;
    const char *text = facts->err && *facts->err ? facts->err : "";
    size_t end = strlen(text);
    while (end && strchr(" \r\n\t", text[end - 1])) end--;
    size_t from = end;
    while (from && text[from - 1] != '\n') from--;
    const char *type = facts->error_type ? facts->error_type : "";
    bool script = facts->outcome == MLA_OUTCOME_SCRIPT_ERROR && end > from;
    char *line = mla_format("%s%s%.*s", mla_outcome_name(facts->outcome),
                            script || *type ? ": " : "",
                            script ? (int)(end - from > 200 ? 200 : end - from) : (int)strlen(type),
                            script ? text + from : type);
    for (char *p = line; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127) *p = ' ';
    }
    return line;
}

int mla_env_try(mla_env *env, const mla_task *task, mla_facts *out, mla_err *err) {
    mla_action run = {.kind = MLA_ACTION_EXECUTE_SCRIPT, .inputs = {task->script}};
    char *reply = mla_action_format(&run);
    mla_state start;
    *out = (mla_facts){.outcome = MLA_OUTCOME_OK};
    int rc = mla_env_begin(env, task, &start, err);
    if (rc == 0) rc = mla_env_step(env, task, &start, reply, out, err);
    free(reply);
    return rc;
}

int mla_env_check_starter(mla_env *env, const mla_task *task, mla_err *err) {
    mla_facts facts;
    int rc = mla_env_try(env, task, &facts, err);
    char *fault = rc == 0 ? mla_facts_fault(&facts) : NULL;
    if (fault) {
        rc = mla_err_set(err, "task %s: %s fails as it is, before any edit: %.400s; mend %s/%s",
                         task->name, task->script, fault, task->env_dir, task->script);
    }
    free(fault);
    mla_facts_clear(&facts);
    return rc;
}
