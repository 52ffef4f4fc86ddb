/* A block of tokens of each video on its way through the decoder's layers.
 *
 * Tokens lie side by side in lanes, feature after feature, and the lanes of a video are cut into tiles. Then a
 * row of a weight matrix, a key, and a channel of the values are the same thing, numbers to be multiplied one by
 * one with vectors of lanes (product), and nothing is packed or transposed. In the last layer only each video's
 * last token is wanted once keys and values are made: from there on there is one lane, and features lie side by
 * side instead.
 *
 * The parts of a layer are tasks. The tile and the video run fastest, so that they find the weights at hand.
 */
#include "arithmetic.h"
#include "workers.h"

#define WIDTH (HEADS * HEAD_DIM)
#define LARGEST(a, b) ((a) > (b) ? (a) : (b))
#define LANES_OF(tokens) (((tokens) + VECTOR - 1) / VECTOR * VECTOR)

enum {
    GROUP_LANES = LANES_OF(GROUP),
    CHUNK = 256,                           /* keys of one task; fixed, so that results do not depend on threads */
    STREAM_ROWS = WIDTH % 32 ? 16 : 32,    /* rows of a matrix in a task that adds to the stream */
    HIDDEN_ROWS = MLP % 32 ? 16 : 32,      /* of gate, and as many of up */
    ANSWER_ROWS = 64,                      /* of the heads */
};

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
    int32_t *length, *step_position;
    int64_t *fed, *pending;
    float *blocked;
    const float *requirement;
    const int32_t *budget;
    int32_t *taken;
    uint8_t *finished;
    int64_t *chosen;
    const float *vision; /* (batch, tokens, WIDTH), videos so many floats apart */
    int64_t vision_stride;
    float *predictions; /* (batch, group * vocabulary + group) */
} Decoder;

/* What a chunk of keys gives a head: weighted values, their weight, and the score it is relative to. */
typedef struct {
    float values[GROUP_LANES][HEAD_DIM], weight[GROUP_LANES], highest[GROUP_LANES];
} Partial;

/* A video's share of a block. */
typedef struct {
    int number;                                 /* in the batch */
    int tokens, start;                          /* how many, and the slot of the first */
    float *stream, *query, *attended, *hidden;  /* (features, lanes) */
    float *cosine, *sine;                       /* (pairs of a head's channels, lanes) */
    Partial *partial;                           /* (HEADS, chunks) */
} Video;

typedef struct Block {
    const Decoder *decoder;
    const Layer *layer;
    int index, lanes, tiles; /* of the layer; of the longest video, 1 once only last tokens are wanted */
    int frame, videos, chunks; /* frame: a prefill's block, not a group */
    Video *video; /* those that have not finished */
} Block;

enum { FLOATS_PER_LANE = 3 * WIDTH + MLP + HEAD_DIM };

/* What a task is about: rows from a number on, of a video, for some vectors of lanes. */
typedef struct {
    const Video *video;
    int row, lane, vectors, tokens; /* none: a shorter video than its mates */
} Share;

INLINE Share share_of(const Block *b, int i) {
    int tile = i % b->tiles, others = i / b->tiles, vectors = b->lanes / VECTOR;
    int first = tile * vectors / b->tiles, end = (tile + 1) * vectors / b->tiles;
    const Video *video = &b->video[others % b->videos];
    int lane = first * VECTOR, left = video->tokens - lane, lanes = (end - first) * VECTOR;
    return (Share){video, others / b->videos, lane, end - first, left < lanes ? left : lanes};
}

static int last_layer(const Block *b) { return b->index == b->decoder->layers - 1; }

/* Keys or values of a head of a video, (slots, HEAD_DIM). */
INLINE float *cached(const Block *b, float *cache, const Video *video, int head) {
    const Decoder *d = b->decoder;
    return cache + (((int64_t)b->index * d->batch + video->number) * HEADS + head) * d->slots * HEAD_DIM;
}

/* RMSNorm up to a constant that is part of the weights: a factor for every lane, put on after the product. */
INLINE void unit_lengths(const Block *b, const float *stream, int vectors, float *scale) {
    const float floor = b->decoder->norm_floor;
    vec sum[TILE_VECTORS] = {{0}};
    for (int c = 0; c < WIDTH; c++, stream += b->lanes)
        for (int v = 0; v < vectors; v++) sum[v] += load(stream + v * VECTOR) * load(stream + v * VECTOR);
    for (int v = 0; v < vectors; v++) store(scale + v * VECTOR, sum[v] + all(floor * floor));
    for (int l = 0; l < vectors * VECTOR; l++) scale[l] = 1 / __builtin_sqrtf(scale[l]);
}

/* The same for the one token that is left. */
INLINE float unit_length(const Block *b, const float *stream) {
    float square;
    dots(stream, stream, WIDTH, 1, &square);
    return 1 / __builtin_sqrtf(square + b->decoder->norm_floor * b->decoder->norm_floor);
}

/* Turn pairs of a head's channels, (HEAD_DIM, TILE). */
static void rotate(const float *cosine, const float *sine, int lanes, int vectors, float *x) {
    for (int c = 0; c < HEAD_DIM; c += 2, x += 2 * TILE, cosine += lanes, sine += lanes)
        for (int v = 0; v < vectors * VECTOR; v += VECTOR) {
            vec left = load(x + v), right = load(x + TILE + v), turn = load(cosine + v), other = load(sine + v);
            store(x + v, left * turn - right * other);
            store(x + TILE + v, left * other + right * turn);
        }
}

