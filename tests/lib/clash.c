/* SPDX-License-Identifier: MIT */
/* A program that has functions of its own of the names that libtabi uses inside, for a static link.
 */
#include <stdio.h>
#include <tabi.h>

int addr_parse(void);
int url_parse(void);
int connect_init(void);
int wire_left(void);

int addr_parse(void)
{
	return 1;
}

int url_parse(void)
{
	return 2;
}

int connect_init(void)
{
	return 3;
}

int wire_left(void)
{
	return 4;
}

int main(void)
{
	static _Alignas(max_align_t) char memory[40000];
	struct tabi_machine *m =
	    tabi_machine_init(memory, sizeof(memory), "socks5h://u:p@192.0.2.1", NULL, NULL);

	if (!m || tabi_machine_start(m, TABI_CONNECT, "example.com", 80) != 0)
		return 1;
	tabi_connected(m);
	printf("%d %d\n", tabi_step(m) == TABI_WANT_WRITE,
	    addr_parse() + url_parse() + connect_init() + wire_left());
	return 0;
}
