/* The gaze decoder on a CPU, in float32: native.py builds this file and calls it, reference.py says what it
 * computes.
 *
 * A frame begins with a prefill, a block of some two hundred tokens, and goes on with steps, blocks of a
 * group each, until its videos have finished. Both take the same way through the layers (block.h) and attend
 * in different ones (attention.h). Here is what lies before and behind the layers, and the calls.
 */
#include "attention.h"

enum { ANSWER_ROWS = 64 }; /* of the heads' matrix, in a task */

static void predict(const Block *b, int i) {
    const Decoder *d = b->decoder;
    int all_rows = GROUP * (d->vocabulary + 1), row = i / b->videos * ANSWER_ROWS;
    const Video *video = &b->video[i % b->videos];
    float *out = d->predictions + (int64_t)video->number * all_rows, *x = video->stream;
    float scale = unit_length(b, x);
    int count = all_rows - row < ANSWER_ROWS ? all_rows - row : ANSWER_ROWS;
    dots(d->heads + (int64_t)row * WIDTH, x, WIDTH, count, out + row);
    for (int i = row; i < row + count; i++) out[i] *= scale;
}

/* Choose a video's next group and note what follows, as reference.choose does. */
static void choose(const Block *b, int i) {
    const Decoder *d = b->decoder;
    int video = b->video[i].number, vocabulary = d->vocabulary, eos = vocabulary - 1;
    const float *logits = d->predictions + (int64_t)video * GROUP * (vocabulary + 1);
    const float *losses = logits + GROUP * vocabulary;
    float *blocked = d->blocked + (int64_t)video * vocabulary;
    int finished = 0, first = d->taken[video] == 0; /* of the first group the first head is always kept */
    for (int head = 0; head < GROUP; head++) {
        int slot = d->taken[video] + head, best = eos;
        if (slot < *d->budget) {
            best = 0;
            const float *score = logits + head * vocabulary;
            for (int p = 0, open = 0; p < vocabulary; p++) /* also of NaNs none is taken twice */
                if (blocked[p] == 0 && (!open || score[p] > score[best])) best = p, open = 1;
            blocked[best] = -__builtin_inff();
            if (losses[head] <= d->requirement[video] && !(first && head == 0)) best = eos, finished = 1;
        }
        d->fed[video * GROUP + head] = d->pending[video * GROUP + head] = best;
        if (slot < d->chosen_width) d->chosen[(int64_t)video * d->chosen_width + slot] = best;
    }
    d->taken[video] += GROUP;
    d->finished[video] = finished || d->taken[video] >= *d->budget;
}

/* From here on only each video's last token is wanted: its features come to lie side by side. */
static void keep_last_token(Block *b) {
    for (int v = 0; v < b->videos; v++) {
        const Video *video = &b->video[v];
        for (int c = 0, last = video->tokens - 1; c < WIDTH; c++) {
            video->stream[c] = video->stream[c * b->lanes + last];
            video->query[c] = video->query[c * b->lanes + last];
        }
    }
    b->lanes = b->tiles = 1;
}

static void run_layers(Block *b, int alone) {
    const Decoder *d = b->decoder;
    for (b->index = 0; b->index < d->layers; b->index++) {
        b->layer = &d->layer[b->index];
        run(project, b, HEADS * b->videos * b->tiles, alone);
        if (last_layer(b)) keep_last_token(b);
        if (b->frame && b->lanes > 1) {
            run(attend_frame, b, HEADS * b->videos * b->tiles, alone);
        } else {
            run(attend_chunk, b, HEADS * b->videos * b->chunks, alone);
            run(combine, b, HEADS * b->videos, alone);
        }
        run(add_attention, b, WIDTH / STREAM_ROWS * b->videos * b->tiles, alone);
        run(expand, b, MLP / HIDDEN_ROWS * b->videos * b->tiles, alone);
        run(contract, b, WIDTH / STREAM_ROWS * b->videos * b->tiles, alone);
    }
    int tasks = (GROUP * (d->vocabulary + 1) + ANSWER_ROWS - 1) / ANSWER_ROWS;
    run(predict, b, tasks * b->videos, alone);
    run(choose, b, b->videos, alone);
}

/* Put a token into its lane; its position is its slot in a frame, and in a group what the state says. */
static void embed(const Block *b, const Video *video, int token, const float *features, int position) {
    const float *turn = b->decoder->rotation + (int64_t)(position + token) * HEAD_DIM;
    for (int c = 0; c < WIDTH; c++) video->stream[c * b->lanes + token] = features[c];
    for (int c = 0; c < HEAD_DIM / 2; c++) {
        video->cosine[c * b->lanes + token] = turn[2 * c];
        video->sine[c * b->lanes + token] = turn[2 * c + 1];
    }
}

/* Lanes without a token are computed along; what is in them does not matter if it is a number. */
static void clear(const Block *b, const Video *video) {
    for (int c = 0; c < WIDTH; c++)
        for (int l = video->tokens; l < b->lanes; l++) video->stream[c * b->lanes + l] = 0;
    for (int c = 0; c < HEAD_DIM / 2; c++)
        for (int l = video->tokens; l < b->lanes; l++)
            video->cosine[c * b->lanes + l] = video->sine[c * b->lanes + l] = 0;
}

