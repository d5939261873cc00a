/* SPDX-License-Identifier: MIT */
/* Fuzzes server/auth/keytab: the input is the file. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "server/auth/keytab.h"

struct file {
	const uint8_t *data;
	size_t size, n;
};

static void check_part(const struct file *f, const struct keytab_part *part)
{
	CHECK(part->len == 0 || (part->data >= f->data && part->data < f->data + f->size));
	CHECK(part->len == 0 || part->len <= (size_t)(f->data + f->size - part->data));
}

static int check_entry(void *ctx, const struct keytab_entry *e)
{
	struct file *f = ctx;

	CHECK(e->n_components > 0 && e->n_components <= KEYTAB_COMPONENTS_MAX);
	for (uint16_t i = 0; i < e->n_components; i++)
		check_part(f, &e->components[i]);
	check_part(f, &e->realm);
	check_part(f, &e->key);
	CHECK(e->key.len > 0);
	f->n++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file f = {data, size, 0};
	const char *why;
	int err = keytab_read(data, size, check_entry, &f, &why);

	CHECK(err == 0 || err == ERR_MALFORMED);
	CHECK((err == 0) == (why == NULL));
	CHECK(f.n <= size / 20);
	return 0;
}
