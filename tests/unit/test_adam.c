/* Claims of binarize/adam.h: steps, clipped, are PyTorch's to the last digits of a
 * float; clipping leaves what is short, shortens what is long and tells its length,
 * also one that is not finite; a failing allocation leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/alloc.h"
#include "binarize/adam.h"

/* python3 - <<'END'
 * import torch
 * x = torch.tensor([0.5, -1.25, 2.0, 0.0], requires_grad=True)
 * adam = torch.optim.Adam([x], lr=0.03)
 * for step in range(4):
 *     adam.zero_grad()
 *     (x.exp() * torch.tensor([1.0, -2.0, 0.001, 3.0])).sum().backward()
 *     torch.nn.utils.clip_grad_norm_([x], 2.5)
 *     adam.step()
 *     print(", ".join(f"{v:.9g}f" for v in x.tolist()))
 * END
 */
static const float steps_of_torch[4][4] = {
    {0.469999999f, -1.22000003f, 1.97000003f, -0.0299999993f},
    {0.440001369f, -1.18996716f, 1.94000149f, -0.0599986315f},
    {0.410005242f, -1.15987992f, 1.91000545f, -0.0899947584f},
    {0.380012959f, -1.12971675f, 1.88001323f, -0.119987033f},
};

static void
test_torch(void **state)
{
	(void)state;
	static const float factors[4] = {1.0f, -2.0f, 0.001f, 3.0f};
	float x[4] = {0.5f, -1.25f, 2.0f, 0.0f}, gradient[4];
	struct error err;
	struct adam adam;
	assert_int_equal(adam_init(&adam, 4, &err), 0);
	for (int step = 0; step < 4; step++) {
		for (int i = 0; i < 4; i++)
			gradient[i] = expf(x[i]) * factors[i];
		assert_true(adam_clip(gradient, 4, 2.5) > 2.5);
		adam_step(&adam, x, gradient, 0.03f);
		for (int i = 0; i < 4; i++)
			assert_true(fabsf(x[i] - steps_of_torch[step][i]) < 5e-7f);
	}
	assert_true(adam.steps == 4);
	adam_free(&adam);
	assert_null(adam.first);
	adam_free(&adam);
}

static void
test_clip(void **state)
{
	(void)state;
	float g[2] = {3, -4};
	assert_true(adam_clip(g, 2, 5) == 5 && g[0] == 3 && g[1] == -4);
	assert_true(adam_clip(g, 2, 2.5) == 5 && g[0] == 1.5f && g[1] == -2);
	g[0] = NAN;
	assert_true(isnan(adam_clip(g, 2, 1)) && g[1] == -2);
}

static void
test_no_memory(void **state)
{
	(void)state;
	struct error err;
	struct adam adam;
	for (long k = 1; k <= 2; k++) {
		array_fail_at(k);
		int rc = adam_init(&adam, 100, &err);
		array_fail_at(0);
		assert_true(rc == -1 && err.code == ERR_MEMORY && !adam.first);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_torch),
	    cmocka_unit_test(test_clip),
	    cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
