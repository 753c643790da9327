/* Claim: a site is told from another by name and port, and the names of this machine
 * from those that a site could give it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/address.h"
#include "server/http_origin.h"

static void
test_is_host(void **state)
{
	static const struct {
		const char *origin, *host;
		bool same;
	} cases[] = {
	    {"http://127.0.0.1:6333", "127.0.0.1:6333", true},
	    {"http://LOCALHOST:6333", "localhost:6333", true},
	    {"http://[::1]:6333", "[::1]:6333", true},
	    {"http://a.example", "a.example", true},
	    {"http://a.example", "a.example:80", true},
	    {"https://a.example", "a.example", true},
	    {"https://a.example:443", "a.example", true},
	    {"http://localhost:8000", "localhost:6333", false},
	    {"http://localhost", "localhost:6333", false},
	    {"http://a.example", "b.example", false},
	    {"http://a.example", "a.example.org", false},
	    {"http://a.example.org", "a.example", false},
	    {"https://a.example", "a.example:80", false},
	    {"null", "localhost:6333", false},
	    {"null", "null", false},
	    {"", "", false},
	    {"localhost:6333", "localhost:6333", false},
	    {"file://localhost:6333", "localhost:6333", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool same = http_origin_is_host(cases[i].origin, cases[i].host);
		if (same != cases[i].same)
			fail_msg("%s at %s: %d", cases[i].origin, cases[i].host, same);
	}
}

static void
test_names_us(void **state)
{
	static const struct {
		const char *listen, *host;
		bool ours;
	} cases[] = {
	    {"127.0.0.1:6333", "localhost", true},
	    {"127.0.0.1:6333", "LocalHost:1", true},
	    {"127.0.0.1:6333", "127.0.0.1:6333", true},
	    {"127.0.0.1:6333", "127.9.8.7", true},
	    {"127.0.0.1:6333", "[::1]:6333", true},
	    {"127.0.0.1:6333", "[::1]", true},
	    {"10.1.2.3:6333", "10.1.2.3", true},
	    {"[fd00::1]:6333", "[FD00:0::1]:80", true},
	    {"10.1.2.3:6333", "10.1.2.4", false},
	    {"10.1.2.3:6333", "[fd00::1]", false},
	    {"[fd00::1]:6333", "[fd00::2]:6333", false},
	    {"127.0.0.1:6333", "evil.example", false},
	    {"127.0.0.1:6333", "evil.example:6333", false},
	    {"127.0.0.1:6333", "localhost.evil.example:6333", false},
	    {"127.0.0.1:6333", "127.0.0.1.evil.example", false},
	    {"127.0.0.1:6333", "128.0.0.1", false},
	    {"127.0.0.1:6333", "", false},
	    {"127.0.0.1:6333", ":", false},
	    {"127.0.0.1:6333", "localhost:", true},
	    {"127.0.0.1:6333", "localhost:evil.example", false},
	    {"127.0.0.1:6333", "localhost:@evil.example", false},
	    {"127.0.0.1:6333", "127.0.0.1:80x", false},
	    {"127.0.0.1:6333", "[", false},
	    {"127.0.0.1:6333", "[]:1", false},
	    {"127.0.0.1:6333",
		"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]",
		false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage listening;
		socklen_t n;
		struct error err;
		assert_int_equal(
		    address_parse(&listening, &n, cases[i].listen, &err), 0);
		bool ours = http_origin_names_us(cases[i].host, &listening);
		if (ours != cases[i].ours)
			fail_msg("%s at %s: %d", cases[i].host, cases[i].listen, ours);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_is_host),
	    cmocka_unit_test(test_names_us),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
