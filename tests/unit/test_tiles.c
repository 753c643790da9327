/*
 * tests/support/tiles.h: the emulated instructions do what the manual says, on tiles
 * computed by hand, in every encoding that a compiler chooses; what a processor refuses
 * ends the process.  With tiles in the processor the same tests hold it to the same.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "tests/support/tiles.h"

#if defined(__x86_64__)

#define WITH_TILES __attribute__((target("amx-tile,amx-int8")))

struct config {
	uint8_t palette, start_row, reserved[14];
	uint16_t bytes[16];
	uint8_t rows[16];
};

/* 0, 4: (2, 3) sums; 1: a (2, 8); 2: b (2, 12); 3: (16, 64); 7: as 3 */
static const struct config shapes = {
    .palette = 1,
    .bytes = {12, 8, 12, 64, 12, 0, 0, 64},
    .rows = {2, 2, 2, 16, 2, 0, 0, 16},
};

static void
begin(void)
{
	const char *why = tiles_start();

	if (why) {
		print_message("%s\n", why);
		skip();
	}
}

WITH_TILES static void
load_shapes(const struct config *config)
{
	__asm__ volatile("ldtilecfg %0" : : "m"(*config));
}

WITH_TILES static void
test_config(void **state)
{
	struct config back, on_stack = shapes, none = {0};

	(void)state;
	begin();
	load_shapes(&on_stack);
	memset(&back, 1, sizeof back);
	__asm__ volatile("sttilecfg %0" : "=m"(back));
	assert_memory_equal(&back, &shapes, sizeof back);
	/* Addressed from the instruction pointer, too. */
	__asm__ volatile("ldtilecfg %0" : : "m"(shapes));
	__asm__ volatile("sttilecfg %0" : "=m"(back));
	assert_memory_equal(&back, &shapes, sizeof back);
	__asm__ volatile("tilerelease" : :);
	__asm__ volatile("sttilecfg %0" : "=m"(back));
	assert_memory_equal(&back, &none, sizeof back);
}

/* One addressing form of a load and the same of a store, on tile t: 2 rows of 12 bytes
 * that lie 32 apart, the first 128 behind `from` and `to`. */
#define MOVE(name, t, base, base_offset, index, stride, operand)                 \
	WITH_TILES static void name(const uint8_t *from, uint8_t *to)            \
	{                                                                        \
		register const uint8_t *at __asm__(base) = from + (base_offset); \
		register size_t step __asm__(index) = (stride);                  \
		__asm__ volatile("tileloadd " operand ", %%tmm" #t               \
				 :                                               \
				 : "r"(at), "r"(step)                            \
				 : "memory");                                    \
		at = to + (base_offset);                                         \
		step = (stride);                                                 \
		__asm__ volatile("tilestored %%tmm" #t ", " operand              \
				 :                                               \
				 : "r"(at), "r"(step)                            \
				 : "memory");                                    \
	}
MOVE(move_plain, 0, "rax", 128, "rdx", 32, "(%0,%1,1)")
MOVE(move_high, 4, "r8", 128, "r9", 32, "(%0,%1,1)")
MOVE(move_r12, 0, "r12", 128, "rdx", 0, "(%0)") /* no index: row 0 twice */
MOVE(move_r13, 2, "r13", 128, "r15", 32, "(%0,%1,1)")
MOVE(move_scaled, 0, "rsi", 128, "rdi", 8, "(%0,%1,4)")
MOVE(move_near, 0, "r10", 192, "r11", 16, "-64(%0,%1,2)")
MOVE(move_far, 4, "r14", 128 - 4096, "rcx", 4, "4096(%0,%1,8)")

static void
test_moves(void **state)
{
	static const struct {
		void (*move)(const uint8_t *, uint8_t *);
		size_t stride;
	} forms[] = {
	    {move_plain, 32},
	    {move_high, 32},
	    {move_r12, 0},
	    {move_r13, 32},
	    {move_scaled, 32},
	    {move_near, 32},
	    {move_far, 32},
	};
	/* With room below for a base that lies 4096 before. */
	static uint8_t from[8192], to[8192], want[8192];

	(void)state;
	begin();
	load_shapes(&shapes);
	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
		memset(to, 0xEE, sizeof to);
		memset(want, 0xEE, sizeof want);
		for (size_t r = 0; r < 2; r++)
			memcpy(want + 4096 + 128 + r * forms[f].stride,
			    from + 4096 + 128 + r * forms[f].stride, 12);
		forms[f].move(from + 4096, to + 4096);
		assert_memory_equal(to, want, sizeof to);
	}
}

static void
test_zero(void **state)
{
	uint8_t full[1024], back[1024], none[1024] = {0};

	(void)state;
	begin();
	load_shapes(&shapes);
	memset(full, 0x5A, sizeof full);
	__asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm7"
			 :
			 : "r"(full), "r"((size_t)64)
			 : "memory");
	__asm__ volatile("tilestored %%tmm7, (%0,%1,1)"
			 :
			 : "r"(back), "r"((size_t)64)
			 : "memory");
	assert_memory_equal(back, full, sizeof full);
	__asm__ volatile("tilezero %%tmm7" : :);
	__asm__ volatile("tilestored %%tmm7, (%0,%1,1)"
			 :
			 : "r"(back), "r"((size_t)64)
			 : "memory");
	assert_memory_equal(back, none, sizeof none);
	/* A configuration begins with zeros. */
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm7"
			 :
			 : "r"(full), "r"((size_t)64)
			 : "memory");
	load_shapes(&shapes);
	__asm__ volatile("tilestored %%tmm7, (%0,%1,1)"
			 :
			 : "r"(back), "r"((size_t)64)
			 : "memory");
	assert_memory_equal(back, none, sizeof none);
}

