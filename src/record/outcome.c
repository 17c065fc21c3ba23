// The outcome table's names, meanings and classes. It leaves out what a class is worth: reward.
#include "record/outcome.h"

#include <string.h>

#include "base/err.h"

typedef struct {
    const char *name, *meaning;
    mla_outcome_class class_of;
} outcome_row;

static const outcome_row rows[MLA_OUTCOME_COUNT] = {
#define X(id, name, class, meaning) [MLA_OUTCOME_##id] = {name, meaning, MLA_CLASS_##class},
    MLA_OUTCOME_MAP(X)
#undef X
};

static const outcome_row *row_of(mla_outcome outcome) {
    MLA_ASSERT((unsigned)outcome < MLA_OUTCOME_COUNT);
    return &rows[outcome];
}

const char *mla_outcome_name(mla_outcome outcome) {
    return row_of(outcome)->name;
}

const char *mla_outcome_meaning(mla_outcome outcome) {
    return row_of(outcome)->meaning;
}

mla_outcome_class mla_outcome_class_of(mla_outcome outcome) {
    return row_of(outcome)->class_of;
}

int mla_outcome_parse(const char *name) {
    for (int i = 0; name && i < MLA_OUTCOME_COUNT; i++)
        if (!strcmp(name, rows[i].name)) return i;
    return -1;
}
