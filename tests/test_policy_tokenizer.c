// The tokenizer against Hugging Face's (vectors/policy_tokenizer, made by
// tools/vectors_tokenizer.py); special tokens, decoding, saving, threads, hostile text. The whole
// vocabularies on a large text: tools/check_tokenizer.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "policy/tokenizer_internal.h"
#include "tokenizer_fixture.h"

static uint32_t load_u32(const char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void read_vector(const char *name, mla_buf *out) {
    mla_err err = {0};
    char *path = mla_format(VECTORS "%s", name);
    if (mla_fs_read(path, 1 << 24, out, &err) < 0) fail_msg("%s", err.text);
    free(path);
}

static mla_tokenizer *create(const mla_vocab *vocab) {
    mla_err err = {0};
    mla_tokenizer *tok = mla_tokenizer_create(vocab, &err);
    if (!tok) fail_msg("%s", err.text);
    return tok;
}

static mla_tokenizer *create_small(const char *pre) {
    small_vocab v;
    mla_err err = {0};
    if (small_vocab_read(&v, pre, &err) < 0) fail_msg("%s", err.text);
    mla_tokenizer *tok = create(&v.vocab);
    small_vocab_clear(&v);
    return tok;
}

// ---- ids -------------------------------------------------------------------------------------

static void check_text(const mla_tokenizer *tok, size_t at, const char *text, size_t len,
                       const char *wanted, size_t n_wanted) {
    mla_ids ids = {0};
    mla_tokenizer_encode(tok, text, len, &ids);
    for (size_t i = 0; i < ids.len && i < n_wanted; i++) {
        uint16_t id;
        memcpy(&id, wanted + 2 * i, 2);
        if (ids.data[i] != id)
            fail_msg("text %zu: token %zu is %d, not %d: %.60s", at, i, ids.data[i], id, text);
    }
    if (ids.len != n_wanted) fail_msg("text %zu: %zu tokens, not %zu", at, ids.len, n_wanted);
    mla_ids_clear(&ids);
}

// Every text of the corpus, whatever bytes are in it.
static void check_corpus(const mla_tokenizer *tok, const char *ids_name) {
    mla_buf corpus, ids;
    read_vector("corpus.bin", &corpus);
    read_vector(ids_name, &ids);
    size_t n = 0, in = 0, out = 0;
    for (; in < corpus.len; n++) {
        size_t len = load_u32(corpus.data + in), count = load_u32(ids.data + out);
        check_text(tok, n, corpus.data + in + 4, len, ids.data + out + 4, count);
        in += 4 + len;
        out += 4 + 2 * count;
    }
    assert_int_equal(out, ids.len);
    assert_in_range(n, 350, 1000);
    mla_buf_clear(&corpus);
    mla_buf_clear(&ids);
}

static void smollm_equals_hugging_face(void **state) {
    (void)state;
    mla_tokenizer *tok = create_small("smollm");
    check_corpus(tok, "smollm.ids");
    check_corpus(tok, "smollm.ids");     // once more: what the first pass found out is used now
    mla_tokenizer_free(tok);
}

static void qwen2_equals_hugging_face(void **state) {
    (void)state;
    mla_tokenizer *tok = create_small("qwen2");
    check_corpus(tok, "qwen2.ids");
    check_corpus(tok, "qwen2.ids");
    mla_tokenizer_free(tok);
}

static void real_smollm2_equals_hugging_face(void **state) {
    (void)state;
    char *home = mla_home(), *path = mla_fs_join(home, "models/smollm2-135m-instruct.gguf");
    free(home);
    mla_err err = {0};
    if (!mla_fs_exists(path)) {
        print_message("skipped: no %s (`mlagent model smollm2` fetches it)\n", path);
        free(path);
        skip();
    }
    mla_weights *weights = mla_weights_open(path, &err);
    free(path);
    if (!weights) fail_msg("%s", err.text);
    mla_tokenizer *tok = create(mla_weights_vocab(weights));
    mla_weights_close(weights);
    check_corpus(tok, "smollm2_real.ids");
    assert_int_equal(mla_tokenizer_vocab(tok), 49152);
    assert_int_equal(mla_tokenizer_special(tok, "<|im_start|>"), 1);
    assert_int_equal(mla_tokenizer_eos(tok), 2);
    mla_tokenizer_free(tok);
}

// ---- pieces ----------------------------------------------------------------------------------

static size_t load_length(const char **at) {
    size_t length = (uint8_t)*(*at)++;
    if (length < 255) return length;
    length = (uint8_t)(*at)[0] | (size_t)(uint8_t)(*at)[1] << 8;
    *at += 2;
    return length;
}

static void check_pieces(mla__pre pre, const char *name) {
    mla_buf corpus, pieces;
    read_vector("corpus.bin", &corpus);
    read_vector(name, &pieces);
    const char *wanted = pieces.data;
    for (size_t in = 0, n = 0; in < corpus.len; in += 4 + load_u32(corpus.data + in), n++) {
        size_t len, composed_len;
        char *text = mla_utf8_repair(corpus.data + in + 4, load_u32(corpus.data + in), &len);
        char *composed = pre == MLA__PRE_QWEN2 ? mla__nfc(text, len, &composed_len) : NULL;
        const char *whole = composed ? composed : text;
        if (composed) len = composed_len;
        size_t count = load_u32(wanted), at = 0;
        wanted += 4;
        for (size_t i = 0; i < count; i++) {
            if (at >= len) fail_msg("text %zu: only %zu pieces", n, i);
            size_t end = mla__pretok_end(pre, whole, at, len), length = load_length(&wanted);
            if (end - at != length)
                fail_msg("text %zu: piece %zu has %zu bytes, not %zu: %.60s", n, i, end - at,
                         length, whole);
            at = end;
        }
        assert_int_equal(at, len);
        free(text);
        free(composed);
    }
    assert_ptr_equal(wanted, pieces.data + pieces.len);
    mla_buf_clear(&corpus);
    mla_buf_clear(&pieces);
}

static void text_splits_as_hugging_face_splits_it(void **state) {
    (void)state;
    check_pieces(MLA__PRE_SMOLLM, "smollm.pieces");
    check_pieces(MLA__PRE_QWEN2, "qwen2.pieces");
}

// ---- decoding and special tokens -------------------------------------------------------------

// Valid text comes back byte by byte (Qwen2's in NFC: its ids come back), invalid text repaired.
static void check_round_trip(const mla_tokenizer *tok, bool normalized) {
    mla_buf corpus;
    read_vector("corpus.bin", &corpus);
    for (size_t in = 0; in < corpus.len; in += 4 + load_u32(corpus.data + in)) {
        mla_ids ids = {0}, again = {0};
        size_t len, back_len;
        char *text = mla_utf8_repair(corpus.data + in + 4, load_u32(corpus.data + in), &len);
        mla_tokenizer_encode(tok, text, len, &ids);
        char *back = mla_tokenizer_decode(tok, ids.data, ids.len, &back_len);
        mla_tokenizer_encode(tok, back, back_len, &again);
        assert_int_equal(ids.len, again.len);
        if (ids.len) assert_memory_equal(ids.data, again.data, ids.len * sizeof *ids.data);
        if (!normalized) {
            assert_int_equal(back_len, len);
            assert_memory_equal(back, text, len);
        }
        mla_ids_clear(&ids);
        mla_ids_clear(&again);
        free(text);
        free(back);
    }
    mla_buf_clear(&corpus);
}

static void decoding_loses_nothing(void **state) {
    (void)state;
    mla_tokenizer *smollm = create_small("smollm"), *qwen2 = create_small("qwen2");
    check_round_trip(smollm, false);
    check_round_trip(qwen2, true);
    mla_tokenizer_free(smollm);
    mla_tokenizer_free(qwen2);
}

static void check_special_tokens(const char *pre) {
    mla_tokenizer *tok = create_small(pre);
    int32_t end = mla_tokenizer_special(tok, "<|im_end|>");
    int32_t start = mla_tokenizer_special(tok, "<|im_start|>");
    assert_true(end > 0 && start > 0 && start != end);
    assert_int_equal(mla_tokenizer_eos(tok), end);
    assert_int_equal(mla_tokenizer_special(tok, "<|none|>"), -1);
    assert_int_equal(mla_tokenizer_special(tok, "e"), -1);
    assert_int_equal(mla_tokenizer_special(tok, ""), -1);
    const char *text = "<|im_end|>\n<|im_start|>system[PAD]<|endoftext|>";
    mla_ids ids = {0};
    mla_ids_push(&ids, start);
    mla_tokenizer_encode(tok, text, strlen(text), &ids);
    for (size_t i = 1; i < ids.len; i++) assert_true(ids.data[i] < start - 1);
    mla_ids_append(&ids, (int32_t[]){end, end + 1, -5, 1 << 30}, 4);
    char *back = mla_tokenizer_decode(tok, ids.data, ids.len, NULL);
    assert_string_equal(back, text);
    free(back);
    mla_ids_clear(&ids);
    mla_tokenizer_free(tok);
}

static void special_tokens_are_never_read_from_text(void **state) {
    (void)state;
    check_special_tokens("smollm");
    check_special_tokens("qwen2");
}

static void cut_characters_decode_to_marks(void **state) {
    (void)state;
    mla_tokenizer *tok = create_small("qwen2");
    mla_ids ids = {0};
    mla_tokenizer_encode(tok, "\xf0\x93\x80\x80", 4, &ids);    // no merge makes a hieroglyph
    assert_in_range(ids.len, 2, 4);
    size_t len;
    char *text = mla_tokenizer_decode(tok, ids.data, ids.len - 1, &len);
    assert_int_equal(len, 3);
    assert_string_equal(text, "\xef\xbf\xbd");
    free(text);
    text = mla_tokenizer_decode(tok, NULL, 0, &len);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    free(text);
    mla_ids_clear(&ids);
    mla_tokenizer_free(tok);
}

// ---- saving ----------------------------------------------------------------------------------

// A network of one layer around a vocabulary, so that the folder opens as a model.
static void save_tiny_model(const char *dir, size_t vocab, int32_t eos) {
    enum { DIM = 4, HIDDEN = 4 };
    mla_model_config config = {MLA_ARCH_LLAMA, (int)vocab, DIM, 1, 2, 1, 2, HIDDEN, 64, 1e4f, 1e-5f,
                               true};
    float *zeros = MLA_NEW_ARRAY(float, vocab * DIM);
    const mla_tensor_out tensors[] = {
        {"model.embed_tokens.weight", zeros, vocab, DIM, false},
        {"model.norm.weight", zeros, 1, DIM, true},
        {"model.layers.0.input_layernorm.weight", zeros, 1, DIM, true},
        {"model.layers.0.post_attention_layernorm.weight", zeros, 1, DIM, true},
        {"model.layers.0.self_attn.q_proj.weight", zeros, 4, DIM, false},
        {"model.layers.0.self_attn.k_proj.weight", zeros, 2, DIM, false},
        {"model.layers.0.self_attn.v_proj.weight", zeros, 2, DIM, false},
        {"model.layers.0.self_attn.o_proj.weight", zeros, DIM, 4, false},
        {"model.layers.0.mlp.gate_proj.weight", zeros, HIDDEN, DIM, false},
        {"model.layers.0.mlp.up_proj.weight", zeros, HIDDEN, DIM, false},
        {"model.layers.0.mlp.down_proj.weight", zeros, DIM, HIDDEN, false},
    };
    mla_err err = {0};
    if (mla_weights_save(dir, &config, tensors, MLA_COUNT(tensors), false, eos, &err) < 0)
        fail_msg("%s", err.text);
    free(zeros);
}

static void check_saved(const char *pre, const char *ids_name) {
    char dir[] = "/tmp/mla-tokenizer-XXXXXX";
    assert_non_null(mkdtemp(dir));
    mla_err err = {0};
    mla_tokenizer *tok = create_small(pre);
    save_tiny_model(dir, mla_tokenizer_vocab(tok), mla_tokenizer_eos(tok));
    if (mla_tokenizer_save(tok, dir, &err) < 0) fail_msg("%s", err.text);
    mla_weights *weights = mla_weights_open(dir, &err);
    if (!weights) fail_msg("%s", err.text);
    assert_string_equal(mla_weights_vocab(weights)->pre, pre);
    mla_tokenizer *again = create(mla_weights_vocab(weights));
    mla_weights_close(weights);
    assert_int_equal(mla_tokenizer_vocab(again), mla_tokenizer_vocab(tok) - 1);   // no filler
    assert_int_equal(mla_tokenizer_eos(again), mla_tokenizer_eos(tok));
    assert_int_equal(mla_tokenizer_special(again, "<|im_start|>"),
                     mla_tokenizer_special(tok, "<|im_start|>"));
    check_corpus(again, ids_name);
    mla_tokenizer_free(tok);
    mla_tokenizer_free(again);
    assert_int_equal(mla_fs_remove_tree(dir, &err), 0);
}

static void saved_tokenizers_open_again(void **state) {
    (void)state;
    check_saved("smollm", "smollm.ids");
    check_saved("qwen2", "qwen2.ids");
}

static void saving_where_one_cannot_is_an_error(void **state) {
    (void)state;
    mla_err err = {0};
    mla_tokenizer *tok = create_small("smollm");
    assert_int_equal(mla_tokenizer_save(tok, "/proc/nowhere", &err), -1);
    assert_non_null(strstr(err.text, "/proc/nowhere"));
    mla_tokenizer_free(tok);
}

// ---- errors, threads, time -------------------------------------------------------------------

static void check_refused(mla_vocab vocab, const char *what) {
    mla_err err = {0};
    assert_null(mla_tokenizer_create(&vocab, &err));
    if (!strstr(err.text, what)) fail_msg("no '%s' in: %s", what, err.text);
}

static void foreign_vocabularies_are_refused(void **state) {
    (void)state;
    small_vocab v;
    mla_err err = {0};
    assert_int_equal(small_vocab_read(&v, "smollm", &err), 0);
    mla_vocab vocab = v.vocab;
    vocab.pre = "llama-bpe";
    check_refused(vocab, "llama-bpe");
    check_refused((mla_vocab){.pre = "t5"}, "t5");
    const char *const bad[][1] = {{"a"}, {""}, {"a "}, {" b"}, {"q \xf0\x9f\x98\x80"}, {"zq qz"}};
    for (size_t i = 0; i < MLA_COUNT(bad); i++) {
        vocab = v.vocab;
        vocab.merges = bad[i];
        vocab.n_merges = 1;
        check_refused(vocab, "merge 0");
    }
    small_vocab_clear(&v);
}

static void threads_agree(void **state) {
    (void)state;
    mla_tokenizer *tok = create_small("qwen2"), *other = create_small("qwen2");
    mla_buf corpus;
    read_vector("corpus.bin", &corpus);
    mla_ids wanted = {0};
    mla_tokenizer_encode(other, corpus.data, corpus.len, &wanted);
    int wrong = 0;
    #pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int i = 0; i < 8; i++) {
        mla_ids ids = {0};
        mla_tokenizer_encode(tok, corpus.data, corpus.len, &ids);
        wrong += ids.len != wanted.len ||
                 memcmp(ids.data, wanted.data, ids.len * sizeof *ids.data) != 0;
        mla_ids_clear(&ids);
    }
    assert_int_equal(wrong, 0);
    mla_ids_clear(&wanted);
    mla_buf_clear(&corpus);
    mla_tokenizer_free(tok);
    mla_tokenizer_free(other);
}

