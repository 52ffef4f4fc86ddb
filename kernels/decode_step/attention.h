/* Attention of a block: of a frame's tokens, of a group, and of one token.
 *
 * A frame has tokens enough to keep the multiply-adds busy, so a task is a tile of them, over all keys. A
 * group is a single tile: its keys are cut into chunks, each a task, and what these give is put together
 * (combine).
 */
#include "block.h"

enum {
    KEYS = 128,  /* whose scores for a tile fit the nearest cache, beside the keys and values themselves */
    CHUNK = 256, /* keys of a group's task; fixed, so that results do not depend on the number of threads */
};
#define CHUNKS_OF(keys) (((keys) + CHUNK - 1) / CHUNK)
#define NEVER (-1e30f) /* a score that weighs nothing, and from which others can be subtracted */

/* Bring highest up to date with some vectors of each of n rows of scores. */
INLINE void raise(const Lanes score, int n, const int vectors, vec *highest) {
    vec other[TILE_VECTORS]; /* a second chain: each comparison waits for the one before */
    for (int v = 0; v < vectors; v++) other[v] = highest[v];
    int j = 0;
    for (const float *row = score.at; j + 2 <= n; j += 2, row += 2 * score.apart)
        for (int v = 0; v < vectors; v++) {
            highest[v] = larger(highest[v], load(row + v * VECTOR));
            other[v] = larger(other[v], load(row + score.apart + v * VECTOR));
        }
    if (j < n)
        for (int v = 0; v < vectors; v++)
            highest[v] = larger(highest[v], load(score.at + j * score.apart + v * VECTOR));
    for (int v = 0; v < vectors; v++) highest[v] = larger(highest[v], other[v]);
}

/* Turn scores into weights relative to highest, and add them up. */
INLINE void weigh(const Lanes score, int n, const int vectors, const vec *highest, vec *weight) {
    float *row = score.at;
    for (int j = 0; j < n; j++, row += score.apart)
        for (int v = 0; v < vectors; v++) {
            vec share = power_of_two(load(row + v * VECTOR) - highest[v]);
            weight[v] += share;
            store(row + v * VECTOR, share);
        }
}

/* Tokens do not see those behind them: key number own is the first token, the next one the second. */
INLINE void hide_later(const Lanes score, int n, int own, int lanes) {
    for (int j = LARGEST(own, 0); j < n; j++)
        for (int l = 0; l < lanes && l < j - own; l++) score.at[j * score.apart + l] = NEVER;
}

/* Attention of a tile's tokens over n keys, of which those from own on are theirs; to (HEAD_DIM, lanes). */
INLINE void attend_tile(const Lanes query, const float *keys, const float *values, int n, int own,
                        const int vectors, const Lanes out) {
    ALIGNED float scores[KEYS * TILE], sums[HEAD_DIM * TILE] = {0};
    const Lanes score = {scores, TILE}, sum = {sums, TILE};
    vec highest[TILE_VECTORS], weight[TILE_VECTORS], before[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) highest[v] = all(NEVER), weight[v] = all(0);
    for (int first = 0; first < n; first += KEYS, keys += KEYS * HEAD_DIM, values += KEYS * HEAD_DIM) {
        int count = SMALLEST(n - first, KEYS);
        product((Rows){keys, HEAD_DIM, 1}, query, HEAD_DIM, count, vectors, score, 0, values);
        hide_later(score, count, own - first, vectors * VECTOR);
        memcpy(before, highest, sizeof before);
        raise(score, count, vectors, highest);
        for (int v = 0; v < vectors; v++) {
            vec factor = power_of_two(before[v] - highest[v]);
            weight[v] *= factor;
            for (int c = 0; c < HEAD_DIM; c++) {
                float *at = sums + c * TILE + v * VECTOR;
                store(at, load(at) * factor);
            }
        }
        weigh(score, count, vectors, highest, weight);
        product((Rows){values, 1, HEAD_DIM}, score, count, HEAD_DIM, vectors, sum, 1, NULL);
    }
    for (int v = 0; v < vectors; v++) {
        vec share = all(1) / weight[v];
        for (int c = 0; c < HEAD_DIM; c++)
            store(out.at + c * out.apart + v * VECTOR, load(sums + c * TILE + v * VECTOR) * share);
    }
}

static void attend_frame(const Block *b, int i) {
    Share s = share_of(b, i);
    if (s.tokens <= 0) return;
    int own = s.video->start + s.lane, n = own + s.tokens, place = s.rows * HEAD_DIM * b->lanes + s.lane;
    const float *keys = cached(b, b->decoder->keys, s.video, s.rows);
    const float *values = cached(b, b->decoder->values, s.video, s.rows);
    Lanes query = {s.video->query + place, b->lanes}, out = {s.video->attended + place, b->lanes};
    if (s.vectors == TILE_VECTORS)
        attend_tile(query, keys, values, n, own, TILE_VECTORS, out);
    else if (s.vectors == 2)
        attend_tile(query, keys, values, n, own, 2, out);
    else
        attend_tile(query, keys, values, n, own, 1, out);
}

/* out[token][c] = sum over j < n of weight[j][token] * values[j][c], for some tokens and some channels. Here
 * lanes are channels: none is idle, and tokens are no longer needed side by side. */
enum { TOKENS = GROUP % 5 ? 4 : 5, PARTS = HEAD_DIM % (2 * VECTOR) ? 1 : 2 };

