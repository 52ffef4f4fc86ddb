/* What the native decoder computes with: products of rows with columns that lie side by side, dot products,
 * and 2^x.
 *
 * A tile of a product has as many rows and vectors of columns as there are registers to add up in. Every
 * number of a row is multiplied with all vectors, so rows may be anything that lies at fixed strides.
 */
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* Floats of a register, the rows and vectors of a tile, and every other float of two registers. */
#if defined(__AVX512F__)
enum { VECTOR = 16, TILE_ROWS = 8, TILE_VECTORS = 3 }; /* 24 of 32 registers add up */
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif defined(__AVX__)
enum { VECTOR = 8, TILE_ROWS = 6, TILE_VECTORS = 2 }; /* 12 of 16 */
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#if defined(__aarch64__)
enum { VECTOR = 4, TILE_ROWS = 8, TILE_VECTORS = 3 };
#else
enum { VECTOR = 4, TILE_ROWS = 6, TILE_VECTORS = 2 };
#endif
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#endif
enum { TILE = TILE_VECTORS * VECTOR };

typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
#define UNROLLED _Pragma("GCC unroll 16") /* so that an array of vectors is kept in registers */

#if defined(__clang__) || __GNUC__ >= 12
#define TAKE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TAKE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

#define LOG2_E 1.44269504f

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

/* 2^x for x up to 126, to two units of the last place; below 2^-126 it is next to nothing. x = n + f, where f
 * is at most 1/2, and the polynomial is minimax for that. */
INLINE vec power_of_two(vec x) {
#if defined(__AVX512F__)
    vec n = (vec)_mm512_roundscale_ps((__m512)x, 0), f = x - n;
#else
    const vec rounding = all(12582912.0f); /* 1.5 * 2^23: what is added to it is rounded to an integer */
    x = larger(x, all(-126));
    vec n = x + rounding, f = x - (n - rounding); /* the integer is in the lowest bits of n */
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
    return (vec)((ints)p + ((ints)n << 23)); /* added to the exponent */
#endif
}

/* Number k of row r is at[r * apart + k * step]; of a matrix (rows, depth) these are depth and 1. */
typedef struct {
    const float *at;
    int apart, step;
} Rows;

/* Number j of row r is at[r * apart + j]. */
typedef struct {
    float *at;
    int apart;
} Lanes;

/* out[r][j] (+)= sum over k < depth of rows[r][k] * columns[k][j], for r < count and so many vectors of j.
 * Meanwhile the rows behind these are fetched, and as much from ahead if there is one. */
INLINE void tile(const Rows rows, const Lanes columns, int depth, const int count, const int vectors,
                 const Lanes out, const int add, const float *ahead) {
    vec sum[2 * TILE_ROWS][TILE_VECTORS];
    UNROLLED for (int r = 0; r < count; r++)
        UNROLLED for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? load(out.at + r * out.apart + v * VECTOR) : all(0);
    const float *row = rows.at, *column = columns.at, *behind = row + count * rows.apart;
    for (int k = 0; k < depth; k++, row += rows.step, column += columns.apart) {
        if (rows.step == 1) __builtin_prefetch(behind + k * count);
        if (ahead) __builtin_prefetch(ahead + k * count);
        vec part[TILE_VECTORS];
        UNROLLED for (int v = 0; v < vectors; v++) part[v] = load(column + v * VECTOR);
        UNROLLED for (int r = 0; r < count; r++)
            UNROLLED for (int v = 0; v < vectors; v++) sum[r][v] += row[r * rows.apart] * part[v];
    }
    UNROLLED for (int r = 0; r < count; r++)
        UNROLLED for (int v = 0; v < vectors; v++) store(out.at + r * out.apart + v * VECTOR, sum[r][v]);
}

/* The same for any number of rows, tile by tile; what whole tiles leave is cut into fours. */
INLINE void product(Rows rows, const Lanes columns, int depth, int count, const int vectors, Lanes out,
                    const int add, const float *ahead) {
    const int most = vectors == 1 ? 2 * TILE_ROWS : TILE_ROWS;
    for (int done = 0; count > 0; count -= done) {
        if (count >= most && count != most + 2)
            tile(rows, columns, depth, most, vectors, out, add, ahead), done = most;
        else if (count >= 4)
            tile(rows, columns, depth, 4, vectors, out, add, ahead), done = 4;
        else
            tile(rows, columns, depth, 1, vectors, out, add, ahead), done = 1;
        rows.at += done * rows.apart;
        out.at += done * out.apart;
        if (ahead) ahead += done * depth;
    }
}

/* The same for a number of vectors, up to a tile's, that is known only when it runs. */
INLINE void product_of(Rows rows, const Lanes columns, int depth, int count, int vectors, Lanes out,
                       const int add) {
    if (vectors == TILE_VECTORS)
        product(rows, columns, depth, count, TILE_VECTORS, out, add, NULL);
    else if (vectors == 2)
        product(rows, columns, depth, count, 2, out, add, NULL);
    else
        product(rows, columns, depth, count, 1, out, add, NULL);
}

/* The totals of as many vectors as a vector has floats: neighbours are added until one vector is left. */
INLINE vec totals(vec *sum) {
    UNROLLED for (int left = VECTOR / 2; left; left /= 2)
        UNROLLED for (int i = 0; i < left; i++)
            sum[i] = TAKE(sum[2 * i], sum[2 * i + 1], EVEN) + TAKE(sum[2 * i], sum[2 * i + 1], ODD);
    return sum[0];
}

/* out[r] = sum over k < depth of rows[r * depth + k] * x[k], for r < count. */
INLINE void dots(const float *rows, const float *x, const int depth, int count, float *out) {
    for (; count >= VECTOR; count -= VECTOR, rows += VECTOR * depth, out += VECTOR) {
        vec sum[VECTOR];
        UNROLLED for (int r = 0; r < VECTOR; r++) sum[r] = all(0);
        for (int k = 0; k < depth; k += VECTOR) {
            vec part = load(x + k);
            UNROLLED for (int r = 0; r < VECTOR; r++) sum[r] += load(rows + r * depth + k) * part;
        }
        store(out, totals(sum));
    }
    for (; count > 0; count--, rows += depth, out++) {
        vec sum = all(0);
        for (int k = 0; k < depth; k += VECTOR) sum += load(rows + k) * load(x + k);
        *out = 0;
        for (int i = 0; i < VECTOR; i++) *out += sum[i];
    }
}
