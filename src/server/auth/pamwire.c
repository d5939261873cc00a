/* SPDX-License-Identifier: MIT */
#include "server/auth/pamwire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/passfd.h"
#include "proto/err.h"

bool pamwire_put(char *field, size_t size, const char *bytes, size_t len)
{
	if (len == 0 || len >= size || memchr(bytes, '\0', len))
		return false;
	memcpy(field, bytes, len);
	memset(field + len, 0, size - len);
	return true;
}

int pamwire_ask(int socket, const struct pam_question *question, int answer_to)
{
	return passfd_send(socket, question, sizeof(*question), &answer_to, 1, MSG_DONTWAIT);
}

static bool is_text(const char *field, size_t size)
{
	return field[0] != '\0' && memchr(field, '\0', size) != NULL;
}

static bool is_question(const struct pam_question *q)
{
	struct ip ip;

	return is_text(q->service, sizeof(q->service)) && is_text(q->user, sizeof(q->user)) &&
	       is_text(q->password, sizeof(q->password)) && is_text(q->client, sizeof(q->client)) &&
	       ip_parse(q->client, strlen(q->client), &ip) == 0;
}

int pamwire_take(int socket, struct pam_question *ret_question, int *ret_answer_to)
{
	size_t n_fds;
	int fd;
	ssize_t n = passfd_receive(socket, ret_question, sizeof(*ret_question), &fd, 1, &n_fds);

	if (n < 0 && n != -EMFILE && n != -EMSGSIZE)
		return (int)n;
	if (n == 0 && n_fds == 0)
		return 0;
	if (n_fds == 1 && n == (ssize_t)sizeof(*ret_question) && is_question(ret_question)) {
		*ret_answer_to = fd;
		return 1;
	}
	if (n_fds == 1)
		close(fd);
	explicit_bzero(ret_question, sizeof(*ret_question));
	return ERR_MALFORMED;
}

int pamwire_answer(int answer_to, const struct pam_answer *answer)
{
	return send(answer_to, answer, sizeof(*answer), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno
											 : 0;
}

int pamwire_hear(int socket, struct pam_answer *ret_answer)
{
	ssize_t n = recv(socket, ret_answer, sizeof(*ret_answer), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (n != (ssize_t)sizeof(*ret_answer) ||
	    (ret_answer->err != 0 && ret_answer->err != ERR_AUTH &&
		ret_answer->err != ERR_UNAVAILABLE))
		return ERR_MALFORMED;
	return 0;
}
