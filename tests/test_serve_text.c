// Text from sampled ids: whole characters, no beginning of a stop string, and in the end the same
// text as decoding everything at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/rng.h"
#include "serve/text.h"
#include "tiny_policy.h"

static mla_tokenizer *tok;

static int open_tokenizer(void **state) {
    (void)state;
    mla_err err = {{0}};
    char *path = default_model();
    mla_weights *weights = mla_weights_open(path, &err);
    free(path);
    if (weights) tok = mla_tokenizer_create(mla_weights_vocab(weights), &err);
    mla_weights_close(weights);
    if (!tok) fprintf(stderr, "%s\n", err.text);
    return tok ? 0 : -1;
}

static int close_tokenizer(void **state) {
    (void)state;
    mla_tokenizer_free(tok);
    return 0;
}

static mla_ids ids_of(const char *text) {
    mla_ids ids = {0};
    mla_tokenizer_encode(tok, text, strlen(text), &ids);
    return ids;
}

static bool is_whole(const char *text, size_t len) {
    size_t good_len;
    char *good = mla_utf8_repair(text, len, &good_len);
    bool same = good_len == len && !memcmp(good, text, len);
    free(good);
    return same;
}

// Pushes ids one by one; what is safe only grows, and is whole characters at every moment.
static void push_all(mla_text *text, const mla_ids *ids) {
    for (size_t i = 0; i < ids->len; i++) {
        size_t before = text->safe;
        mla_text_push(text, ids->data[i]);
        assert_true(text->safe >= before);
        assert_true(text->safe <= text->text.len);
        assert_true(is_whole(mla_buf_text(&text->text), text->safe));
    }
}

static void characters_of_several_tokens_come_whole(void **state) {
    (void)state;
    static const char words[] = "na\xC3\xAFve \xF0\x9F\xA6\x99\xF0\x9F\x8F\xBD \xE0\xA4\x95"
                                "\xE0\xA5\x8D\xE0\xA4\xB7 \xE4\xBA\xBA\xE5\xB7\xA5 end";
    mla_ids ids = ids_of(words);
    assert_true(ids.len > 12);                  // several of the characters are cut
    mla_text text;
    mla_text_init(&text, tok, NULL, 0);
    push_all(&text, &ids);
    assert_string_equal(mla_buf_text(&text.text), words);
    assert_int_equal(text.safe, strlen(words));
    mla_text_clear(&text);
    mla_ids_clear(&ids);
}

static void any_ids_give_what_decoding_all_of_them_gives(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 3);
    for (int round = 0; round < 200; round++) {
        mla_ids ids = {0};
        mla_text text;
        // Half of the rounds draw from the bytes alone, which are mostly parts of characters.
        uint64_t range = round % 2 ? 400 : mla_tokenizer_vocab(tok);
        for (uint64_t n = mla_rng_below(&rng, 60); n > 0; n--) {
            mla_ids_push(&ids, (int32_t)mla_rng_below(&rng, range));
        }
        mla_text_init(&text, tok, NULL, 0);
        push_all(&text, &ids);
        mla_text_end(&text);
        size_t len;
        char *whole = mla_tokenizer_decode(tok, ids.data, ids.len, &len);
        assert_int_equal(text.text.len, len);
        assert_int_equal(text.safe, len);
        assert_memory_equal(mla_buf_text(&text.text), whole, len);
        free(whole);
        mla_text_clear(&text);
        mla_ids_clear(&ids);
    }
}

// The text that comes out, with the beginnings of stop strings shown as they would be streamed.
static void check_stop(const char *words, const char *const *stop, size_t n_stop,
                       const char *wanted, bool stopped) {
    mla_ids ids = ids_of(words);
    mla_text text;
    mla_text_init(&text, tok, (char *const *)(uintptr_t)stop, n_stop);
    for (size_t i = 0; i < ids.len; i++) {
        mla_text_push(&text, ids.data[i]);
        assert_true(text.safe <= strlen(wanted));
        assert_memory_equal(mla_buf_text(&text.text), wanted, text.safe);
    }
    mla_text_end(&text);
    assert_int_equal(text.stopped, stopped);
    assert_string_equal(mla_buf_text(&text.text), wanted);
    mla_text_clear(&text);
    mla_ids_clear(&ids);
}

static void stop_strings_are_found_across_tokens(void **state) {
    (void)state;
    static const char *const across[] = {"ld. Ho"};
    check_stop("Hello world. How are you?", across, 1, "Hello wor", true);
    static const char *const two[] = {"you", "are"};
    check_stop("Hello world. How are you?", two, 2, "Hello world. How ", true);
    static const char *const first[] = {"Hel"};
    check_stop("Hello", first, 1, "", true);
    static const char *const absent[] = {"you!!", "Hello World"};
    check_stop("Hello world. How are you?", absent, 2, "Hello world. How are you?", false);
    static const char *const unfinished[] = {"you?\n\n"};
    check_stop("Hello world. How are you?", unfinished, 1, "Hello world. How are you?", false);
    static const char *const llama[] = {"\xF0\x9F\xA6\x99!"};
    check_stop("a \xF0\x9F\xA6\x99 is a \xF0\x9F\xA6\x99! Yes", llama, 1,
               "a \xF0\x9F\xA6\x99 is a ", true);
    static const char *const again[] = {"aab"};
    check_stop("aaaaaaab", again, 1, "aaaaa", true);
}

