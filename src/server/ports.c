/* SPDX-License-Identifier: MIT */
/* One shared mapping of counters, a column for each worker. */
#include "server/ports.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#define N_PORTS 65536

/* Counted, since one port may be bound at several addresses. Pages that nobody touches cost
 * nothing. */
struct ports {
	atomic_uint generation;
	atomic_uint workers;                                 /* columns ever used */
	atomic_ushort column[PORTS_WORKERS_MAX][2][N_PORTS]; /* IPv4, IPv6 */
};

static struct ports *shared;

int ports_setup(void)
{
	void *map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	shared = map;
	return 0;
}

void ports_clear(unsigned worker)
{
	/* To read a page that nobody wrote would cost a page of zeros. */
	if (worker >= atomic_load(&shared->workers))
		return;
	for (size_t i = 0; i < (size_t)2 * N_PORTS; i++) {
		atomic_ushort *n = &shared->column[worker][i / N_PORTS][i % N_PORTS];

		if (atomic_load_explicit(n, memory_order_relaxed) != 0)
			atomic_store(n, 0);
	}
}

void ports_add(unsigned worker, bool v6, uint16_t port)
{
	unsigned seen = atomic_load(&shared->workers);

	while (seen <= worker && !atomic_compare_exchange_weak(&shared->workers, &seen, worker + 1))
		;
	atomic_fetch_add(&shared->column[worker][v6][port], 1);
	/* After the counter: who sees the new generation finds the port. */
	atomic_fetch_add(&shared->generation, 1);
}

void ports_remove(unsigned worker, bool v6, uint16_t port)
{
	atomic_fetch_sub(&shared->column[worker][v6][port], 1);
}

bool ports_have(const struct ip *ip, uint16_t port)
{
	bool v6 = !ip_is_v4(ip);
	unsigned n = atomic_load(&shared->workers);

	for (unsigned i = 0; i < n && i < PORTS_WORKERS_MAX; i++)
		if (atomic_load(&shared->column[i][0][port]) != 0 ||
		    (v6 && atomic_load(&shared->column[i][1][port]) != 0))
			return true;
	return false;
}

uint32_t ports_generation(void)
{
	return atomic_load(&shared->generation);
}
