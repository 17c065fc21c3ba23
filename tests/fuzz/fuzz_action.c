// Fuzzes the reader of replies, the applying of edits and the describing of files. What is read
// must survive being written and read again; whatever is refused must say why; a change said in
// blocks must be that change. libFuzzer, by `make fuzz`.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/internal.h"

static const char script[] = "import os\n\nmodel = Ridge(alpha=1.0)\nmodel.fit(x, y)\na\na\n";

// Texts as files are: ended by a newline.
static char *as_file(const char *text) {
    return mla_format("%s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
}

static void check_change(const char *before, const char *after) {
    char *blocks = mla__diff_blocks("train.py", before, after);
    if (blocks) {
        mla_action action, again = {.kind = MLA_ACTION_EDIT_SCRIPT, .inputs = {"train.py"},
                                    .blocks = blocks};
        char *reply = mla_action_format(&again);
        mla_err why = {{0}};
        if (strlen(reply) <= MLA__REPLY_MAX) {      // the record can be carried out again
            MLA_ASSERT(mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why) == 0);
            mla_buf fault;
            mla_buf_init(&fault, MLA__FEEDBACK_MAX);
            size_t n;
            char *first = mla__edit_apply("train.py", before, blocks, &n, &fault);
            char *second = mla__edit_apply("train.py", before, action.blocks, &n, &fault);
            MLA_ASSERT(first && second && !strcmp(first, second));
            free(first);
            free(second);
            mla_buf_clear(&fault);
            mla_action_clear(&action);
        }
        free(reply);
    }
    char *diff = mla__diff_unified("train.py", before, after, 600);
    MLA_ASSERT(strlen(diff) <= 600 && (!blocks || *diff));
    free(diff);
    free(blocks);
}

static void check_answer(const char *answer) {
    const mla_edit_request request = {.name = "train.py", .script = script, .instruction = "x"};
    char *text = NULL;
    mla_err why = {{0}};
    int rc = mla_editor_read(&request, answer, &text, &why);
    MLA_ASSERT(rc == 0 ? text != NULL : rc == 1 && !text && *why.text);
    free(text);
}

static void check_description(const uint8_t *data, size_t size) {
    static const char *const names[] = {"x.csv", "x.py", "x.txt"};
    char *bytes = mla_strndup((const char *)data, size);
    for (size_t i = 0; i < MLA_COUNT(names); i++) {
        mla_action action = {.kind = MLA_ACTION_UNDERSTAND_FILE,
                             .inputs = {(char *)names[i], bytes}};
        mla__files files = {.len = 1, .items = {{(char *)names[i], bytes, size}}};
        const mla_task task = {.name = "toy"};
        const mla__look look = {.task = &task, .files = &files, .action = &action};
        bool ok;
        char *text = mla__understand(&look, &ok, NULL);
        MLA_ASSERT(ok && strlen(text) <= 3 * MLA__UNDERSTAND_MAX);
        free(text);
    }
    free(bytes);
}

static void check_edit(const mla_action *action) {
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t n;
    char *text = mla__edit_apply("train.py", script, action->blocks, &n, &why);
    MLA_ASSERT(text ? n > 0 : why.len > 0);
    MLA_ASSERT(!text || strcmp(text, script));
    if (text && *text) check_change(script, text);
    free(text);
    mla_buf_clear(&why);
}

static void check_again(const mla_action *action) {
    char *reply = mla_action_format(action);
    mla_action again;
    mla_err why = {{0}};
    if (strlen(reply) <= MLA__REPLY_MAX) {          // escapes may make it longer
        MLA_ASSERT(mla_action_parse(&again, reply, MLA_ACTIONS_ALL, &why) == 0);
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
    if (mla_action_parse(&action, reply, MLA_ACTIONS_ALL, &why) == 0) {
        if (action.blocks) check_edit(&action);
        for (int i = 0; i < MLA_ACTION_INPUTS; i++)
            if (action.inputs[i]) free(mla__path_clean(action.inputs[i]));
        check_again(&action);
    } else {
        MLA_ASSERT(action.kind == MLA_ACTION_NONE && *why.text);
    }
    mla_action_clear(&action);
    check_answer(reply);
    check_description(data, size);
    char *after = as_file(reply);
    check_change(script, after);
    free(after);
    free(reply);
    return 0;
}
