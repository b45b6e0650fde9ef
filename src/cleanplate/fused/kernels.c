/* The training step's passes over memory, on pictures laid out channels last, (N, H, W, C), C a multiple of LANES.
 *
 * Each pass is compiled once a number type: kernels.inc is included with its names and conversions. Vectors are the
 * compilers' own extension (GCC, Clang), so one source serves every processor. Sums go block by block, then in double,
 * thread by thread in order: with the same number of threads they are the same to the last bit. winograd.inc, which has
 * the convolutions of 3x3, sums in the numbers that it computes with, as torch does.
 */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Channels that are worked on at a time: as many floats as a register holds. Of wider vectors GCC keeps the sums of a
 * loop in memory, which made the passes four times slower than torch's own on processors without AVX-512.
 */
#if defined(LANES) /* as the compiler is told */
#elif defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define BLOCK 128 /* rows whose sums stay in registers */
#define TILES 24 /* of a convolution that are worked on at a time: a multiple of ROWS */
#define LOT_BYTES (1 << 20) /* of the numbers of tiles of a thread for the gradient of its weights */
#define SUM_BYTES (2 << 20) /* of their sums: more are shared among threads, where there are enough */
#define PANEL 16 /* channels that lie side by side in its products */
#define ROWS (3 * LANES / 4) /* of such a product, whose sums stay in registers */
#define COLUMNS (LANES == 16 ? 16 : LANES / 2) /* the same of the product for the gradient of its weights */
#define SUM_OF_TILE 7 /* of the 36 numbers of a tile of a gradient: the sum of its pixels */
#define UNROLLED _Pragma("GCC unroll 36")
#define ALWAYS_INLINE inline __attribute__((always_inline)) /* so that what is constant in a call is so in the code */

typedef uint16_t bfloat16;
typedef uint16_t halves __attribute__((vector_size(LANES * 2), aligned(2)));
typedef uint32_t words __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t signed_words __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int64_t signed_longs __attribute__((vector_size(LANES * 8), aligned(8)));
typedef float floats __attribute__((vector_size(LANES * 4), aligned(4)));
typedef double doubles __attribute__((vector_size(LANES * 8), aligned(8)));

#if defined(__AVX512F__) && LANES == 16 /* one instruction each, where GCC 12 makes four of the same conversions below */
static inline words widen(halves from) { return (words)_mm512_cvtepu16_epi32((__m256i)from); }
static inline halves narrow(words from) { return (halves)_mm512_cvtepi32_epi16((__m512i)from); }
#else
static inline words widen(halves from) { return __builtin_convertvector(from, words); }
static inline halves narrow(words from) { return __builtin_convertvector(from, halves); }
#endif

static inline floats load_bfloat16(const bfloat16 *from) { return (floats)(widen(*(const halves *)from) << 16); }

static inline void store_bfloat16(bfloat16 *to, floats value) { /* rounds to nearest, ties to even */
#if defined(__AVX512BF16__) && LANES == 16 /* makes 0 of what is below the smallest normal number */
    *(halves *)to = (halves)_mm512_cvtneps_pbh((__m512)value);
#else
    words bits = (words)value;
    *(halves *)to = narrow((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#endif
}

static inline floats load_float32(const float *from) { return *(const floats *)from; }
static inline void store_float32(float *to, floats value) { *(floats *)to = value; }
static inline doubles load_float64(const double *from) { return *(const doubles *)from; }
static inline void store_float64(double *to, doubles value) { *(doubles *)to = value; }

static inline long at_most(long a, long b) { return a < b ? a : b; }

/* Pictures' sides and channels, and where in them a tile of 4x4 pixels is; it may reach beyond their right and lower side. */
typedef struct {
    long height, width, channels;
} Size;

typedef struct {
    long picture, y, x;
} Place;

static inline long tiles_of(Size size) { return (size.height + 3) / 4 * ((size.width + 3) / 4); }

static inline Place place_of(long tile, Size size) {
    long across = (size.width + 3) / 4, within = tile % tiles_of(size);
    return (Place){tile / tiles_of(size), within / across * 4, within % across * 4};
}

/* Which of `count` lines, from `first` on, are among the `all` of a picture: a bit each. */
static inline int within(long first, int count, long all) {
    int bits = 0;
    for (int i = 0; i < count; i++) bits |= (first + i >= 0 && first + i < all) << i;
    return bits;
}

/* Among how many threads to share `panels` of results, whose sums take `bytes`; it divides their number. */
static inline long shares_of(long panels, long bytes, long threads) {
    long shares = 1;
    for (long more = 2; more <= at_most(panels, threads) && bytes / shares > SUM_BYTES; more++)
        if (threads % more == 0) shares = more;
    return shares;
}

/* Add up the threads' partial sums, `(threads, 2, channels)`, into the first. */
static void merge(double *sums, long channels) {
    for (int thread = 1; thread < omp_get_max_threads(); thread++)
        for (long c = 0; c < 2 * channels; c++) sums[c] += sums[thread * 2 * channels + c];
}

#define NAME_(what, type) what##_##type
#define NAME(what, type) NAME_(what, type)
#define LOAD(from) NAME(load, TYPE)(from)
#define STORE(to, value) NAME(store, TYPE)(to, value)
#define WIDE_LOAD(from) (*(const VECTOR *)(from))
#define WHERE_POSITIVE(x, value) ((VECTOR)((BITS)(value) & ~((x) <= 0))) /* a NaN stays one */
#define RELU(x) WHERE_POSITIVE(x, x)

#define TYPE bfloat16
#define NUMBER bfloat16
#define WIDE float
#define VECTOR floats
#define BITS signed_words
#include "winograd.inc"
#include "kernels.inc"

#define TYPE float32
#define NUMBER float
#define WIDE float
#define VECTOR floats
#define BITS signed_words
#include "winograd.inc"
#include "kernels.inc"

#define TYPE float64
#define NUMBER double
#define WIDE double
#define VECTOR doubles
#define BITS signed_longs
#include "winograd.inc"
#include "kernels.inc"
