// The hot loops, one table of them for each instruction set. The table is chosen once, by what
// oneDNN says it may use (ONEDNN_MAX_CPU_ISA caps both), and stays with the model.
#ifndef MLA_MODEL_KERNELS_H
#define MLA_MODEL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLA__PAGE 64 // positions in a page of keys and values

typedef uint16_t mla__bf16; // the upper half of a float

// c [rows, cols] = scale[row] * c + a [rows, k] b [k, cols]; without `scale`, c + a b if `add`,
// else a b. Elements along k come in lanes of 32 bits: one float, or two neighbouring bf16. cols %
// 16 == 0; of bf16 k % 8 == 0. An element's bits do not depend on rows, cols and blocking.
typedef struct mla__tile {
    const void *a;      // [rows, lda] lanes
    const void *b;      // [k, ldb] lanes
    float *c;           // [rows, ldc]
    const float *scale; // [rows] or NULL
    int lda, ldb, ldc;
    int rows, k, cols; // k in lanes
    bool add;
} mla__tile;

#define MLA__FEW 16         // rows at most that are few
#define MLA__PANEL 64      // output channels whose int8 weights lie together
#define MLA__LONGEST 65536 // elements of a row of activations in whole numbers
#define MLA__WIDE 8        // of them at most, those that are too large for bytes

// A row of activations in whole numbers: x = scale * q. A few may be so much larger than the others
// that bytes for all would leave these no precision: they are kept apart. They are those of the
// MLA__WIDE largest that exceed the next one by a quarter.
typedef struct mla__row_s8 {
    float scale; // not finite if the row is not
    int n_wide;
    int32_t index[MLA__WIDE]; // [n_wide], where they stand
    int32_t value[MLA__WIDE]; // [n_wide], their q, within -2^20 .. 2^20; 0 among the bytes
} mla__row_s8;

// c [rows, PANEL] = a [rows, k] b [k, PANEL] in whole numbers, exact in every table.
typedef struct mla__tile_s8 {
    const uint8_t *a; // [rows, k] as quantise writes them
    const int8_t *b;  // [k / 4, PANEL, 4], within -127 .. 127
    int32_t *c;       // [rows, PANEL]
    int rows, k;      // k % 4 == 0
} mla__tile_s8;

// y [n], n <= PANEL, floats or bf16: what the sums of a row are worth.
typedef struct mla__finish_s8 {
    const mla__row_s8 *row;
    const int32_t *c;      // [PANEL], of the bytes
    const int8_t *b;       // as above
    const int32_t *offset; // [PANEL], what the bias added to c
    const float *scale;    // [PANEL], of b
    void *y;
    bool half;
    size_t n;
} mla__finish_s8;

#define MLA__LOG2E 1.44269504f // attention takes powers of two: exp(x) = 2^(x log2 e)
#define MLA__LANES 16          // of the widest vector
#define MLA__NOTHING (-1e30f)  // below any score: the running maximum before the first page

// One page of scores in a running softmax.
typedef struct mla__softmax {
    float *s;        // [rows, PAGE]: scores in; exp(score * scale - max) out, if not to `half`
    mla__bf16 *half; // [rows, PAGE] or NULL
    const int *seen; // [rows], keys of the sequence that the row may see
    int first;       // the sequence's key that is the page's first
    int rows;
    float scale;
    float *max;  // [rows] running, of score * scale * log2 e
    float *keep; // [rows] factor for what was summed before
    float *sum;  // [rows, LANES] running, in parts
} mla__softmax;

// One page of probabilities and their gradients, transposed: a row is a key, a column a query.
typedef struct mla__prob_grad {
    float *s;             // [PAGE, cols]: scores in; probabilities out, if no half
    float *dp;            // [PAGE, cols]: gradient of probabilities in; of scores out, if no half
    mla__bf16 *p_half;    // [PAGE, cols] or NULL: then these three are NULL
    mla__bf16 *ds_half;   // [PAGE, cols]
    uint32_t *ds_pairs;   // [PAGE / 2, cols]: an even key in the lower half, the next in the upper
    const float *lse;     // [cols], log2 of the sum of exponentials
    const float *dot;     // [cols]
    float scale;
    int cols, tokens; // a column is head * tokens + token
    int first;        // key j is seen by tokens >= j + first
} mla__prob_grad;

typedef struct mla__adam {
    float lr, beta1, beta2, eps, decay, clip; // decay = lr * weight decay; clip scales gradients
    float bias1, bias2;                       // 1 - beta^t
} mla__adam;

typedef struct mla__kernels {
    const char *name;
    void (*tile_f32)(const mla__tile *t);
    void (*tile_bf16)(const mla__tile *t);
    int few_rows; // <= MLA__FEW: of so many tile_bf16 makes quicker work than a block of 16
    void (*tile_s8)(const mla__tile_s8 *t);
    void (*finish_s8)(const mla__finish_s8 *f);
    // x [n], n <= MLA__LONGEST, to a [n] within -127 .. 127, plus the bias, and to `row`.
    void (*quantise)(const mla__bf16 *x, size_t n, uint8_t *a, mla__row_s8 *row);
    int s8_bias; // for instructions that want bytes unsigned
    void (*softmax)(const mla__softmax *s);
    void (*prob_grad)(const mla__prob_grad *p);
    void (*to_bf16)(const float *x, mla__bf16 *y, size_t n);
    void (*from_bf16)(const mla__bf16 *x, float *y, size_t n);
    void (*add)(float *y, const float *x, size_t n);
    void (*scale)(float *y, float by, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    double (*norm2)(const float *x, size_t n); // sum of squares
    // y = x / rms(x) * w; y in bf16 if `half`
    void (*norm)(const float *x, const float *w, float eps, size_t n, void *y, bool half);
    void (*norm_back)(const float *x, const float *w, float eps, const float *dy, size_t n,
                      float *dx /* added to */, float *dw /* added to */);
    // gate, up and y in bf16 if `half`; back: their gradients take the place of gate and up.
    void (*swiglu)(const void *gate, const void *up, size_t n, void *y, bool half);
    void (*swiglu_back)(void *gate, void *up, const float *dy, size_t n, bool half);
    // Rotates x [heads, dim] by angles of these cosines and sines [dim / 2], or back: sign -1.
    void (*rope)(float *x, int heads, int dim, const float *cosine, const float *sine, float sign);
    // x [n] logits; over softmax(x * inv_t): log of the sum of exponentials and mean of x * inv_t.
    void (*lse)(const float *x, size_t n, float inv_t, float *lse, float *mean);
    // x [n]: logits in; out the gradient of a * (log p of the target, the target's own 1 apart)
    // + b * entropy: -p (a + b (log p + entropy)) * inv_t.
    void (*lse_back)(float *x, size_t n, float inv_t, float lse, float entropy, float a, float b);
    void (*adam)(float *p, float *g, float *m, float *v, size_t n, const mla__adam *how);
} mla__kernels;

const mla__kernels *mla__kernels_best(void);
extern const mla__kernels mla__kernels_portable, mla__kernels_avx2, mla__kernels_avx512,
    mla__kernels_avx512_vnni, mla__kernels_avx512_bf16, mla__kernels_amx;

// Whether this process may use AMX's tiles: the system has to be asked for the room they take.
bool mla__amx_allowed(void);

#endif