static void embed_frame(const Block *b, int i) {
    const Video *video = &b->video[i];
    const Decoder *d = b->decoder;
    const int64_t *pending = d->pending + video->number * GROUP;
    const float *vision = d->vision + video->number * d->vision_stride;
    int token = 0;
    for (int g = 0; g < GROUP; g++)
        if (pending[g] != d->vocabulary - 1)
            embed(b, video, token++, d->embedding + pending[g] * WIDTH, video->start);
    for (; token < video->tokens; token++, vision += WIDTH) embed(b, video, token, vision, video->start);
    clear(b, video);
}

static void embed_group(const Block *b, int i) {
    const Video *video = &b->video[i];
    const Decoder *d = b->decoder;
    int position = d->sequential ? video->start : d->step_position[video->number];
    const int64_t *fed = d->fed + video->number * GROUP;
    for (int token = 0; token < GROUP; token++)
        embed(b, video, token, d->embedding + fed[token] * WIDTH, position);
    clear(b, video);
}

/* Bytes of scratch that a batch needs whose longest video has so many filled slots, for blocks of tokens. */
int64_t scratch_bytes(int32_t batch, int32_t tokens, int32_t longest) {
    int64_t partials = HEADS * CHUNKS_OF(longest + tokens), floats = LANE_FLOATS * LANES_OF(tokens);
    return batch * (sizeof(Video) + sizeof(float) * floats + sizeof(Partial) * partials);
}

/* Lay out the scratch of the videos that have not finished. */
static Block block_of(const Decoder *d, int tokens, void *scratch) {
    int longest = 0;
    for (int i = 0; i < d->batch; i++) longest = LARGEST(longest, d->length[i]);
    Block b = {.decoder = d, .lanes = LANES_OF(tokens), .chunks = CHUNKS_OF(longest + tokens)};
    float *place = scratch;
    Partial *partial = (Partial *)(place + (int64_t)d->batch * LANE_FLOATS * b.lanes);
    b.video = (Video *)(partial + (int64_t)d->batch * HEADS * b.chunks);
    b.tiles = (b.lanes / VECTOR + TILE_VECTORS - 1) / TILE_VECTORS;
    for (int i = 0; i < d->batch; i++) {
        if (d->finished[i]) continue;
        Video *video = &b.video[b.videos++];
        *video = (Video){.number = i, .tokens = tokens, .start = d->length[i]};
        video->stream = place, place += WIDTH * b.lanes;
        video->query = place, place += WIDTH * b.lanes;
        video->attended = place, place += WIDTH * b.lanes;
        video->hidden = place, place += MLP * b.lanes;
        video->cosine = place, place += HEAD_DIM / 2 * b.lanes;
        video->sine = place, place += HEAD_DIM / 2 * b.lanes;
        video->partial = partial, partial += HEADS * b.chunks;
    }
    return b;
}

/* The workers serve one call at a time; a call beside it goes alone. */
static int begin_alone(const Decoder *d) {
    int alone = d->threads == 1 || pthread_mutex_trylock(&pool.call);
    if (!alone) call_workers(d->threads - 1);
    return alone;
}

static void end(int alone) {
    if (!alone) pthread_mutex_unlock(&pool.call);
}

/* Feed the pending groups and a frame of so many vision tokens, and choose the frame's first group. */
void prefill(const Decoder *d, void *scratch, int32_t vision_tokens) {
    Block b = block_of(d, vision_tokens + GROUP, scratch);
    b.frame = 1;
    for (int v = 0; v < b.videos; v++)
        for (int g = 0; g < GROUP; g++)
            b.video[v].tokens -= d->pending[b.video[v].number * GROUP + g] == d->vocabulary - 1;
    int alone = begin_alone(d);
    run(embed_frame, &b, b.videos, alone);
    run_layers(&b, alone);
    for (int v = 0; v < b.videos; v++) {
        int number = b.video[v].number;
        d->length[number] += b.video[v].tokens;
        d->step_position[number] = d->length[number] - GROUP;
    }
    end(alone);
}

/* Feed every unfinished video's group and choose its next, until all have finished or so many steps are
 * taken. Returns how many were. */
int32_t decode_steps(const Decoder *d, void *scratch, int32_t most) {
    int steps = 0, alone = begin_alone(d);
    for (; steps < most; steps++) {
        Block b = block_of(d, GROUP, scratch);
        if (b.videos == 0) break;
        for (int i = 0; i < d->batch * GROUP; i++)
            if (d->finished[i / GROUP]) d->fed[i] = d->vocabulary - 1;
        run(embed_group, &b, b.videos, alone);
        run_layers(&b, alone);
        for (int v = 0; v < b.videos; v++) d->length[b.video[v].number] += GROUP;
    }
    end(alone);
    return steps;
}
