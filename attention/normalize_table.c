#include "attention/normalize_table.h"

#include <stddef.h>
#include <utf8proc.h>

/*
 * Made by comparing every code point, alone and between letters, in `tokenizers`
 * 0.23.3 and in utf8proc 2.8.0, 2.9.0 and 2.11.3; tests/golden/make_wordpiece.py
 * --points writes what tests/unit/test_normalize.c holds this file to.
 *
 * Most entries are characters younger than the reference's tables: marks,
 * punctuation, format characters and compositions that it takes for unassigned,
 * which is to say for letters.  Ranges also cover unassigned code points between
 * such characters.  The others: U+166D is punctuation there, U+1734 a nonspacing
 * mark.
 */
static const struct normalize_exception exceptions[] = {
    {0x061D, 0x061D, NORMALIZE_LETTER, true},
    {0x07FD, 0x07FD, NORMALIZE_LETTER, true},
    {0x0890, 0x08D3, NORMALIZE_LETTER, true},
    {0x08D4, 0x08E1, NORMALIZE_LETTER, false},
    {0x08E2, 0x08E2, NORMALIZE_LETTER, true},
    {0x09FD, 0x09FE, NORMALIZE_LETTER, true},
    {0x0A76, 0x0A76, NORMALIZE_LETTER, true},
    {0x0AFA, 0x0AFF, NORMALIZE_LETTER, true},
    {0x0B55, 0x0B55, NORMALIZE_LETTER, true},
    {0x0C04, 0x0C3C, NORMALIZE_LETTER, true},
    {0x0C77, 0x0C77, NORMALIZE_LETTER, true},
    {0x0C84, 0x0C84, NORMALIZE_LETTER, true},
    {0x0D00, 0x0D00, NORMALIZE_LETTER, true},
    {0x0D3B, 0x0D3C, NORMALIZE_LETTER, true},
    {0x0D81, 0x0D81, NORMALIZE_LETTER, true},
    {0x0EBA, 0x0EBA, NORMALIZE_LETTER, true},
    {0x0ECE, 0x0ECE, NORMALIZE_LETTER, true},
    {0x166D, 0x166D, NORMALIZE_PUNCTUATION, true},
    {0x1715, 0x1715, NORMALIZE_LETTER, true},
    {0x1734, 0x1734, NORMALIZE_MARK, false},
    {0x180F, 0x1886, NORMALIZE_LETTER, true},
    {0x1ABF, 0x1AEB, NORMALIZE_LETTER, true},
    {0x1B4E, 0x1B4F, NORMALIZE_LETTER, true},
    {0x1B7D, 0x1B7F, NORMALIZE_LETTER, true},
    {0x1DF6, 0x1DFA, NORMALIZE_LETTER, true},
    {0x1DFB, 0x1DFB, NORMALIZE_LETTER, false},
    {0x2E43, 0x2E5D, NORMALIZE_LETTER, true},
    {0xA82C, 0xA82C, NORMALIZE_LETTER, true},
    {0xA8C5, 0xA8C5, NORMALIZE_LETTER, true},
    {0xA8FF, 0xA8FF, NORMALIZE_LETTER, true},
    {0xA9BD, 0xA9BD, NORMALIZE_LETTER, true},
    {0x105C9, 0x105E4, NORMALIZE_LETTER, true},
    {0x10D24, 0x10D6E, NORMALIZE_LETTER, true},
    {0x10EAB, 0x10F89, NORMALIZE_LETTER, true},
    {0x11070, 0x11074, NORMALIZE_LETTER, true},
    {0x110C2, 0x110CD, NORMALIZE_LETTER, true},
    {0x111C9, 0x111C9, NORMALIZE_PUNCTUATION, true},
    {0x111CF, 0x111CF, NORMALIZE_LETTER, true},
    {0x1123E, 0x11241, NORMALIZE_LETTER, true},
    {0x1133B, 0x1133B, NORMALIZE_LETTER, true},
    {0x11383, 0x1143F, NORMALIZE_LETTER, true},
    {0x11442, 0x11442, NORMALIZE_LETTER, false},
    {0x11443, 0x11444, NORMALIZE_LETTER, true},
    {0x11446, 0x11446, NORMALIZE_LETTER, false},
    {0x1144B, 0x1145E, NORMALIZE_LETTER, true},
    {0x11660, 0x1166C, NORMALIZE_LETTER, true},
    {0x116B9, 0x116B9, NORMALIZE_LETTER, true},
    {0x1171E, 0x1171E, NORMALIZE_MARK, true},
    {0x1182F, 0x11C3D, NORMALIZE_LETTER, true},
    {0x11C3F, 0x11C3F, NORMALIZE_LETTER, false},
    {0x11C41, 0x11D97, NORMALIZE_LETTER, true},
    {0x11EF3, 0x11FFF, NORMALIZE_LETTER, true},
    {0x12FF1, 0x12FF2, NORMALIZE_LETTER, true},
    {0x13430, 0x13455, NORMALIZE_LETTER, true},
    {0x1611E, 0x1612F, NORMALIZE_LETTER, true},
    {0x16D68, 0x16F4F, NORMALIZE_LETTER, true},
    {0x16FE2, 0x16FF1, NORMALIZE_LETTER, true},
    {0x1CF00, 0x1CF46, NORMALIZE_LETTER, true},
    {0x1E000, 0x1E006, NORMALIZE_LETTER, false},
    {0x1E008, 0x1E018, NORMALIZE_LETTER, false},
    {0x1E01B, 0x1E021, NORMALIZE_LETTER, false},
    {0x1E023, 0x1E024, NORMALIZE_LETTER, false},
    {0x1E026, 0x1E02A, NORMALIZE_LETTER, false},
    {0x1E08F, 0x1E136, NORMALIZE_LETTER, true},
    {0x1E2AE, 0x1E2EF, NORMALIZE_LETTER, true},
    {0x1E4EC, 0x1E6F5, NORMALIZE_LETTER, true},
    {0x1E944, 0x1E94A, NORMALIZE_LETTER, false},
    {0x1E95E, 0x1E95F, NORMALIZE_LETTER, true},
};

static const struct {
	uint32_t first, last, lower;
} cases[] = {
    {0x1C89, 0x1C89, 0x1C8A},
    {0xA7CB, 0xA7CB, 0x0264},
    {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},
    {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},
    {0xA7DC, 0xA7DC, 0x019B},
    {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

const struct normalize_exception *
normalize_exception(uint32_t code)
{
	size_t low = 0, high = sizeof exceptions / sizeof *exceptions;

	if (code < exceptions[0].first)
		return NULL;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (code > exceptions[middle].last)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == sizeof exceptions / sizeof *exceptions ||
	    code < exceptions[low].first)
		return NULL;
	return &exceptions[low];
}

uint32_t
normalize_lower(uint32_t code)
{
	if (code >= cases[0].first)
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			if (code >= cases[i].first && code <= cases[i].last)
				return cases[i].lower + (code - cases[i].first);
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}
