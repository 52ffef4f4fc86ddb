/* A block of tokens of each video on its way through the decoder's layers.
 *
 * Tokens lie side by side in lanes, feature after feature, and the lanes of a video are cut into tiles. Then
 * a row of a weight matrix, a key, and a channel of the values are the same thing, numbers to be multiplied
 * one by one with vectors of lanes (product), and nothing is packed or transposed. In the last layer only the
 * last token of each video is wanted once keys and values are made: from there on there is one lane, and
 * features lie side by side.
 *
 * The parts of a layer are tasks. Tiles and videos run fastest, so that they find the weights at hand.
 *
 * HEADS, HEAD_DIM, MLP and GROUP are given by the build: strides that the compiler knows cost no registers.
 */
#include "arithmetic.h"
#include "workers.h"

#define WIDTH (HEADS * HEAD_DIM)
#define LARGEST(a, b) ((a) > (b) ? (a) : (b))
#define SMALLEST(a, b) ((a) < (b) ? (a) : (b))
#define LANES_OF(tokens) (((tokens) + VECTOR - 1) / VECTOR * VECTOR)

enum {
    GROUP_LANES = LANES_OF(GROUP),
    STREAM_ROWS = WIDTH % 32 ? 16 : 32, /* of a matrix that adds to the stream, in a task */
    HIDDEN_ROWS = MLP % 32 ? 16 : 32,   /* of gate, and as many of up */
    LANE_FLOATS = 3 * WIDTH + MLP + HEAD_DIM,
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
    const float *vision;   /* (batch, tokens, WIDTH) */
    int64_t vision_stride; /* floats from one video to the next */
    float *predictions;    /* (batch, group * vocabulary + group) */
} Decoder;

/* What a chunk of keys gives a head: weighted values, their weight, and the score it is relative to. */
typedef struct {
    float values[GROUP_LANES][HEAD_DIM], weight[GROUP_LANES], highest[GROUP_LANES];
} Partial;

/* A video's share of a block. */
typedef struct {
    int number;                                /* in the batch */
    int tokens, start;                         /* how many, and the slot of the first */
    float *stream, *query, *attended, *hidden; /* (features, lanes) */
    float *cosine, *sine;                      /* (pairs of a head's channels, lanes) */
    Partial *partial;                          /* (HEADS, chunks) */
} Video;

typedef struct Block {
    const Decoder *decoder;
    const Layer *layer;
    int index, frame;  /* of the layer; whether it is a prefill's and not a group */
    int lanes, tiles;  /* of the longest video; 1 once only last tokens are wanted */
    int videos, chunks, steps; /* chunks of the longest, steps that groups may take */
    Video *video; /* those that have not finished */
} Block;

/* What a task is about: some rows, a video, and the lanes of a tile, so many of which are tokens. */
typedef struct {
    const Video *video;
    int rows, lane, vectors, tokens;
} Share;

INLINE Share share_of(const Block *b, int i) {
    int tile = i % b->tiles, others = i / b->tiles;
    const Video *video = &b->video[others % b->videos];
    if (b->lanes == 1) return (Share){video, others / b->videos, 0, 0, 1};
    int all = b->lanes / VECTOR, first = tile * all / b->tiles, vectors = (tile + 1) * all / b->tiles - first;
    int left = video->tokens - first * VECTOR; /* none, of a video shorter than its mates */
    return (Share){video, others / b->videos, first * VECTOR, vectors, SMALLEST(left, vectors * VECTOR)};
}

INLINE int last_layer(const Block *b) { return b->index == b->decoder->layers - 1; }

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
        for (int l = 0; l < vectors * VECTOR; l += VECTOR) {
            vec left = load(x + l), right = load(x + TILE + l);
            store(x + l, left * load(cosine + l) - right * load(sine + l));
            store(x + TILE + l, left * load(sine + l) + right * load(cosine + l));
        }
}

static void append(float *place, int tokens, const float *x) {
    for (int token = 0; token < tokens; token++)
        for (int c = 0; c < HEAD_DIM; c++) *place++ = x[c * TILE + token];
}

