// Fuzzes the reader of replies and the applying of edits. What is read must survive being written
// and read again; whatever is refused must say why. libFuzzer, by `make fuzz`.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/internal.h"

static const char script[] = "import os\n\nmodel = Ridge(alpha=1.0)\nmodel.fit(x, y)\na\na\n";

static void check_edit(const mla_action *action) {
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t n;
    char *text = mla__edit_apply("train.py", script, action->blocks, &n, &why);
    MLA_ASSERT(text ? n > 0 : why.len > 0);
    MLA_ASSERT(!text || strcmp(text, script));
    free(text);
    mla_buf_clear(&why);
}

static void check_again(const mla_action *action) {
    char *reply = mla_action_format(action);
    mla_action again;
    mla_err why = {{0}};
    if (strlen(reply) <= MLA__REPLY_MAX) {          // escapes may make it longer
        MLA_ASSERT(mla_action_parse(&again, reply, &why) == 0);
        MLA_ASSERT(again.kind == action->kind);
        char *reply2 = mla_action_format(&again);
        MLA_ASSERT(!strcmp(reply, reply2));
        free(reply2);
        mla_action_clear(&again);
    }
    free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *reply = mla_utf8_repair((const char *)data, size, NULL);
    mla_action action;
    mla_err why = {{0}};
    if (mla_action_parse(&action, reply, &why) == 0) {
        if (action.blocks) check_edit(&action);
        for (int i = 0; i < MLA_ACTION_INPUTS; i++)
            if (action.inputs[i]) free(mla__path_clean(action.inputs[i]));
        check_again(&action);
    } else {
        MLA_ASSERT(action.kind == MLA_ACTION_NONE && *why.text);
    }
    mla_action_clear(&action);
    free(reply);
    return 0;
}
