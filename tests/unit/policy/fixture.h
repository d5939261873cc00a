/* SPDX-License-Identifier: MIT */
/* What the policy tests share: configurations from memory or from the test folder. */
#ifndef TABI_TESTS_POLICY_FIXTURE_H
#define TABI_TESTS_POLICY_FIXTURE_H

#include "policy/decide.h"
#include "policy/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Parses `text` as "tabi.conf"; there are no other files. */
int fixture_parse(const char *text, struct policy **ret_policy, struct diagnostics *ret_diags);

/* The same, and fails the test where it does not parse. */
struct policy *fixture_policy(const char *text);

/* A request of alice's from 10.0.0.5 for 203.0.114.1:443 on Monday at 10:00, to be changed. */
struct policy_request fixture_request(void);

/* An address that must be one. */
struct ip fixture_ip(const char *text);

/*
 * A group of tests, one for each file in `folder` whose name ends in `suffix`; `test` finds the
 * name in its state, and the folder is the working directory. Returns main()'s status; 2 where
 * there is none.
 */
int fixture_run_files(
    const char *group, const char *folder, const char *suffix, CMUnitTestFunction test);

#endif
