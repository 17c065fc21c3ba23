// The hot loops for processors with AMX: those of AVX-512 with bf16, and tile products on its
// registers of 16 rows of 64 bytes. Over the elements of a register's row the processor sums the
// even and the odd ones apart, both from zero, and then adds both to c: other bits than the vectors
// make, but the same for any number of rows.
#include "model/kernels.h"

#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

#include "model/kernels_avx512.h"

#define KERNEL                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,"     \
                          "amx-tile,amx-bf16")))
#define INLINED inline __attribute__((always_inline))
#define HALVES(a) ((vh)_mm512_cvtneps_pbh((__m512)(a)))
#define TABLE mla__kernels_amx
#define TABLE_NAME "amx"
#define TILE_BF16 tile_amx
#define FEW_ROWS MLA__FEW

static void tile_amx(const mla__tile *t);
#include "model/kernels_body.h"

// Registers 0 to 3 hold a block of c, two by two; 4 and 5 its rows of a; 6 and 7 its columns of b.
typedef struct palette {
    uint8_t id, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} palette;

KERNEL static INLINED void configure(int upper, int lower, int lanes) {
    palette p __attribute__((aligned(64))) = {.id = 1};
    const int rows[8] = {upper, upper, lower, lower, upper, lower, lanes, lanes};
    for (int i = 0; i < 8; i++) {
        p.rows[i] = (uint8_t)rows[i];
        p.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? 4 * lanes : 64);
    }
    _tile_loadconfig(&p);
}

typedef struct amx_block {
    const char *a[2], *b[2];
    char *c[2][2];
    size_t lda, ldb, ldc; // in bytes
    int k, lanes;         // lanes a step, 16 or 8
    bool add;
} amx_block;

KERNEL static INLINED void block_product(const amx_block *t, const bool two_rows,
                                         const bool two_cols) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (t->add) {
        _tile_loadd(0, t->c[0][0], t->ldc);
        if (two_cols) _tile_loadd(1, t->c[0][1], t->ldc);
        if (two_rows) _tile_loadd(2, t->c[1][0], t->ldc);
        if (two_rows && two_cols) _tile_loadd(3, t->c[1][1], t->ldc);
    }
    for (int k = 0; k < t->k; k += t->lanes) {
        const size_t along_a = (size_t)k * 4, along_b = (size_t)k * t->ldb;
        _tile_loadd(4, t->a[0] + along_a, t->lda);
        _tile_loadd(6, t->b[0] + along_b, t->ldb);
        _tile_dpbf16ps(0, 4, 6);
        if (two_cols) {
            _tile_loadd(7, t->b[1] + along_b, t->ldb);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_rows) {
            _tile_loadd(5, t->a[1] + along_a, t->lda);
            _tile_dpbf16ps(2, 5, 6);
            if (two_cols) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, t->c[0][0], t->ldc);
    if (two_cols) _tile_stored(1, t->c[0][1], t->ldc);
    if (two_rows) _tile_stored(2, t->c[1][0], t->ldc);
    if (two_rows && two_cols) _tile_stored(3, t->c[1][1], t->ldc);
}

// All columns of rows [row, row + upper + lower).
KERNEL static INLINED void rows_product(const mla__tile *t, int row, int upper,
                                          const bool two_rows) {
    amx_block at = {.lda = (size_t)t->lda * 4, .ldb = (size_t)t->ldb * 4,
                    .ldc = (size_t)t->ldc * 4, .k = t->k, .lanes = t->k % 16 ? 8 : 16,
                    .add = t->add || t->scale};
    at.a[0] = (const char *)t->a + (size_t)row * at.lda;
    at.a[1] = at.a[0] + (size_t)upper * at.lda;
    for (int col = 0; col < t->cols; col += 32) {
        at.b[0] = (const char *)t->b + (size_t)col * 4;
        at.b[1] = at.b[0] + 64;
        at.c[0][0] = (char *)(t->c + (size_t)row * (size_t)t->ldc + col);
        at.c[0][1] = at.c[0][0] + 64;
        at.c[1][0] = at.c[0][0] + (size_t)upper * at.ldc;
        at.c[1][1] = at.c[1][0] + 64;
        if (col + 32 <= t->cols)
            block_product(&at, two_rows, true);
        else
            block_product(&at, two_rows, false);
    }
}

// A panel of 64 columns for few rows, which waits for memory: b is read once, in order, and fetched
// one step ahead.
KERNEL static INLINED void panel_product(const mla__tile *t, int col, const bool add) {
    const char *a = t->a, *b = (const char *)t->b + (size_t)col * 4;
    char *c = (char *)(t->c + col);
    const size_t lda = (size_t)t->lda * 4, ldb = (size_t)t->ldb * 4, ldc = (size_t)t->ldc * 4;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, c, ldc);
        _tile_loadd(1, c + 64, ldc);
        _tile_loadd(2, c + 128, ldc);
        _tile_loadd(3, c + 192, ldc);
    }
    for (int k = 0; k < t->k; k += 16, a += 64, b += 16 * ldb) {
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++)
            for (size_t part = 0; part < 256; part += 64)
                _mm_prefetch(b + (16 + i) * ldb + part, _MM_HINT_T0);
        _tile_loadd(4, a, lda);
        _tile_loadd(6, b, ldb);
        _tile_loadd(7, b + 64, ldb);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(6, b + 128, ldb);
        _tile_loadd(7, b + 192, ldb);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 7);
    }
    _tile_stored(0, c, ldc);
    _tile_stored(1, c + 64, ldc);
    _tile_stored(2, c + 128, ldc);
    _tile_stored(3, c + 192, ldc);
}

KERNEL static void tile_amx(const mla__tile *t) {
    const int lanes = t->k % 16 ? 8 : 16, whole = t->rows / 32 * 32, rest = t->rows - whole;
    for (int r = 0; t->scale && r < t->rows; r++)
        scale(t->c + (size_t)r * (size_t)t->ldc, t->scale[r], (size_t)t->cols);
    if (t->rows <= 16 && lanes == 16 && t->cols % 64 == 0) {
        configure(t->rows, t->rows, 16);
        for (int col = 0; col < t->cols; col += 64)
            panel_product(t, col, t->add || t->scale);
        _tile_release();
        return;
    }
    if (whole) configure(16, 16, lanes);
    for (int row = 0; row < whole; row += 32) rows_product(t, row, 16, true);
    if (rest > 16) {
        configure(16, rest - 16, lanes);
        rows_product(t, whole, 16, true);
    } else if (rest) {
        configure(rest, rest, lanes);
        rows_product(t, whole, rest, false);
    }
    _tile_release();
}

bool mla__amx_allowed(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; // of Linux's arch_prctl
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif
