// Replies read as actions: the canonical form, the slips that are forgiven, what is refused, and
// that every kind of action survives being written and read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/internal.h"

#define BLOCK "<<<<<<< SEARCH\na = 1\n=======\na = 2\n>>>>>>> REPLACE"

typedef struct {
    const char *reply;
    mla_action_kind kind;         // NONE: refused
    const char *expect;           // first input; for a refusal a part of its message
    const char *blocks;
} row;

static const row rows[] = {
    // As taught.
    {"Thought: look\nAction: List Files\nAction Input: {\"dir_path\": \".\"}",
     MLA_ACTION_LIST_FILES, ".", NULL},
    {"Thought: x\nAction: Edit Script\nAction Input: {\"script_name\": \"train.py\"}\n" BLOCK,
     MLA_ACTION_EDIT_SCRIPT, "train.py", BLOCK},
    {"Reflection: none\nResearch Plan and Status: 1. look\n2. act\nFact Check: ok\nThought: go\n"
     "Action: Execute Script\nAction Input: {\"script_name\": \"train.py\"}",
     MLA_ACTION_EXECUTE_SCRIPT, "train.py", NULL},
    {"Thought: end\nAction: Final Answer\nAction Input: {\"final_answer\": \"0.9\"}",
     MLA_ACTION_FINAL_ANSWER, "0.9", NULL},
    // Sloppy.
    {"Action: Undo Edit Script\nAction Input: train.py", MLA_ACTION_UNDO_EDIT, "train.py", NULL},
    {"**Thought:** x\n**Action:** `undo edit script`\n**Action Input:** `train.py`",
     MLA_ACTION_UNDO_EDIT, "train.py", NULL},
    {"**Thought**: x\n**Action**: **Undo Edit Script**\n**Action Input**: \"train.py\"\n",
     MLA_ACTION_UNDO_EDIT, "train.py", NULL},
    {"### Thought: x\n### Action: Undo Edit Script.\n### Action Input: script_name: train.py",
     MLA_ACTION_UNDO_EDIT, "train.py", NULL},
    {"```\nThought: x\nACTION: EXECUTE SCRIPT\naction input: {\"script_name\": \"train.py\"}\n```",
     MLA_ACTION_EXECUTE_SCRIPT, "train.py", NULL},
    {"Action:\nList Files\nAction Input:\n```json\n{\n  \"dir_path\": \"data\"\n}\n```\n",
     MLA_ACTION_LIST_FILES, "data", NULL},
    {"Action: List Files\r\nAction Input: {\"dir_path\": \".\"}\r\n",
     MLA_ACTION_LIST_FILES, ".", NULL},
    {"Action: List Files\nAction Input: {'dir_path': '.',}", MLA_ACTION_LIST_FILES, ".", NULL},
    {"Action: List Files\nAction Input: {dir_path: data}", MLA_ACTION_LIST_FILES, "data", NULL},
    {"Action: List Files\nAction Input: {\"dir_path\": \".\", \"why\": 3}\n\nObservation: a.py\n"
     "Thought: y\nAction: Final Answer\nAction Input: {\"final_answer\": \"won\"}",
     MLA_ACTION_LIST_FILES, ".", NULL},
    {"Thought: Action: is next\nAction: List Files\nAction Input: . \n", MLA_ACTION_LIST_FILES, ".",
     NULL},
    {"Action: Final Answer\nAction Input: It went\nfrom 1 to 2.\nObservation: end",
     MLA_ACTION_FINAL_ANSWER, "It went\nfrom 1 to 2.", NULL},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"train.py\"}\n```python\n" BLOCK
     "\n```\nThen also\n" BLOCK "\nHope it helps!",
     MLA_ACTION_EDIT_SCRIPT, "train.py", BLOCK "\n" BLOCK},
    {"Action: Edit Script\nAction Input: train.py\n\n<<<<<< search  \na = 1\n======\na = 2\n"
     ">>>>>>>>> Replace", MLA_ACTION_EDIT_SCRIPT, "train.py", BLOCK},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"train.py\", \"edit\": \""
     "<<<<<<< SEARCH\\na = 1\\n=======\\na = 2\\n>>>>>>> REPLACE\"}",
     MLA_ACTION_EDIT_SCRIPT, "train.py", BLOCK},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"train.py\", \"edit\": \"" BLOCK "\"}",
     MLA_ACTION_EDIT_SCRIPT, "train.py", BLOCK},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"t.py\"}\n" BLOCK "\nObservation: ok\n"
     "Action: Edit Script\nAction Input: {\"script_name\": \"t.py\"}\n" BLOCK,
     MLA_ACTION_EDIT_SCRIPT, "t.py", BLOCK},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"t.py\"}\n<<<<<<< SEARCH\n# T\n=====\n"
     "=======\nThought: in the text\n=======\n>>>>>>> REPLACE",
     MLA_ACTION_EDIT_SCRIPT, "t.py",
     "<<<<<<< SEARCH\n# T\n=====\n=======\nThought: in the text\n=======\n>>>>>>> REPLACE"},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"t.py\"}\n<<<<<<< SEARCH\na\n=======\n"
     ">>>>>>> REPLACE",
     MLA_ACTION_EDIT_SCRIPT, "t.py", "<<<<<<< SEARCH\na\n=======\n>>>>>>> REPLACE"},
    // Marks of another width, because the text has a line that would be one at the usual width.
    {"Action: Edit Script\nAction Input: t.py\n<<<<<<<< SEARCH\n=======\n========\nb\n"
     ">>>>>>> REPLACE", MLA_ACTION_EDIT_SCRIPT, "t.py",
     "<<<<<<<< SEARCH\n=======\n========\nb\n>>>>>>>> REPLACE"},
    // Hostile or hopeless.
    {"", MLA_ACTION_NONE, "no line \"Action: ...\"", NULL},
    {"I would use gradient boosting here.", MLA_ACTION_NONE,
     "one of List Files, Understand File, Inspect", NULL},
    {"Action: Rm Files\nAction Input: {}", MLA_ACTION_NONE, "no action \"Rm Files\"", NULL},
    {"Action:\nAction Input: {}", MLA_ACTION_NONE, "no action \"\"", NULL},
    {"Action: List Files", MLA_ACTION_NONE, "no line \"Action Input: ...\"", NULL},
    {"Action: List Files\nAction Input:", MLA_ACTION_NONE, "empty", NULL},
    {"Action: List Files\nAction Input: ``", MLA_ACTION_NONE, "empty", NULL},
    {"Action: List Files\nAction Input: dir_path", MLA_ACTION_LIST_FILES, "dir_path", NULL},
    {"Action: List Files\nAction Input: dir_path:", MLA_ACTION_NONE, "empty", NULL},
    {"Action: List Files\nAction Input: {}", MLA_ACTION_NONE, "\"dir_path\" is missing", NULL},
    {"Action: List Files\nAction Input: {\"dir_path\": [\".\"]}", MLA_ACTION_NONE,
     "is missing", NULL},
    {"Action: List Files\nAction Input: {\"dir_path\": \"a\\u0000b\"}", MLA_ACTION_NONE, "not JSON",
     NULL},
    {"Action: List Files\nAction Input: {'dir_path': 'a\\u00e9\\u20ac\\ud800\\x\\'b'}",
     MLA_ACTION_LIST_FILES, "a\xC3\xA9\xE2\x82\xAC\xEF\xBF\xBDx'b", NULL},
    {"Action: List Files\nAction Input: {\"dir_path\": \".", MLA_ACTION_NONE, "not JSON", NULL},
    {"Action: Inspect Script Lines\nAction Input: train.py", MLA_ACTION_NONE, "not a JSON", NULL},
    {"Action: Inspect Script Lines\nAction Input: {\"script_name\": \"train.py\"}", MLA_ACTION_NONE,
     "\"start_line_number\": ...", NULL},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"train.py\"}", MLA_ACTION_NONE,
     "no SEARCH/REPLACE block", NULL},
    {"Action: Edit Script\n" BLOCK, MLA_ACTION_NONE, "no line \"Action Input: ...\"", NULL},
    {"Action: Edit Script\nAction Input:\n" BLOCK, MLA_ACTION_NONE, "empty", NULL},
    {"Action: Edit Script\nAction Input: t.py\n<<<<<<< SEARCH\na\n=======\nb\n", MLA_ACTION_NONE,
     "block 1 is cut short", NULL},
    {"Action: Edit Script\nAction Input: t.py\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
     MLA_ACTION_NONE, "SEARCH part is not ended", NULL},
    {"Action: Edit Script\nAction Input: t.py\n" BLOCK "\n<<<<<<< SEARCH\na\n=======\nb\n"
     "<<<<<<< SEARCH\n", MLA_ACTION_NONE, "block 2 is cut short", NULL},
    // Entries in another order, the inputs on the action's line, names written otherwise.
    {"Action Input: {\"dir_path\": \".\"}\nAction: List Files", MLA_ACTION_LIST_FILES, ".", NULL},
    {"Action Input: {\"dir_path\": \".\"}\nThought: x\nAction: List Files\nObservation: y\n"
     "Action: Final Answer\nAction Input: end", MLA_ACTION_LIST_FILES, ".", NULL},
    {"Action Input: old\nAction: List Files\nAction Input: data", MLA_ACTION_LIST_FILES, "data",
     NULL},
    {"Action Input: {\"script_name\": \"t.py\"}\nAction: Edit Script\n" BLOCK,
     MLA_ACTION_EDIT_SCRIPT, "t.py", BLOCK},
    {"Action: Edit Script\nAction Input: t.py\nThought: late\n" BLOCK, MLA_ACTION_NONE,
     "no SEARCH/REPLACE block", NULL},
    {"Action: List Files {\"dir_path\": \"data\"}", MLA_ACTION_LIST_FILES, "data", NULL},
    {"action: list_files\nACTION_INPUT: data", MLA_ACTION_LIST_FILES, "data", NULL},
    {"> **Action-Input**: data\n> Action: ListFiles", MLA_ACTION_LIST_FILES, "data", NULL},
    {"Action\xEF\xBC\x9A" "List Files\nAction Input\xEF\xBC\x9A" "data", MLA_ACTION_LIST_FILES,
     "data", NULL},
    // Near-JSON.
    {"Action: List Files\nAction Input: {\"dir_path\": \"data\"", MLA_ACTION_LIST_FILES, "data",
     NULL},
    {"Action: Edit Script\nAction Input: {\"script_name\": \"t.py\"\n" BLOCK,
     MLA_ACTION_EDIT_SCRIPT, "t.py", BLOCK},
    {"Action: List Files\nAction Input: {\n  'dir_path': 'data',\n```", MLA_ACTION_LIST_FILES,
     "data", NULL},
    {"Action: List Files\nAction Input: {{\"dir_path\": \"data\"}}", MLA_ACTION_LIST_FILES, "data",
     NULL},
    {"Action: List Files\nAction Input: {\xE2\x80\x9C" "dir_path\xE2\x80\x9D: \xE2\x80\x9C"
     "data\xE2\x80\x9D}", MLA_ACTION_LIST_FILES, "data", NULL},
    {"Action: List Files\nAction Input: \xE2\x80\x98" "data\xE2\x80\x99", MLA_ACTION_LIST_FILES,
     "data", NULL},
    {"Action: List Files\nAction Input: {'Dir Path': 'data', 'deep': True}", MLA_ACTION_LIST_FILES,
     "data", NULL},
    {"Action: List Files\nAction Input: {'dir_path': None}", MLA_ACTION_NONE, "is missing", NULL},
    {"Action: List Files\nAction Input: {\"dir_path\": true}", MLA_ACTION_NONE, "is missing", NULL},
    {"Action: List Files\nAction Input: {", MLA_ACTION_NONE, "not JSON", NULL},
    {"Action: Final Answer\nAction Input: {'final_answer': 'it's \"good\" now'}",
     MLA_ACTION_FINAL_ANSWER, "it's \"good\" now", NULL},
    {"Action: Final Answer\nAction Input: {\"final_answer\": \"used \"ridge\" here\"}",
     MLA_ACTION_FINAL_ANSWER, "used \"ridge\" here", NULL},
    // Inputs that may be left out.
    {"Action: Understand File\nAction Input: data/train.csv", MLA_ACTION_UNDERSTAND_FILE,
     "data/train.csv", NULL},
    {"Action: Copy File\nAction Input: {\"source\": \"a\"}", MLA_ACTION_NONE,
     "\"destination\" is missing", NULL},
    {"Action: Edit Script (AI)\nAction Input: {\"script_name\": \"t.py\"}", MLA_ACTION_NONE,
     "\"edit_instruction\" is missing", NULL},
    // MLAgentBench's two edits are told apart.
    {"Action: Edit Script (AI)\nAction Input: {\"script_name\": \"t.py\", \"edit_instruction\": "
     "\"x\", \"save_name\": \"u.py\"}", MLA_ACTION_EDIT_SCRIPT_AI, "t.py", NULL},
    {"Action: edit script(ai)\nAction Input: {\"script_name\": \"t.py\", \"edit_instruction\": "
     "\"x\"}\n" BLOCK, MLA_ACTION_EDIT_SCRIPT_AI, "t.py", BLOCK},
    {"Action: Edit Script (human)\nAction Input: t.py\n" BLOCK, MLA_ACTION_NONE,
     "no action \"Edit Script (human)\"", NULL},
    {"Action: Edit\nAction Input: t.py\n" BLOCK, MLA_ACTION_NONE, "no action \"Edit\"", NULL},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_action action;
        mla_err why = {{0}};
        int rc = mla_action_parse(&action, rows[i].reply, MLA_ACTIONS_ALL, &why);
        if (action.kind != rows[i].kind) {
            fail_msg("row %zu: kind %d, %s\n%s", i, action.kind, why.text, rows[i].reply);
        }
        assert_int_equal(rc, rows[i].kind == MLA_ACTION_NONE ? -1 : 0);
        if (rc < 0) {
            if (!strstr(why.text, rows[i].expect)) fail_msg("row %zu: %s", i, why.text);
            assert_non_null(strstr(why.text, "Thought:"));   // it teaches the format
            assert_null(action.inputs[0]);
        } else {
            assert_string_equal(action.inputs[0], rows[i].expect);
            if (rows[i].blocks) assert_string_equal(action.blocks, rows[i].blocks);
            else assert_null(action.blocks);
        }
        mla_action_clear(&action);
    }
}

