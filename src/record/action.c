// The action table's names, inputs and help. It leaves out the reply format: env/action.c.
#include "record/action.h"

#include <stdlib.h>
#include <strings.h>

#include "base/err.h"

typedef struct {
    const char *name, *help;
    bool is_edit;
    const char *inputs[MLA_ACTION_INPUTS];
} action_row;

static const action_row rows[MLA_ACTION_COUNT] = {
#define X(id, name, is_edit, in1, in2, in3, help) \
    [MLA_ACTION_##id] = {name, help, is_edit, {in1, in2, in3}},
    MLA_ACTION_MAP(X)
#undef X
};

static const action_row *row_of(mla_action_kind kind) {
    MLA_ASSERT((int)kind >= 0 && (int)kind < MLA_ACTION_COUNT);
    return &rows[kind];
}

void mla_action_clear(mla_action *action) {
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) free(action->inputs[i]);
    free(action->blocks);
    free(action->thought);
    *action = (mla_action){.kind = MLA_ACTION_NONE};
}

const char *mla_action_name(mla_action_kind kind) {
    return kind == MLA_ACTION_NONE ? "none" : row_of(kind)->name;
}

const char *mla_action_help(mla_action_kind kind) {
    return row_of(kind)->help;
}

const char *mla_action_input_name(mla_action_kind kind, int at) {
    MLA_ASSERT(at >= 0 && at < MLA_ACTION_INPUTS);
    return kind == MLA_ACTION_NONE ? NULL : row_of(kind)->inputs[at];
}

bool mla_action_is_edit(mla_action_kind kind) {
    return kind != MLA_ACTION_NONE && row_of(kind)->is_edit;
}

int mla_action_kind_parse(const char *name) {
    for (int i = 0; name && i < MLA_ACTION_COUNT; i++)
        if (!strcasecmp(name, rows[i].name)) return i;
    return -1;
}
