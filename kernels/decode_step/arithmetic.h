/* What the native decoder computes with: products of matrices whose columns lie side by side in vectors, 2^x.
 *
 * HEADS, HEAD_DIM, MLP and GROUP are given by the build: strides that the compiler knows cost no registers.
 */
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* Floats of a register, accumulators of a tile (which leave registers for operands), every other lane of two. */
#if defined(__AVX512F__)
enum { VECTOR = 16, TILE_ROWS = 8, TILE_VECTORS = 3 };
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif defined(__AVX__)
enum { VECTOR = 8, TILE_ROWS = 4, TILE_VECTORS = 3 };
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#if defined(__aarch64__)
enum { VECTOR = 4, TILE_ROWS = 8, TILE_VECTORS = 3 };
#else
enum { VECTOR = 4, TILE_ROWS = 4, TILE_VECTORS = 3 };
#endif
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#endif
enum { TILE = TILE_VECTORS * VECTOR };
typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

#define LOG2_E 1.44269504f
#define NEVER (-1e30f) /* a score that weighs nothing, and from which others can be subtracted */

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec x) { *(vec *)to = x; }
INLINE vec all(float x) { return (vec){0} + x; }

/* The larger one; of a NaN in a it is that NaN. C has no choice between vectors. */
INLINE vec larger(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)b, (__m512)a);
#else
    __typeof__(a < b) less = a < b; /* all ones or zeros */
    return (vec)((less & (__typeof__(less))b) | (~less & (__typeof__(less))a));
#endif
}

/* 2^x for x up to 126, to two units of the last place; below 2^-126 it is next to nothing. x = n + f, and f is
 * at most 1/2, for which the polynomial is minimax. */
INLINE vec power_of_two(vec x) {
#if defined(__AVX512F__)
    vec n = (vec)_mm512_roundscale_ps((__m512)x, 0), f = x - n;
#else
    const vec rounding = all(12582912.0f); /* 1.5 * 2^23: what is added to it is rounded to an integer */
    x = larger(x, all(-126));
    vec rounded = x + rounding, f = x - (rounded - rounding);
#endif
    vec p = all(1.3276472e-3f);
    p = p * f + all(9.6755410e-3f);
    p = p * f + all(5.5507131e-2f);
    p = p * f + all(2.4022120e-1f);
    p = p * f + all(6.9314694e-1f);
    p = p * f + all(1.0000001f);
#if defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (vec)((ints)p + ((ints)rounded << 23)); /* n is in the lowest bits, and is added to the exponent */
#endif
}

/* out[r][j] (+)= sum over k < depth of rows[r * row_stride + k * stride] * columns[k][j], for count rows and
 * some vectors of columns. */
INLINE void tile(const float *rows, const int row_stride, const int stride, const float *columns,
                 int column_stride, int depth, const int count, const int vectors, float *out, int out_stride,
                 const int add, const float *ahead) {
    vec sum[2 * TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = add ? load(out + r * out_stride + v * VECTOR) : all(0);
    const float *next = rows + count * row_stride;
    for (int k = 0; k < depth; k++, rows += stride, columns += column_stride) {
        if (stride == 1) __builtin_prefetch(next + k * count);
        if (ahead) __builtin_prefetch(ahead + k * count);
        vec column[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) column[v] = load(columns + v * VECTOR);
        for (int r = 0; r < count; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] += rows[r * row_stride] * column[v];
    }
    for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) store(out + r * out_stride + v * VECTOR, sum[r][v]);
}

INLINE void product(const float *rows, const int row_stride, const int stride, const float *columns,
                    int column_stride, int depth, int count, const int vectors, float *out, int out_stride,
                    const int add, const float *ahead) {
    const int step = vectors == 1 ? 2 * TILE_ROWS : TILE_ROWS; /* as many accumulators as registers allow */
    int r = 0;
    for (; r + step <= count; r += step)
        tile(rows + (int64_t)r * row_stride, row_stride, stride, columns, column_stride, depth, step, vectors,
             out + (int64_t)r * out_stride, out_stride, add, ahead ? ahead + r * depth : 0);
    for (; r < count; r++)
        tile(rows + (int64_t)r * row_stride, row_stride, stride, columns, column_stride, depth, 1, vectors,
             out + (int64_t)r * out_stride, out_stride, add, 0);
}

/* The same for a number of vectors that is known when it runs, up to TILE_VECTORS. */
INLINE void product_of(const float *rows, const int row_stride, const int stride, const float *columns,
                       int column_stride, int depth, int count, int vectors, float *out, int out_stride,
                       const int add) {
    if (vectors == 3)
        product(rows, row_stride, stride, columns, column_stride, depth, count, 3, out, out_stride, add, 0);
    else if (vectors == 2)
        product(rows, row_stride, stride, columns, column_stride, depth, count, 2, out, out_stride, add, 0);
    else
        product(rows, row_stride, stride, columns, column_stride, depth, count, 1, out, out_stride, add, 0);
}

#if defined(__clang__) || __GNUC__ >= 12
#define TAKE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TAKE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

/* The totals of so many vectors as there are lanes: neighbours are added until one vector is left. */
INLINE vec totals(vec *sum) {
    for (int left = VECTOR / 2; left; left /= 2)
        for (int i = 0; i < left; i++)
            sum[i] = TAKE(sum[2 * i], sum[2 * i + 1], EVEN) + TAKE(sum[2 * i], sum[2 * i + 1], ODD);
    return sum[0];
}

/* out[r] = sum over k < depth of rows[r * depth + k] * x[k], r < count. */
INLINE void dots(const float *rows, const float *x, const int depth, int count, float *out) {
    int r = 0;
    for (; r + VECTOR <= count; r += VECTOR) {
        vec sum[VECTOR];
        for (int i = 0; i < VECTOR; i++) sum[i] = all(0);
        for (int k = 0; k < depth; k += VECTOR) {
            vec part = load(x + k);
            for (int i = 0; i < VECTOR; i++) sum[i] += load(rows + (int64_t)(r + i) * depth + k) * part;
        }
        store(out + r, totals(sum));
    }
    for (; r < count; r++) {
        vec sum = all(0);
        for (int k = 0; k < depth; k += VECTOR) sum += load(rows + (int64_t)r * depth + k) * load(x + k);
        float part[VECTOR], total = 0;
        store(part, sum);
        for (int i = 0; i < VECTOR; i++) total += part[i];
        out[r] = total;
    }
}
