/* SPDX-License-Identifier: MIT */
#include "lib/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

bool library_open(const char *name, const struct library_function *rows, size_t n, void *functions,
    char *said, size_t size)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(said, size, "%s", dlerror());
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		void *function = dlsym(library, rows[i].name);

		if (!function) {
			snprintf(said, size, "%s has no %s", name, rows[i].name);
			return false;
		}
		memcpy((char *)functions + rows[i].at, &function, sizeof(function));
	}
	return true;
}
