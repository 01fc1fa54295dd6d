// Attention of each place of a map to the window around it (arXiv 1906.05909), and its gradient, on a CPU.
// Queries are numbered along the rows of a map with a margin, y pitch + x, so that the key of each query at one place of
// the window is at one distance, and 16 neighbouring queries are computed at once. Keys and values have zeros in the
// margin; what is between the rows of queries is computed and dropped. Numbers are float32, in bf16 if the map is.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define TILE 128     // queries whose logits are in memory at once
#define PLACES 7     // places of the window that are computed at once
#define CHANNELS 8   // channels that are computed at once
#define OUTSIDE -1e4f

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));
typedef uint16_t bf16;

typedef struct {
    int64_t batch, heads, width, h, w, window, masked, is_bf16, threads;  // width: channels of a head
} Shape;

typedef struct {  // the memory of one thread
    int64_t pitch, queries, slack, plane, channels, places, stride;
    int64_t *distances;                                     // [places], of a key from its query
    float *q, *k, *v, *out, *dq, *dk, *dv;                  // [channels, plane]; in the backward pass out is its gradient
    float *border;                                          // [plane], logits of keys outside of the image
    float *shares, *slopes;                                 // [places, slack + TILE + slack]: softmax, gradient of logits
    float *row_terms, *column_terms;                        // [window, TILE]
    void *memory;
} Work;

static inline int64_t round_up(int64_t number, int64_t unit) { return (number + unit - 1) / unit * unit; }

static inline vector load(const float *place) {
    vector result;
    memcpy(&result, place, sizeof result);
    return result;
}

static inline void store(float *place, vector numbers) { memcpy(place, &numbers, sizeof numbers); }

static inline vector choose(integers condition, vector yes, vector no) {
    return (vector)((condition & (integers)yes) | (~condition & (integers)no));
}

static inline float sum(vector numbers) {
    float result = 0;
    for (int i = 0; i < LANES; i++) result += numbers[i];
    return result;
}

// e^x for x <= 0, as 2^n e^f with |f| <= ln(2) / 2; NaN stays NaN
static inline vector exponential(vector x) {
    const vector lowest = (vector){} - 87.0f, magic = (vector){} + 12582912.0f;  // 1.5 2^23, which rounds
    x = choose(x < lowest, lowest, x);
    vector n = (x * 1.44269504f + magic) - magic;
    vector f = x - n * 0.693359375f + n * 2.12194440e-4f;
    vector p = f * 1.98412698e-4f + 1.38888889e-3f;
    p = p * f + 8.33333333e-3f;
    p = p * f + 4.16666667e-2f;
    p = p * f + 1.66666667e-1f;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    integers bits = (__builtin_convertvector(n, integers) + 127) << 23;
    return p * (vector)bits;
}

static int make_work(Work *work, const Shape *s) {
    int64_t margin = s->window / 2;
    work->pitch = s->w + 2 * margin;
    work->queries = round_up(s->h * work->pitch, LANES);
    work->slack = round_up(s->window, LANES);
    work->plane = work->slack + round_up((s->h + 2 * margin) * work->pitch, LANES) + 2 * LANES + work->slack;
    work->channels = round_up(s->width, CHANNELS);
    work->places = round_up(s->window * s->window, PLACES);
    work->stride = work->slack + TILE + work->slack;
    int64_t maps = work->channels * work->plane, tiles = work->places * work->stride;
    int64_t floats = 7 * maps + work->plane + 2 * tiles + 2 * s->window * TILE;
    float *next = work->memory = calloc(floats + 2 * work->places, sizeof(float));
    if (!next) return 0;
    float **parts[] = {&work->q, &work->k, &work->v, &work->out, &work->dq, &work->dk, &work->dv};
    for (int i = 0; i < 7; i++, next += maps) *parts[i] = next + work->slack;
    work->border = next + work->slack, next += work->plane;
    work->shares = next + work->slack, next += tiles;
    work->slopes = next + work->slack, next += tiles;
    work->row_terms = next, next += s->window * TILE;
    work->column_terms = next, next += s->window * TILE;
    work->distances = (int64_t *)next;
    for (int64_t place = 0; place < s->window * s->window; place++)
        work->distances[place] = place / s->window * work->pitch + place % s->window;
    for (int64_t j = 0; s->masked && j < (s->h + 2 * margin) * work->pitch; j++) {
        int64_t y = j / work->pitch - margin, x = j % work->pitch - margin;
        work->border[j] = y < 0 || y >= s->h || x < 0 || x >= s->w ? OUTSIDE : 0;
    }
    return 1;
}

