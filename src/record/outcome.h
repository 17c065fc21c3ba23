// What became of an action: one enum from one table. The reward reads the class of an outcome, the
// prompt its name, the documents its meaning.
#ifndef MLA_RECORD_OUTCOME_H
#define MLA_RECORD_OUTCOME_H

// How the paper's reward treats an outcome (DESIGN: docs/reward.md).
typedef enum {
    MLA_CLASS_DONE,     // did what it says: 0.5, or scaled by the score if it is an edit that ran
    MLA_CLASS_FAILED,   // invalid, or its run failed: 0
    MLA_CLASS_CORNER,   // not the model's fault, as judged by our own clock and memory watch: 0.5
    MLA_CLASS_NONE,     // our machinery failed: no reward, the sample is dropped
} mla_outcome_class;

// X(id, name, class, meaning)
#define MLA_OUTCOME_MAP(X)                                                                     \
    X(OK, "ok", DONE, "the action did what it says; a run wrote a valid submission")           \
    X(INVALID_ACTION, "invalid action", FAILED, "the reply could not be read as an action")    \
    X(ACTION_FAILED, "action failed", FAILED, "a readable action that cannot be carried out")  \
    X(EDIT_FAILED, "edit failed", FAILED, "the edit does not fit, or there is no editor")      \
    X(SCRIPT_ERROR, "script error", FAILED, "the script ended with an exception or exit code") \
    X(NO_SUBMISSION, "no submission", FAILED, "the script ended well, but wrote none")         \
    X(BAD_SUBMISSION, "bad submission", FAILED, "the submission cannot be scored")             \
    X(TIME_OUT, "time-out", CORNER, "our clock ended the script")                              \
    X(OUT_OF_MEMORY, "out of memory", CORNER, "our memory watch ended the script")             \
    X(KILLED, "killed", FAILED, "a signal that was not ours ended the script")                 \
    X(EDITOR_FAILED, "editor failed", NONE, "the editor of Edit Script (AI) gave no answer")   \
    X(SANDBOX_FAILED, "sandbox failed", NONE, "our own machinery failed; nothing is judged")

typedef enum {
#define X(id, name, class, meaning) MLA_OUTCOME_##id,
    MLA_OUTCOME_MAP(X)
#undef X
    MLA_OUTCOME_COUNT
} mla_outcome;

const char *mla_outcome_name(mla_outcome outcome);
const char *mla_outcome_meaning(mla_outcome outcome);
mla_outcome_class mla_outcome_class_of(mla_outcome outcome);
int mla_outcome_parse(const char *name);   // the enum, or -1

#endif
