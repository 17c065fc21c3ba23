// What an agent can do: one table gives the name, the inputs, the help in the prompt and what comes
// back; the prompt, the parser, the documents and the tests come from it. Names and inputs are
// MLAgentBench's (Huang et al., 2023).
#ifndef MLA_RECORD_ACTION_H
#define MLA_RECORD_ACTION_H

#include <stdbool.h>

#include "base/err.h"

#define MLA_ACTION_INPUTS 3

// What an action may do. A LOOK leaves the state as it is, a CHANGE makes a new one without a run,
// a RUN runs and scores a script, an EDIT changes a script first.
#define MLA_ACTION_SORTS(X) X(LOOK, "look") X(CHANGE, "change") X(RUN, "run") X(EDIT, "edit")

typedef enum {
#define X(id, name) MLA_ACTION_SORT_##id,
    MLA_ACTION_SORTS(X)
#undef X
} mla_action_sort;

// X(id, name, sort, needed, input 1, input 2, input 3, help, answer)   an absent input is NULL;
// of those that are there the first `needed` must be given.
#define MLA_ACTION_MAP(X)                                                                      \
    X(LIST_FILES, "List Files", LOOK, 1, "dir_path", NULL, NULL,                               \
      "list a folder", "the names in the workspace or in data/, sizes, folders with a slash")  \
    X(UNDERSTAND_FILE, "Understand File", LOOK, 1, "file_name", "things_to_look_for", NULL,    \
      "describe a data file or script",                                                        \
      "a profile of a CSV file, the outline of a Python script, the head of any other text")   \
    X(INSPECT_LINES, "Inspect Script Lines", LOOK, 3, "script_name", "start_line_number",      \
      "end_line_number", "show lines of a file, at most 100",                                  \
      "the lines, numbered, and the length of the file")                                       \
    X(COPY_FILE, "Copy File", CHANGE, 2, "source", "destination", NULL,                        \
      "copy a file into the workspace", "what was copied")                                     \
    X(EDIT_SCRIPT, "Edit Script", EDIT, 1, "script_name", NULL, NULL,                          \
      "change a script by blocks, then run and score it",                                      \
      "what came of the run, the score and its change, what the script printed")               \
    X(EDIT_SCRIPT_AI, "Edit Script (AI)", EDIT, 2, "script_name", "edit_instruction",          \
      "save_name", "have an editor change a script as told, then run and score it",            \
      "the same, with the change as a unified diff")                                           \
    X(EXECUTE_SCRIPT, "Execute Script", RUN, 1, "script_name", NULL, NULL,                     \
      "run and score a script", "what came of the run, as for an edit")                        \
    X(UNDO_EDIT, "Undo Edit Script", CHANGE, 1, "script_name", NULL, NULL,                     \
      "take back the last edit", "which script is as before, and the score of this state")     \
    X(FINAL_ANSWER, "Final Answer", LOOK, 1, "final_answer", NULL, NULL,                       \
      "end, and say what was reached", "nothing: the trajectory ends")

typedef enum {
#define X(id, name, sort, needed, in1, in2, in3, help, answer) MLA_ACTION_##id,
    MLA_ACTION_MAP(X)
#undef X
    MLA_ACTION_COUNT,
    MLA_ACTION_NONE = -1    // a reply in which no action could be read
} mla_action_kind;

// A parsed action. `blocks` is the text of an edit's SEARCH/REPLACE blocks as written; of an Edit
// Script (AI) the blocks that it came to, NULL while no editor has been asked.
typedef struct mla_action {
    mla_action_kind kind;
    char *inputs[MLA_ACTION_INPUTS];  // owned; NULL where the kind has none
    char *blocks;                     // owned; edits only
    char *thought;                    // owned; may be NULL, as may the three below
    char *reflection, *plan, *fact_check;
} mla_action;

void mla_action_clear(mla_action *action);
const char *mla_action_name(mla_action_kind kind);          // "none" for MLA_ACTION_NONE
const char *mla_action_help(mla_action_kind kind);
const char *mla_action_answer(mla_action_kind kind);
mla_action_sort mla_action_sort_of(mla_action_kind kind);
const char *mla_action_sort_name(mla_action_sort sort);
const char *mla_action_input_name(mla_action_kind kind, int at);   // NULL where it has none
bool mla_action_input_needed(mla_action_kind kind, int at);
bool mla_action_is_edit(mla_action_kind kind);
// The enum, or -1. Only letters count, and not their case: "edit_script(AI)" is "Edit Script (AI)".
int mla_action_kind_parse(const char *name);

// A set of actions: those that an agent is offered. What is not offered cannot be done.
typedef unsigned mla_action_set;
#define MLA_ACTION_BIT(id) (1u << MLA_ACTION_##id)
#define MLA_ACTIONS_ALL ((1u << MLA_ACTION_COUNT) - 1)
#define MLA_ACTIONS_DEFAULT                                                              \
    (MLA_ACTION_BIT(LIST_FILES) | MLA_ACTION_BIT(INSPECT_LINES) | MLA_ACTION_BIT(EDIT_SCRIPT) | \
     MLA_ACTION_BIT(EXECUTE_SCRIPT) | MLA_ACTION_BIT(UNDO_EDIT) | MLA_ACTION_BIT(FINAL_ANSWER))

bool mla_action_set_has(mla_action_set set, mla_action_kind kind);
// "default", "all", or names with commas between. -1 when a name is not known or none is there.
MLA_MUST_USE int mla_action_set_parse(mla_action_set *out, const char *text, mla_err *err);
char *mla_action_set_text(mla_action_set set);              // as parsed; caller frees

#endif
