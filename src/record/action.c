// The action table's names, inputs and help. It leaves out the reply format: env/action.c.
#include "record/action.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define SET_TEXT_MAX 1024

typedef struct {
    const char *name, *help, *answer;
    mla_action_sort sort;
    int needed;
    const char *inputs[MLA_ACTION_INPUTS];
} action_row;

static const action_row rows[MLA_ACTION_COUNT] = {
#define X(id, name, sort, needed, in1, in2, in3, help, answer) \
    [MLA_ACTION_##id] = {name, help, answer, MLA_ACTION_SORT_##sort, needed, {in1, in2, in3}},
    MLA_ACTION_MAP(X)
#undef X
};

static const char *const sort_names[] = {
#define X(id, name) name,
    MLA_ACTION_SORTS(X)
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
    free(action->reflection);
    free(action->plan);
    free(action->fact_check);
    *action = (mla_action){.kind = MLA_ACTION_NONE};
}

const char *mla_action_name(mla_action_kind kind) {
    return kind == MLA_ACTION_NONE ? "none" : row_of(kind)->name;
}

const char *mla_action_help(mla_action_kind kind) {
    return row_of(kind)->help;
}

const char *mla_action_answer(mla_action_kind kind) {
    return row_of(kind)->answer;
}

mla_action_sort mla_action_sort_of(mla_action_kind kind) {
    return row_of(kind)->sort;
}

const char *mla_action_sort_name(mla_action_sort sort) {
    MLA_ASSERT((size_t)sort < MLA_COUNT(sort_names));
    return sort_names[sort];
}

const char *mla_action_input_name(mla_action_kind kind, int at) {
    MLA_ASSERT(at >= 0 && at < MLA_ACTION_INPUTS);
    return kind == MLA_ACTION_NONE ? NULL : row_of(kind)->inputs[at];
}

bool mla_action_input_needed(mla_action_kind kind, int at) {
    return at < row_of(kind)->needed;
}

bool mla_action_is_edit(mla_action_kind kind) {
    return kind != MLA_ACTION_NONE && row_of(kind)->sort == MLA_ACTION_SORT_EDIT;
}

static const char *next_letter(const char *p) {
    while (*p && !isalpha((unsigned char)*p)) p++;
    return p;
}

static bool same_letters(const char *a, const char *b) {
    for (;; a++, b++) {
        a = next_letter(a);
        b = next_letter(b);
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
        if (!*a) return true;
    }
}

int mla_action_kind_parse(const char *name) {
    for (int i = 0; name && i < MLA_ACTION_COUNT; i++)
        if (same_letters(name, rows[i].name)) return i;
    return -1;
}

// --- sets --------------------------------------------------------------------------------------

bool mla_action_set_has(mla_action_set set, mla_action_kind kind) {
    return kind != MLA_ACTION_NONE && (set >> kind & 1);
}

// The name that begins at *p, which moves behind it and its comma; -1 when it is none of ours.
static int next_kind(const char **p, mla_err *err) {
    size_t n = strcspn(*p, ",");
    char *name = mla_strndup(*p, n);
    int kind = mla_action_kind_parse(name);
    if (kind < 0) mla_err_set(err, "\"%.60s\" is no action", name);
    free(name);
    *p += n + ((*p)[n] == ',');
    return kind;
}

int mla_action_set_parse(mla_action_set *out, const char *text, mla_err *err) {
    *out = strcmp(text, "default") == 0 ? MLA_ACTIONS_DEFAULT
           : strcmp(text, "all") == 0   ? MLA_ACTIONS_ALL
                                        : 0;
    if (*out) return 0;
    do {
        int kind = next_kind(&text, err);
        if (kind < 0) return -1;
        *out |= 1u << kind;
    } while (*text);
    return 0;
}

char *mla_action_set_text(mla_action_set set) {
    if (set == MLA_ACTIONS_DEFAULT) return mla_strdup("default");
    if (set == MLA_ACTIONS_ALL) return mla_strdup("all");
    mla_buf out;
    mla_buf_init(&out, SET_TEXT_MAX);
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        if (set >> i & 1) mla_buf_printf(&out, "%s%s", out.len ? ", " : "", rows[i].name);
    }
    return mla_buf_take(&out);
}