static void test_thought(void **state) {
    (void)state;
    mla_action action;
    mla_err why;
    const char *reply = "Thought: first\n  second \n\nAction: Inspect Script Lines\nAction Input: "
                        "{\"script_name\": \"a.py\", \"start_line_number\": \"1\", "
                        "\"end_line_number\": 20.0}";
    assert_int_equal(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why), 0);
    assert_string_equal(action.thought, "first\n  second");
    assert_string_equal(action.inputs[1], "1");
    assert_string_equal(action.inputs[2], "20");
    mla_action_clear(&action);
}

// The paper's six entries are kept, in whatever order they come.
static void test_entries(void **state) {
    (void)state;
    static const char *const replies[] = {
        "**Reflection:** it ran\nResearch Plan and Status: **1.** look\n2. act\n\nFact Check: "
        "guessed\nThought: go\nAction: List Files\nAction Input: .",
        "Action: List Files\nAction Input: .\nThought: go\nfact check: guessed\n"
        "Reflection: it ran\n"
        "Research Plan and Status: **1.** look\n2. act\nThought: next\nAction: Final Answer",
    };
    for (size_t i = 0; i < MLA_COUNT(replies); i++) {
        mla_action action;
        mla_err why;
        assert_int_equal(mla_action_parse(&action, replies[i], MLA_ACTIONS_ALL, &why), 0);
        assert_int_equal(action.kind, MLA_ACTION_LIST_FILES);
        assert_string_equal(action.reflection, "it ran");
        assert_string_equal(action.plan, "**1.** look\n2. act");
        assert_string_equal(action.fact_check, "guessed");
        assert_string_equal(action.thought, "go");
        char *reply = mla_action_format(&action);
        assert_string_equal(reply, "Reflection: it ran\nResearch Plan and Status: **1.** look\n"
                                   "2. act\n"
                                   "Fact Check: guessed\nThought: go\nAction: List Files\n"
                                   "Action Input: {\"dir_path\": \".\"}");
        free(reply);
        mla_action_clear(&action);
    }
}

