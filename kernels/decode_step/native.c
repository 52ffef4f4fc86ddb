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

static void run_layers(Block *b, Task embed, int alone) {
    const Decoder *d = b->decoder;
    run(embed, b, b->videos, alone);
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

/* Put a token into its lane. */
static void put(const Block *b, const Video *video, int token, const float *features, int position) {
    const float *turn = b->decoder->rotation + (int64_t)position * HEAD_DIM;
    for (int c = 0; c < WIDTH; c++) video->stream[c * b->lanes + token] = features[c];
    for (int c = 0; c < HEAD_DIM / 2; c++) {
        video->cosine[c * b->lanes + token] = turn[2 * c];
        video->sine[c * b->lanes + token] = turn[2 * c + 1];
    }
}

/* Lanes without a token are computed along; what is in them does not matter if it is a number. */
static void clear_rest(const Block *b, const Video *video) {
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
        if (pending[g] != d->vocabulary - 1) {
            put(b, video, token, d->embedding + pending[g] * WIDTH, video->start + token);
            token++;
        }
    for (; token < video->tokens; token++, vision += WIDTH)
        put(b, video, token, vision, video->start + token);
    clear_rest(b, video);
}

static void embed_group(const Block *b, int i) {
    const Video *video = &b->video[i];
    const Decoder *d = b->decoder;
    int position = d->sequential ? video->start : d->step_position[video->number];
    for (int token = 0; token < GROUP; token++) {
        int64_t fed = d->fed[video->number * GROUP + token];
        put(b, video, token, d->embedding + fed * WIDTH, position + token);
    }
    clear_rest(b, video);
}

/* Bytes of scratch for blocks of up to so many tokens. */
int64_t scratch_bytes(const Decoder *d, int32_t tokens) {
    int64_t partials = HEADS * CHUNKS_OF(d->slots), floats = LANE_FLOATS * LANES_OF(tokens);
    return d->batch * (sizeof(Video) + sizeof(float) * floats + sizeof(Partial) * partials);
}

/* Lay out the scratch of the videos that have not finished, for blocks of up to so many tokens. */
static Block block_of(const Decoder *d, int tokens, void *scratch) {
    Block b = {.decoder = d, .lanes = LANES_OF(tokens)};
    b.tiles = (b.lanes + TILE - 1) / TILE;
    float *place = scratch;
    Partial *partial = (Partial *)(place + (int64_t)d->batch * LANE_FLOATS * b.lanes);
    b.video = (Video *)(partial + (int64_t)d->batch * HEADS * CHUNKS_OF(d->slots));
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
        video->partial = partial, partial += HEADS * CHUNKS_OF(d->slots);
        b.chunks = LARGEST(b.chunks, CHUNKS_OF(video->start + tokens));
    }
    return b;
}

/* Whether so many tokens fit behind those of every video; the last slot is the spare one. */
static int fits(const Block *b, int tokens) {
    for (int v = 0; v < b->videos; v++)
        if (b->video[v].start + tokens >= b->decoder->slots) return 0;
    return 1;
}

/* Some videos of a block. */
static Block part_of(const Block *b, int first, int videos) {
    Block part = *b;
    part.video += first;
    part.videos = videos;
    return part;
}

/* Threads take videos one by one, each through all of its frame: nobody waits, and what a video has in the
 * caches stays there. The last ones, if they are fewer than there are threads, are taken together. */
static void share_videos(const Block *b, Task task, void (*together)(Block, int)) {
    int threads = b->decoder->threads;
    /* The workers serve one call at a time; a call beside it goes alone. */
    int alone = threads == 1 || pthread_mutex_trylock(&pool.call);
    int apart = alone ? b->videos : b->videos - b->videos % threads;
    if (!alone) call_workers(threads - 1);
    run(task, b, apart, alone);
    if (apart < b->videos) together(part_of(b, apart, b->videos - apart), alone);
    if (!alone) pthread_mutex_unlock(&pool.call);
}

static void prefill_videos(Block b, int alone) {
    const Decoder *d = b.decoder;
    run_layers(&b, embed_frame, alone);
    for (int v = 0; v < b.videos; v++) {
        int number = b.video[v].number;
        d->length[number] += b.video[v].tokens;
        d->step_position[number] = d->length[number] - GROUP;
    }
}

static void prefill_one(const Block *b, int i) { prefill_videos(part_of(b, i, 1), 1); }

/* Feed the pending groups and so many vision tokens, and choose a frame's first group. Returns the tokens of
 * the longest video, or -1 if they do not fit the cache. */
int32_t prefill(const Decoder *d, void *scratch, int32_t vision_tokens) {
    Block b = block_of(d, vision_tokens + GROUP, scratch);
    if (!fits(&b, vision_tokens + GROUP)) return -1;
    b.frame = 1;
    int longest = 0;
    for (int v = 0; v < b.videos; v++) {
        const int64_t *pending = d->pending + b.video[v].number * GROUP;
        for (int g = 0; g < GROUP; g++) b.video[v].tokens -= pending[g] == d->vocabulary - 1;
        longest = LARGEST(longest, b.video[v].tokens);
    }
    share_videos(&b, prefill_one, prefill_videos);
    return longest;
}

/* Feed every video's group and choose its next, until all have finished or have taken the steps they may. */
static void step_videos(Block b, int alone) {
    const Decoder *d = b.decoder;
    for (int steps = 0; steps < b.steps; steps++) {
        Block going = part_of(&b, 0, 0);
        for (int v = 0, number; v < b.videos; v++) {
            if (d->finished[number = b.video[v].number]) continue;
            b.video[v].start = d->length[number];
            going.chunks = LARGEST(going.chunks, CHUNKS_OF(b.video[v].start + GROUP));
            b.video[going.videos++] = b.video[v];
        }
        b.videos = going.videos;
        if (b.videos == 0) return;
        run_layers(&going, embed_group, alone);
        for (int v = 0; v < b.videos; v++) d->length[b.video[v].number] += GROUP;
    }
}

static void step_one(const Block *b, int i) { step_videos(part_of(b, i, 1), 1); }

/* Take steps with every video that has not finished, so many at most. Returns the most that one has taken, or
 * -1 if they do not fit the cache. */
int32_t decode_steps(const Decoder *d, void *scratch, int32_t most) {
    Block b = block_of(d, GROUP, scratch);
    if (b.videos == 0) return 0;
    if (!fits(&b, most * GROUP)) return -1;
    b.steps = most;
    int before = d->taken[b.video[0].number], taken = before; /* the same for all that have not finished */
    share_videos(&b, step_one, step_videos);
    for (int i = 0; i < d->batch; i++) taken = LARGEST(taken, d->taken[i]);
    for (int i = 0; i < d->batch * GROUP; i++)
        if (d->taken[i / GROUP] < taken) d->fed[i] = d->vocabulary - 1; /* finished before the last step */
    return (taken - before) / GROUP;
}