static void sum_values(const float *weight, const float *values, int n, float *out) {
    vec sum[TOKENS][PARTS] = {{{0}}};
    for (int j = 0; j < n; j++, weight += GROUP_LANES, values += HEAD_DIM)
        UNROLLED for (int token = 0; token < TOKENS; token++)
            UNROLLED for (int part = 0; part < PARTS; part++)
                sum[token][part] += weight[token] * load(values + part * VECTOR);
    for (int token = 0; token < TOKENS; token++, out += HEAD_DIM) memcpy(out, sum[token], sizeof sum[token]);
}

/* A group's attention over n keys, of which those from own on are the group's. */
static void attend_group(
    float *query, const float *keys, const float *values, int n, int own, Partial *partial) {
    enum { LEFT = GROUP_LANES % TILE / VECTOR, WHOLE = GROUP_LANES - LEFT * VECTOR }; /* of whole tiles */
    ALIGNED float scores[CHUNK * GROUP_LANES];
    const Rows rows = {keys, HEAD_DIM, 1};
    for (int l = 0; l < WHOLE; l += TILE)
        product(rows, (Lanes){query + l, GROUP_LANES}, HEAD_DIM, n, TILE_VECTORS,
                (Lanes){scores + l, GROUP_LANES}, 0, values);
    if (LEFT)
        product(rows, (Lanes){query + WHOLE, GROUP_LANES}, HEAD_DIM, n, LEFT,
                (Lanes){scores + WHOLE, GROUP_LANES}, 0, values);
    hide_later((Lanes){scores, GROUP_LANES}, n, own, GROUP_LANES);
    for (int l = 0; l < GROUP_LANES; l += VECTOR) {
        const Lanes score = {scores + l, GROUP_LANES};
        vec highest = all(NEVER), weight = all(0);
        raise(score, n, 1, &highest);
        weigh(score, n, 1, &highest, &weight);
        store(partial->highest + l, highest);
        store(partial->weight + l, weight);
    }
    for (int token = 0; token < GROUP; token += TOKENS)
        for (int c = 0; c < HEAD_DIM; c += VECTOR * PARTS)
            sum_values(scores + token, values + c, n, partial->values[token] + c);
}

/* One token's attention over n keys, all of which it sees. */
static void attend_token(
    const float *query, const float *keys, const float *values, int n, Partial *partial) {
    ALIGNED float score[CHUNK];
    float highest = NEVER;
    vec sum[HEAD_DIM / VECTOR] = {{0}}, weight = all(0);
    for (int j = 0; j < n; j += VECTOR) {
        for (int c = 0; c < VECTOR * HEAD_DIM; c += 16) __builtin_prefetch(values + j * HEAD_DIM + c);
        dots(keys + j * HEAD_DIM, query, HEAD_DIM, SMALLEST(n - j, VECTOR), score + j);
    }
    for (int j = 0; j < n; j++) highest = score[j] < highest ? highest : score[j];
    for (int j = n; j < LANES_OF(n); j++) score[j] = NEVER;
    for (int j = 0; j < n; j += VECTOR) {
        vec share = power_of_two(load(score + j) - all(highest));
        weight += share;
        store(score + j, share);
    }
    for (int j = 0; j < n; j++)
        for (int part = 0; part < HEAD_DIM / VECTOR; part++)
            sum[part] += score[j] * load(values + j * HEAD_DIM + part * VECTOR);
    memcpy(partial->values, sum, sizeof sum);
    partial->highest[0] = highest;
    partial->weight[0] = 0;
    for (int l = 0; l < VECTOR; l++) partial->weight[0] += weight[l];
}

static void attend_chunk(const Block *b, int i) {
    int chunk = i % b->chunks, head = i / b->chunks % HEADS;
    const Video *video = &b->video[i / b->chunks / HEADS];
    int n = SMALLEST(video->start + video->tokens - chunk * CHUNK, CHUNK);
    if (n <= 0) return; /* a shorter video than its mates */
    const float *keys = cached(b, b->decoder->keys, video, head) + (int64_t)chunk * CHUNK * HEAD_DIM;
    const float *values = cached(b, b->decoder->values, video, head) + (int64_t)chunk * CHUNK * HEAD_DIM;
    float *query = video->query + head * HEAD_DIM * b->lanes;
    Partial *partial = &video->partial[head * b->chunks + chunk];
    if (b->lanes == 1)
        attend_token(query, keys, values, n, partial);
    else
        attend_group(query, keys, values, n, video->start - chunk * CHUNK, partial);
}

/* Put the chunks of a head together. */
static void combine(const Block *b, int i) {
    int head = i % HEADS, lanes = b->lanes;
    const Video *video = &b->video[i / HEADS];
    const Partial *partial = &video->partial[head * b->chunks];
    int chunks = CHUNKS_OF(video->start + video->tokens);
    float *out = video->attended + head * HEAD_DIM * lanes;
    for (int token = 0; token < (lanes == 1 ? 1 : GROUP); token++) {
        float highest = NEVER, weight = 0, sum[HEAD_DIM] = {0};
        for (int j = 0; j < chunks; j++) highest = LARGEST(highest, partial[j].highest[token]);
        for (int j = 0; j < chunks; j++) {
            float share = power_of_two(all(partial[j].highest[token] - highest))[0];
            weight += share * partial[j].weight[token];
            for (int c = 0; c < HEAD_DIM; c++) sum[c] += share * partial[j].values[token][c];
        }
        for (int c = 0; c < HEAD_DIM; c++) out[c * lanes + token] = sum[c] / weight;
    }
}
