/* Attention of a block: of a whole frame, of a group, and of one token.
 *
 * A frame's tokens are enough to keep the multiply-adds busy tile by tile, each tile over all keys. A group has
 * one tile, so its keys are cut into chunks, and what they give is put together (combine).
 */
#include "block.h"

enum { KEYS = 128 }; /* whose scores fit the first cache beside keys and values */

/* Scores (n, TILE) to weights 2^(score - highest); what was summed up before is brought to the new highest. */
INLINE void weigh(float *score, int n, vec *highest, vec *weight, float *sum, const int vectors) {
    vec high[2][TILE_VECTORS], factor[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) high[0][v] = high[1][v] = highest[v];
    int j = 0;
    for (; j + 2 <= n; j += 2) /* two chains, since each comparison waits for the one before */
        for (int i = 0; i < 2; i++)
            for (int v = 0; v < vectors; v++)
                high[i][v] = larger(high[i][v], load(score + (j + i) * TILE + v * VECTOR));
    for (int v = 0; j < n && v < vectors; v++) high[0][v] = larger(high[0][v], load(score + j * TILE + v * VECTOR));
    for (int v = 0; v < vectors; v++) {
        vec new = larger(high[0][v], high[1][v]);
        factor[v] = power_of_two(highest[v] - new);
        weight[v] *= factor[v];
        highest[v] = new;
    }
    for (j = 0; j < n; j++)
        for (int v = 0; v < vectors; v++) {
            float *place = score + j * TILE + v * VECTOR;
            vec share = power_of_two(load(place) - highest[v]);
            weight[v] += share;
            store(place, share);
        }
    for (int c = 0; c < HEAD_DIM; c++)
        for (int v = 0; v < vectors; v++) {
            float *place = sum + c * TILE + v * VECTOR;
            store(place, load(place) * factor[v]);
        }
}

/* Attention of a tile's tokens over n keys; the tile's first token is key number own. */
INLINE void attend_tile(const float *query, int lanes, const float *keys, const float *values, int n, int own,
                        const int vectors, float *out) {
    float score[KEYS * TILE] __attribute__((aligned(64))), sum[HEAD_DIM * TILE] __attribute__((aligned(64))) = {0};
    vec highest[TILE_VECTORS], weight[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) highest[v] = all(NEVER), weight[v] = all(0);
    for (int first = 0; first < n; first += KEYS, keys += KEYS * HEAD_DIM, values += KEYS * HEAD_DIM) {
        int count = n - first < KEYS ? n - first : KEYS;
        product(keys, HEAD_DIM, 1, query, lanes, HEAD_DIM, count, vectors, score, TILE, 0, values);
        for (int j = LARGEST(own - first, 0); j < count; j++) /* earlier tokens do not see later ones */
            for (int l = 0; l < vectors * VECTOR && l < first + j - own; l++) score[j * TILE + l] = NEVER;
        weigh(score, count, highest, weight, sum, vectors);
        product(values, 1, HEAD_DIM, score, TILE, count, HEAD_DIM, vectors, sum, TILE, 1, 0);
    }
    for (int v = 0; v < vectors; v++) {
        vec share = all(1) / weight[v];
        for (int c = 0; c < HEAD_DIM; c++)
            store(out + c * lanes + v * VECTOR, load(sum + c * TILE + v * VECTOR) * share);
    }
}

static void attend_frame(const Block *b, int i) {
    Share s = share_of(b, i);
    int own = s.video->start + s.lane, n = own + s.tokens;
    if (s.tokens <= 0) return;
    const float *query = s.video->query + s.row * HEAD_DIM * b->lanes + s.lane;
    const float *keys = cached(b, b->decoder->keys, s.video, s.row);
    const float *values = cached(b, b->decoder->values, s.video, s.row);
    float *out = s.video->attended + s.row * HEAD_DIM * b->lanes + s.lane;
    if (s.vectors == 3)
        attend_tile(query, b->lanes, keys, values, n, own, 3, out);
    else if (s.vectors == 2)
        attend_tile(query, b->lanes, keys, values, n, own, 2, out);
    else
        attend_tile(query, b->lanes, keys, values, n, own, 1, out);
}

/* out[token][c] = sum over j < n of weight[j][token] * values[j][c], for some tokens and some channels. Here
 * lanes are channels: no lane is idle, and tokens are no longer needed side by side. */
enum { TOKENS = GROUP % 5 ? 4 : 5, PARTS = HEAD_DIM % (2 * VECTOR) ? 1 : 2 };

static void sum_values(const float *weight, const float *values, int n, float *out) {
    vec sum[TOKENS][PARTS] = {{{0}}};
    for (int j = 0; j < n; j++, weight += GROUP_LANES, values += HEAD_DIM)
        for (int token = 0; token < TOKENS; token++)
            for (int part = 0; part < PARTS; part++) sum[token][part] += weight[token] * load(values + part * VECTOR);
    for (int token = 0; token < TOKENS; token++, out += HEAD_DIM) memcpy(out, sum[token], sizeof sum[token]);
}

