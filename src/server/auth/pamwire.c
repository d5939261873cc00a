/* SPDX-License-Identifier: MIT */
#include "server/auth/pamwire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/err.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int))];
};

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
	union control control;
	struct pam_question copy = *question; /* sendmsg() wants it writable */
	struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
	struct msghdr hdr = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c;
	ssize_t n;
	int err = 0;

	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &answer_to, sizeof(int));
	do {
		n = sendmsg(socket, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		err = -errno;
	explicit_bzero(&copy, sizeof(copy));
	return err;
}

/* The one descriptor of a packet, or -1. The kernel gives no more than there is room for. */
static int take_descriptor(struct msghdr *hdr)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
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
	union control control;
	struct iovec iov = {.iov_base = ret_question, .iov_len = sizeof(*ret_question)};
	struct msghdr hdr = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    /* Room for one: CMSG_SPACE would be rounded up to room for two. */
	    .msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;
	int fd;

	do {
		n = recvmsg(socket, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 && hdr.msg_controllen == 0)
		return 0;
	fd = take_descriptor(&hdr);
	if (fd >= 0 && n == (ssize_t)sizeof(*ret_question) &&
	    !(hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && is_question(ret_question)) {
		*ret_answer_to = fd;
		return 1;
	}
	if (fd >= 0)
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