// Copy a head of a map [width, h, w] to planes, or back; ``start`` is the place of the first pixel in a plane.
static void pack(const Shape *s, const Work *work, const void *map, int64_t first, int64_t start, float *planes) {
    for (int64_t c = 0; c < s->width; c++)
        for (int64_t y = 0; y < s->h; y++) {
            int64_t from = first + (c * s->h + y) * s->w;
            float *row = planes + c * work->plane + start + y * work->pitch;
            if (!s->is_bf16) {
                memcpy(row, (const float *)map + from, s->w * sizeof(float));
                continue;
            }
            for (int64_t x = 0; x < s->w; x++) {
                uint32_t bits = (uint32_t)((const bf16 *)map)[from + x] << 16;
                memcpy(row + x, &bits, 4);
            }
        }
}

static void unpack(const Shape *s, const Work *work, const float *planes, int64_t start, void *map, int64_t first) {
    for (int64_t c = 0; c < s->width; c++)
        for (int64_t y = 0; y < s->h; y++) {
            int64_t to = first + (c * s->h + y) * s->w;
            const float *row = planes + c * work->plane + start + y * work->pitch;
            if (!s->is_bf16) {
                memcpy((float *)map + to, row, s->w * sizeof(float));
                continue;
            }
            for (int64_t x = 0; x < s->w; x++) {  // to the nearest, ties to even
                uint32_t bits;
                memcpy(&bits, row + x, 4);
                ((bf16 *)map)[to + x] = row[x] != row[x] ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
            }
        }
}

// products[place][i] = sum over channels of a[i] b[i + distance]
static void multiply(const Work *work, int64_t width, int64_t count, const float *a, const float *b, float *products) {
    for (int64_t i = 0; i < count; i += LANES)
        for (int64_t place = 0; place < work->places; place += PLACES) {
            vector total[PLACES] = {};
            const int64_t *distances = work->distances + place;
            for (int64_t c = 0; c < width; c++) {
                vector left = load(a + c * work->plane + i);
                const float *right = b + c * work->plane + i;
                for (int n = 0; n < PLACES; n++) total[n] += left * load(right + distances[n]);
            }
            for (int n = 0; n < PLACES; n++) store(products + (place + n) * work->stride + i, total[n]);
        }
}

// out[channel][i] = sum over places of weights[place][i] b[channel][i + distance]
static void mix(const Work *work, int64_t places, int64_t count, const float *weights, const float *b, float *out) {
    for (int64_t i = 0; i < count; i += LANES)
        for (int64_t c = 0; c < work->channels; c += CHANNELS) {
            vector total[CHANNELS] = {};
            for (int64_t place = 0; place < places; place++) {
                vector weight = load(weights + place * work->stride + i);
                const float *right = b + c * work->plane + i + work->distances[place];
                for (int n = 0; n < CHANNELS; n++) total[n] += weight * load(right + n * work->plane);
            }
            for (int n = 0; n < CHANNELS; n++) store(out + (c + n) * work->plane + i, total[n]);
        }
}

// out[channel][i + distance] += weights[place][i] a[channel][i], for all places: the gradient of both functions above
static void spread(const Work *work, int64_t window, int64_t count, const float *weights, const float *a, float *out) {
    for (int64_t row = 0; row < window; row++)
        for (int64_t i = 0; i < round_up(count + window - 1, LANES); i += LANES)
            for (int64_t c = 0; c < work->channels; c += CHANNELS) {
                vector total[CHANNELS];
                float *target = out + c * work->plane + row * work->pitch + i;
                for (int n = 0; n < CHANNELS; n++) total[n] = load(target + n * work->plane);
                for (int64_t column = 0; column < window; column++) {
                    vector weight = load(weights + (row * window + column) * work->stride + i - column);
                    const float *left = a + c * work->plane + i - column;
                    for (int n = 0; n < CHANNELS; n++) total[n] += weight * load(left + n * work->plane);
                }
                for (int n = 0; n < CHANNELS; n++) store(target + n * work->plane, total[n]);
            }
}