/* A group's attention over n keys, of which those from own on are the group's. */
static void attend_group(
    const float *query, const float *keys, const float *values, int n, int own, Partial *partial) {
    enum { VECTORS = GROUP_LANES / VECTOR, AT_ONCE = VECTORS % 3 ? VECTORS % 2 ? 1 : 2 : 3 };
    float score[CHUNK * GROUP_LANES] __attribute__((aligned(64)));
    for (int v = 0; v < VECTORS; v += AT_ONCE)
        product(keys, HEAD_DIM, 1, query + v * VECTOR, GROUP_LANES, HEAD_DIM, n, AT_ONCE, score + v * VECTOR,
                GROUP_LANES, 0, values);
    for (int j = LARGEST(own, 0); j < n; j++) /* key j is the group's token j - own */
        for (int l = 0; l < GROUP_LANES && l < j - own; l++) score[j * GROUP_LANES + l] = NEVER;
    for (int v = 0; v < GROUP_LANES; v += VECTOR) {
        vec highest = all(NEVER), other = highest, weight = all(0);
        int j = 0;
        for (; j + 2 <= n; j += 2) { /* two chains, since each comparison waits for the one before */
            highest = larger(highest, load(score + j * GROUP_LANES + v));
            other = larger(other, load(score + (j + 1) * GROUP_LANES + v));
        }
        if (j < n) other = larger(other, load(score + j * GROUP_LANES + v));
        highest = larger(highest, other);
        for (j = 0; j < n; j++) {
            vec share = power_of_two(load(score + j * GROUP_LANES + v) - highest);
            weight += share;
            store(score + j * GROUP_LANES + v, share);
        }
        store(partial->weight + v, weight);
        store(partial->highest + v, highest);
    }
    for (int token = 0; token < GROUP; token += TOKENS)
        for (int c = 0; c < HEAD_DIM; c += VECTOR * PARTS)
            sum_values(score + token, values + c, n, partial->values[token] + c);
}

/* One token's attention over n keys, all of which it sees. */
static void attend_token(
    const float *query, const float *keys, const float *values, int n, Partial *partial) {
    float score[CHUNK] __attribute__((aligned(64))), highest = NEVER;
    for (int j = 0; j < n; j += VECTOR) {
        for (int c = 0; c < VECTOR * HEAD_DIM; c += 16) __builtin_prefetch(values + j * HEAD_DIM + c);
        dots(keys + j * HEAD_DIM, query, HEAD_DIM, n - j < VECTOR ? n - j : VECTOR, score + j);
    }
    for (int j = 0; j < n; j++) highest = score[j] < highest ? highest : score[j];
    for (int j = n; j < LANES_OF(n); j++) score[j] = NEVER;
    vec sum[HEAD_DIM / VECTOR] = {{0}}, weight = all(0);
    for (int j = 0; j < n; j += VECTOR) {
        vec share = power_of_two(load(score + j) - all(highest));
        weight += share;
        store(score + j, share);
    }
    for (int j = 0; j < n; j++)
        for (int part = 0; part < HEAD_DIM / VECTOR; part++)
            sum[part] += score[j] * load(values + j * HEAD_DIM + part * VECTOR);
    memcpy(partial->values, sum, sizeof sum);
    partial->weight[0] = 0;
    for (int l = 0; l < VECTOR; l++) partial->weight[0] += weight[l];
    partial->highest[0] = highest;
}

static void attend_chunk(const Block *b, int i) {
    int chunk = i % b->chunks, head = i / b->chunks % HEADS, first = chunk * CHUNK;
    const Video *video = &b->video[i / b->chunks / HEADS];
    int n = video->start + video->tokens - first;
    if (n <= 0) return; /* a shorter video than its mates */
    if (n > CHUNK) n = CHUNK;
    const float *keys = cached(b, b->decoder->keys, video, head) + (int64_t)first * HEAD_DIM;
    const float *values = cached(b, b->decoder->values, video, head) + (int64_t)first * HEAD_DIM;
    const float *query = video->query + head * HEAD_DIM * b->lanes;
    Partial *partial = &video->partial[head * b->chunks + chunk];
    if (b->lanes == 1)
        attend_token(query, keys, values, n, partial);
    else
        attend_group(query, keys, values, n, video->start - first, partial);
}

/* Put the chunks of a head together. */
static void combine(const Block *b, int i) {
    int head = i % HEADS, lanes = b->lanes;
    const Video *video = &b->video[i / HEADS];
    const Partial *partial = &video->partial[head * b->chunks];
    int chunks = (video->start + video->tokens + CHUNK - 1) / CHUNK;
    float *out = video->attended + head * HEAD_DIM * lanes;
    for (int token = 0; token < (lanes == 1 ? 1 : GROUP); token++) {
        float highest = partial->highest[token], weight = 0, sum[HEAD_DIM] = {0};
        for (int j = 1; j < chunks; j++) highest = LARGEST(highest, partial[j].highest[token]);
        for (int j = 0; j < chunks; j++) {
            float share = power_of_two(all(partial[j].highest[token] - highest))[0];
            weight += share * partial[j].weight[token];
            for (int c = 0; c < HEAD_DIM; c++) sum[c] += share * partial[j].values[token][c];
        }
        for (int c = 0; c < HEAD_DIM; c++) out[c * lanes + token] = sum[c] / weight;
    }
}
