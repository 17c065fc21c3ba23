// How fast text becomes token ids on one core: Qwen2's tokenizer over this project's own sources,
// documents and tables, the best of several passes. Needs the 0.5B's file for its vocabulary.
#include "bench.h"
#include "policy/tokenizer.h"

enum { PASSES = 9, MOST = 1 << 26 };

static bool is_text(const char *name) {
    static const char *const ends[] = {".c", ".h", ".py", ".md", ".yaml", ".csv", ".merges"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < MLA_COUNT(ends); i++)
        if (!strcmp(dot, ends[i])) return true;
    return false;
}

// Appends every text below `dir`.
static int gather(const char *dir, mla_buf *text, mla_err *err) {
    char **names;
    size_t n;
    int rc = mla_fs_list(dir, &names, &n, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *path = mla_fs_join(dir, names[i]);
        mla_buf file;
        if (mla_fs_is_dir(path)) {
            rc = gather(path, text, err);
        } else if (is_text(names[i])) {
            rc = mla_fs_read(path, MOST, &file, err);
            if (rc == 0) mla_buf_append(text, mla_buf_text(&file), file.len);
            mla_buf_clear(&file);
        }
        free(path);
    }
    mla_fs_names_free(names, n);
    return rc;
}

static int gather_all(mla_buf *text, mla_err *err) {
    static const char *const dirs[] = {"src", "tests", "docs", "tools", "tasks", "bench"};
    mla_buf_init(text, MOST);
    for (size_t i = 0; i < MLA_COUNT(dirs); i++)
        if (gather(dirs[i], text, err) < 0) return -1;
    return 0;
}

static mla_tokenizer *open_tokenizer(const char *model, mla_err *err) {
    mla_weights *weights = mla_weights_open(model, err);
    if (!weights) return NULL;
    mla_tokenizer *tok = mla_tokenizer_create(mla_weights_vocab(weights), err);
    mla_weights_close(weights);
    return tok;
}

// MB/s, the best pass.
static double measure(const mla_tokenizer *tok, const mla_buf *text) {
    double best = 1e9;
    mla_ids ids = {0};
    for (int i = 0; i < PASSES; i++) {
        ids.len = 0;
        double began = mla_clock();
        mla_tokenizer_encode(tok, mla_buf_text(text), text->len, &ids);
        double took = mla_clock() - began;
        if (took < best) best = took;
    }
    mla_ids_clear(&ids);
    return (double)text->len / best * 1e-6;
}

// The peer reads the same bytes from a file.
static double measure_peer(const mla_buf *text) {
    char path[] = "/tmp/mla-bench-text-XXXXXX";
    int fd = mkstemp(path);
    mla_err err;
    double value = 0;
    if (fd >= 0 && mla_fs_write_all(fd, mla_buf_text(text), text->len, &err) == 0)
        value = bench_peer("tokenizers_speed.py", path);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return value;
}

int main(void) {
    mla_err err = {{0}};
    mla_buf text;
    char *home = mla_home();
    char *model = mla_fs_join(home, "models/qwen2.5-coder-0.5b-instruct.gguf");
    mla_tokenizer *tok = open_tokenizer(model, &err);
    int rc = tok ? gather_all(&text, &err) : -1;
    if (rc == 0) {
        bench_print("tokenize_qwen", measure(tok, &text), "MB/s", 0, measure_peer(&text), true);
        mla_buf_clear(&text);
    } else {
        fprintf(stderr, "bench_tokenize: %s\n", err.text);
    }
    mla_tokenizer_free(tok);
    free(model);
    free(home);
    return rc < 0;
}
