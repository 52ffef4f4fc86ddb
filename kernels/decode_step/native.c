/* One step of the gaze decoder on a CPU, in float32: native.py builds this file and calls it, reference.py
 * says what it computes.
 *
 * A step has a handful of tokens and thousands of keys, so it is a question of reading weights and cache
 * once and keeping the multiply-adds busy meanwhile. Both follow from one layout: the tokens of a video lie
 * side by side in LANES, feature after feature. Then a row of a weight matrix and a key are the same thing,
 * numbers to be multiplied one by one with a vector of lanes (lane_products), and nothing is packed or
 * transposed. In the last layer only the last token is wanted, and lanes hold features instead.
 *
 * HEADS, HEAD_DIM, MLP and GROUP are given by the build: strides that the compiler knows cost no registers.
 */
#include <stdint.h>
#include <string.h>

#include "arithmetic.h"
#include "workers.h"

#define WIDTH (HEADS * HEAD_DIM)
#define CHUNK 256 /* keys of one task; fixed, so that results do not depend on the number of threads */
#define LARGEST(a, b) ((a) > (b) ? (a) : (b))

typedef struct {
    const float *query_key_value, *output, *gate_up, *down;
} Layer;

/* Weights and state, as reference.py describes them. */
typedef struct {
    int32_t layers, vocabulary, batch, slots, chosen_width, sequential, threads;
    float norm_floor;
    const Layer *layer;
    const float *embedding, *heads, *rotation;
    float *keys, *values;
    int32_t *length;
    const int32_t *step_position;
    int64_t *fed, *pending;
    float *blocked;
    const float *requirement;
    const int32_t *budget;
    int32_t *taken;
    uint8_t *finished;
    int64_t *chosen;
    float *predictions; /* (batch, group * vocabulary + group) */
} Decoder;

/* The scratch of one video, every part (features, lanes) and as many lanes as the step has at that point. */
typedef struct {
    float stream[WIDTH * LANES], query[WIDTH * LANES], attended[WIDTH * LANES], hidden[MLP * LANES];
    float scale[LANES]; /* that gives every token's stream unit length */
} Scratch;

/* What a chunk of keys gives a head: weighted values, their weight, and the score it is relative to. */
typedef struct {
    float values[LANES][HEAD_DIM], weight[LANES], highest[LANES];
} Partial;

/* A step under way. */
typedef struct Step {
    const Decoder *decoder;
    const Layer *layer;
    int index, lanes; /* of the layer; 1 lane once only the last token is wanted */
    int videos, chunks;
    const int32_t *video; /* those that have not finished */
    Scratch *scratch;
    Partial *partial; /* (videos, HEADS, chunks) */
} Step;

/* RMSNorm up to a constant that is part of the weights: a factor for every lane, put on after the product. */
static void measure_streams(const Step *step) {
    for (int v = 0; v < step->videos; v++) {
        Scratch *own = &step->scratch[v];
        float squares[LANES] = {0}, floor = step->decoder->norm_floor;
        if (step->lanes == 1)
            squares[0] = dot(own->stream, own->stream, WIDTH);
        else
            for (int c = 0; c < WIDTH; c++)
                for (int l = 0; l < LANES; l++) {
                    float x = own->stream[c * LANES + l];
                    squares[l] += x * x;
                }
        for (int l = 0; l < step->lanes; l++) own->scale[l] = 1 / __builtin_sqrtf(squares[l] + floor * floor);
    }
}

/* The parts of a layer: tasks, the video running fastest so that its mates find the weights at hand. */

/* Rotate pairs of channels of a head, (HEAD_DIM, lanes), by the positions of a video's tokens. */
static void rotate(const Decoder *d, int video, float *x) {
    int position = d->sequential ? d->length[video] : d->step_position[video];
    for (int token = 0; token < GROUP; token++) {
        const float *turn = d->rotation + (int64_t)(position + token) * HEAD_DIM;
        for (int c = token; c < HEAD_DIM * LANES; c += 2 * LANES, turn += 2) {
            float left = x[c], right = x[c + LANES];
            x[c] = left * turn[0] - right * turn[1];
            x[c + LANES] = left * turn[1] + right * turn[0];
        }
    }
}

/* Keys or values of a head of a video, (slots, HEAD_DIM). */
static inline float *cached(const Step *step, float *cache, int video, int head) {
    const Decoder *d = step->decoder;
    return cache + (((int64_t)step->index * d->batch + video) * HEADS + head) * d->slots * HEAD_DIM;
}