// terms[i] = sum over channels of table[row][channel] q[channel][i], for each row of a table [window, width]
static void project(const Work *work, int64_t window, int64_t width, int64_t count, const float *table, const float *q,
                    float *terms) {
    for (int64_t row = 0; row < window; row++)
        for (int64_t i = 0; i < count; i += LANES) {
            vector total = {};
            for (int64_t c = 0; c < width; c++) total += table[row * width + c] * load(q + c * work->plane + i);
            store(terms + row * TILE + i, total);
        }
}

// The gradient of project: terms are those of the terms; the gradient of q and of the table is added to.
static void project_back(const Work *work, int64_t window, int64_t width, int64_t count, const float *table,
                         const float *q, const float *terms, float *dq, float *dtable) {
    for (int64_t c = 0; c < width; c++)
        for (int64_t row = 0; row < window; row++) {
            vector total = {};
            for (int64_t i = 0; i < count; i += LANES) {
                vector term = load(terms + row * TILE + i);
                float *target = dq + c * work->plane + i;
                total += term * load(q + c * work->plane + i);
                store(target, load(target) + table[row * width + c] * term);
            }
            dtable[row * width + c] += sum(total);
        }
}

// Softmax over the places of the logits in work->shares and the terms
static void normalize(const Work *work, int64_t window, int64_t count, int64_t first, int64_t masked) {
    for (int64_t i = 0; i < count; i += LANES) {
        vector highest = (vector){} - 3.0e38f, total = {};
        float *shares = work->shares + i;
        for (int64_t row = 0, place = 0; row < window; row++) {
            vector term = load(work->row_terms + row * TILE + i);
            for (int64_t column = 0; column < window; column++, place++) {
                vector logit = load(shares + place * work->stride) + term + load(work->column_terms + column * TILE + i);
                if (masked) logit += load(work->border + first + i + work->distances[place]);
                highest = choose(logit > highest, logit, highest);
                store(shares + place * work->stride, logit);
            }
        }
        for (int64_t place = 0; place < window * window; place++) {
            vector share = exponential(load(shares + place * work->stride) - highest);
            total += share;
            store(shares + place * work->stride, share);
        }
        vector scale = 1.0f / total;
        for (int64_t place = 0; place < window * window; place++)
            store(shares + place * work->stride, load(shares + place * work->stride) * scale);
    }
}

// The gradient of softmax: work->slopes is that of the shares, and becomes that of the logits; the terms get theirs.
static void normalize_back(const Work *work, int64_t window, int64_t count) {
    memset(work->column_terms, 0, window * TILE * sizeof(float));
    for (int64_t i = 0; i < count; i += LANES) {
        vector mean = {};
        const float *shares = work->shares + i;
        float *slopes = work->slopes + i;
        for (int64_t place = 0; place < window * window; place++)
            mean += load(shares + place * work->stride) * load(slopes + place * work->stride);
        for (int64_t row = 0, place = 0; row < window; row++) {
            vector term = {};
            for (int64_t column = 0; column < window; column++, place++) {
                float *target = slopes + place * work->stride, *other = work->column_terms + column * TILE + i;
                vector slope = load(shares + place * work->stride) * (load(target) - mean);
                store(target, slope);
                store(other, load(other) + slope);
                term += slope;
            }
            store(work->row_terms + row * TILE + i, term);
        }
    }
}

// The softmax of the logits of ``count`` queries from the ``first``, in work->shares
static void attend(const Shape *s, const Work *work, int64_t first, int64_t count, const float *rows,
                   const float *columns) {
    int64_t half = s->width / 2;
    const float *q = work->q + first;
    project(work, s->window, half, count, rows, q, work->row_terms);
    project(work, s->window, s->width - half, count, columns, q + half * work->plane, work->column_terms);
    multiply(work, s->width, count, q, work->k + first, work->shares);
    normalize(work, s->window, count, first, s->masked);
}