// What is not offered is no action, and is not named.
static void test_offered(void **state) {
    (void)state;
    mla_action action;
    mla_err why;
    const char *copy = "Action: Copy File\n"
                       "Action Input: {\"source\": \"a\", \"destination\": \"b\"}";
    assert_int_equal(mla_action_parse(&action, copy, MLA_ACTIONS_ALL, &why), 0);
    mla_action_clear(&action);
    assert_int_equal(mla_action_parse(&action, copy, MLA_ACTIONS_DEFAULT, &why), -1);
    assert_non_null(strstr(why.text, "no action \"Copy File\""));
    assert_non_null(strstr(why.text, "one of List Files, Inspect Script Lines, Edit Script, "
                                     "Execute Script, Undo Edit Script, Final Answer\n"));
    mla_action_set looks = MLA_ACTION_BIT(LIST_FILES) | MLA_ACTION_BIT(INSPECT_LINES);
    assert_int_equal(mla_action_parse(&action, copy, looks, &why), -1);
    assert_null(strstr(why.text, "SEARCH"));
}

static void test_sets(void **state) {
    (void)state;
    mla_action_set set;
    mla_err err = {{0}};
    static const char *const good[] = {"default", "all", "List Files, Final Answer",
                                       "Edit Script (AI)"};
    for (size_t i = 0; i < MLA_COUNT(good); i++) {
        assert_int_equal(mla_action_set_parse(&set, good[i], &err), 0);
        char *text = mla_action_set_text(set);
        assert_string_equal(text, good[i]);
        free(text);
    }
    assert_int_equal(mla_action_set_parse(&set, "list_files,edit_script", &err), 0);
    assert_int_equal(set, MLA_ACTION_BIT(LIST_FILES) | MLA_ACTION_BIT(EDIT_SCRIPT));
    assert_int_equal(mla_action_set_parse(&set, "List Files, Dance", &err), -1);
    assert_non_null(strstr(err.text, "Dance\" is no action"));
    assert_int_equal(mla_action_set_parse(&set, "", &err), -1);
    assert_int_equal(mla_action_set_parse(&set, "List Files,,Edit Script", &err), -1);
}

