// What an agent can do: one table gives the name, the inputs, the help in the prompt and the
// documents. Names and inputs are MLAgentBench's (Huang et al., 2023).
#ifndef MLA_RECORD_ACTION_H
#define MLA_RECORD_ACTION_H

#include <stdbool.h>

#define MLA_ACTION_INPUTS 3

// X(id, name, is_edit, input 1, input 2, input 3, help)   an absent input is NULL
#define MLA_ACTION_MAP(X)                                                                      \
    X(LIST_FILES, "List Files", false, "dir_path", NULL, NULL,                                 \
      "list a folder")                                                            \
    X(INSPECT_LINES, "Inspect Script Lines", false, "script_name", "start_line_number",        \
      "end_line_number", "show lines of a file, at most 100")                        \
    X(EDIT_SCRIPT, "Edit Script", true, "script_name", NULL, NULL,                             \
      "change a script by blocks, then run and score it")                   \
    X(EXECUTE_SCRIPT, "Execute Script", false, "script_name", NULL, NULL,                      \
      "run and score a script")                                        \
    X(UNDO_EDIT, "Undo Edit Script", false, "script_name", NULL, NULL,                         \
      "take back the last edit")                                                               \
    X(FINAL_ANSWER, "Final Answer", false, "final_answer", NULL, NULL,                         \
      "end, and say what was reached")

typedef enum {
#define X(id, name, is_edit, in1, in2, in3, help) MLA_ACTION_##id,
    MLA_ACTION_MAP(X)
#undef X
    MLA_ACTION_COUNT,
    MLA_ACTION_NONE = -1    // a reply in which no action could be read
} mla_action_kind;

// A parsed action. For an edit, `blocks` is the text of its SEARCH/REPLACE blocks as written.
typedef struct mla_action {
    mla_action_kind kind;
    char *inputs[MLA_ACTION_INPUTS];  // owned; NULL where the kind has none
    char *blocks;                     // owned; edits only
    char *thought;                    // owned; may be NULL
} mla_action;

void mla_action_clear(mla_action *action);
const char *mla_action_name(mla_action_kind kind);          // "none" for MLA_ACTION_NONE
const char *mla_action_help(mla_action_kind kind);
const char *mla_action_input_name(mla_action_kind kind, int at);   // NULL where it has none
bool mla_action_is_edit(mla_action_kind kind);
int mla_action_kind_parse(const char *name);                // the enum (ignoring case), or -1

#endif