static void append(const Step *step, float *cache, int video, int head, const float *x) {
    float *place = cached(step, cache, video, head) + (int64_t)step->decoder->length[video] * HEAD_DIM;
    for (int token = 0; token < GROUP; token++)
        for (int c = 0; c < HEAD_DIM; c++) *place++ = x[c * LANES + token];
}

/* Query, key and value of a head; scores are scaled in the query. */
static void project(const Step *step, int i) {
    int head = i / step->videos, video = step->video[i % step->videos];
    Scratch *own = &step->scratch[i % step->videos];
    float made[3][HEAD_DIM * LANES];
    const float *rows = step->layer->query_key_value + head * HEAD_DIM * WIDTH;
    for (int which = 0; which < 3; which++, rows += WIDTH * WIDTH)
        for (int r = 0; r < HEAD_DIM; r += 16) {
            float *out = made[which] + r * LANES;
            sixteen_rows(rows + r * WIDTH, own->stream, WIDTH, LANES, out);
            for (int j = 0; j < 16; j++)
                for (int l = 0; l < LANES; l++) out[j * LANES + l] *= own->scale[l];
        }
    rotate(step->decoder, video, made[0]);
    rotate(step->decoder, video, made[1]);
    append(step, step->decoder->keys, video, head, made[1]);
    append(step, step->decoder->values, video, head, made[2]);
    float scale = 1 / __builtin_sqrtf(HEAD_DIM), *query = own->query + head * HEAD_DIM * LANES;
    for (int j = 0; j < HEAD_DIM * LANES; j++) query[j] = made[0][j] * scale;
}

/* A group's attention over n keys, of which the last of the group's own are for its later tokens only. */
static void attend_group(
    const float *query, const float *keys, const float *values, int n, int own, Partial *partial) {
    float score[CHUNK * LANES] __attribute__((aligned(64)));
    int j = 0;
    for (; j + ROWS <= n; j += ROWS) {
        for (int c = 0; c < ROWS * HEAD_DIM; c += 16) __builtin_prefetch(values + j * HEAD_DIM + c);
        lane_products(keys + j * HEAD_DIM, HEAD_DIM, 1, query, HEAD_DIM, ROWS, score + j * LANES);
    }
    for (; j < n; j++) lane_products(keys + j * HEAD_DIM, HEAD_DIM, 1, query, HEAD_DIM, 1, score + j * LANES);
    for (j = own < 0 ? 0 : own; j < n; j++) /* key j is the group's token j - own */
        for (int l = 0; l < LANES && l < j - own; l++) score[j * LANES + l] = -1e30f;
    float highest[LANES], weight[LANES] = {0};
    memcpy(highest, score, sizeof highest);
    for (j = 1; j < n; j++)
        for (int l = 0; l < LANES; l += VECTOR) raise_to(highest + l, score + j * LANES + l);
    for (j = 0; j < n; j++)
        for (int l = 0; l < LANES; l++) {
            score[j * LANES + l] = exponential(score[j * LANES + l] - highest[l]);
            weight[l] += score[j * LANES + l];
        }
    for (int token = 0; token < GROUP; token += TOKENS)
        for (int c = 0; c < HEAD_DIM; c += VECTOR * PARTS)
            sum_values(score + token, values + c, n, partial->values[token] + c);
    memcpy(partial->weight, weight, sizeof weight);
    memcpy(partial->highest, highest, sizeof highest);
}

/* One token's attention over n keys, all of which it sees. */
static void attend_token(
    const float *query, const float *keys, const float *values, int n, Partial *partial) {
    float score[CHUNK], highest = -1e30f, weight = 0;
    for (int j = 0; j < n; j++) score[j] = dot(keys + j * HEAD_DIM, query, HEAD_DIM);
    for (int j = 0; j < n; j++) highest = highest > score[j] ? highest : score[j];
    for (int j = 0; j < n; j++) score[j] = exponential(score[j] - highest);
    vec sum[HEAD_DIM / VECTOR] = {{0}};
    for (int j = 0; j < n; j++) {
        weight += score[j];
        for (int part = 0; part < HEAD_DIM / VECTOR; part++)
            sum[part] += score[j] * *(const vec *)(values + j * HEAD_DIM + part * VECTOR);
    }
    memcpy(partial->values, sum, sizeof sum);
    partial->weight[0] = weight;
    partial->highest[0] = highest;
}

