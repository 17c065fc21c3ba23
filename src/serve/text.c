// Token ids to text that can be shown. A cut character decodes to one U+FFFD at the end, which is
// held back; so is the longest end of the text that is the beginning of a stop string.
#include "serve/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char replacement[] = "\xEF\xBF\xBD";

void mla_text_init(mla_text *text, const mla_tokenizer *tok, char *const *stop, size_t n_stop) {
    *text = (mla_text){.tok = tok, .stop = stop, .n_stop = n_stop};
    mla_buf_init(&text->text, SIZE_MAX / 4);
}

void mla_text_clear(mla_text *text) {
    mla_ids_clear(&text->pending);
    mla_buf_clear(&text->text);
}

// The longest end of [text, len) that a stop string begins with, in bytes.
static size_t held_back(const mla_text *t, const char *text, size_t len) {
    size_t most = 0;
    for (size_t i = 0; i < t->n_stop; i++) {
        size_t n = strlen(t->stop[i]) - 1;
        for (n = n < len ? n : len; n > most; n--) {
            if (!memcmp(text + len - n, t->stop[i], n)) most = n;
        }
    }
    return most;
}

// Looks for stop strings in what was not safe before; what was held back may be a part of one.
static void find_stop(mla_text *t) {
    const char *from = mla_buf_text(&t->text) + t->safe;
    size_t len = t->text.len - t->safe, first = len;
    for (size_t i = 0; i < t->n_stop; i++) {
        const char *at = memmem(from, len, t->stop[i], strlen(t->stop[i]));
        if (!at) continue;
        t->stopped = true;
        if ((size_t)(at - from) < first) first = (size_t)(at - from);
    }
    if (t->stopped) {
        t->text.len = t->safe += first;
        t->text.data[t->text.len] = '\0';
    } else {
        t->safe = t->text.len - held_back(t, from, len);
    }
}

static void take(mla_text *t, bool all) {
    size_t len, end;
    char *text = mla_tokenizer_decode(t->tok, t->pending.data, t->pending.len, &len);
    end = len;
    if (!all && len >= 3 && !memcmp(text + len - 3, replacement, 3)) end -= 3;
    if (end > t->taken) mla_buf_append(&t->text, text + t->taken, end - t->taken);
    t->taken = end;
    if (end == len) {
        t->pending.len = 0;
        t->taken = 0;
    }
    free(text);
    find_stop(t);
}

void mla_text_push(mla_text *t, int32_t id) {
    if (t->stopped) return;
    mla_ids_push(&t->pending, id);
    take(t, false);
}

void mla_text_end(mla_text *t) {
    if (!t->stopped && t->pending.len) take(t, true);
    t->safe = t->text.len;
}

// ---- one sampled reply -----------------------------------------------------------------------

void mla_choice_init(mla_choice *choice, const mla_tokenizer *tok, char *const *stop,
                     size_t n_stop) {
    *choice = (mla_choice){0};
    mla_text_init(&choice->text, tok, stop, n_stop);
}

void mla_choice_clear(mla_choice *choice) {
    mla_text_clear(&choice->text);
    mla_ids_clear(&choice->ids);
    free(choice->logprobs);
    free(choice->starts);
    free(choice->likely);
}

static void push_likely(mla_choice *choice, size_t n, const mla_token *token) {
    const size_t width = choice->n_likely = token->n_likely;
    if (!width) return;
    MLA_GROW(choice->likely, choice->cap_likely, (n + 1) * width);
    memcpy(choice->likely + n * width, token->likely, width * sizeof *token->likely);
}

void mla_choice_push(mla_choice *choice, const mla_token *token) {
    if (choice->finish) return;
    size_t n = choice->ids.len;
    mla_ids_push(&choice->ids, token->id);
    MLA_GROW(choice->logprobs, choice->cap_logprobs, n + 1);
    MLA_GROW(choice->starts, choice->cap_starts, n + 1);
    choice->logprobs[n] = token->logprob;
    choice->starts[n] = choice->text.text.len;
    push_likely(choice, n, token);
    mla_text_push(&choice->text, token->id);
    if (choice->text.stopped) choice->finish = MLA_FINISH_STOP;
}

void mla_choice_end(mla_choice *choice, bool ended) {
    if (choice->finish) return;
    mla_text_end(&choice->text);
    bool stop = ended || choice->text.stopped;
    choice->finish = stop ? MLA_FINISH_STOP : MLA_FINISH_LENGTH;
}

size_t mla_choice_shown(const mla_choice *choice) {
    size_t n = choice->ids.len;
    while (n && choice->starts[n - 1] >= choice->text.safe) n--;
    return n;
}