// No two names are the same letters, and none begins as an entry of a reply does.
static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        assert_int_equal(mla_action_kind_parse(mla_action_name((mla_action_kind)i)), i);
        assert_false(mla__entry_opens(mla_action_name((mla_action_kind)i)));
    }
}

// docs/actions.md says what the table says: the row of each action stands in it word for word.
static void test_docs(void **state) {
    (void)state;
    mla_buf docs;
    mla_err err;
    if (mla_fs_read("docs/actions.md", 1 << 20, &docs, &err) < 0) fail_msg("%s", err.text);
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        mla_action_kind kind = (mla_action_kind)i;
        mla_buf line;
        mla_buf_init(&line, 4096);
        mla_buf_printf(&line, "| %s | ", mla_action_name(kind));
        for (int k = 0; k < MLA_ACTION_INPUTS && mla_action_input_name(kind, k); k++) {
            mla_buf_printf(&line, "%s`%s`%s", k ? ", " : "", mla_action_input_name(kind, k),
                           mla_action_input_needed(kind, k) ? "" : " (optional)");
        }
        mla_buf_printf(&line, " | %s | %s | %s |\n", mla_action_sort_name(mla_action_sort_of(kind)),
                       mla_action_help(kind), mla_action_answer(kind));
        if (!strstr(mla_buf_text(&docs), mla_buf_text(&line))) {
            fail_msg("docs/actions.md lacks the line\n%s", mla_buf_text(&line));
        }
        mla_buf_clear(&line);
    }
    mla_buf_clear(&docs);
}