static void attend(const Step *step, int i) {
    int chunk = i % step->chunks, head = i / step->chunks % HEADS, v = i / step->chunks / HEADS;
    int video = step->video[v], first = chunk * CHUNK, length = step->decoder->length[video];
    int n = length + GROUP - first;
    if (n <= 0) return; /* A shorter video than its mates. */
    if (n > CHUNK) n = CHUNK;
    const float *keys = cached(step, step->decoder->keys, video, head) + (int64_t)first * HEAD_DIM;
    const float *values = cached(step, step->decoder->values, video, head) + (int64_t)first * HEAD_DIM;
    const float *query = step->scratch[v].query + head * HEAD_DIM * step->lanes;
    if (step->lanes == 1)
        attend_token(query, keys, values, n, &step->partial[i]);
    else
        attend_group(query, keys, values, n, length - first, &step->partial[i]);
}

/* Put the chunks of a head together. */
static void combine(const Step *step, int i) {
    int v = i / HEADS, lanes = step->lanes;
    int chunks = (step->decoder->length[step->video[v]] + GROUP + CHUNK - 1) / CHUNK;
    const Partial *partial = step->partial + (int64_t)i * step->chunks;
    float *out = step->scratch[v].attended + i % HEADS * HEAD_DIM * lanes;
    for (int token = 0; token < (lanes == 1 ? 1 : GROUP); token++) {
        float highest = partial->highest[token], weight = 0, sum[HEAD_DIM] = {0};
        for (int j = 1; j < chunks; j++) highest = LARGEST(highest, partial[j].highest[token]);
        for (int j = 0; j < chunks; j++) {
            float share = exponential(partial[j].highest[token] - highest);
            weight += share * partial[j].weight[token];
            for (int c = 0; c < HEAD_DIM; c++) sum[c] += share * partial[j].values[token][c];
        }
        for (int c = 0; c < HEAD_DIM; c++) out[c * lanes + token] = sum[c] / weight;
    }
}

static void add_sixteen_rows(const Step *step, int i, const float *weight, const float *columns, int depth) {
    int row = i / step->videos * 16, lanes = step->lanes;
    float made[16 * LANES], *stream = step->scratch[i % step->videos].stream + row * lanes;
    sixteen_rows(weight + row * depth, columns, depth, lanes, made);
    for (int j = 0; j < 16 * lanes; j++) stream[j] += made[j];
}

static void add_attention(const Step *step, int i) {
    add_sixteen_rows(step, i, step->layer->output, step->scratch[i % step->videos].attended, WIDTH);
}

static void expand(const Step *step, int i) {
    int row = i / step->videos * 16, lanes = step->lanes;
    Scratch *own = &step->scratch[i % step->videos];
    float gate[16 * LANES], up[16 * LANES], *hidden = own->hidden + row * lanes;
    sixteen_rows(step->layer->gate_up + row * WIDTH, own->stream, WIDTH, lanes, gate);
    sixteen_rows(step->layer->gate_up + (MLP + row) * WIDTH, own->stream, WIDTH, lanes, up);
    for (int r = 0; r < 16; r++)
        for (int l = 0; l < lanes; l++) {
            float g = gate[r * lanes + l] * own->scale[l];
            hidden[r * lanes + l] = g / (1 + exponential(-g)) * up[r * lanes + l] * own->scale[l];
        }
}

static void contract(const Step *step, int i) {
    add_sixteen_rows(step, i, step->layer->down, step->scratch[i % step->videos].hidden, MLP);
}

enum { HEAD_ROWS = 64 }; /* of the heads' matrix in a task */

static void predict(const Step *step, int i) {
    const Decoder *d = step->decoder;
    int all = GROUP * (d->vocabulary + 1), row = i / step->videos * HEAD_ROWS, v = i % step->videos;
    float *out = d->predictions + (int64_t)step->video[v] * all;
    for (int end = row + HEAD_ROWS < all ? row + HEAD_ROWS : all; row < end; row++)
        out[row] = dot(d->heads + row * WIDTH, step->scratch[v].stream, WIDTH) * step->scratch[v].scale[0];
}

