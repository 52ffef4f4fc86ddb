/* What the native decoder computes with: products of matrices whose columns lie side by side in vectors, 2^x.
 *
 * HEADS, HEAD_DIM, MLP and GROUP are given by the build: strides that the compiler knows cost no registers.
 */
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__) /* floats of a register; accumulators of a tile, which leave registers for operands */
enum { VECTOR = 16, TILE_ROWS = 8, TILE_VECTORS = 3 };
#elif defined(__AVX__)
enum { VECTOR = 8, TILE_ROWS = 4, TILE_VECTORS = 3 };
#elif defined(__aarch64__)
enum { VECTOR = 4, TILE_ROWS = 8, TILE_VECTORS = 3 };
#else
enum { VECTOR = 4, TILE_ROWS = 4, TILE_VECTORS = 3 };
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

INLINE float total(vec sum) {
    float part[VECTOR];
    memcpy(part, &sum, sizeof part);
    for (int half = VECTOR / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

INLINE float dot(const float *a, const float *b, const int depth) {
    vec sum = all(0);
    for (int k = 0; k < depth; k += VECTOR) sum += load(a + k) * load(b + k);
    return total(sum);
}