static void same_text(const char *a, const char *b) {
    if (a && b) assert_string_equal(a, b);
    else assert_true(a == b);
}

static void check_round_trip(const mla_action *in) {
    char *reply = mla_action_format(in);
    mla_action out;
    mla_err why = {{0}};
    int rc = mla_action_parse(&out, reply, MLA_ACTIONS_ALL, &why);
    if (rc < 0) fail_msg("%s\n%s", why.text, reply);
    assert_int_equal(out.kind, in->kind);
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) same_text(out.inputs[i], in->inputs[i]);
    same_text(out.blocks, in->blocks);
    same_text(out.thought, in->thought);
    char *again = mla_action_format(&out);
    assert_string_equal(again, reply);
    free(again);
    free(reply);
    mla_action_clear(&out);
}

static void test_round_trip(void **state) {
    (void)state;
    static char *const values[] = {"train.py", "1", "-3", "007",
                                   "quote \" back \\ new\nline \xC3\xA9",
                                   "Action: List Files", "", "{", "1e5"};
    for (int kind = 0; kind < MLA_ACTION_COUNT; kind++) {
        for (size_t v = 0; v < MLA_COUNT(values); v++) {
            mla_action action = {.kind = (mla_action_kind)kind};
            for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
                if (mla_action_input_name(action.kind, i)) action.inputs[i] = values[v];
            }
            if (mla_action_is_edit(action.kind)) action.blocks = BLOCK "\n" BLOCK;
            if (v % 2) action.thought = "because\nof this";
            check_round_trip(&action);
        }
    }
}

