/* SPDX-License-Identifier: MIT */
#include "server/onion.h"

#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>

#define ONION_LETTERS 56
#define ONION_KEY 32
#define ONION_CHECKSUM 2
#define ONION_BYTES (ONION_KEY + ONION_CHECKSUM + 1)
#define ONION_VERSION 3

static const char suffix[] = ".onion";
#define SUFFIX_LEN (sizeof(suffix) - 1)

/* 0 to 31, or -1. */
static int letter_value(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* Base32 (RFC 4648): 56 letters are 35 bytes to the bit. */
static bool decode(const char *text, uint8_t bytes[static ONION_BYTES])
{
	unsigned bits = 0, n_bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < ONION_LETTERS; i++) {
		int value = letter_value(text[i]);

		if (value < 0)
			return false;
		bits = bits << 5 | (unsigned)value;
		n_bits += 5;
		if (n_bits >= 8) {
			n_bits -= 8;
			bytes[n++] = (uint8_t)(bits >> n_bits);
		}
	}
	return true;
}

static bool checksum_is_right(const uint8_t bytes[static ONION_BYTES])
{
	static const char constant[] = ".onion checksum";
	uint8_t text[sizeof(constant) - 1 + ONION_KEY + 1], digest[EVP_MAX_MD_SIZE];
	size_t at = sizeof(constant) - 1;

	memcpy(text, constant, at);
	memcpy(text + at, bytes, ONION_KEY);
	text[at + ONION_KEY] = bytes[ONION_BYTES - 1];
	if (!EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha3_256(), NULL))
		return true;
	return memcmp(digest, bytes + ONION_KEY, ONION_CHECKSUM) == 0;
}

bool onion_is_bad(const char *name, size_t len)
{
	uint8_t bytes[ONION_BYTES];
	const char *label;
	size_t label_len;

	if (len < SUFFIX_LEN || memcmp(name + len - SUFFIX_LEN, suffix, SUFFIX_LEN) != 0)
		return len == SUFFIX_LEN - 1 && memcmp(name, suffix + 1, len) == 0;
	label_len = len - SUFFIX_LEN;
	label = memrchr(name, '.', label_len);
	label = label ? label + 1 : name;
	label_len -= (size_t)(label - name);
	return label_len != ONION_LETTERS || !decode(label, bytes) ||
	       bytes[ONION_BYTES - 1] != ONION_VERSION || !checksum_is_right(bytes);
}
