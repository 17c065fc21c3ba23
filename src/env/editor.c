// The answer of an editor of Edit Script (AI), read: blocks that are applied, or a whole script in
// a code fence. Who the editor is and how it is asked is the caller's: agent/editor.h.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

static const char *next_line(const char *p) {
    const char *end = strchr(p, '\n');
    return end ? end + 1 : p + strlen(p);
}

static bool is_fence(const char *line) {
    line += strspn(line, " \t");
    return !strncmp(line, "```", 3);
}

static bool has_block(const char *text) {
    while (*text && !mla__block_opens(text)) text = next_line(text);
    return *text;
}

static int apply(const mla_edit_request *request, const char *answer, char **text, mla_err *why) {
    mla_buf fault;
    mla_buf_init(&fault, sizeof why->text - 64);
    size_t n;
    *text = mla__edit_apply(request->name, request->script, answer, &n, &fault);
    if (!*text) mla_err_set(why, "its blocks do not fit: %s", mla_buf_text(&fault));
    mla_buf_clear(&fault);
    return *text ? 0 : 1;
}

// From the first fence to the last one: a script may hold fences of its own.
static int take_fenced(const char *answer, char **text, mla_err *why) {
    const char *from = NULL, *to = NULL;
    for (const char *p = answer; *p; p = next_line(p)) {
        if (!is_fence(p)) continue;
        if (from) to = p;
        else from = next_line(p);
    }
    if (!from || !to) {
        mla_err_set(why, "it answered with neither blocks nor a whole script in a code fence");
        return 1;
    }
    if ((size_t)(to - from) > MLA__FILE_MAX) {
        mla_err_set(why, "its script is longer than %zu bytes", MLA__FILE_MAX);
        return 1;
    }
    *text = mla_strndup(from, (size_t)(to - from));
    return 0;
}

int mla_editor_read(const mla_edit_request *request, const char *answer, char **text,
                    mla_err *why) {
    *text = NULL;
    return has_block(answer) ? apply(request, answer, text, why) : take_fenced(answer, text, why);
}
