/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over the files of a folder without libFuzzer, so that every test run of every
 * compiler sees what fuzzing ever found.
 *
 * usage: replay_NAME FOLDER
 */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)
/* Of files up to this size every prefix is an input too: parsers break where the data does. */
#define PREFIX_MAX 1024

static void die(const char *what, const char *name)
{
	fprintf(stderr, "%s: ", what);
	perror(name);
	exit(1);
}

/* A copy of its own for every input: behind it a sanitizer watches the very next byte. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (!copy)
		die("malloc", "input");
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void run_file(const char *path)
{
	static uint8_t data[FILE_MAX];
	FILE *f = fopen(path, "rb");
	size_t size;

	if (!f)
		die("open", path);
	size = fread(data, 1, sizeof(data), f);
	if (ferror(f) || size == sizeof(data))
		die("read", path);
	fclose(f);
	/* Named before it is run: where it ends the program, this is the last line. */
	fprintf(stderr, "%s\n", path);
	if (size <= PREFIX_MAX)
		for (size_t n = 0; n < size; n++)
			run(data, n);
	run(data, size);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	int n;

	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	n = scandir(argv[1], &entries, not_hidden, alphasort);
	if (n < 0)
		die("scandir", argv[1]);
	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
		run_file(path);
		free(entries[i]);
	}
	free(entries);
	/* A folder that was moved must not pass for one without findings. */
	if (n == 0) {
		fprintf(stderr, "%s: no inputs\n", argv[1]);
		return 1;
	}
	return 0;
}
