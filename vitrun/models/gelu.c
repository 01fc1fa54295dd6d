// GELU and its derivative for bfloat16 on a CPU: the tanh form x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)), and the
// quick form of CLIP and ImageGPT, x sigmoid(1.702 x).
// Computed in float32 and rounded once; NaN stays NaN.
#include <math.h>
#include <stdint.h>
#include <string.h>

#define SERIAL 32768  // numbers for which starting threads does not pay

typedef uint16_t bf16;
static const float LINEAR = 1.5957691216f, CUBIC = 0.0713548163f;  // 2 sqrt(2/pi), and 0.044715 times that
static const float QUICK = 1.702f;

static inline float widen(bf16 number) {
    uint32_t bits = (uint32_t)number << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

static inline bf16 narrow(float number) {  // to the nearest, ties to even
    uint32_t bits;
    memcpy(&bits, &number, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 1 / (1 + 2^t) with 2^t = 2^n 2^f, n an integer and |f| <= 1/2, where the polynomial's relative error is below 3e-6
static inline float sigmoid(float z) {
    float t = -1.44269504f * z;
    t = t < 126.0f ? t : 126.0f;
    t = t > -126.0f ? t : -126.0f;
    float n = rintf(t), f = t - n;
    float p = 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return t < 126.0f ? 1.0f / (1.0f + p * power) : 0.0f;
}

void gelu_forward(const bf16 *restrict x, bf16 *restrict y, int64_t count) {
#pragma omp parallel for simd if (count > SERIAL)
    for (int64_t i = 0; i < count; i++) {
        float v = widen(x[i]);
        y[i] = narrow(v * sigmoid(v * (LINEAR + CUBIC * v * v)));
    }
}

void gelu_backward(const bf16 *restrict x, const bf16 *restrict gradient, bf16 *restrict out, int64_t count) {
#pragma omp parallel for simd if (count > SERIAL)
    for (int64_t i = 0; i < count; i++) {
        float v = widen(x[i]), square = v * v;
        float s = sigmoid(v * (LINEAR + CUBIC * square));
        float slope = s * (1.0f + (1.0f - s) * v * (LINEAR + 3.0f * CUBIC * square));
        out[i] = narrow(widen(gradient[i]) * slope);
    }
}

void quick_gelu_forward(const bf16 *restrict x, bf16 *restrict y, int64_t count) {
#pragma omp parallel for simd if (count > SERIAL)
    for (int64_t i = 0; i < count; i++) {
        float v = widen(x[i]);
        y[i] = narrow(v * sigmoid(QUICK * v));
    }
}

void quick_gelu_backward(const bf16 *restrict x, const bf16 *restrict gradient, bf16 *restrict out, int64_t count) {
#pragma omp parallel for simd if (count > SERIAL)
    for (int64_t i = 0; i < count; i++) {
        float v = widen(x[i]), s = sigmoid(QUICK * v);
        out[i] = narrow(widen(gradient[i]) * (s * (1.0f + (1.0f - s) * QUICK * v)));
    }
}