/* (2, 3) sums := start + a (2, 8) b, where b's rows are 3 x 4 bytes of 4 rows each. */
#define PRODUCT(name)                                                                  \
	WITH_TILES static void name(int32_t *sums, const uint8_t *a, const uint8_t *b) \
	{                                                                              \
		__asm__ volatile(                                                      \
		    "tileloadd (%0,%3,1), %%tmm4\n\t"                                  \
		    "tileloadd (%1,%4,1), %%tmm1\n\t"                                  \
		    "tileloadd (%2,%3,1), %%tmm2\n\t" #name                            \
		    " %%tmm2, %%tmm1, %%tmm4\n\t"                                      \
		    "tilestored %%tmm4, (%0,%3,1)"                                     \
		    :                                                                  \
		    : "r"(sums), "r"(a), "r"(b), "r"((size_t)12), "r"((size_t)8)       \
		    : "memory");                                                       \
	}
PRODUCT(tdpbssd)
PRODUCT(tdpbsud)
PRODUCT(tdpbusd)
PRODUCT(tdpbuud)

static void
test_products(void **state)
{
	/* -1 is 255 and -128 is 128 without a sign. */
	static const uint8_t a[16] = {1, 2, 3, 4, 255, 0, 0, 0, /* row 0 */
	    128, 0, 0, 0, 0, 0, 0, 2};
	static const uint8_t b[24] = {1, 1, 1, 1, 10, 0, 0, 0, 255, 0, 0,
	    1, /* of a's first four */
	    1, 0, 0, 3, 2, 0, 0, 0, 128, 0, 0, 200};
	static const int32_t start[6] = {100, 200, 300, 400, 500, INT32_MAX};
	static const struct {
		void (*product)(int32_t *, const uint8_t *, const uint8_t *);
		int32_t want[6]; /* less `start` */
	} ops[] = {
	    {tdpbssd, {10 - 1, 10 - 2, -1 + 4 + 128, -128 + 6, -1280, 128 - 112}},
	    {tdpbsud,
		{10 - 1, 10 - 2, 255 + 4 - 128, -128 + 6, -1280, -128 * 255 + 400}},
	    {tdpbusd,
		{10 + 255, 10 + 510, -1 + 4 - 255 * 128, 128 + 6, 1280, -128 - 112}},
	    {tdpbuud, {10 + 255, 10 + 510, 255 + 4 + 255 * 128, 128 + 6, 1280,
			  128 * 255 + 400}},
	};

	(void)state;
	begin();
	load_shapes(&shapes);
	for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++) {
		int32_t sums[6];
		memcpy(sums, start, sizeof sums);
		ops[o].product(sums, a, b);
		for (size_t i = 0; i < 6; i++) /* modulo 2^32 */
			assert_int_equal((uint32_t)sums[i],
			    (uint32_t)start[i] + (uint32_t)ops[o].want[i]);
	}
}

/* What must end a process. */
WITH_TILES static void
before_config(void)
{
	__asm__ volatile("tilerelease\n\ttilezero %%tmm0" : :);
}

WITH_TILES static void
without_shape(void)
{
	load_shapes(&shapes);
	__asm__ volatile("tilezero %%tmm5" : :);
}

WITH_TILES static void
shapes_differ(void)
{
	load_shapes(&shapes);
	__asm__ volatile("tdpbssd %%tmm2, %%tmm1, %%tmm3" : :);
}

WITH_TILES static void
same_tile(void)
{
	load_shapes(&shapes);
	/* tdpbssd %tmm3, %tmm3, %tmm7, which an assembler refuses */
	__asm__ volatile(".byte 0xC4, 0xE2, 0x63, 0x5E, 0xFB" : :);
}

static void
reserved_byte(void)
{
	struct config config = shapes;

	config.reserved[3] = 1;
	load_shapes(&config);
}

static void
too_many_rows(void)
{
	struct config config = shapes;

	config.rows[3] = 17;
	load_shapes(&config);
}

static void
unknown_palette(void)
{
	struct config config = shapes;

	config.palette = 2;
	load_shapes(&config);
}

static void
not_a_tile(void)
{
	__asm__ volatile("ud2" : :);
}

static void
test_refused(void **state)
{
	void (*const wrong[])(void) = {before_config, without_shape, shapes_differ,
	    same_tile, reserved_byte, too_many_rows, unknown_palette, not_a_tile};

	(void)state;
	begin();
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		int status;
		pid_t child = fork();
		assert_int_not_equal(child, -1);
		if (child == 0) {
			struct rlimit no_core = {0, 0};
			setrlimit(RLIMIT_CORE, &no_core);
			/* cmocka's own would turn these into a failed test. */
			if (cpu_has(CPU_AMX))
				signal(SIGILL, SIG_DFL);
			signal(SIGSEGV, SIG_DFL);
			wrong[i]();
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		if (wrong[i] == not_a_tile)
			assert_int_equal(WTERMSIG(status), SIGILL);
		else if (!cpu_has(CPU_AMX))
			assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

#else

static void
test_config(void **state)
{
	(void)state;
	print_message("%s\n", tiles_start());
	skip();
}
#define test_moves test_config
#define test_zero test_config
#define test_products test_config
#define test_refused test_config

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_moves),
	    cmocka_unit_test(test_zero),
	    cmocka_unit_test(test_products),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
