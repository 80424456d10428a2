package notify

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// resets returns err with the time until a platform's limit of requests ends, where it
// says that in a header of its own: in seconds, or as a Unix time.
func resets(reply post.Reply, err error, header string) error {
	if reply.Status != http.StatusTooManyRequests {
		return err
	}
	n, bad := strconv.ParseInt(reply.Header.Get(header), 10, 64)
	if bad != nil {
		return err
	}
	return asked(err, untilReset(n))
}

// untilReset returns how many seconds a number asks to wait, which is that or a Unix
// time. A year has fewer seconds than have passed since 1970.
func untilReset(n int64) float64 {
	const year = 365 * 24 * 60 * 60
	if n > year {
		return time.Until(time.Unix(n, 0)).Seconds()
	}
	return float64(n)
}

// again marks a failure as one that is worth trying again.
func again(err error) error {
	if fail := (*events.SendError)(nil); errors.As(err, &fail) {
		fail.Final = false
	}
	return err
}

// never marks a failure as one that trying again does not cure.
func never(err error) error {
	if fail := (*events.SendError)(nil); errors.As(err, &fail) {
		fail.Final = true
	}
	return err
}
