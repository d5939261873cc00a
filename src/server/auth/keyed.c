/* SPDX-License-Identifier: MIT */
#include "server/auth/keyed.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

int keyed_init(struct keyed *keyed)
{
	/* Requests of up to 256 bytes are neither cut short nor interrupted, getrandom(2). */
	if (getrandom(keyed->key, sizeof(keyed->key), 0) != sizeof(keyed->key))
		return -errno;
	return 0;
}

void keyed_fini(struct keyed *keyed)
{
	explicit_bzero(keyed, sizeof(*keyed));
}

int keyed_hash(const struct keyed *keyed, const void *data, size_t len,
    uint8_t ret_digest[static KEYED_DIGEST])
{
	unsigned n = 0;

	if (!HMAC(EVP_sha256(), keyed->key, sizeof(keyed->key), data, len, ret_digest, &n))
		return -ENOMEM;
	return 0;
}
