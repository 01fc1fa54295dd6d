// Attention for bfloat16 on a CPU with AVX512-BF16: softmax(scale q k^T) v of each head in one pass, without logits and
// weights in main memory and without copies of queries, keys and values.
// Products are summed in float32, the softmax is computed in float32; weights before their normalization, which is
// applied to the result, and the result are rounded to bfloat16.
#include <stdint.h>
#include <string.h>

#ifdef __AVX512BF16__
#include <immintrin.h>
#include <omp.h>

#define LANES 16  // float32 numbers of a vector, and pairs of bfloat16
#define ROWS 6    // queries at once: their sums in 4 vectors each leave 8 of 32 registers
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;

typedef struct {
    int64_t batch, head, row;
} Strides;  // in numbers; those of a row are adjacent

typedef struct {
    int64_t batch, heads, queries, keys, width, causal, threads;
    Strides q, k, v;
} Sizes;  // width: of a head, a multiple of LANES

INLINE int64_t pad(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// 2^x: 2^n 2^f, n an integer and |f| <= 1/2, where the polynomial's relative error is below 3e-6. NaN stays NaN.
INLINE __m512 power_of_two(__m512 x) {
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.3333558e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

// Transpose 16 vectors of 16 pairs.
INLINE void transpose(__m512i rows[LANES]) {
    __m512i t[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        t[i] = i % 2 ? _mm512_unpackhi_epi32(rows[i - 1], rows[i]) : _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        int low = i / 4 * 4 + i % 4 / 2;
        rows[i] = i % 2 ? _mm512_unpackhi_epi64(t[low], t[low + 2]) : _mm512_unpacklo_epi64(t[low], t[low + 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        int low = i / 8 * 8 + i % 4;
        t[i] = i % 8 / 4 ? _mm512_shuffle_i32x4(rows[low], rows[low + 4], 0xdd)
                         : _mm512_shuffle_i32x4(rows[low], rows[low + 4], 0x88);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        int low = i % 8;
        rows[i] = i / 8 ? _mm512_shuffle_i32x4(t[low], t[low + 8], 0xdd)
                        : _mm512_shuffle_i32x4(t[low], t[low + 8], 0x88);
    }
}

// Vectors of the next panel, at most 4: `rest` vectors are divided into panels of about the same size.
INLINE int64_t next_panel(int64_t rest) {
    int64_t panels = (rest + 3) / 4;
    return (rest + panels - 1) / panels;
}

// Keys [N, width] to pairs of neighbouring numbers of a key, in panels [width / 2, vectors of keys]; 0 for the keys that
// fill up.
static void pack_keys(const bf16 *k, int64_t stride, int64_t keys, int64_t width, uint32_t *packed) {
    int64_t pairs = width / 2, first = 0;
    for (int64_t rest = pad(keys) / LANES, taken; rest > 0; rest -= taken, packed += taken * LANES * pairs) {
        taken = next_panel(rest);
        for (int64_t vector = 0; vector < taken; vector++, first += LANES)
            for (int64_t pair = 0; pair < pairs; pair += LANES) {
                int64_t count = pairs - pair < LANES ? pairs - pair : LANES;
                __mmask16 mask = (__mmask16)((1u << count) - 1);
                __m512i block[LANES];
                for (int i = 0; i < LANES; i++) {
                    const bf16 *place = k + (first + i) * stride + 2 * pair;
                    block[i] = first + i < keys ? _mm512_maskz_loadu_epi32(mask, place) : _mm512_setzero_si512();
                }
                transpose(block);
                for (int i = 0; i < count; i++)
                    _mm512_store_si512(packed + ((pair + i) * taken + vector) * LANES, block[i]);
            }
    }
}

// Values [N, width] to pairs of neighbouring keys, in panels [padded N / 2, vectors of the width]; 0 for the keys that
// fill up.
static void pack_values(const bf16 *v, int64_t stride, int64_t keys, int64_t width, uint32_t *packed) {
    int64_t pairs = pad(keys) / 2;
    for (int64_t rest = width / LANES, taken; rest > 0; rest -= taken, v += taken * LANES) {
        taken = next_panel(rest);
        for (int64_t pair = 0; pair < pairs; pair++)
            for (int64_t vector = 0; vector < taken; vector++, packed += LANES) {
                __m512i two = _mm512_setzero_si512();
                const bf16 *place = v + 2 * pair * stride + vector * LANES;
                if (2 * pair < keys) two = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)place));
                if (2 * pair + 1 < keys) {
                    __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(place + stride)));
                    two = _mm512_or_si512(two, _mm512_slli_epi32(next, 16));
                }
                _mm512_store_si512(packed, two);
            }
    }
}

// Products of ROWS rows of pairs with a panel of so many vectors.
INLINE void multiply_panel(
    const bf16 *const left[ROWS], const uint32_t *right, int64_t columns, int64_t pairs, float *out, const int vectors
) {
    __m512 sums[ROWS][4];
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) sums[row][i] = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < pairs; pair++) {
        __m512bh factors[4];
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++)
            factors[i] = (__m512bh)_mm512_load_si512(right + (pair * vectors + i) * LANES);
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; row++) {
            int32_t two;
            memcpy(&two, left[row] + 2 * pair, 4);
            __m512bh factor = (__m512bh)_mm512_set1_epi32(two);
#pragma GCC unroll 4
            for (int i = 0; i < vectors; i++) sums[row][i] = _mm512_dpbf16_ps(sums[row][i], factor, factors[i]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) _mm512_store_ps(out + row * columns + i * LANES, sums[row][i]);
}