static void test_canonical(void **state) {
    (void)state;
    mla_action edit = {.kind = MLA_ACTION_EDIT_SCRIPT, .inputs = {"train.py"}, .thought = "x",
                       .blocks = BLOCK "\n"};
    char *reply = mla_action_format(&edit);
    assert_string_equal(reply, "Thought: x\nAction: Edit Script\n"
                               "Action Input: {\"script_name\": \"train.py\"}\n" BLOCK);
    free(reply);
    mla_action look = {.kind = MLA_ACTION_INSPECT_LINES, .inputs = {"a.py", "1", "9"}};
    reply = mla_action_format(&look);
    assert_string_equal(reply, "Action: Inspect Script Lines\nAction Input: {\"script_name\": "
                               "\"a.py\", \"start_line_number\": 1, \"end_line_number\": 9}");
    free(reply);
}

static void test_bounds(void **state) {
    (void)state;
    mla_action action;
    mla_err why;
    size_t big = (size_t)1 << 20;
    char *reply = malloc(big + 1);
    memset(reply, 'x', big);
    reply[big] = '\0';
    assert_int_equal(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why), -1);
    assert_non_null(strstr(why.text, "64 kB"));
    // Nesting as deep as a reply can hold.
    const char *head = "Action: List Files\nAction Input: ";
    memset(reply, '{', big);
    memcpy(reply, head, strlen(head));
    reply[60000] = '\0';
    assert_int_equal(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why), -1);
    // Quotes that never end a value, each looked after.
    for (size_t i = strlen(head) + 1; i + 9 < 60000; i += 9) memcpy(reply + i, "a:\"b\"c,\"d", 9);
    assert_int_equal(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why), -1);
    // A name of any length fits into the message.
    memset(reply, 'y', 60000);
    memcpy(reply, "Action: ", 8);
    assert_int_equal(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why), -1);
    assert_non_null(strstr(why.text, "no action \"yyyy"));
    free(reply);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_thought),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_entries),
        cmocka_unit_test(test_offered),    cmocka_unit_test(test_sets),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_docs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
