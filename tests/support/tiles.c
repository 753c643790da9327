#include "tests/support/tiles.h"

#if !defined(__x86_64__)

const char *
tiles_start(void)
{
	return "tiles belong to x86-64";
}

size_t
tiles_emulated(void)
{
	return 0;
}

#else

#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/cpu.h"

#define TILES 8
#define ROWS_MAX 16
#define BYTES_MAX 64

struct tile {
	uint8_t rows, bytes; /* 0, 0: no shape */
	uint8_t data[ROWS_MAX][BYTES_MAX];
};

static _Thread_local struct {
	size_t emulated;
	uint8_t config[64]; /* as loaded; palette 0: none */
	struct tile tile[TILES];
} state;

_Noreturn static void
refuse(const char *why)
{
	static const char head[] = "tiles: ";

	if (write(2, head, sizeof head - 1) < 0 || write(2, why, strlen(why)) < 0 ||
	    write(2, "\n", 1) < 0)
		_exit(3);
	abort();
}

/* VEX prefix, opcode and operands of an instruction of map 0F38. */
struct instruction {
	uint8_t opcode, prefix; /* prefix: 0 none, 1 66, 2 F3, 3 F2 */
	unsigned reg, rm, other;
	bool memory, sib;
	uintptr_t address; /* if memory */
	size_t stride;     /* if sib */
	size_t length;
};

static uint64_t
value_of(const ucontext_t *context, unsigned number)
{
	static const int place[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP,
	    REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12,
	    REG_R13, REG_R14, REG_R15};

	return (uint64_t)context->uc_mcontext.gregs[place[number]];
}

/* The address behind ModRM (code[4]); `extend` has the bits X (2) and B (1). */
static void
decode_memory(struct instruction *it, const ucontext_t *context, const uint8_t *code,
    unsigned extend)
{
	const unsigned mode = code[4] >> 6;
	size_t at = 5;
	uint8_t near;
	int32_t far = 0;
	unsigned base = (code[4] & 7u) | (extend & 1u) << 3;

	it->sib = (code[4] & 7u) == 4;
	if (it->sib) {
		const unsigned sib = code[at++];
		const unsigned index = (sib >> 3 & 7u) | (extend & 2u) << 2;
		base = (sib & 7u) | (extend & 1u) << 3;
		if (index != 4)
			it->stride = value_of(context, index) << (sib >> 6);
	}
	if (mode == 0 && (base & 7u) == 5 && it->sib)
		refuse("an operand without a base register is not modelled");
	const bool from_rip = mode == 0 && (base & 7u) == 5;
	if (mode == 1) {
		memcpy(&near, code + at, sizeof near);
		far = near < 128 ? near : near - 256;
		at += sizeof near;
	} else if (mode == 2 || from_rip) {
		memcpy(&far, code + at, sizeof far);
		at += sizeof far;
	}
	it->length = at;
	it->address = from_rip ? (uintptr_t)code + at : value_of(context, base);
	it->address += (uintptr_t)(intptr_t)far;
}

/* Whether it is an instruction in the shape of those for tiles: VEX.128, map 0F38, W0.
 */
static bool
decode(struct instruction *it, const ucontext_t *context, const uint8_t *code)
{
	*it = (struct instruction){0};
	if (code[0] != 0xC4 || (code[1] & 31) != 2 || (code[2] & 0x84) != 0)
		return false;
	const unsigned extend = ~(unsigned)code[1] >> 5 & 7u; /* R, X, B */
	it->prefix = code[2] & 3;
	it->other = ~(unsigned)code[2] >> 3 & 15u;
	it->opcode = code[3];
	it->reg = (code[4] >> 3 & 7u) | (extend & 4u) << 1;
	it->rm = (code[4] & 7u) | (extend & 1u) << 3;
	it->length = 5;
	it->memory = code[4] >> 6 != 3;
	if (it->memory)
		decode_memory(it, context, code, extend);
	return true;
}

static void
load_config(const uint8_t *from)
{
	uint8_t config[64];

	memcpy(config, from, sizeof config);
	memset(state.tile, 0, sizeof state.tile);
	memset(state.config, 0, sizeof state.config);
	if (config[0] == 0)
		return;
	if (config[0] != 1)
		refuse("ldtilecfg: expected palette 0 or 1");
	if (config[1] != 0)
		refuse("ldtilecfg: a start row other than 0 is not modelled");
	for (size_t i = 2; i < sizeof config; i++)
		if ((i < 16 || (i >= 32 && i < 48) || i >= 56) && config[i] != 0)
			refuse("ldtilecfg: a reserved byte is not 0");
	for (size_t t = 0; t < TILES; t++) {
		unsigned bytes = config[16 + 2 * t] | (unsigned)config[17 + 2 * t] << 8;
		unsigned rows = config[48 + t];
		if (bytes > BYTES_MAX || rows > ROWS_MAX)
			refuse("ldtilecfg: a tile has at most 16 rows of 64 bytes");
		if ((bytes == 0) != (rows == 0))
			refuse("ldtilecfg: a tile has rows and bytes, or neither");
		state.tile[t].bytes = (uint8_t)bytes;
		state.tile[t].rows = (uint8_t)rows;
	}
	memcpy(state.config, config, sizeof config);
}