// Products [ROWS, columns] of ROWS rows of `pairs` pairs with packed panels.
static void multiply(const bf16 *const left[ROWS], const uint32_t *right, int64_t columns, int64_t pairs, float *out) {
    for (int64_t rest = columns / LANES, taken; rest > 0; rest -= taken, out += taken * LANES) {
        taken = next_panel(rest);
        switch (taken) {
            case 4: multiply_panel(left, right, columns, pairs, out, 4); break;
            case 3: multiply_panel(left, right, columns, pairs, out, 3); break;
            case 2: multiply_panel(left, right, columns, pairs, out, 2); break;
            default: multiply_panel(left, right, columns, pairs, out, 1);
        }
        right += taken * LANES * pairs;
    }
}

// Weights 2^(scale (logit - largest)) of one query for the first `keys` keys, 0 for the others; return their sum.
static float weigh(const float *logits, int64_t keys, int64_t padded, float scale, bf16 *weights) {
    __m512 largest = _mm512_set1_ps(-__builtin_inff()), sum = _mm512_setzero_ps(), factor = _mm512_set1_ps(scale);
    for (int64_t i = 0; i < keys; i += LANES) {
        __mmask16 mask = keys - i < LANES ? (__mmask16)((1u << (keys - i)) - 1) : 0xffff;
        largest = _mm512_mask_max_ps(largest, mask, largest, _mm512_load_ps(logits + i));
    }
    __m512 shift = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    for (int64_t i = 0; i < padded; i += LANES) {
        __mmask16 mask = keys - i >= LANES ? 0xffff : keys > i ? (__mmask16)((1u << (keys - i)) - 1) : 0;
        __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(logits + i), shift), factor);
        __m512 weight = _mm512_maskz_mov_ps(mask, power_of_two(x));
        sum = _mm512_add_ps(sum, weight);
        _mm256_store_si256((void *)(weights + i), (__m256i)_mm512_cvtneps_pbh(weight));
    }
    return _mm512_reduce_add_ps(sum);
}

// Attention of one head; `scratch` has measure_scratch() bytes.
static void attend(
    const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, const Sizes *s, float scale, unsigned char *scratch
) {
    int64_t padded = pad(s->keys), width = s->width;
    uint32_t *keys = (uint32_t *)scratch, *values = keys + width / 2 * padded;
    float *logits = (float *)(values + padded / 2 * width), *mixed = logits + ROWS * padded;
    bf16 *weights = (bf16 *)(mixed + ROWS * width);
    pack_keys(k, s->k.row, s->keys, width, keys);
    pack_values(v, s->v.row, s->keys, width, values);
    for (int64_t first = 0; first < s->queries; first += ROWS) {
        const bf16 *rows[ROWS], *weighted[ROWS];
        float sums[ROWS];
        for (int i = 0; i < ROWS; i++) {  // the last query in place of those beyond it
            rows[i] = q + (first + i < s->queries ? first + i : s->queries - 1) * s->q.row;
            weighted[i] = weights + i * padded;
        }
        multiply(rows, keys, padded, width / 2, logits);
        for (int i = 0; i < ROWS; i++) {
            int64_t seen = s->causal && first + i < s->keys ? first + i + 1 : s->keys;
            sums[i] = weigh(logits + i * padded, seen, padded, scale, weights + i * padded);
        }
        multiply(weighted, values, width, padded / 2, mixed);
        for (int i = 0; i < ROWS && first + i < s->queries; i++) {
            bf16 *row = out + (first + i) * s->heads * width;
            __m512 factor = _mm512_set1_ps(1.0f / sums[i]);
            for (int64_t c = 0; c < width; c += LANES) {
                __m512 x = _mm512_mul_ps(_mm512_load_ps(mixed + i * width + c), factor);
                _mm256_storeu_si256((void *)(row + c), (__m256i)_mm512_cvtneps_pbh(x));
            }
        }
    }
}

// Bytes that each thread needs, a multiple of 64.
int64_t measure_scratch(int64_t keys, int64_t width) {
    int64_t padded = pad(keys);
    return 4 * width * padded + 4 * ROWS * (padded + width) + pad(ROWS / 2 * padded) * 4;
}

// q, k, v [batch, heads, N, width] of any strides to out [batch, queries, heads, width].
void attention_forward(
    const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, const Sizes *s, float scale, unsigned char *scratch
) {
    float binary = scale * 1.44269504f;  // for powers of two
    int64_t bytes = measure_scratch(s->keys, s->width);
#pragma omp parallel for num_threads(s->threads) if (s->threads > 1)
    for (int64_t item = 0; item < s->batch * s->heads; item++) {
        int64_t b = item / s->heads, h = item % s->heads;
        attend(
            q + b * s->q.batch + h * s->q.head,
            k + b * s->k.batch + h * s->k.head,
            v + b * s->v.batch + h * s->v.head,
            out + (b * s->queries * s->heads + h) * s->width,
            s,
            binary,
            scratch + omp_get_thread_num() * bytes
        );
    }
}
#endif