/* Query, key and value of a head. Scores are scaled in the query, such that they are exponents of two. */
static void project(const Block *b, int i) {
    Share s = share_of(b, i);
    if (s.tokens <= 0) return;
    ALIGNED float made[3][HEAD_DIM * TILE], scale[TILE];
    const float *rows = b->layer->query_key_value + (int64_t)s.rows * HEAD_DIM * WIDTH;
    const Lanes stream = {s.video->stream + s.lane, b->lanes};
    int lanes = s.vectors * VECTOR, last = s.video->tokens - 1 - s.lane;
    int asked = !last_layer(b) || (last >= 0 && last < lanes); /* whether anybody asks for queries of these */
    unit_lengths(b, stream.at, s.vectors, scale);
    for (int which = asked ? 0 : 1; which < 3; which++) {
        float *out = made[which];
        product_of((Rows){rows + which * WIDTH * WIDTH, WIDTH, 1}, stream, WIDTH, HEAD_DIM, s.vectors,
                   (Lanes){out, TILE}, 0);
        for (int c = 0; c < HEAD_DIM; c++)
            for (int l = 0; l < lanes; l += VECTOR)
                store(out + c * TILE + l, load(out + c * TILE + l) * load(scale + l));
        if (which < 2) rotate(s.video->cosine + s.lane, s.video->sine + s.lane, b->lanes, s.vectors, out);
    }
    int64_t place = (int64_t)(s.video->start + s.lane) * HEAD_DIM;
    append(cached(b, b->decoder->keys, s.video, s.rows) + place, s.tokens, made[1]);
    append(cached(b, b->decoder->values, s.video, s.rows) + place, s.tokens, made[2]);
    float *query = s.video->query + s.rows * HEAD_DIM * b->lanes + s.lane;
    vec unit = all(LOG2_E / __builtin_sqrtf(HEAD_DIM));
    for (int c = 0; asked && c < HEAD_DIM; c++)
        for (int l = 0; l < lanes; l += VECTOR)
            store(query + c * b->lanes + l, load(made[0] + c * TILE + l) * unit);
}

INLINE void add_product(const Block *b, Share s, const float *matrix, float *columns, const int depth) {
    int row = s.rows * STREAM_ROWS;
    float *stream = s.video->stream + row * b->lanes + s.lane;
    matrix += (int64_t)row * depth;
    if (b->lanes == 1) {
        float made[STREAM_ROWS];
        dots(matrix, columns, depth, STREAM_ROWS, made);
        for (int r = 0; r < STREAM_ROWS; r++) stream[r] += made[r];
    } else if (s.tokens > 0) {
        product_of((Rows){matrix, depth, 1}, (Lanes){columns + s.lane, b->lanes}, depth, STREAM_ROWS,
                   s.vectors, (Lanes){stream, b->lanes}, 1);
    }
}

static void add_attention(const Block *b, int i) {
    Share s = share_of(b, i);
    add_product(b, s, b->layer->output, s.video->attended, WIDTH);
}

static void contract(const Block *b, int i) {
    Share s = share_of(b, i);
    add_product(b, s, b->layer->down, s.video->hidden, MLP);
}

/* SiLU of the gate, times up. */
INLINE vec gated(vec gate, vec up) {
    vec power = all(0) - larger(gate * all(LOG2_E), all(-126)); /* for e^-gate; 2^126 is as good as more */
    return gate / (all(1) + power_of_two(power)) * up;
}

static void expand(const Block *b, int i) {
    Share s = share_of(b, i);
    if (s.tokens <= 0) return;
    ALIGNED float gate[HIDDEN_ROWS * TILE], up[HIDDEN_ROWS * TILE], scale[TILE];
    const float *gates = b->layer->gate_up + (int64_t)s.rows * HIDDEN_ROWS * WIDTH;
    const float *ups = gates + MLP * WIDTH;
    float *stream = s.video->stream + s.lane;
    float *hidden = s.video->hidden + s.rows * HIDDEN_ROWS * b->lanes + s.lane;
    if (b->lanes == 1) {
        vec unit = all(unit_length(b, stream));
        dots(gates, stream, WIDTH, HIDDEN_ROWS, gate);
        dots(ups, stream, WIDTH, HIDDEN_ROWS, up);
        for (int r = 0; r < HIDDEN_ROWS; r += VECTOR)
            store(hidden + r, gated(load(gate + r) * unit, load(up + r) * unit));
        return;
    }
    unit_lengths(b, stream, s.vectors, scale);
    Lanes columns = {stream, b->lanes};
    product_of((Rows){gates, WIDTH, 1}, columns, WIDTH, HIDDEN_ROWS, s.vectors, (Lanes){gate, TILE}, 0);
    product_of((Rows){ups, WIDTH, 1}, columns, WIDTH, HIDDEN_ROWS, s.vectors, (Lanes){up, TILE}, 0);
    for (int r = 0; r < HIDDEN_ROWS; r++)
        for (int l = 0; l < s.vectors * VECTOR; l += VECTOR) {
            vec unit = load(scale + l), g = load(gate + r * TILE + l), u = load(up + r * TILE + l);
            store(hidden + r * b->lanes + l, gated(g * unit, u * unit));
        }
}
