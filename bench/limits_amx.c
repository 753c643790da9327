#include "base/amx.h"
#include "bench/limits.h"

#if defined(__x86_64__)

#define LOAD(t, from) "tileloadd (%" #from ",%4,1), %%tmm" #t "\n\t"
#define PRODUCT(c, a, b) "tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c "\n\t"

/* Two tiles of queries, from the second half of the bytes, meet two tiles of levels. */
static double
multiply(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	_Alignas(64) int32_t sums[256] = {0};

	amx_configure((const uint8_t[8]){16, 16, 16, 16, 16, 16, 16, 16});
	AMX_ZERO(0);
	AMX_ZERO(1);
	AMX_ZERO(2);
	AMX_ZERO(3);
	for (size_t round = 0; round < rounds; round++)
		for (size_t i = 0; i < bytes / 2; i += 2048) {
			const uint8_t *levels = at + i, *queries = levels + bytes / 2;
			__asm__ volatile(LOAD(4, 0) LOAD(6, 2) PRODUCT(0, 4, 6)
					     LOAD(7, 3) PRODUCT(1, 4, 7) LOAD(5, 1)
						 PRODUCT(2, 5, 6) PRODUCT(3, 5, 7)
					 :
					 : "r"(queries), "r"(queries + 1024),
					 "r"(levels), "r"(levels + 1024),
					 "r"((size_t)64)
					 : "memory");
		}
	AMX_STORE(0, sums, 64);
	__asm__ volatile("tilerelease" : :);
	*sink += (uint32_t)sums[0];
	const size_t pages = bytes / 4096;
	return 4.0 * 16 * 16 * 64 * (double)pages * (double)rounds;
}

static double
read_all(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	return limits_avx512.read(sink, at, bytes, rounds);
}

static double
count_bits(uint64_t *sink, const uint8_t *at, size_t bytes, size_t rounds)
{
	return limits_avx512.popcount(sink, at, bytes, rounds);
}

const struct limits limits_amx = {
    .level = CPU_AMX,
    .read = read_all,
    .popcount = count_bits,
    .products = multiply,
};

#endif /* __x86_64__ */