static void the_beginning_of_a_stop_string_is_held_back(void **state) {
    (void)state;
    static char stop[] = "\nObservation:";
    char *const stops[] = {stop};
    mla_text text;
    mla_ids ids = ids_of("Look.\nObs"), more = ids_of("erve");
    mla_text_init(&text, tok, stops, 1);
    push_all(&text, &ids);
    assert_int_equal(text.safe, strlen("Look."));
    push_all(&text, &more);
    assert_int_equal(text.safe, strlen("Look.\nObserve"));
    assert_false(text.stopped);
    mla_text_clear(&text);
    mla_ids_clear(&ids);
    mla_ids_clear(&more);
}

static void push(mla_choice *choice, int32_t id, float logprob) {
    const mla_token token = {.id = id, .logprob = logprob};
    mla_choice_push(choice, &token);
}

static void a_choice_keeps_what_was_sampled_and_shows_what_was_said(void **state) {
    (void)state;
    static char stop[] = "three";
    char *const stops[] = {stop};
    mla_ids ids = ids_of("one two three four");
    mla_choice choice;
    mla_choice_init(&choice, tok, stops, 1);
    for (size_t i = 0; i < ids.len; i++) push(&choice, ids.data[i], -0.5f - (float)i);
    assert_int_equal(choice.finish, MLA_FINISH_STOP);
    assert_string_equal(mla_buf_text(&choice.text.text), "one two ");
    assert_true(choice.ids.len < ids.len);
    size_t shown = mla_choice_shown(&choice);
    char *said = mla_tokenizer_decode(tok, choice.ids.data, shown, NULL);
    assert_int_equal(strncmp(said, "one two", 7), 0);
    assert_true(shown > 0 && shown <= choice.ids.len);
    assert_float_equal(choice.logprobs[1], -1.5f, 0);
    mla_choice_end(&choice, false);             // too late to change it
    assert_int_equal(choice.finish, MLA_FINISH_STOP);
    free(said);
    mla_choice_clear(&choice);
    mla_ids_clear(&ids);
}

static void a_choice_ends_by_itself_or_at_its_length(void **state) {
    (void)state;
    mla_ids ids = ids_of("word");
    for (int ended = 0; ended < 2; ended++) {
        mla_choice choice;
        mla_choice_init(&choice, tok, NULL, 0);
        push(&choice, ids.data[0], -1);
        push(&choice, mla_tokenizer_special(tok, "<|im_end|>"), -2);
        assert_int_equal(choice.finish, MLA_FINISH_NONE);
        mla_choice_end(&choice, ended);
        assert_int_equal(choice.finish, ended ? MLA_FINISH_STOP : MLA_FINISH_LENGTH);
        assert_int_equal(mla_choice_shown(&choice), 1);
        assert_int_equal(choice.ids.len, 2);
        mla_choice_clear(&choice);
    }
    mla_ids_clear(&ids);
}

static void a_choice_keeps_the_likely_tokens_of_each_place(void **state) {
    (void)state;
    mla_ids ids = ids_of("one two three four five six seven");
    mla_choice choice;
    mla_choice_init(&choice, tok, NULL, 0);
    for (size_t i = 0; i < ids.len; i++) {
        const mla_likely likely[2] = {{ids.data[i], -0.1f}, {(int32_t)i, -3 - (float)i}};
        const mla_token token = {.id = ids.data[i], .logprob = -0.1f, .likely = likely,
                                 .n_likely = 2};
        mla_choice_push(&choice, &token);
    }
    assert_int_equal(choice.n_likely, 2);
    for (size_t i = 0; i < ids.len; i++) {
        assert_int_equal(choice.likely[2 * i].id, ids.data[i]);
        assert_int_equal(choice.likely[2 * i + 1].id, i);
        assert_float_equal(choice.likely[2 * i + 1].logprob, -3 - (float)i, 0);
    }
    mla_choice_clear(&choice);
    mla_ids_clear(&ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_of_several_tokens_come_whole),
        cmocka_unit_test(any_ids_give_what_decoding_all_of_them_gives),
        cmocka_unit_test(stop_strings_are_found_across_tokens),
        cmocka_unit_test(the_beginning_of_a_stop_string_is_held_back),
        cmocka_unit_test(a_choice_keeps_what_was_sampled_and_shows_what_was_said),
        cmocka_unit_test(a_choice_ends_by_itself_or_at_its_length),
        cmocka_unit_test(a_choice_keeps_the_likely_tokens_of_each_place),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
