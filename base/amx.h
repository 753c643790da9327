#ifndef BASE_AMX_H
#define BASE_AMX_H

#include <stddef.h>
#include <stdint.h>

/*
 * Tile registers of AMX: eight of up to 16 rows of 64 bytes, for files that are built
 * for it (%_amx.c) and run after cpu_has(CPU_AMX).
 *
 * Assembly, as gcc 12's intrinsics do not tell the compiler which memory they touch (of
 * a configuration, only the first 8 of its 64 bytes).  The compiler itself never uses a
 * tile.  Registers are named by their numbers, so these are macros.
 *
 * A thread's tiles are its own.  They are configured before each use: nothing is
 * remembered of what other code of the thread did to them.
 */
#define AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
/* Rows are `stride` bytes apart. */
#define AMX_LOAD(t, from, stride)                           \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t    \
			 :                                  \
			 : "r"(from), "r"((size_t)(stride)) \
			 : "memory")
#define AMX_STORE(t, to, stride)                             \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" \
			 :                                   \
			 : "r"(to), "r"((size_t)(stride))    \
			 : "memory")

/* What ldtilecfg reads. */
struct amx_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
};
_Static_assert(sizeof(struct amx_config) == 64, "the processor's layout");

/* Tile t gets rows[t] rows (1 .. 16) of 64 bytes. */
static inline void
amx_configure(const uint8_t rows[8])
{
	struct amx_config config = {.palette = 1};

	for (size_t t = 0; t < 8; t++) {
		config.row_bytes[t] = 64;
		config.rows[t] = rows[t];
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(config));
}

#endif /* BASE_AMX_H */
