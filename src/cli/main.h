/* SPDX-License-Identifier: MIT */
/* The subcommands: each is main() of one file in this folder. */
#ifndef TABI_CLI_MAIN_H
#define TABI_CLI_MAIN_H

/*
 * argv[0] is "tabi" and the subcommand's name, argv[1] its first argument. Each returns the exit
 * status: 0, 1 (it failed and said why) or 2 (it was called wrongly); connect and probe have more
 * of them. Their table is in main.c.
 */
int bench_main(int argc, char **argv);
int check_main(int argc, char **argv);
int connect_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int forward_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int passwd_main(int argc, char **argv);
int probe_main(int argc, char **argv);

#endif