static void check_long_run(const mla_tokenizer *tok, bool normalized, const char *text, size_t n) {
    mla_ids ids = {0};
    size_t back_len, valid_len;
    mla_tokenizer_encode(tok, text, n, &ids);
    char *back = mla_tokenizer_decode(tok, ids.data, ids.len, &back_len);
    char *valid = mla_utf8_repair(text, n, &valid_len);
    assert_in_range(ids.len, 1, valid_len);
    if (!normalized) {
        assert_int_equal(back_len, valid_len);
        assert_memory_equal(back, valid, valid_len);
    }
    free(valid);
    free(back);
    mla_ids_clear(&ids);
}

// One unit again and again, a megabyte of it: whatever is quadratic takes 10^12 steps a unit and
// does not come to an end within a test's time.
static void long_runs_come_to_an_end(void **state) {
    (void)state;
    static const char *const units[] = {
        "a", " ", "\n", "=", "1", "'", "ab", " \n", "\xcc\xa3\xcc\x81", "\xe6\xbc\xa2", "\xff",
        "\xe0\xa2\x98\xcc\x81", "\xe1\x84\x80", "e\xcc\x81",
    };
    enum { BYTES = 1 << 20 };
    mla_tokenizer *smollm = create_small("smollm"), *qwen2 = create_small("qwen2");
    char *text = mla_alloc(BYTES + 1, 1);
    for (size_t u = 0; u < MLA_COUNT(units); u++) {
        size_t len = strlen(units[u]), n = 0;
        for (; n + len <= BYTES; n += len) memcpy(text + n, units[u], len);
        check_long_run(smollm, false, text, n);
        check_long_run(qwen2, true, text, n);
    }
    free(text);
    mla_tokenizer_free(smollm);
    mla_tokenizer_free(qwen2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm_equals_hugging_face),
        cmocka_unit_test(qwen2_equals_hugging_face),
        cmocka_unit_test(real_smollm2_equals_hugging_face),
        cmocka_unit_test(text_splits_as_hugging_face_splits_it),
        cmocka_unit_test(decoding_loses_nothing),
        cmocka_unit_test(special_tokens_are_never_read_from_text),
        cmocka_unit_test(cut_characters_decode_to_marks),
        cmocka_unit_test(saved_tokenizers_open_again),
        cmocka_unit_test(saving_where_one_cannot_is_an_error),
        cmocka_unit_test(foreign_vocabularies_are_refused),
        cmocka_unit_test(threads_agree),
        cmocka_unit_test(long_runs_come_to_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