static void append(float *place, int tokens, const float *x) {
    for (int token = 0; token < tokens; token++)
        for (int c = 0; c < HEAD_DIM; c++) *place++ = x[c * TILE + token];
}

/* Query, key and value of a head; scores are scaled in the query, and are exponents of two. */
static void project(const Block *b, int i) {
    Share s = share_of(b, i);
    int n = s.vectors * VECTOR, last = s.video->tokens - 1;
    if (s.tokens <= 0) return;
    float made[3][HEAD_DIM * TILE] __attribute__((aligned(64))), scale[TILE];
    const float *stream = s.video->stream + s.lane;
    const float *rows = b->layer->query_key_value + (int64_t)s.row * HEAD_DIM * WIDTH;
    unit_lengths(b, stream, s.vectors, scale);
    int unseen = last_layer(b) && (last < s.lane || last >= s.lane + n); /* queries that nobody asks for */
    for (int which = unseen; which < 3; which++) {
        product_of(rows + which * WIDTH * WIDTH, WIDTH, 1, stream, b->lanes, WIDTH, HEAD_DIM, s.vectors,
                   made[which], TILE, 0);
        for (int c = 0; c < HEAD_DIM; c++)
            for (int l = 0; l < n; l += VECTOR)
                store(made[which] + c * TILE + l, load(made[which] + c * TILE + l) * load(scale + l));
        if (which < 2)
            rotate(s.video->cosine + s.lane, s.video->sine + s.lane, b->lanes, s.vectors, made[which]);
    }
    int64_t place = (int64_t)(s.video->start + s.lane) * HEAD_DIM;
    append(cached(b, b->decoder->keys, s.video, s.row) + place, s.tokens, made[1]);
    append(cached(b, b->decoder->values, s.video, s.row) + place, s.tokens, made[2]);
    if (unseen) return;
    vec unit = all(LOG2_E / __builtin_sqrtf(HEAD_DIM));
    float *query = s.video->query + s.row * HEAD_DIM * b->lanes + s.lane;
    for (int c = 0; c < HEAD_DIM; c++)
        for (int l = 0; l < n; l += VECTOR)
            store(query + c * b->lanes + l, load(made[0] + c * TILE + l) * unit);
}

INLINE void add_rows(const Block *b, int i, const float *weight, const float *from, const int depth) {
    Share s = share_of(b, i);
    int row = s.row * STREAM_ROWS;
    if (s.tokens <= 0 && b->lanes > 1) return;
    float *stream = s.video->stream + row * b->lanes + s.lane;
    weight += (int64_t)row * depth;
    if (b->lanes > 1) {
        product_of(weight, depth, 1, from + s.lane, b->lanes, depth, STREAM_ROWS, s.vectors, stream, b->lanes, 1);
        return;
    }
    float made[STREAM_ROWS];
    dots(weight, from, depth, STREAM_ROWS, made);
    for (int r = 0; r < STREAM_ROWS; r++) stream[r] += made[r];
}

static void add_attention(const Block *b, int i) {
    add_rows(b, i, b->layer->output, share_of(b, i).video->attended, WIDTH);
}

static void contract(const Block *b, int i) {
    add_rows(b, i, b->layer->down, share_of(b, i).video->hidden, MLP);
}

/* SiLU of the gate, times up. */
INLINE vec gated(vec gate, vec up) {
    vec power = all(0) - larger(gate * all(LOG2_E), all(-126)); /* 2^126 is infinite enough */
    return gate / (all(1) + power_of_two(power)) * up;
}

static void expand(const Block *b, int i) {
    Share s = share_of(b, i);
    int row = s.row * HIDDEN_ROWS;
    if (s.tokens <= 0 && b->lanes > 1) return;
    const float *stream = s.video->stream + s.lane;
    const float *gates = b->layer->gate_up + (int64_t)row * WIDTH, *ups = gates + MLP * WIDTH;
    float gate[HIDDEN_ROWS * TILE] __attribute__((aligned(64))), up[HIDDEN_ROWS * TILE] __attribute__((aligned(64)));
    float scale[TILE], *hidden = s.video->hidden + row * b->lanes + s.lane;
    if (b->lanes == 1) {
        vec unit = all(unit_length(b, stream));
        dots(gates, stream, WIDTH, HIDDEN_ROWS, gate);
        dots(ups, stream, WIDTH, HIDDEN_ROWS, up);
        for (int r = 0; r < HIDDEN_ROWS; r += VECTOR)
            store(hidden + r, gated(load(gate + r) * unit, load(up + r) * unit));
        return;
    }
    unit_lengths(b, stream, s.vectors, scale);
    product_of(gates, WIDTH, 1, stream, b->lanes, WIDTH, HIDDEN_ROWS, s.vectors, gate, TILE, 0);
    product_of(ups, WIDTH, 1, stream, b->lanes, WIDTH, HIDDEN_ROWS, s.vectors, up, TILE, 0);
    for (int r = 0; r < HIDDEN_ROWS; r++)
        for (int l = 0; l < s.vectors * VECTOR; l += VECTOR) {
            vec unit = load(scale + l);
            store(hidden + r * b->lanes + l, gated(load(gate + r * TILE + l) * unit, load(up + r * TILE + l) * unit));
        }
}
