/* What the native step computes with: products of a matrix and a few columns, weighted sums, e^x.
 *
 * HEADS, HEAD_DIM, MLP and GROUP are given by the build: strides that the compiler knows cost no registers.
 */
#include <stdint.h>
#include <string.h>

#define LANES 16 /* tokens of a group at most */

#if defined(__AVX512F__)
enum { VECTOR = 16, ROWS = 16 }; /* floats of a register; rows at once: the accumulators fit the registers */
#elif defined(__AVX__)
enum { VECTOR = 8, ROWS = 4 };
#else
enum { VECTOR = 4, ROWS = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));

/* e^x to a few units of the last place, exactly 0 below -87. Without branches, so that loops over it become
 * vector code. x = n ln 2 + r, with ln 2 in two parts; the polynomial is Taylor's, |r| <= ln 2 / 2. */
static inline float exponential(float x) {
    const float rounding = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer */
    float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    union { float value; uint32_t bits; } rounded = {clamped * 1.44269504f + rounding}, power;
    float n = rounded.value - rounding;
    float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    power.bits = (rounded.bits + 127) << 23; /* n is in the lowest bits; of a NaN any will do */
    return x < -87.0f ? 0.0f : p * power.value;
}

/* out[r][lane] = sum over k < depth of rows[r * row_stride + k * stride] * columns[k][lane], r < count. */
static inline __attribute__((always_inline)) void lane_products(
    const float *rows, const int row_stride, const int stride, const float *columns, int depth,
    const int count, float *out) {
    enum { PARTS = LANES / VECTOR };
    vec sum[ROWS][PARTS] = {{{0}}};
    for (int k = 0; k < depth; k++)
        for (int part = 0; part < PARTS; part++) {
            vec column = *(const vec *)(columns + k * LANES + part * VECTOR);
            for (int r = 0; r < count; r++) sum[r][part] += rows[r * row_stride + k * stride] * column;
        }
    for (int r = 0; r < count; r++)
        for (int part = 0; part < PARTS; part++) *(vec *)(out + r * LANES + part * VECTOR) = sum[r][part];
}

static inline float total(vec sum) {
    float part[VECTOR];
    memcpy(part, &sum, sizeof part);
    for (int half = VECTOR / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

static inline __attribute__((always_inline)) float dot(const float *a, const float *b, const int depth) {
    vec sum = {0};
    for (int k = 0; k < depth; k += VECTOR) sum += *(const vec *)(a + k) * *(const vec *)(b + k);
    return total(sum);
}

static inline void raise_to(float *highest, const float *score) {
    vec a = *(vec *)highest, b = *(const vec *)score;
    __typeof__(a > b) larger = a > b; /* all ones or zeros: C has no choice between vectors */
    *(vec *)highest = (vec)((larger & (__typeof__(larger))a) | (~larger & (__typeof__(larger))b));
}

/* 16 rows of a matrix times (depth, lanes), to (16, lanes). */
static inline __attribute__((always_inline)) void sixteen_rows(
    const float *rows, const float *columns, const int depth, int lanes, float *out) {
    if (lanes == 1)
        for (int r = 0; r < 16; r++) out[r] = dot(rows + r * depth, columns, depth);
    else
        for (int r = 0; r < 16; r += ROWS)
            lane_products(rows + r * depth, depth, 1, columns, depth, ROWS, out + r * LANES);
}

/* out[token][c] = sum over j < n of weight[j][token] * values[j][c], for some tokens and some channels. Here
 * lanes are channels: no lane is idle, and tokens are no longer needed side by side. */
enum { TOKENS = GROUP % 5 ? 4 : 5, PARTS = HEAD_DIM % (2 * VECTOR) ? 1 : 2 };

static void sum_values(const float *weight, const float *values, int n, float *out) {
    vec sum[TOKENS][PARTS] = {{{0}}};
    for (int j = 0; j < n; j++, weight += LANES, values += HEAD_DIM)
        for (int token = 0; token < TOKENS; token++)
            for (int part = 0; part < PARTS; part++)
                sum[token][part] += weight[token] * *(const vec *)(values + part * VECTOR);
    for (int token = 0; token < TOKENS; token++, out += HEAD_DIM) memcpy(out, sum[token], sizeof sum[token]);
}