static void clear_tail(const Work *work, int64_t count, float *tile) {
    for (int64_t place = 0; count < TILE && place < work->places; place++)
        memset(tile + place * work->stride + count, 0, (TILE - count) * sizeof(float));
}

static void load_head(const Shape *s, const Work *work, const void *map, int64_t image, int64_t head) {
    int64_t size = s->width * s->h * s->w, first = (3 * image * s->heads + head) * size, margin = s->window / 2;
    int64_t inside = margin * work->pitch + margin;
    pack(s, work, map, first, 0, work->q);
    pack(s, work, map, first + s->heads * size, inside, work->k);
    pack(s, work, map, first + 2 * s->heads * size, inside, work->v);
}

// map [B, 3 H d, h, w] of queries, keys and values, rows [window, d / 2], columns -> out [B, H d, h, w]; 0 without memory
int window_forward(const Shape *s, const void *map, const float *rows, const float *columns, void *out) {
    int done = 1;
#pragma omp parallel num_threads(s->threads) reduction(&& : done)
    {
        Work work;
        done = make_work(&work, s);
#pragma omp for
        for (int64_t item = 0; item < s->batch * s->heads; item++) {
            if (!done) continue;
            load_head(s, &work, map, item / s->heads, item % s->heads);
            for (int64_t first = 0; first < work.queries; first += TILE) {
                int64_t count = work.queries - first < TILE ? work.queries - first : TILE;
                attend(s, &work, first, count, rows, columns);
                mix(&work, s->window * s->window, count, work.shares, work.v + first, work.out + first);
            }
            unpack(s, &work, work.out, 0, out, item * s->width * s->h * s->w);
        }
        if (done) free(work.memory);
    }
    return done;
}

// The gradients of the map, and of the tables for each image and head, [B, H, window, ...], which are zeros before
int window_backward(const Shape *s, const void *map, const float *rows, const float *columns, const void *dout,
                    void *dmap, float *drows, float *dcolumns) {
    int done = 1;
    int64_t half = s->width / 2, rest = s->width - half, size = s->width * s->h * s->w;
#pragma omp parallel num_threads(s->threads) reduction(&& : done)
    {
        Work work;
        done = make_work(&work, s);
#pragma omp for
        for (int64_t item = 0; item < s->batch * s->heads; item++) {
            if (!done) continue;
            int64_t image = item / s->heads, head = item % s->heads, first_out = (3 * image * s->heads + head) * size;
            int64_t inside = s->window / 2 * (work.pitch + 1);
            load_head(s, &work, map, image, head);
            pack(s, &work, dout, item * size, 0, work.out);
            memset(work.dk - work.slack, 0, 2 * work.channels * work.plane * sizeof(float));
            for (int64_t first = 0; first < work.queries; first += TILE) {
                int64_t count = work.queries - first < TILE ? work.queries - first : TILE;
                float *q = work.q + first, *dq = work.dq + first, *out = work.out + first;
                attend(s, &work, first, count, rows, columns);
                multiply(&work, s->width, count, out, work.v + first, work.slopes);
                normalize_back(&work, s->window, count);
                clear_tail(&work, count, work.shares);
                clear_tail(&work, count, work.slopes);
                mix(&work, s->window * s->window, count, work.slopes, work.k + first, dq);
                spread(&work, s->window, count, work.slopes, q, work.dk + first);
                spread(&work, s->window, count, work.shares, out, work.dv + first);
                float *drow = drows + item * s->window * half, *dcolumn = dcolumns + item * s->window * rest;
                project_back(&work, s->window, half, count, rows, q, work.row_terms, dq, drow);
                project_back(&work, s->window, rest, count, columns, q + half * work.plane, work.column_terms,
                             dq + half * work.plane, dcolumn);
            }
            unpack(s, &work, work.dq, 0, dmap, first_out);
            unpack(s, &work, work.dk, inside, dmap, first_out + s->heads * size);
            unpack(s, &work, work.dv, inside, dmap, first_out + 2 * s->heads * size);
        }
        if (done) free(work.memory);
    }
    return done;
}