/* Choose a video's next group and note what follows, as reference.choose does. */
static void choose(const Step *step, int i) {
    const Decoder *d = step->decoder;
    int video = step->video[i], vocabulary = d->vocabulary, eos = vocabulary - 1;
    const float *logits = d->predictions + (int64_t)video * GROUP * (vocabulary + 1);
    const float *losses = logits + GROUP * vocabulary;
    float *blocked = d->blocked + (int64_t)video * vocabulary;
    int finished = 0;
    for (int head = 0; head < GROUP; head++) {
        int slot = d->taken[video] + head, best = eos;
        if (slot < *d->budget) {
            best = 0;
            const float *score = logits + head * vocabulary;
            for (int p = 0, open = 0; p < vocabulary; p++) /* also of NaNs none is taken twice */
                if (blocked[p] == 0 && (!open || score[p] > score[best])) best = p, open = 1;
            blocked[best] = -__builtin_inff();
            if (losses[head] <= d->requirement[video]) best = eos, finished = 1;
        }
        d->fed[video * GROUP + head] = d->pending[video * GROUP + head] = best;
        if (slot < d->chosen_width) d->chosen[(int64_t)video * d->chosen_width + slot] = best;
    }
    d->length[video] += GROUP;
    d->taken[video] += GROUP;
    d->finished[video] = finished || d->taken[video] >= *d->budget;
}

static void embed(const Step *step) {
    const Decoder *d = step->decoder;
    for (int v = 0; v < step->videos; v++)
        for (int token = 0; token < LANES; token++) {
            const float *row = NULL;
            if (token < GROUP) row = d->embedding + d->fed[step->video[v] * GROUP + token] * WIDTH;
            for (int c = 0; c < WIDTH; c++) step->scratch[v].stream[c * LANES + token] = row ? row[c] : 0;
        }
}

/* From here on only each video's last token is wanted: its features come to lie side by side. */
static void keep_last_token(Step *step) {
    int last = GROUP - 1;
    for (int v = 0; v < step->videos; v++)
        for (int c = 0; c < WIDTH; c++) {
            step->scratch[v].stream[c] = step->scratch[v].stream[c * LANES + last];
            step->scratch[v].query[c] = step->scratch[v].query[c * LANES + last];
        }
    step->lanes = 1;
}

static void decode(Step *step, int alone) {
    const Decoder *d = step->decoder;
    embed(step);
    for (step->index = 0; step->index < d->layers; step->index++) {
        step->layer = &d->layer[step->index];
        measure_streams(step);
        run(project, step, HEADS * step->videos, alone);
        if (step->index == d->layers - 1) keep_last_token(step);
        run(attend, step, step->videos * HEADS * step->chunks, alone);
        run(combine, step, step->videos * HEADS, alone);
        run(add_attention, step, WIDTH / 16 * step->videos, alone);
        measure_streams(step);
        run(expand, step, MLP / 16 * step->videos, alone);
        run(contract, step, WIDTH / 16 * step->videos, alone);
    }
    measure_streams(step);
    run(predict, step, (GROUP * (d->vocabulary + 1) + HEAD_ROWS - 1) / HEAD_ROWS * step->videos, alone);
    run(choose, step, step->videos, alone);
}

/* Bytes of scratch that a batch needs whose longest video has so many filled slots. */
int64_t scratch_bytes(int32_t batch, int32_t longest) {
    int64_t chunks = (longest + GROUP + CHUNK - 1) / CHUNK;
    return batch * (sizeof(Scratch) + HEADS * chunks * sizeof(Partial) + sizeof(int32_t));
}

/* Feed every unfinished video's group and choose its next. */
void decode_step(const Decoder *decoder, void *scratch) {
    Step step = {.decoder = decoder, .lanes = LANES, .scratch = scratch};
    int longest = 0, batch = decoder->batch;
    for (int b = 0; b < batch; b++) longest = LARGEST(longest, decoder->length[b]);
    step.chunks = (longest + GROUP + CHUNK - 1) / CHUNK;
    step.partial = (Partial *)(step.scratch + batch);
    int32_t *video = (int32_t *)(step.partial + (int64_t)batch * HEADS * step.chunks);
    for (int b = 0; b < batch; b++)
        if (!decoder->finished[b])
            video[step.videos++] = b;
        else
            for (int i = b * GROUP; i < (b + 1) * GROUP; i++) decoder->fed[i] = decoder->vocabulary - 1;
    step.video = video;
    /* The workers serve one call at a time; a call beside it goes alone. */
    int alone = decoder->threads == 1 || pthread_mutex_trylock(&pool.call);
    if (!alone) call_workers(decoder->threads - 1);
    decode(&step, alone);
    if (!alone) pthread_mutex_unlock(&pool.call);
}