static struct tile *
tile_of(unsigned number)
{
	if (state.config[0] == 0)
		refuse("an instruction for tiles before ldtilecfg");
	if (number >= TILES)
		refuse("expected tile 0 .. 7");
	if (state.tile[number].rows == 0)
		refuse("this tile has no shape in the configuration");
	return &state.tile[number];
}

/* A load leaves nothing of what was in the tile. */
static void
move(const struct instruction *it, bool load)
{
	struct tile *tile = tile_of(it->reg);
	uint8_t *memory = (uint8_t *)it->address;

	if (!it->sib)
		refuse("a tile is moved from or to base and stride alone");
	if (load)
		memset(tile->data, 0, sizeof tile->data);
	for (size_t r = 0; r < tile->rows; r++, memory += it->stride) {
		if (load)
			memcpy(tile->data[r], memory, tile->bytes);
		else
			memcpy(memory, tile->data[r], tile->bytes);
	}
}

/* c (rows, n) += a (rows, 4 k) b (k, 4 n), sums modulo 2^32 */
static void
product(const struct instruction *it)
{
	struct tile *c = tile_of(it->reg), *a = tile_of(it->rm),
		    *b = tile_of(it->other);
	const bool a_signed = it->prefix >= 2, b_signed = it->prefix % 2 == 1;

	if (a == b || a == c || b == c)
		refuse("a product takes three different tiles");
	if (c->bytes % 4 != 0 || a->bytes % 4 != 0 || b->bytes % 4 != 0)
		refuse("a product's rows are whole groups of 4 bytes");
	if (a->rows != c->rows || b->bytes != c->bytes || b->rows != a->bytes / 4)
		refuse("the shapes of a product do not fit");
	for (size_t m = 0; m < c->rows; m++)
		for (size_t n = 0; n < c->bytes / 4u; n++) {
			uint32_t sum;
			memcpy(&sum, c->data[m] + 4 * n, sizeof sum);
			for (size_t k = 0; k < a->bytes; k++) {
				uint8_t x = a->data[m][k];
				uint8_t y = b->data[k / 4][4 * n + k % 4];
				int left = a_signed ? (int8_t)x : x;
				int right = b_signed ? (int8_t)y : y;
				sum += (uint32_t)(left * right);
			}
			memcpy(c->data[m] + 4 * n, &sum, sizeof sum);
		}
}

/* Whether it was an instruction for tiles. */
static bool
execute(const struct instruction *it)
{
	if (it->opcode == 0x49 && it->memory && it->prefix == 0) {
		load_config((const uint8_t *)it->address);
	} else if (it->opcode == 0x49 && it->memory && it->prefix == 1) {
		memcpy((void *)it->address, state.config, sizeof state.config);
	} else if (it->opcode == 0x49 && it->prefix == 0 && it->reg == 0 &&
		   it->rm == 0) {
		memset(&state.config, 0, sizeof state.config);
		memset(&state.tile, 0, sizeof state.tile);
	} else if (it->opcode == 0x49 && !it->memory && it->prefix == 3 &&
		   it->rm == 0) {
		memset(tile_of(it->reg)->data, 0, sizeof state.tile[0].data);
	} else if (it->opcode == 0x4B && it->memory && it->prefix != 0) {
		move(it, it->prefix != 2);
	} else if (it->opcode == 0x5E && !it->memory) {
		product(it);
	} else {
		return false;
	}
	return true;
}

static void
on_illegal(int signal_number, siginfo_t *info, void *opaque)
{
	ucontext_t *context = opaque;
	struct instruction it;
	const uint8_t *code = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];

	(void)info;
	if (!decode(&it, context, code) || !execute(&it)) {
		signal(signal_number, SIG_DFL); /* it comes again, for good */
		return;
	}
	state.emulated++;
	context->uc_mcontext.gregs[REG_RIP] += (greg_t)it.length;
}

const char *
tiles_start(void)
{
	struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
	unsigned a, b, c, d;

	if (cpu_has(CPU_AMX))
		return NULL;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1))
		return "this processor has tiles and the system does not allow them";
	if (sigaction(SIGILL, &action, NULL) != 0)
		return "sigaction failed";
	return NULL;
}

size_t
tiles_emulated(void)
{
	return state.emulated;
}

void *
tiles_in_threads(void *(*run)(void *number))
{
	pthread_t threads[4];
	void *result = NULL;

	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)(i + 2)) != 0)
			abort();
	for (size_t i = 0; i < 4; i++) {
		void *one;
		if (pthread_join(threads[i], &one) != 0)
			abort();
		if (!result)
			result = one;
	}
	return result;
}

#endif
