/* SPDX-License-Identifier: MIT */
#include "server/auth/keytab.h"

#include <string.h>

#include "proto/err.h"
#include "proto/wire.h"

#define VERSION 0x0502

static struct keytab_part read_part(struct wire_reader *r)
{
	struct keytab_part part = {.len = wire_read_u16(r)};

	part.data = wire_read_bytes(r, part.len);
	return part;
}

/* Returns what is wrong with it, or NULL. */
static const char *read_entry(struct wire_reader *r, struct keytab_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->n_components = wire_read_u16(r);
	e->realm = read_part(r);
	if (e->n_components == 0 || e->n_components > KEYTAB_COMPONENTS_MAX)
		return "holds a principal with a number of components that none has";
	for (uint16_t i = 0; i < e->n_components; i++)
		e->components[i] = read_part(r);
	e->name_type = wire_read_u32(r);
	e->timestamp = wire_read_u32(r);
	e->version = wire_read_u8(r);
	e->enctype = wire_read_u16(r);
	e->key = read_part(r);
	if (r->failed || e->key.len == 0)
		return "is cut off, or damaged";
	/* Where it has more than eight bits it stands at the end once more, as a whole. */
	if (wire_left(r) >= 4) {
		uint32_t version = wire_read_u32(r);

		e->version = version ? version : e->version;
	}
	return NULL;
}

int keytab_read(const void *data, size_t len, keytab_fn *fn, void *ctx, const char **ret_why)
{
	struct wire_reader in = wire_reader_of(data, len);
	int err = 0;

	*ret_why = NULL;
	if (wire_read_u16(&in) != VERSION) {
		*ret_why = "is not a keytab";
		return ERR_MALFORMED;
	}
	while (!err && wire_left(&in) > 0) {
		int32_t size = (int32_t)wire_read_u32(&in);
		size_t n = size < 0 ? (size_t) - (int64_t)size : (size_t)size;
		const uint8_t *at = wire_read_bytes(&in, n);
		struct wire_reader r = wire_reader_of(at, at ? n : 0);
		struct keytab_entry e;

		/* A hole: a key that was removed. Some files end in zeros. */
		if (at && size <= 0)
			continue;
		*ret_why = at ? read_entry(&r, &e) : "is cut off, or damaged";
		err = *ret_why ? ERR_MALFORMED : fn(ctx, &e);
	}
	return err;
}
